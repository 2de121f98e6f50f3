"""Full-integer arithmetic: every activation int8 (or int16), every kernel int8 per channel, every bias int32 (int64).

Where an operator has no integer kernel it stays float between a DEQUANTIZE and a QUANTIZE: a float island. Single
operators of an int8 graph can stay float too, or compute in int16 between two QUANTIZE operators.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import Literal

import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Quantization, Tensor
from edgekit.quantize import head, kernels, operators
from edgekit.quantize.kernels import Rounded
from edgekit.quantize.operators import Activation
from edgekit.quantize.ranges import Range, is_lowest_padding
from edgekit.quantize.scales import Scale, choose_scales, shared_scales, widened

_Type = Literal["float32", "int8", "int16"]
_BIAS_TYPES: dict[Activation, str] = {"int8": "int32", "int16": "int64"}


def quantize_graph(
    graph: Graph,
    ranges: dict[int, Range],
    activation: Activation,
    float_ends: Set[int] = frozenset(),
    rounded: Mapping[int, Rounded] | None = None,
    keep_float: Set[int] = frozenset(),
    keep_int16: Set[int] = frozenset(),
    reach: Mapping[int, Range] | None = None,
) -> None:
    """Rewrites the float graph in place; `ranges` gives every float activation's range by tensor index.

    `float_ends` are the inputs and outputs that stay float32. `rounded` gives kernels by the index of the float
    kernel, the others are rounded to the nearest. Operators that write a tensor of `keep_float` stay float, those that
    write one of `keep_int16` read and write int16 where they have such a kernel. `reach` gives ranges for int16 where
    they are not `ranges`: 16 bits need not give up outliers.
    """
    integer = [operator for operator in integer_operators(graph, activation) if not {*operator.outputs} & keep_float]
    ranges = ranges | _separate_constants(graph, integer)
    integer = _harmless(integer, ranges)
    wide = [operator for operator in integer if {*operator.outputs} & keep_int16 and _knows_int16(operator)]
    types: dict[Operator, Activation] = {**dict.fromkeys(integer, activation), **dict.fromkeys(wide, "int16")}
    ends = {*graph.inputs, *graph.outputs} - float_ends
    scales = {activation: _scales(graph, types, ranges, activation, ends)}
    if activation != "int16":
        scales["int16"] = _scales(graph, types, {**ranges, **(reach or {})}, "int16", frozenset())
    _Rewriter(graph, types, scales, activation, float_ends, rounded or {}).rewrite()


def _harmless(integer: list[Operator], ranges: Mapping[int, Range]) -> list[Operator]:
    """Without operators whose kernel takes no negative input, where the scale of that input reaches below 0."""
    for group in shared_scales(integer, dict(ranges)):
        if min(ranges[index][0] for index in group) < 0:
            negative = {*group}
            integer = [
                each
                for each in integer
                if each.kind not in operators.POSITIVE_INPUT or not negative & {*each.activations}
            ]
    return integer


def _knows_int16(operator: Operator) -> bool:
    return operators.supports(operator, "int16")


def _scales(
    graph: Graph,
    types: Mapping[Operator, Activation],
    ranges: Mapping[int, Range],
    activation: Activation,
    ends: Set[int],
) -> dict[int, Scale]:
    """The scales of all tensors that operators of one type read or write, and of the ends of that type."""
    chosen = [operator for operator, each in types.items() if each == activation]
    used = ends | {index for operator in chosen for index in operator.activations + operator.outputs}
    limits = {index: limits for index, limits in ranges.items() if index in used}
    return choose_scales(chosen, widened(graph, chosen, limits, activation), activation)


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
            no_value = operator.kind in operators.CLAMPING or is_lowest_padding(graph, operator)
            ranges[copy] = (0.0, 0.0) if no_value else (float(data.min()), float(data.max()))
    return ranges


class _Rewriter:
    """Holds the graph while its tensors change type and conversions are put between the types.

    A tensor that operators of several types read or write exists in as many forms. The one in the type of most
    operators keeps its name and number.
    """

    def __init__(
        self,
        graph: Graph,
        types: Mapping[Operator, Activation],
        scales: Mapping[Activation, Mapping[int, Scale]],
        activation: Activation,
        float_ends: Set[int],
        rounded: Mapping[int, Rounded],
    ) -> None:
        self.graph, self.types, self.scales = graph, types, scales
        self.activation, self.float_ends, self.rounded = activation, float_ends, rounded
        self.stored: dict[int, Scale] = {}

    def rewrite(self) -> None:
        for index in dict.fromkeys(index for scales in self.scales.values() for index in scales):
            self._meet(index)
        for operator, activation in self.types.items():
            if operator.kind in operators.FIXED_OUTPUT:
                self._fixed_output(operator, activation)
        for operator, activation in self.types.items():  # last: rounding changes how many biases there are
            if operator.has_weights:
                self._weights(operator, activation)
            grouped = kernels.is_grouped(self.graph, operator)
            operator.version = operators.integer_version(operator, activation, grouped)

    def _weights(self, operator: Operator, activation: Activation) -> None:
        kernel, input_scale = self.graph.tensors[operator.inputs[1]], self.stored[operator.data].scale
        axis, chosen = kernels.channel_axis(operator), self.rounded.get(operator.inputs[1])
        bias_type = _BIAS_TYPES[activation]
        if chosen is None:
            chosen = self._nearest(operator, kernel, axis, input_scale, bias_type)
        operator.inputs[1] = self.graph.add_tensor(kernels.kernel_tensor(kernel, chosen, axis))
        if len(chosen.bias):
            kernels.set_bias(self.graph, operator, _bias(chosen.bias, input_scale * chosen.scales, bias_type))

    def _nearest(
        self, operator: Operator, kernel: Tensor, axis: int | None, input_scale: float, bias_type: str
    ) -> Rounded:
        assert kernel.data is not None
        bias = None if operator.bias == NO_TENSOR else self.graph.tensors[operator.bias].data
        if bias is None:
            return kernels.nearest(kernel.data, np.zeros(0), axis)
        bias = bias.reshape(-1)
        return kernels.nearest(kernel.data, bias, axis, kernels.bias_floor(bias, input_scale, bias_type))

    def _store(self, index: int, scale: Scale, activation: Activation) -> None:
        tensor, self.stored[index] = self.graph.tensors[index], scale
        tensor.dtype, tensor.quantization = activation, scale.quantization()
        if tensor.data is not None:
            limits = np.iinfo(activation)
            steps = np.rint(tensor.data.astype(np.float64) / scale.scale) + scale.zero_point
            tensor.data = np.clip(steps, limits.min, limits.max).astype(activation)

    def _fixed_output(self, operator: Operator, activation: Activation) -> None:
        """Rescales what the kernel writes, where its readers share a wider scale."""
        fixed, output = Scale(*operators.FIXED_OUTPUT[operator.kind][activation]), operator.outputs[0]
        if self.stored[output] == fixed:
            return
        written = self._twin(output, "_fixed")
        self._store(written, fixed, activation)
        operator.outputs = [written]
        self._insert("QUANTIZE", written, output, operator)

    def _meet(self, index: int) -> None:
        """Gives a tensor all forms that are asked for, each by one conversion from the form that is written."""
        producer, written = self.graph.producer(index), self._written(index)
        readers = {operator: self._type(operator) for operator in self.graph.consumers(index)}
        wanted = {written, *readers.values(), *([self._end(index)] if index in self.graph.outputs else [])}
        forms = {each: self._form(index, each) for each in sorted(wanted - {None}, key=str) if each is not None}
        for reader, each in readers.items():
            if each is not None:
                reader.inputs = _replaced(reader.inputs, index, forms[each])
        if producer is not None:
            producer.outputs = _replaced(producer.outputs, index, forms[written])
        self._replace_end(index, forms)
        for each, form in forms.items():
            if each != written:
                self._insert("DEQUANTIZE" if each == "float32" else "QUANTIZE", forms[written], form, producer)

    def _replace_end(self, index: int, forms: Mapping[_Type, int]) -> None:
        graph = self.graph
        if index in (*graph.inputs, *graph.outputs) and forms[self._end(index)] != index:
            end = forms[self._end(index)]
            graph.inputs, graph.outputs = _replaced(graph.inputs, index, end), _replaced(graph.outputs, index, end)
            graph.rename_in_signatures(index, end)

    def _type(self, operator: Operator) -> _Type | None:
        """What an operator reads and writes; None for those that do not care."""
        return None if operator.kind in operators.ANY_TYPE else self.types.get(operator, "float32")

    def _end(self, index: int) -> _Type:
        return "float32" if index in self.float_ends else self.activation

    def _home(self, index: int) -> Activation:
        return self.activation if index in self.scales[self.activation] else "int16"

    def _written(self, index: int) -> _Type:
        """The type in which a tensor comes about."""
        if index in self.graph.inputs:
            return self._end(index)
        producer = self.graph.producer(index)
        return self._home(index) if producer is None else self._type(producer) or "float32"

    def _form(self, index: int, wanted: _Type) -> int:
        form = index if wanted == self._home(index) else self._twin(index, f"_{wanted.removesuffix('32')}")
        if wanted != "float32":
            self._store(form, self.scales[wanted][index], wanted)
        return form

    def _insert(self, kind: str, source: int, target: int, after: Operator | None) -> None:
        place = 0 if after is None else self.graph.operators.index(after) + 1
        types = {self.graph.tensors[index].dtype for index in (source, target)}
        self.graph.operators.insert(
            place, operators.conversion(kind, source, target, "int16" if "int16" in types else "int8")
        )

    def _twin(self, index: int, suffix: str) -> int:
        tensor = self.graph.tensors[index]
        return self.graph.add_tensor(
            Tensor(f"{tensor.name}{suffix}", tensor.shape, "float32", shape_signature=tensor.shape_signature)
        )


def _bias(bias: Array, scales: Array, bias_type: str) -> Tensor:
    steps = np.rint(bias / scales.astype(np.float64)).astype(bias_type)
    quantization = Quantization(np.atleast_1d(scales).astype(np.float32), np.zeros(len(scales), np.int64))
    return Tensor("", bias.shape, bias_type, steps, quantization)


def _replaced(indices: list[int], old: int, new: int) -> list[int]:
    return [new if index == old else index for index in indices]
