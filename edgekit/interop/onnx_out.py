"""A float network's .tflite graph as an ONNX file: channels first, opset 17, weights inside.

Maps are (n, c, h, w) there, as desktop runtimes want them, so kernels, axes and constants are reordered and no
Transpose is written but where a Reshape mixes channels and places. The numbers of onnx.proto are in `onnx_file`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit import __version__
from edgekit.errors import UnsupportedModelError
from edgekit.graph import Array, Graph, Operator, constant
from edgekit.interop import onnx_file

INPUT = "image"
OPSET, IR_VERSION = 17, 8
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_IN_INT, _IN_FLOAT, _IN_INTS = 2, 1, 7  # AttributeProto.AttributeType
# An activation is a node of its own: its type, and the limits that it reads as inputs.
_ACTIVATIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "RELU": ("Relu", ()),
    "RELU6": ("Clip", (0.0, 6.0)),
    "RELU_0_TO_1": ("Clip", (0.0, 1.0)),
    "RELU_N1_TO_1": ("Clip", (-1.0, 1.0)),
}
_FUSED = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
_BINARY = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min"}
_UNARY = {"LOGISTIC": "Sigmoid", "TANH": "Tanh", "SQRT": "Sqrt", "EXP": "Exp", "ABS": "Abs", "NEG": "Neg"}


def to_onnx(graph: Graph, metadata: Mapping[str, str], output: str = "output") -> bytes:
    """The bytes of an .onnx file; `output` names its (first) output, and `metadata` goes into metadata_props.

    UnsupportedModelError names an operator that has no ONNX form here.
    """
    form = _Form(graph, output)
    for operator in graph.operators:
        form.add(operator)
    return form.model(metadata)


def channels_first(image: Array) -> Array:
    """(n, h, w, c) -> (n, c, h, w)."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


class _Form:
    """Collects nodes and constants while the operators are walked in order."""

    def __init__(self, graph: Graph, output: str) -> None:
        self.graph = graph
        self.made: Any = onnx_file.message()()
        self.names = {graph.inputs[0]: INPUT, graph.outputs[0]: output}

    def add(self, operator: Operator) -> None:
        """Appends the nodes of one operator."""
        target = self._name(operator.outputs[0])
        if operator.kind in _ACTIVATIONS:
            self._activate(operator.kind, self._name(operator.inputs[0]), target)
        elif operator.kind in _UNARY:
            self._node(_UNARY[operator.kind], [self._name(operator.inputs[0])], target)
        elif operator.kind in _BINARY:
            rank = len(self._shape(operator.outputs[0]))
            self._activated(_BINARY[operator.kind], [self._operand(i, rank) for i in operator.inputs], operator)
        else:
            translate = getattr(self, f"_{operator.kind.lower()}", None)
            if translate is None:
                raise UnsupportedModelError(
                    f"{operator.custom_code or operator.kind}, at {self.graph.tensors[operator.outputs[0]].name!r}, "
                    "has no ONNX form here; keep the .tflite"
                )
            translate(operator)

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The file's bytes, once every operator is in."""
        made, graph = self.made, self.made.graph
        made.ir_version, made.producer_name, made.producer_version = IR_VERSION, "edgekit", __version__
        made.opset_import.add(domain="", version=OPSET)
        for key, value in metadata.items():
            made.metadata_props.add(key=key, value=value)
        graph.name = "network"
        for values, indices in ((graph.input, self.graph.inputs), (graph.output, self.graph.outputs)):
            for index in indices:
                self._declare(values.add(name=self._name(index)), self._first(self._shape(index)))
        content: bytes = made.SerializeToString()
        return content

    @staticmethod
    def _declare(value: Any, shape: Sequence[int]) -> None:
        kind = value.type.tensor_type
        kind.elem_type = _FLOAT
        for size in shape:
            kind.shape.dim.add(dim_value=size)

    def _conv_2d(self, operator: Operator) -> None:
        kernel = self._data(operator.inputs[1]).transpose(0, 3, 1, 2)
        self._convolution(operator, kernel, self._shape(operator.data)[3] // kernel.shape[1])

    def _depthwise_conv_2d(self, operator: Operator) -> None:
        kernel = self._data(operator.inputs[1]).transpose(3, 0, 1, 2)
        self._convolution(operator, kernel, self._shape(operator.data)[3])

    def _convolution(self, operator: Operator, kernel: Array, groups: int) -> None:
        options = operator.options
        dilations = [options.dilationHFactor, options.dilationWFactor]
        inputs = [self._name(operator.data), self._constant(kernel), *self._bias(operator)]
        placed = self._placed(operator, kernel.shape[2:], dilations)
        self._activated("Conv", inputs, operator, group=groups, dilations=dilations, **placed)

    def _bias(self, operator: Operator) -> list[str]:
        return [self._constant(self._data(operator.bias))] if operator.bias >= 0 else []

    def _max_pool_2d(self, operator: Operator) -> None:
        self._pool("MaxPool", operator)

    def _average_pool_2d(self, operator: Operator) -> None:
        self._pool("AveragePool", operator)  # padding is not counted, in neither of the two

    def _pool(self, kind: str, operator: Operator) -> None:
        window = (operator.options.filterHeight, operator.options.filterWidth)
        self._activated(kind, [self._name(operator.inputs[0])], operator, **self._placed(operator, window, [1, 1]))

    def _concatenation(self, operator: Operator) -> None:
        rank = len(self._shape(operator.outputs[0]))
        axis = operator.options.axis % rank
        names = [self._name(index) for index in operator.inputs]
        self._activated("Concat", names, operator, axis=_axis(axis, rank))

    def _fully_connected(self, operator: Operator) -> None:
        inputs = [self._flat(operator.data), self._constant(self._data(operator.inputs[1])), *self._bias(operator)]
        self._activated("Gemm", inputs, operator, transB=1)

    def _flat(self, index: int) -> str:
        """The name of a matrix; a map of one pixel becomes one."""
        if len(self._shape(index)) == 2:
            return self._name(index)
        return self._step("Flatten", [self._last(index)], "flat")

    def _mean(self, operator: Operator) -> None:
        self._reduce("ReduceMean", operator)

    def _reduce_max(self, operator: Operator) -> None:
        self._reduce("ReduceMax", operator)

    def _reduce(self, kind: str, operator: Operator) -> None:
        rank = len(self._shape(operator.inputs[0]))
        axes = sorted(_axis(int(axis) % rank, rank) for axis in self._data(operator.inputs[1]).reshape(-1))
        source, target = self._name(operator.inputs[0]), self._name(operator.outputs[0])
        keeps = bool(operator.options.keepDims)
        if kind == "ReduceMean" and (rank, axes) == (4, [2, 3]):
            if keeps:
                self._node("GlobalAveragePool", [source], target)
            else:
                self._node("Flatten", [self._step("GlobalAveragePool", [source], "mean")], target)
            return
        if keeps or rank != 4 or axes == [2, 3]:
            self._node(kind, [source], target, axes=axes, keepdims=int(keeps))
            return
        raise UnsupportedModelError(f"a mean over the axes {axes} alone has no ONNX form here; keep the .tflite")

    def _reshape(self, operator: Operator) -> None:
        """Values are put in the .tflite's order first, so that they keep it."""
        wanted = self._shape(operator.outputs[0])
        target = self._name(operator.outputs[0])
        shape = self._constant(np.array(wanted, np.int64))
        if len(wanted) != 4:
            self._node("Reshape", [self._last(operator.inputs[0]), shape], target)
            return
        reshaped = self._step("Reshape", [self._last(operator.inputs[0]), shape], "reshaped")
        self._node("Transpose", [reshaped], target, perm=[0, 3, 1, 2])

    def _last(self, index: int) -> str:
        """The name of a tensor in the .tflite's own order of axes."""
        shape = self._shape(index)
        if len(shape) != 4 or shape[1:3] == (1, 1):
            return self._name(index)
        return self._step("Transpose", [self._name(index)], "last", perm=[0, 2, 3, 1])

    def _pad(self, operator: Operator) -> None:
        amounts = self._data(operator.inputs[1])
        if len(amounts) == 4:
            amounts = amounts[[0, 3, 1, 2]]
        pads = self._constant(np.ascontiguousarray(amounts.T.reshape(-1).astype(np.int64)))
        self._node("Pad", [self._name(operator.inputs[0]), pads], self._name(operator.outputs[0]))

    def _softmax(self, operator: Operator) -> None:
        axis = 1 if len(self._shape(operator.inputs[0])) == 4 else -1
        self._node("Softmax", [self._name(operator.inputs[0])], self._name(operator.outputs[0]), axis=axis)

    def _hard_swish(self, operator: Operator) -> None:
        self._node("HardSwish", [self._name(operator.inputs[0])], self._name(operator.outputs[0]))

    def _square(self, operator: Operator) -> None:
        name = self._name(operator.inputs[0])
        self._node("Mul", [name, name], self._name(operator.outputs[0]))

    def _rsqrt(self, operator: Operator) -> None:
        root = self._step("Sqrt", [self._name(operator.inputs[0])], "root")
        self._node("Reciprocal", [root], self._name(operator.outputs[0]))

    def _activated(self, kind: str, inputs: list[str], operator: Operator, **attributes: Any) -> None:
        """A node, and after it the activation that TFLite has inside the operator."""
        target, activation = self._name(operator.outputs[0]), _fused(operator)
        if activation == "NONE":
            self._node(kind, inputs, target, **attributes)
        else:
            self._activate(activation, self._step(kind, inputs, "linear", **attributes), target)

    def _activate(self, activation: str, source: str, target: str) -> None:
        kind, limits = _ACTIVATIONS[activation]
        self._node(kind, [source, *(self._constant(np.array(limit, np.float32)) for limit in limits)], target)

    def _placed(self, operator: Operator, window: Sequence[int], dilations: list[int]) -> dict[str, Any]:
        """Window, strides and explicit pads: TFLite's SAME puts the odd pixel at the end."""
        strides = [operator.options.strideH, operator.options.strideW]
        sizes = self._shape(operator.data if operator.has_weights else operator.inputs[0])[1:3]
        pads = [0, 0, 0, 0]
        if operator.options.padding == constant("Padding", "SAME"):
            for side in range(2):
                reach = (window[side] - 1) * dilations[side] + 1
                total = max((-(-sizes[side] // strides[side]) - 1) * strides[side] + reach - sizes[side], 0)
                pads[side], pads[side + 2] = total // 2, total - total // 2
        return {"kernel_shape": list(window), "strides": strides, "pads": pads}

    def _step(self, kind: str, inputs: list[str], what: str, **attributes: Any) -> str:
        """A node whose output has no tensor of the .tflite's; returns its name."""
        target = f"{what}_{len(self.made.graph.node)}"
        self._node(kind, inputs, target, **attributes)
        return target

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes = self.made.graph.node
        node = nodes.add(input=inputs, output=[output], op_type=kind, name=f"{kind}_{len(nodes)}")
        for name, value in attributes.items():
            if isinstance(value, int):
                node.attribute.add(name=name, i=value, type=_IN_INT)
            else:
                node.attribute.add(name=name, ints=[int(item) for item in value], type=_IN_INTS)

    def _constant(self, values: Array) -> str:
        initializers = self.made.graph.initializer
        name = f"constant_{len(initializers)}"
        kind = _INT64 if values.dtype == np.int64 else _FLOAT
        stored = np.ascontiguousarray(values, np.int64 if kind == _INT64 else np.float32)
        initializers.add(name=name, dims=values.shape, data_type=kind, raw_data=stored.tobytes())
        return name

    def _operand(self, index: int, rank: int) -> str:
        """An input of an elementwise node; a constant along the channels is put along ONNX's."""
        values = self.graph.tensors[index].data
        if values is None:
            return self._name(index)
        if rank == 4:
            values = np.asarray(values).reshape((1,) * (4 - values.ndim) + values.shape).transpose(0, 3, 1, 2)
        return self._constant(values)

    def _name(self, index: int) -> str:
        if self.graph.tensors[index].data is not None:
            return self._constant(self._data(index))
        return self.names.setdefault(index, f"tensor_{index}")

    def _shape(self, index: int) -> tuple[int, ...]:
        return self.graph.tensors[index].shape

    def _data(self, index: int) -> Array:
        values = self.graph.tensors[index].data
        if values is None:
            name = self.graph.tensors[index].name
            raise UnsupportedModelError(f"{name!r} is computed, and only constants have an ONNX form there")
        return values

    @staticmethod
    def _first(shape: Sequence[int]) -> Sequence[int]:
        return [shape[0], shape[3], shape[1], shape[2]] if len(shape) == 4 else shape


def _axis(axis: int, rank: int) -> int:
    """Where an axis of the .tflite is in ONNX."""
    return {0: 0, 1: 2, 2: 3, 3: 1}[axis] if rank == 4 else axis


def _fused(operator: Operator) -> str:
    codes = {constant("ActivationFunctionType", name): name for name in _FUSED}
    code = operator.options.fusedActivationFunction
    if code not in codes:
        raise UnsupportedModelError(f"{operator.kind} has an activation that has no ONNX form here (code {code})")
    return codes[code]
