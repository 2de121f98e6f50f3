"""A float classifier's .tflite graph as the ONNX model that an exporter would have made: channels first, opset 17.

Knows the operators of the networks compared here and refuses others. Whether the result is the same network is
checked by whoever runs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekit.graph import Array, Graph, Operator, constant

INPUT, OUTPUT = "image", "output"
_OPSET, _IR_VERSION = 17, 8
_ACTIVATIONS = {"NONE": None, "RELU": ("Relu", ()), "RELU6": ("Clip", (0.0, 6.0))}


def channels_first(image: Array) -> Array:
    """(n, h, w, c) -> (n, c, h, w)."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


def to_onnx(graph: Graph) -> Any:
    """The ModelProto; ValueError names an operator that it cannot translate."""
    form = _Form(graph)
    for operator in graph.operators:
        form.add(operator)
    return form.model()


class _Form:
    """Collects nodes and constants while the operators are walked in order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names = {graph.inputs[0]: INPUT, graph.outputs[0]: OUTPUT}

    def add(self, operator: Operator) -> None:
        translate = getattr(self, f"_{operator.kind.lower()}", None)
        if translate is None:
            raise ValueError(f"no ONNX form is known for {operator.kind}")
        translate(operator)

    def model(self) -> Any:
        ends = [
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, _first(self.graph.tensors[index].shape))]
            for name, index in ((INPUT, self.graph.inputs[0]), (OUTPUT, self.graph.outputs[0]))
        ]
        made = helper.make_graph(self.nodes, "network", *ends, initializer=self.constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _conv_2d(self, operator: Operator) -> None:
        kernel = self._data(operator.inputs[1]).transpose(0, 3, 1, 2)
        groups = self.graph.tensors[operator.data].shape[3] // kernel.shape[1]
        self._convolution(operator, kernel, groups)

    def _depthwise_conv_2d(self, operator: Operator) -> None:
        kernel = self._data(operator.inputs[1]).transpose(3, 0, 1, 2)
        self._convolution(operator, kernel, self.graph.tensors[operator.data].shape[3])

    def _convolution(self, operator: Operator, kernel: Array, groups: int) -> None:
        window, options = kernel.shape[2:], operator.options
        dilations = [options.dilationHFactor, options.dilationWFactor]
        inputs = [self._name(operator.data), self._constant(kernel), self._constant(self._data(operator.bias))]
        placed = self._placed(operator, window, dilations)
        self._activated("Conv", inputs, operator, group=groups, dilations=dilations, **placed)

    def _max_pool_2d(self, operator: Operator) -> None:
        self._pool("MaxPool", operator)

    def _average_pool_2d(self, operator: Operator) -> None:
        self._pool("AveragePool", operator)  # padding is not counted, in neither of the two

    def _pool(self, kind: str, operator: Operator) -> None:
        window = (operator.options.filterHeight, operator.options.filterWidth)
        placed = self._placed(operator, window, [1, 1])
        self._activated(kind, [self._name(operator.inputs[0])], operator, **placed)

    def _concatenation(self, operator: Operator) -> None:
        rank = len(self.graph.tensors[operator.outputs[0]].shape)
        axis = operator.options.axis % rank
        inputs = [self._name(index) for index in operator.inputs]
        self._activated("Concat", inputs, operator, axis={0: 0, 1: 2, 2: 3, 3: 1}[axis] if rank == 4 else axis)

    def _add(self, operator: Operator) -> None:
        self._activated("Add", [self._name(index) for index in operator.inputs], operator)

    def _fully_connected(self, operator: Operator) -> None:
        inputs = [self._name(operator.data)]
        inputs += [self._constant(self._data(index)) for index in operator.inputs[1:]]
        self._activated("Gemm", inputs, operator, transB=1)

    def _mean(self, operator: Operator) -> None:
        if sorted(self._data(operator.inputs[1]).tolist()) != [1, 2]:
            raise ValueError("only means over height and width have an ONNX form here")
        source, target = self._name(operator.inputs[0]), self._name(operator.outputs[0])
        if operator.options.keepDims:
            self._node("GlobalAveragePool", [source], target)
            return
        self._node("GlobalAveragePool", [source], f"{target}_map")
        self._node("Flatten", [f"{target}_map"], target)

    def _reshape(self, operator: Operator) -> None:
        shape = self.graph.tensors[operator.inputs[0]].shape
        if len(shape) == 4 and shape[1:3] != (1, 1):
            raise ValueError(f"reshaping {shape} would mix channels and places")
        wanted = np.array(_first(self.graph.tensors[operator.outputs[0]].shape), np.int64)
        inputs = [self._name(operator.inputs[0]), self._constant(wanted)]
        self._node("Reshape", inputs, self._name(operator.outputs[0]))

    def _pad(self, operator: Operator) -> None:
        amounts = self._data(operator.inputs[1])[[0, 3, 1, 2]].astype(np.int64)
        inputs = [self._name(operator.inputs[0]), self._constant(amounts.T.reshape(-1))]
        self._node("Pad", inputs, self._name(operator.outputs[0]))

    def _softmax(self, operator: Operator) -> None:
        self._node("Softmax", [self._name(operator.inputs[0])], self._name(operator.outputs[0]), axis=-1)

    def _activated(self, kind: str, inputs: list[str], operator: Operator, **attributes: Any) -> None:
        """A node, and after it the activation that TFLite has inside the operator."""
        target = self._name(operator.outputs[0])
        activation = _ACTIVATIONS[_activation(operator)]
        if activation is None:
            self._node(kind, inputs, target, **attributes)
            return
        self._node(kind, inputs, f"{target}_linear", **attributes)
        limits = [self._constant(np.array(limit, np.float32)) for limit in activation[1]]
        self._node(activation[0], [f"{target}_linear", *limits], target)

    def _placed(self, operator: Operator, window: tuple[int, ...], dilations: list[int]) -> dict[str, Any]:
        """Window, strides and explicit pads: TFLite's SAME puts the odd pixel at the end."""
        strides = [operator.options.strideH, operator.options.strideW]
        sizes = self.graph.tensors[operator.data].shape[1:3]
        pads = [0, 0, 0, 0]
        if operator.options.padding == constant("Padding", "SAME"):
            for side in range(2):
                reach = (window[side] - 1) * dilations[side] + 1
                total = max((-(-sizes[side] // strides[side]) - 1) * strides[side] + reach - sizes[side], 0)
                pads[side], pads[side + 2] = total // 2, total - total // 2
        return {"kernel_shape": list(window), "strides": strides, "pads": pads}

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{len(self.nodes)}", **attributes))

    def _constant(self, values: Array) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _name(self, index: int) -> str:
        return self.names.setdefault(index, f"tensor_{index}")

    def _data(self, index: int) -> Array:
        values = self.graph.tensors[index].data
        if values is None:
            raise ValueError(f"{self.graph.tensors[index].name!r} was expected to be a constant")
        return values


def _activation(operator: Operator) -> str:
    names = {constant("ActivationFunctionType", name): name for name in _ACTIVATIONS}
    code = operator.options.fusedActivationFunction
    if code not in names:
        raise ValueError(f"{operator.kind} has an activation that has no ONNX form here (code {code})")
    return names[code]


def _first(shape: tuple[int, ...]) -> list[int]:
    return [shape[0], shape[3], shape[1], shape[2]] if len(shape) == 4 else list(shape)
