"""Normalisation that stands at the front of a network, taken out of it and into the InputSpec.

A module that subtracts ImageNet's means by itself converts to operators on the whole image; in the card the same
numbers cost nothing, since an int8 input is a table of 256 values a channel.
"""

from __future__ import annotations

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import Array, Graph, Operator
from edgekit.spec import InputSpec

_KINDS = ("ADD", "SUB", "MUL", "DIV")


def absorb(tflite: bytes, spec: InputSpec) -> tuple[bytes, InputSpec]:
    """The network without the per-channel sums and products that it begins with, and the input that it then takes.

    Both are as given if it begins with none, or with one that turns the order of values round.
    """
    graph = graphs.load(tflite)
    scale, offset = np.ones(3), np.zeros(3)
    removed = 0
    while (found := _first(graph)) is not None and found.kind in _KINDS:
        factors = _affine(graph, found)
        if factors is None:
            break
        scale, offset = scale * factors[0], offset * factors[0] + factors[1]
        _cut(graph, found)
        removed += 1
    if not removed or (scale <= 0).any():
        return tflite, spec
    mean = np.asarray(spec.mean) - offset * np.asarray(spec.std) / scale
    graph.drop_unused()
    return graphs.dump(graph), _with(spec, mean, np.asarray(spec.std) / scale)


def _with(spec: InputSpec, mean: Array, std: Array) -> InputSpec:
    """In seven digits, which float32 has: 123.675 and not 123.67500000000001."""
    red, green, blue = (float(f"{value:.7g}") for value in mean)
    across, along, deep = (float(f"{value:.7g}") for value in std)
    return InputSpec(
        spec.height, spec.width, spec.resize_shorter, spec.channels, (red, green, blue), (across, along, deep)
    )


def _first(graph: Graph) -> Operator | None:
    """The operator that alone reads the input; None if there are several, or the input is also an output."""
    readers = graph.consumers(graph.inputs[0])
    return readers[0] if len(readers) == 1 and graph.inputs[0] not in graph.outputs else None


def _affine(graph: Graph, operator: Operator) -> tuple[Array, Array] | None:
    """(factor, summand) for each channel; None if the operator is no sum or product with constants of its own."""
    places = [place for place, index in enumerate(operator.inputs) if graph.tensors[index].data is not None]
    output = operator.outputs[0]
    activated = operator.options is not None and operator.options.fusedActivationFunction
    if len(places) != 1 or output in graph.outputs or activated:
        return None
    values = np.asarray(graph.tensors[operator.inputs[places[0]]].data, np.float64)
    if values.size not in (1, 3) or (values.size == 3 and values.shape[-1] != 3):
        return None
    channels = np.broadcast_to(values.reshape(-1), 3)
    if operator.kind == "ADD":
        return np.ones(3), channels
    if operator.kind == "MUL":
        return channels, np.zeros(3)
    if places == [0]:  # it is the constant that something is taken from
        return None
    if operator.kind == "SUB":
        return np.ones(3), -channels
    return (1 / channels, np.zeros(3)) if channels.all() else None


def _cut(graph: Graph, operator: Operator) -> None:
    """Lets whatever reads the operator's output read the input."""
    output = operator.outputs[0]
    for reader in graph.consumers(output):
        reader.inputs = [graph.inputs[0] if index == output else index for index in reader.inputs]
    graph.operators.remove(operator)
