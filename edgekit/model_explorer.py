"""An audit as node data for Google's Model Explorer, which then colours the layers of the quantized .tflite by it.

The format is that of `GraphNodeData` in the package ai-edge-model-explorer: load it beside the model, or start
`model-explorer model.tflite --node_data_paths=FILE`. Without a graph's id it applies to the graph on the screen.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from edgekit.fidelity import LARGEST_DB, Audit

TITLE = "own noise (SQNR, dB)"


class Result(msgspec.Struct, frozen=True):
    """One node's number."""

    value: float


class Threshold(msgspec.Struct, frozen=True, rename="camel"):
    """The colours of nodes up to a value."""

    value: float
    bg_color: str
    text_color: str = "#1b1f24"


# An error of a tenth of the signal is 20 dB, as much as most networks can bear in one layer.
THRESHOLDS = (
    Threshold(10.0, "#e8703a"),
    Threshold(20.0, "#f4b183"),
    Threshold(30.0, "#fbe3a6"),
    Threshold(LARGEST_DB, "#bfe3cf"),
)


class NodeData(msgspec.Struct, frozen=True, rename="camel"):
    """Numbers by node: by the name of a tensor that it writes, or its position in the file where names do not tell.

    Sums of decibels mean nothing, so they are hidden.
    """

    name: str
    results: dict[str, Result]
    thresholds: tuple[Threshold, ...] = THRESHOLDS
    hide_aggregated_stats: tuple[str, ...] = ("sum", "avg")
    hide_in_children_stats_table: bool = True


def node_data(audit: Audit) -> NodeData:
    """What each layer adds to the noise, for those where that is known."""
    times = Counter(layer.name for layer in audit.layers)
    results = {
        layer.name if layer.name and times[layer.name] == 1 else str(layer.index): Result(round(layer.own_sqnr_db, 2))
        for layer in audit.layers
        if layer.own_sqnr_db is not None
    }
    return NodeData(TITLE, results)


def to_json(audit: Audit) -> str:
    """The same as a file's text."""
    return msgspec.json.format(msgspec.json.encode(node_data(audit)), indent=2).decode() + "\n"
