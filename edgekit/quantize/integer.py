"""Full-integer arithmetic: every activation int8 (or int16), every kernel int8 per channel, every bias int32 (int64).

Where an operator has no integer kernel it stays float between a DEQUANTIZE and a QUANTIZE: a float island.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Operator, Quantization, Tensor
from edgekit.quantize import head, kernels, operators
from edgekit.quantize.operators import Activation
from edgekit.quantize.ranges import Range

_BIAS_LIMIT = {"int32": 2**31 - 1, "int64": 2**47 - 1}
_SMALLEST_SPAN = 1e-6


@dataclass(frozen=True)
class Scale:
    """real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int

    def quantization(self) -> Quantization:
        """The same, as a tensor carries it."""
        return Quantization(np.array([self.scale], np.float32), np.array([self.zero_point], np.int64))


def scale_for(limits: Range, activation: Activation) -> Scale:
    """The scale that covers `limits` and represents 0 exactly: asymmetric for int8, symmetric for int16."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if activation == "int16":
        return Scale(max(-low, high, _SMALLEST_SPAN) / 32767, 0)
    scale = max(high - low, _SMALLEST_SPAN) / 255
    return Scale(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def quantize_graph(graph: Graph, ranges: dict[int, Range], activation: Activation, float_io: bool) -> None:
    """Rewrites the float graph in place; `ranges` gives every float activation's range by tensor index."""
    softmax = head.final_softmax(graph)
    integer = [
        operator for operator in graph.operators if operators.supports(operator, activation) and operator is not softmax
    ]
    if softmax is not None:
        ranges = {index: limits for index, limits in ranges.items() if index not in softmax.outputs}
    scales = choose_scales(integer, ranges, activation)
    _Rewriter(graph, scales, activation).rewrite(integer, float_io)


def choose_scales(integer: list[Operator], ranges: dict[int, Range], activation: Activation) -> dict[int, Scale]:
    """One scale per activation; tensors that must share one get the union of their ranges."""
    fixed = {
        output: Scale(*operators.FIXED_OUTPUT[operator.kind][activation])
        for operator in integer
        for output in operator.outputs
        if operator.kind in operators.FIXED_OUTPUT
    }
    scales: dict[int, Scale] = {}
    for group in shared_scales(integer, ranges):
        given = [fixed[index] for index in group if index in fixed]
        limits = min(ranges[index][0] for index in group), max(ranges[index][1] for index in group)
        scale = given[0] if given else scale_for(limits, activation)
        scales.update(dict.fromkeys(group, scale))
    return scales


def shared_scales(integer: list[Operator], ranges: dict[int, Range]) -> list[list[int]]:
    """The activations in groups that must have one scale, because an operator only moves or compares their values."""
    group = {index: [index] for index in ranges}
    for operator in integer:
        if operator.kind not in operators.SAME_SCALE:
            continue
        members = [index for index in (*operator.activations, *operator.outputs) if index in ranges]
        merged = list(dict.fromkeys(index for member in members for index in group[member]))
        group.update(dict.fromkeys(merged, merged))
    return list({id(members): members for members in group.values()}.values())


class _Rewriter:
    """Holds the graph while its tensors change type, and the float twins that islands need."""

    def __init__(self, graph: Graph, scales: dict[int, Scale], activation: Activation) -> None:
        self.graph, self.scales, self.activation = graph, scales, activation
        self.bias_type = "int32" if activation == "int8" else "int64"

    def rewrite(self, integer: list[Operator], float_io: bool) -> None:
        chosen = {id(operator) for operator in integer}
        islands = [operator for operator in self.graph.operators if id(operator) not in chosen]
        for operator in integer:
            self._constants(operator)
            grouped = kernels.is_grouped(self.graph, operator)
            operator.version = operators.integer_version(operator, self.activation, grouped)
        for index, scale in self.scales.items():
            self.graph.tensors[index].dtype = self.activation
            self.graph.tensors[index].quantization = scale.quantization()
        for operator in islands:
            self._island(operator)
        if float_io:
            self._float_ends()

    def _constants(self, operator: Operator) -> None:
        if operator.has_weights:
            self._weights(operator)
            return
        for position, index in enumerate(operator.inputs):
            tensor = self.graph.tensors[index]
            if tensor.data is not None and tensor.dtype == "float32":
                operator.inputs[position] = self.graph.add_tensor(_activation_constant(tensor, self.activation))

    def _weights(self, operator: Operator) -> None:
        data, kernel = operator.inputs[0], self.graph.tensors[operator.inputs[1]]
        bias = self.graph.tensors[operator.inputs[2]] if len(operator.activations) > 2 else None
        input_scale = self.scales[data].scale
        axis = kernels.channel_axis(operator)
        floor = None
        if bias is not None and bias.data is not None:  # a bias beyond its integer type would wrap around
            floor = np.abs(bias.data) / (input_scale * _BIAS_LIMIT[self.bias_type])
        quantized = kernels.quantized_kernel(kernel, axis, floor)
        operator.inputs[1] = self.graph.add_tensor(quantized)
        if bias is not None and quantized.quantization is not None:
            operator.inputs[2] = self.graph.add_tensor(self._bias(bias, input_scale * quantized.quantization.scale))

    def _bias(self, bias: Tensor, scales: np.ndarray) -> Tensor:
        assert bias.data is not None
        steps = np.rint(bias.data / scales.astype(np.float64)).astype(self.bias_type)
        quantization = Quantization(scales.astype(np.float32), np.zeros(len(scales), np.int64))
        return Tensor(bias.name, bias.shape, self.bias_type, steps, quantization)

    def _island(self, operator: Operator) -> None:
        """Gives a float operator float twins of the integer tensors around it."""
        place = self.graph.operators.index(operator)
        for position, index in enumerate(operator.outputs):
            if index in self.scales:
                operator.outputs[position] = twin = self._float_twin(index)
                self.graph.operators.insert(place + 1, Operator("QUANTIZE", [twin], [index]))
        for position, index in enumerate(operator.inputs):
            if index in self.scales:
                operator.inputs[position] = twin = self._float_twin(index)
                self.graph.operators.insert(place, Operator("DEQUANTIZE", [index], [twin], version=2))

    def _float_ends(self) -> None:
        for position, index in enumerate(self.graph.inputs):
            if index in self.scales:
                self.graph.inputs[position] = twin = self._float_twin(index)
                self.graph.operators.insert(0, Operator("QUANTIZE", [twin], [index]))
                self.graph.rename_in_signatures(index, twin)
        for position, index in enumerate(self.graph.outputs):
            if index in self.scales:
                self.graph.outputs[position] = twin = self._float_twin(index)
                self.graph.operators.append(Operator("DEQUANTIZE", [index], [twin], version=2))
                self.graph.rename_in_signatures(index, twin)

    def _float_twin(self, index: int) -> int:
        tensor = self.graph.tensors[index]
        return self.graph.add_tensor(
            Tensor(f"{tensor.name}_float", tensor.shape, "float32", shape_signature=tensor.shape_signature)
        )


def _activation_constant(tensor: Tensor, activation: Activation) -> Tensor:
    """A constant that takes the place of an activation, such as an addend: one scale for all of it."""
    assert tensor.data is not None
    scale = scale_for((float(tensor.data.min()), float(tensor.data.max())), activation)
    limits = np.iinfo(activation)
    steps = np.clip(np.rint(tensor.data / scale.scale) + scale.zero_point, limits.min, limits.max)
    return Tensor(tensor.name, tensor.shape, activation, steps.astype(activation), scale.quantization())
