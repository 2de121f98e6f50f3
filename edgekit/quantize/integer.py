"""Full-integer arithmetic: every activation int8 (or int16), every kernel int8 per channel, every bias int32 (int64).

Where an operator has no integer kernel it stays float between a DEQUANTIZE and a QUANTIZE: a float island.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Quantization, Tensor
from edgekit.quantize import head, kernels, operators
from edgekit.quantize.operators import Activation
from edgekit.quantize.ranges import Range, is_lowest_padding
from edgekit.quantize.scales import Scale, choose_scales, widened

_BIAS_LIMIT = {"int32": 2**30, "int64": 2**46}  # half of what kernels add up in, so that the products fit beside it


def quantize_graph(graph: Graph, ranges: dict[int, Range], activation: Activation, float_io: bool) -> None:
    """Rewrites the float graph in place; `ranges` gives every float activation's range by tensor index."""
    integer = integer_operators(graph, activation)
    ranges = ranges | _separate_constants(graph, integer)
    used = {index for operator in integer for index in operator.activations + operator.outputs}
    ends = set() if float_io else {*graph.inputs, *graph.outputs}
    ranges = {index: limits for index, limits in ranges.items() if index in used | ends}
    scales = choose_scales(integer, widened(graph, integer, ranges, activation), activation)
    _Rewriter(graph, integer, scales, activation, float_io).rewrite()


def integer_operators(graph: Graph, activation: Activation) -> list[Operator]:
    """The operators with an integer form, all but the final softmax: float out, kernel and bias constant."""
    softmax = head.final_softmax(graph)
    return [
        operator
        for operator in graph.operators
        if operators.supports(operator, activation) and operator is not softmax and _convertible(graph, operator)
    ]


def _convertible(graph: Graph, operator: Operator) -> bool:
    if any(graph.tensors[index].dtype != "float32" for index in operator.outputs):
        return False
    if operator.has_weights:
        weights = [index for index in (operator.inputs[1], operator.bias) if index != NO_TENSOR]
        return all(graph.tensors[index].data is not None for index in weights)
    return True


def _float_constants(graph: Graph, operator: Operator) -> list[int]:
    tensors = graph.tensors
    return [
        index for index in operator.activations if tensors[index].data is not None and tensors[index].dtype == "float32"
    ]


def _separate_constants(graph: Graph, integer: list[Operator]) -> dict[int, Range]:
    """Gives each operator its own copy of every constant that takes the place of an activation; their ranges."""
    ranges: dict[int, Range] = {}
    for operator in integer:
        for index in [] if operator.has_weights else _float_constants(graph, operator):
            data = graph.tensors[index].data
            assert data is not None
            copy = graph.add_tensor(dataclasses.replace(graph.tensors[index]))
            operator.inputs = [copy if other == index else other for other in operator.inputs]
            no_value = is_lowest_padding(graph, operator)
            ranges[copy] = (0.0, 0.0) if no_value else (float(data.min()), float(data.max()))
    return ranges


class _Rewriter:
    """Holds the graph while its tensors change type and conversions are put between integer and float."""

    def __init__(
        self, graph: Graph, integer: list[Operator], scales: dict[int, Scale], activation: Activation, float_io: bool
    ) -> None:
        self.graph, self.scales, self.activation, self.float_io = graph, scales, activation, float_io
        self.integer, self.bias_type = integer, "int32" if activation == "int8" else "int64"
        chosen = {*integer, *(operator for operator in graph.operators if operator.kind in operators.ANY_TYPE)}
        self.islands = {operator for operator in graph.operators if operator not in chosen}

    def rewrite(self) -> None:
        for operator in self.integer:
            if operator.has_weights:
                self._weights(operator)
            grouped = kernels.is_grouped(self.graph, operator)
            operator.version = operators.integer_version(operator, self.activation, grouped)
        for index, scale in self.scales.items():
            self._store(self.graph.tensors[index], scale)
        for operator in self.integer:
            if operator.kind in operators.FIXED_OUTPUT:
                self._fixed_output(operator)
        for index in self.scales:
            self._meet_float(index)

    def _weights(self, operator: Operator) -> None:
        kernel, input_scale = self.graph.tensors[operator.inputs[1]], self.scales[operator.data].scale
        bias = None if operator.bias == NO_TENSOR else self.graph.tensors[operator.bias]
        floor = None
        if bias is not None and bias.data is not None:  # a bias beyond its integer type would wrap around
            floor = np.abs(bias.data.reshape(-1)) / (input_scale * _BIAS_LIMIT[self.bias_type])
        quantized = kernels.quantized_kernel(kernel, kernels.channel_axis(operator), floor)
        operator.inputs[1] = self.graph.add_tensor(quantized)
        if bias is not None and quantized.quantization is not None:
            scaled = self._bias(bias, input_scale * quantized.quantization.scale)
            operator.inputs[operator.bias_position] = self.graph.add_tensor(scaled)

    def _bias(self, bias: Tensor, scales: Array) -> Tensor:
        assert bias.data is not None
        steps = np.rint(bias.data / scales.astype(np.float64)).astype(self.bias_type)
        quantization = Quantization(scales.astype(np.float32), np.zeros(len(scales), np.int64))
        return Tensor(bias.name, bias.shape, self.bias_type, steps, quantization)

    def _store(self, tensor: Tensor, scale: Scale) -> None:
        tensor.dtype, tensor.quantization = self.activation, scale.quantization()
        if tensor.data is not None:
            limits = np.iinfo(self.activation)
            steps = np.rint(tensor.data.astype(np.float64) / scale.scale) + scale.zero_point
            tensor.data = np.clip(steps, limits.min, limits.max).astype(self.activation)

    def _fixed_output(self, operator: Operator) -> None:
        """Rescales what the kernel writes, where its readers share a wider scale."""
        fixed, output = Scale(*operators.FIXED_OUTPUT[operator.kind][self.activation]), operator.outputs[0]
        if self.scales[output] == fixed:
            return
        written = self._twin(output, "_fixed")
        self._store(self.graph.tensors[written], fixed)
        operator.outputs = [written]
        self._insert("QUANTIZE", written, output, operator)

    def _meet_float(self, index: int) -> None:
        """Puts one conversion between an integer tensor and all its float users: islands, and float ends."""
        graph, producer = self.graph, self.graph.producer(index)
        from_float = self.float_io and index in graph.inputs if producer is None else producer in self.islands
        readers = [operator for operator in graph.consumers(index) if operator in self.islands]
        if not (from_float or readers or (self.float_io and index in graph.outputs)):
            return
        twin = self._twin(index, "_float")
        for reader in readers:
            reader.inputs = _replaced(reader.inputs, index, twin)
        if producer is not None and from_float:
            producer.outputs = _replaced(producer.outputs, index, twin)
        if self.float_io:
            graph.inputs, graph.outputs = _replaced(graph.inputs, index, twin), _replaced(graph.outputs, index, twin)
            graph.rename_in_signatures(index, twin)
        if from_float:
            self._insert("QUANTIZE", twin, index, producer)
        else:
            self._insert("DEQUANTIZE", index, twin, producer)

    def _insert(self, kind: str, source: int, target: int, after: Operator | None) -> None:
        place = 0 if after is None else self.graph.operators.index(after) + 1
        self.graph.operators.insert(place, operators.conversion(kind, source, target, self.activation))

    def _twin(self, index: int, suffix: str) -> int:
        tensor = self.graph.tensors[index]
        return self.graph.add_tensor(
            Tensor(f"{tensor.name}{suffix}", tensor.shape, "float32", shape_signature=tensor.shape_signature)
        )


def _replaced(indices: list[int], old: int, new: int) -> list[int]:
    return [new if index == old else index for index in indices]
