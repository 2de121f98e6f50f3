"""The only place that loads matplotlib, which a board lacks."""

from __future__ import annotations

import importlib
from typing import Any

from edgekit.errors import MissingError


def load(module: str, what: str) -> Any:
    """One of matplotlib's modules; MissingError says that `what`, "the chart needs" say, and how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingError(f"{what} matplotlib; run: pip install 'edgekit[report]'") from None
