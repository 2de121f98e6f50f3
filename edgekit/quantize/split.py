"""One more bit for a value that costs accuracy: each channel in two, one for its lower and one for its upper half.

With y between 0 and 12, relu6(y) + relu6(y - 6) is y again, and each part has half the range and so half the step; the
part that is 0 or 6 is stored exactly, so the error of the sum is that of one part. Both are channels of one tensor: the
kernel that writes it computes each channel twice, with two biases, and the kernels that read it have each of their
inputs twice. It stays a plain int8 model, of a few more products. (Zhao et al. 2019, arXiv:1901.09504, double channels
too, as halves of equal values, whose errors are then equal as well.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, constant
from edgekit.quantize import activations, head, integer, ranges, scales
from edgekit.quantize.ranges import Range, Sample
from edgekit.quantize.scales import Scale

HALF = 6.0  # where RELU6 clips
_JUDGED = 8  # samples
_LEAST_NOISE = 0.2  # of that of all values: what makes less is not worth its products


def choose(graph: Graph, found: Mapping[int, Range], samples: Sequence[Sample], share: float) -> list[int]:
    """The values whose rounding disturbs the output most, as far as `share` more multiplications allow.

    Each is measured by rounding it, and nothing else, in the float model.
    """
    budget = share * sum(map(graph.macs, graph.operators))
    affordable = [index for index in candidates(graph) if added_macs(graph, index) <= budget]
    if not affordable:
        return []
    noise = _Noise(graph, found, ranges.spread(samples, _JUDGED))
    every = noise.of(noise.scales)
    shares = {index: noise.of([index]) / every for index in affordable} if every else {}
    chosen: list[int] = []
    for index in sorted(shares, key=shares.__getitem__, reverse=True):
        if shares[index] >= _LEAST_NOISE and sum(added_macs(graph, each) for each in (*chosen, index)) <= budget:
            chosen.append(index)
    return chosen


class _Noise:
    """What rounding values of a float graph does to its logits, or to its output where it has none."""

    def __init__(self, graph: Graph, found: Mapping[int, Range], samples: Sequence[Sample]) -> None:
        self.graph, self.samples = graph, samples
        softmax = head.final_softmax(graph)
        self.output = graph.outputs[0] if softmax is None else softmax.inputs[0]
        whole = integer.integer_operators(graph, "int8")
        written = {index for operator in whole for index in operator.outputs} - {self.output}
        limits = scales.widened(graph, whole, dict(found), "int8")
        self.scales: dict[int, Scale] = {
            index: scale for index, scale in scales.choose_scales(whole, limits, "int8").items() if index in written
        }
        self.expected = self._answers(graph)

    def of(self, indices: Iterable[int]) -> float:
        """The mean square by which the output moves if these values are rounded."""
        made = self.graph.copy()
        for index in indices:
            activations.round_value(made, index, self.scales[index])
        return float(np.mean((self._answers(made) - self.expected) ** 2))

    def _answers(self, graph: Graph) -> Array:
        values = ranges.run(graphs.dump(graph), self.samples, [self.output])
        return np.stack([each[self.output].astype(np.float64) for each in values])


def candidates(graph: Graph) -> list[int]:
    """The tensors that can be split: written by a convolution with a ReLU, and read by convolutions alone."""
    return [
        operator.outputs[0]
        for operator in graph.operators
        if _own_kernel(graph, operator)
        and operator.options.fusedActivationFunction == constant("ActivationFunctionType", "RELU")
        and operator.outputs[0] not in graph.outputs
        and (readers := graph.consumers(operator.outputs[0]))
        and all(_own_kernel(graph, reader) and reader.data == operator.outputs[0] for reader in readers)
    ]


def added_macs(graph: Graph, index: int) -> int:
    """How many more multiplications the graph has with a tensor split."""
    writer = graph.producer(index)
    assert writer is not None
    return sum(map(graph.macs, (writer, *graph.consumers(index))))


def split(graph: Graph, index: int, unit: Array) -> None:
    """Doubles the channels of a tensor: unit * (lower + upper) is what it was, up to 12 units, where it is clipped.

    `unit` has one number for each channel of the tensor, or one for all.
    """
    writer = graph.producer(index)
    assert writer is not None
    kernel, bias = graph.tensors[writer.inputs[1]], graph.tensors[writer.bias]
    assert kernel.data is not None and bias.data is not None
    _set(graph, writer.inputs[1], np.concatenate([kernel.data / unit.reshape(-1, 1, 1, 1)] * 2))
    _set(graph, writer.bias, np.concatenate([bias.data / unit, bias.data / unit - HALF]))
    writer.options.fusedActivationFunction = constant("ActivationFunctionType", "RELU6")
    for reader in graph.consumers(index):
        data = graph.tensors[reader.inputs[1]].data
        assert data is not None
        _set(graph, reader.inputs[1], np.concatenate([data * unit] * 2, axis=3))
    tensor = graph.tensors[index]
    tensor.shape = (*tensor.shape[:-1], 2 * tensor.shape[-1])


def _set(graph: Graph, index: int, data: Array) -> None:
    graph.tensors[index].data = data.astype(np.float32)
    graph.tensors[index].shape = data.shape


def _own_kernel(graph: Graph, operator: Operator) -> bool:
    """Whether it is a convolution in one group, with kernel and bias of its own."""
    if operator.kind != "CONV_2D" or operator.bias == NO_TENSOR:
        return False
    kernel = graph.tensors[operator.inputs[1]]
    parameters: Sequence[int] = (operator.inputs[1], operator.bias)
    own = all(graph.tensors[each].data is not None and len(graph.consumers(each)) == 1 for each in parameters)
    return own and kernel.shape[3] == graph.tensors[operator.data].shape[-1]
