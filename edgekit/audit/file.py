"""What a quantized file is made of: types, conversions, float islands, what the delegate takes."""

from __future__ import annotations

from collections import Counter

from edgekit.audit.pairs import CONVERSIONS, writers
from edgekit.graph import Graph
from edgekit.runtime import Runner


def activations(graph: Graph) -> dict[str, int]:
    """How many activations there are of each type, the most first."""
    found = dict.fromkeys([*graph.inputs, *writers(graph)])
    return dict(Counter(graph.tensors[index].dtype for index in found).most_common())


def count(graph: Graph, kind: str) -> int:
    """How many operators are of a kind."""
    return sum(operator.kind == kind for operator in graph.operators)


def islands(graph: Graph) -> tuple[str, ...]:
    """The kinds of the float operators that get what a DEQUANTIZE made, and make what a QUANTIZE gets."""
    fed, asked = _from_integers(graph), _to_integers(graph)
    return tuple(
        operator.custom_code or operator.kind
        for operator in graph.operators
        if operator.kind not in CONVERSIONS and fed & set(operator.activations) and asked & set(operator.outputs)
    )


def macs_delegated(graph: Graph, model: bytes) -> float | None:
    """The share of multiply-accumulates that the default delegate takes; None where there are none at all."""
    taken = Runner(model).delegated()
    macs = [graph.macs(operator) for operator in graph.operators]
    if not sum(macs):
        return None
    return sum(macs[position] for position in taken) / sum(macs)


def _from_integers(graph: Graph) -> set[int]:
    """The float tensors that depend on a DEQUANTIZE of an activation."""
    found: set[int] = set()
    for operator in graph.operators:
        converted = operator.kind == "DEQUANTIZE" and graph.tensors[operator.inputs[0]].data is None
        if converted or (operator.kind not in CONVERSIONS and found & set(operator.activations)):
            found.update(operator.outputs)
    return {index for index in found if graph.tensors[index].dtype == "float32"}


def _to_integers(graph: Graph) -> set[int]:
    """The float tensors that a QUANTIZE depends on."""
    found: set[int] = set()
    for operator in reversed(graph.operators):
        if operator.kind == "QUANTIZE" or (operator.kind not in CONVERSIONS and found & set(operator.outputs)):
            found.update(operator.activations)
    return {index for index in found if graph.tensors[index].dtype == "float32"}
