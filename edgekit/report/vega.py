"""The only place that loads vl-convert, which draws Vega-Lite specifications without a browser and has Vega's script.

A board lacks it, and what is drawn there names the extra that brings it.
"""

from __future__ import annotations

import importlib
from typing import Any

from edgekit.errors import MissingError

Spec = dict[str, Any]
"""A Vega-Lite specification; its grammar is Vega-Lite's own."""

VERSION = "6.4"
FONT = "Liberation Sans"  # ships with vl-convert, so a drawing is the same on every machine


def svg(spec: Spec) -> str:
    """The drawing as an SVG document."""
    drawing: str = _load().vegalite_to_svg(spec, vl_version=VERSION)
    return drawing


def png(spec: Spec, scale: float = 2.0) -> bytes:
    """The drawing as a PNG of so many pixels per unit."""
    drawing: bytes = _load().vegalite_to_png(spec, vl_version=VERSION, scale=scale)
    return drawing


def compiled(spec: Spec) -> Spec:
    """The specification as Vega has it, for a page that brings Vega alone to work."""
    found: Spec = _load().vegalite_to_vega(spec, vl_version=VERSION)
    return found


def script() -> str:
    """Vega for a browser: one script that needs nothing else and sets `window.vegaEmbed`."""
    found: str = _load().javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION)
    return found.replace("</script", "<\\/script")


def available() -> None:
    """MissingError, which says how to get it, where vl-convert is not installed."""
    _load()


def _load() -> Any:
    try:
        return importlib.import_module("vl_convert")
    except ModuleNotFoundError:
        raise MissingError("the chart needs vl-convert; run: pip install 'edgekit[report]'") from None
