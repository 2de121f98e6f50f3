"""One HTML file that needs nothing else: no network, and no script but its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_SCRIPTS = "; script-src 'unsafe-inline' 'unsafe-eval'"  # Vega compiles its expressions


def render(title: str, style: str, body: str, schemes: str = "light", scripts: Sequence[str] = ()) -> str:
    """The page; `body` is HTML, the title plain text. `schemes` are the colour schemes that the style knows.

    `scripts` are run in their order when the body is there. Its policy lets no browser load anything.
    """
    policy = _POLICY + (_SCRIPTS if scripts else "")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{schemes}">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
{"".join(f"<script>{script}</script>" for script in scripts)}
</body>
</html>
"""
