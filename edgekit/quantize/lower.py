"""Rewrites of a finished int8 graph to what Arm kernels do quickly; every answer stays equal to the last bit.

They come last: what decides about scales and rounding sees the network as it was trained.
"""

from __future__ import annotations

from edgekit.graph import Graph
from edgekit.quantize.clamps import drop_clamps
from edgekit.quantize.grouped import merge_groups
from edgekit.quantize.pixels import fold_pixels


def lower(graph: Graph) -> None:
    """Merges narrow groups, folds pixels into channels, drops activations that saturation does: int8 graphs only."""
    merge_groups(graph)
    fold_pixels(graph)
    drop_clamps(graph)
