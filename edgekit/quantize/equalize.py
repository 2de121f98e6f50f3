"""Cross-layer equalization: channels that share a scale are brought to a like range, and the next layer undoes it.

A channel divided by a positive gain passes unchanged through ReLU, pooling, concatenation and sums of channels with
the same gain, and the kernel that reads it takes the gain up: equal in real arithmetic. Nagel et al. 2019
(arXiv:1906.04721) balance two layers' weights; here the activations' ranges count as well, as in SmoothQuant (Xiao et
al. 2023, arXiv:2211.10438). The gains do not depend on how the channels were scaled before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, constant

_CARRIERS = frozenset(("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D", "MEAN", "PAD", "RELU", "RESHAPE"))
_SMALLEST_SHARE = 1e-3
_QUIET = 0.02  # a channel's range is taken for no less than this share of what its inputs could add up to
_GAINS = (1e-3, 6e4)  # what float16 holds with full precision


def carried(graph: Graph) -> list[int]:
    """The activations whose channels can be scaled: the outputs of kernels that the rewrite may reach."""
    channels = _Channels(graph)
    return [operator.outputs[0] for operator in graph.operators if operator.has_weights and channels.any_free(operator)]


def equalize(graph: Graph, reach: Mapping[int, Array], strength: float) -> dict[int, Array]:
    """Scales channels in place; returns, by tensor, each channel's gain: old value = gain * new value.

    `reach` gives the largest magnitude of each channel of the tensors that `carried` names.
    `strength` 1 brings every channel to the full range; less leaves the channels that the next layer weighs little
    a smaller part of it, which spares that layer's own weights.
    """
    channels = _Channels(graph)
    range_of = channels.largest(_audible(graph, reach, channels.per_tensor(channels.largest(reach))))
    weight_of = channels.largest(_contributions(graph, channels.per_tensor(range_of)))
    share = np.maximum(np.where(weight_of > 0, weight_of, 1.0), _SMALLEST_SHARE)
    gains = np.clip(range_of * share ** (strength - 1), *_GAINS).astype(np.float16).astype(np.float64)
    gains[(range_of <= 0) | channels.frozen] = 1.0
    by_tensor = channels.per_tensor(gains)
    for operator in graph.operators:
        if operator.has_weights:
            _rescale(graph, operator, by_tensor)
    return by_tensor


def by_name(graph: Graph, gains: Mapping[int, Array]) -> dict[str, Array]:
    """The gains by tensor name, without those that change nothing: what a file keeps of them."""
    return {graph.tensors[index].name: gain.astype(np.float32) for index, gain in gains.items() if (gain != 1).any()}


class _Channels:
    """Which channels of which tensors must keep one gain, and which must keep 1; a class is known by a number."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numbers: dict[int, Array] = {}
        self.parent: list[int] = []
        fixed: list[int] = [*graph.inputs, *graph.outputs]
        for index in graph.inputs:
            self._fresh(index)
        for operator in graph.operators:
            fixed += self._follow(operator)
        roots = np.array([self._root(number) for number in range(len(self.parent))], np.int64)
        self.numbers = {index: roots[numbers] for index, numbers in self.numbers.items()}
        self.frozen = np.zeros(len(roots), bool)
        for index in fixed:
            self.frozen[self.numbers[index]] = True

    def any_free(self, operator: Operator) -> bool:
        return not bool(self.frozen[self.numbers[operator.outputs[0]]].all())

    def largest(self, values: Mapping[int, Array]) -> Array:
        """The largest of the tensors' values in each class; 0 where none is given."""
        found = np.zeros(len(self.frozen))
        for index, value in values.items():
            np.maximum.at(found, self.numbers[index], value)
        return found

    def per_tensor(self, values: Array) -> dict[int, Array]:
        """One value per channel of each tensor."""
        return {index: values[numbers] for index, numbers in self.numbers.items()}

    def _follow(self, operator: Operator) -> list[int]:
        """Numbers the operator's outputs; returns the tensors whose channels must stay as they are."""
        inputs = [index for index in operator.activations if self.graph.tensors[index].data is None]
        for index in inputs:
            if index not in self.numbers:
                self._fresh(index)
        if operator.kind in _CARRIERS and self._carry(operator, inputs):
            return []
        for index in operator.outputs:
            self._fresh(index)
        if _takes_gains(self.graph, operator):
            return [] if _keeps_scale(operator) else list(operator.outputs)
        return [*inputs, *operator.outputs]

    def _carry(self, operator: Operator, inputs: list[int]) -> bool:
        """Gives the output the numbers of the inputs, where each of its channels is made of one of theirs."""
        output = operator.outputs[0]
        width = _width(self.graph, output)
        parts = [self.numbers[index] for index in inputs]
        if not _keeps_scale(operator) or not _keeps_channels(self.graph, operator, inputs):
            return False
        if operator.kind == "CONCATENATION":
            numbers = np.concatenate(parts)
        else:
            numbers = parts[0]
            for other in parts[1:]:
                self._unite(numbers, other)
        if len(numbers) != width:
            return False
        self.numbers[output] = numbers
        return True

    def _fresh(self, index: int) -> None:
        start = len(self.parent)
        self.parent += range(start, start + _width(self.graph, index))
        self.numbers[index] = np.arange(start, len(self.parent))

    def _unite(self, left: Array, right: Array) -> None:
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            self.parent[self._root(other)] = self._root(one)

    def _root(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number


def _width(graph: Graph, index: int) -> int:
    shape = graph.tensors[index].shape
    return shape[-1] if shape else 1


def _keeps_scale(operator: Operator) -> bool:
    activation = getattr(operator.options, "fusedActivationFunction", 0)
    return activation in (constant("ActivationFunctionType", "NONE"), constant("ActivationFunctionType", "RELU"))


def _keeps_channels(graph: Graph, operator: Operator, inputs: list[int]) -> bool:
    shapes = [graph.tensors[index].shape for index in inputs]
    constants = [graph.tensors[index].data for index in operator.activations if index not in inputs]
    rank = len(shapes[0])
    if operator.kind == "ADD":
        return not constants and len(set(shapes)) == 1
    if operator.kind == "CONCATENATION":
        return not constants and operator.options.axis in (-1, rank - 1)
    if operator.kind == "MEAN":
        return constants[0] is not None and not {-1, rank - 1} & set(constants[0].ravel().tolist())
    if operator.kind == "PAD":
        return constants[0] is not None and not constants[0][-1].any()
    if operator.kind == "RESHAPE":
        return shapes[0][-1] == graph.tensors[inputs[0]].elements == _width(graph, operator.outputs[0])
    return True


def _takes_gains(graph: Graph, operator: Operator) -> bool:
    """Whether the kernel and bias are its own constants, with input and output channels that can be told apart."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return False
    parameters = [index for index in (operator.inputs[1], operator.bias) if index != NO_TENSOR]
    own = all(graph.tensors[index].data is not None and len(graph.consumers(index)) == 1 for index in parameters)
    dense = operator.kind == "FULLY_CONNECTED"
    return own and (not dense or _width(graph, operator.data) == graph.tensors[operator.inputs[1]].shape[1])


def _spread(kernel: Array, operator: Operator, gain: Array) -> Array:
    """The gains of the input's channels in the shape of the kernel: OHWI, 1HWC or (out, in)."""
    if operator.kind == "DEPTHWISE_CONV_2D":
        return np.repeat(gain, kernel.shape[3] // len(gain))
    if operator.kind == "FULLY_CONNECTED":
        return gain
    groups = len(gain) // kernel.shape[3]
    parts: Array = np.repeat(gain.reshape(groups, -1), kernel.shape[0] // groups, axis=0)[:, None, None, :]
    return parts


def _rescale(graph: Graph, operator: Operator, gains: Mapping[int, Array]) -> None:
    taken, given = gains[operator.data], gains[operator.outputs[0]]
    if not ((taken != 1).any() or (given != 1).any()):
        return
    kernel = graph.tensors[operator.inputs[1]]
    assert kernel.data is not None
    weights = kernel.data * _spread(kernel.data, operator, taken)
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    kernel.data = (np.moveaxis(np.moveaxis(weights, axis, -1) / given, -1, axis)).astype(np.float32)
    if operator.bias != NO_TENSOR:
        bias = graph.tensors[operator.bias]
        assert bias.data is not None
        bias.data = (bias.data / given).astype(np.float32)


def _audible(graph: Graph, reach: Mapping[int, Array], read: Mapping[int, Array]) -> dict[int, Array]:
    """`reach`, where channels that hardly ever spoke on the samples are granted a little of what they could say.

    `read` gives the same of every tensor.
    """
    granted = dict(reach)
    for operator, kernel in _kernels(graph):
        output = operator.outputs[0]
        if output in reach:
            strongest = _strongest(kernel, operator, read[operator.data])
            granted[output] = np.maximum(reach[output], _QUIET * np.sqrt((strongest**2).sum(1)))
    return granted


def _contributions(graph: Graph, ranges: Mapping[int, Array]) -> dict[int, Array]:
    """How much each input channel adds to a kernel's outputs, root mean square, relative to the strongest one."""
    found: dict[int, Array] = {}
    for operator, kernel in _kernels(graph):
        if operator.kind == "DEPTHWISE_CONV_2D" or operator.data not in ranges:
            continue
        strongest = _strongest(kernel, operator, ranges[operator.data])
        relative = strongest / np.maximum(strongest.max(1, keepdims=True), np.finfo(np.float64).tiny)
        channels = np.sqrt((relative**2).mean(0))
        groups = len(ranges[operator.data]) // len(channels)
        found[operator.data] = np.maximum(found.get(operator.data, 0.0), np.tile(channels, groups))
    return found


def _strongest(kernel: Array, operator: Operator, reach: Array) -> Array:
    """The largest contribution of each input channel to each output channel: (out, in); (out, 1) where depthwise."""
    weights: Array = np.abs(kernel.astype(np.float64)) * _spread(kernel, operator, reach)
    if operator.kind == "DEPTHWISE_CONV_2D":
        weights = weights.max((0, 1, 2))[:, None]
    elif operator.kind != "FULLY_CONNECTED":
        weights = weights.max((1, 2))
    return weights


def _kernels(graph: Graph) -> Iterator[tuple[Operator, Array]]:
    for operator in graph.operators:
        if _takes_gains(graph, operator):
            kernel = graph.tensors[operator.inputs[1]].data
            assert kernel is not None
            yield operator, kernel
