"""One HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from html import escape


def render(title: str, style: str, body: str, schemes: str = "light") -> str:
    """The page; `body` is HTML, the title plain text. `schemes` are the colour schemes that the style knows."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="{schemes}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""
