"""Rewrites of the float graph that change nothing but the work: the result is equal to the last bit."""

from __future__ import annotations

import numpy as np

from edgekit.errors import FileFormatError
from edgekit.graph import Graph, Operator, Tensor, constant, new_options

_NEVER_NEGATIVE = {"RELU", "RELU6", "RELU_0_TO_1", "LOGISTIC"}
_STRIDED = {"CONV_2D", "DEPTHWISE_CONV_2D"}


def fuse_padding(graph: Graph) -> None:
    """Lets convolutions pad by themselves where a PAD operator adds just what SAME padding would.

    Keras Applications pads MobileNets with a layer of their own; one operator and one copy of the map less each.
    """
    for pad in [operator for operator in graph.operators if operator.kind == "PAD"]:
        consumers = graph.consumers(pad.outputs[0])
        if consumers and all(_pads_same(graph, pad, consumer) for consumer in consumers):
            for consumer in consumers:
                consumer.inputs[0] = pad.inputs[0]
                consumer.options.padding = constant("Padding", "SAME")
            graph.operators.remove(pad)


def pad_with_zeros(graph: Graph) -> None:
    """Lets a maximum over values that are never negative pad with zeros in place of minus infinity, as PyTorch does.

    No integer stands for infinity; a map that went through a ReLU has the same maxima either way.
    """
    for pad in [operator for operator in graph.operators if operator.kind == "PADV2"]:
        value, consumers = graph.tensors[pad.inputs[2]].data, graph.consumers(pad.outputs[0])
        lowest = value is not None and value.dtype.kind == "f" and float(value.reshape(-1)[0]) < 0
        alone = consumers and all(consumer.kind == "MAX_POOL_2D" for consumer in consumers)
        if lowest and alone and pad.outputs[0] not in graph.outputs and _never_negative(graph, pad.inputs[0]):
            pad.kind, pad.inputs, pad.version = "PAD", pad.inputs[:2], 1
            pad.options, pad.options_type = new_options("PadOptions"), constant("BuiltinOptions", "PadOptions")


def split_unit_clamps(graph: Graph) -> None:
    """RELU_0_TO_1, in which ONNX's hard sigmoids end, as a RELU and a MINIMUM: those have integer kernels."""
    for clamp in [operator for operator in graph.operators if operator.kind == "RELU_0_TO_1"]:
        output = graph.tensors[clamp.outputs[0]]
        positive = graph.add_tensor(Tensor(f"{output.name}_positive", output.shape, output.dtype))
        one = graph.add_tensor(Tensor(f"{output.name}_one", (1,), "float32", np.ones(1, np.float32)))
        options, kind = new_options("MaximumMinimumOptions"), constant("BuiltinOptions", "MaximumMinimumOptions")
        least = Operator("MINIMUM", [positive, one], clamp.outputs, options, kind)
        graph.operators.insert(graph.operators.index(clamp) + 1, least)
        clamp.kind, clamp.outputs, clamp.options, clamp.options_type = "RELU", [positive], None, 0


def _never_negative(graph: Graph, tensor: int) -> bool:
    producer = graph.producer(tensor)
    if producer is None:
        return False
    fused = getattr(producer.options, "fusedActivationFunction", None)
    relus = [constant("ActivationFunctionType", name) for name in ("RELU", "RELU6")]
    return producer.kind in _NEVER_NEGATIVE or fused in relus


def flatten_means(graph: Graph) -> None:
    """Lets a mean give a matrix by itself where a reshape makes one of its map of one pixel; as PyTorch's heads do."""
    for reshape in [operator for operator in graph.operators if operator.kind in ("RESHAPE", "SQUEEZE")]:
        mean, target = graph.producer(reshape.inputs[0]), reshape.outputs[0]
        if mean is None or mean.kind != "MEAN" or not mean.options.keepDims:
            continue
        source, alone = mean.outputs[0], graph.consumers(mean.outputs[0]) == [reshape]
        kept = _without_ones(graph, mean)
        if alone and source not in graph.outputs and graph.tensors[target].shape == kept:
            mean.options.keepDims, mean.outputs = False, [target]
            graph.operators.remove(reshape)


def _without_ones(graph: Graph, mean: Operator) -> tuple[int, ...]:
    """The shape that a mean has without the axes that it runs over."""
    shape, axes = graph.tensors[mean.inputs[0]].shape, graph.tensors[mean.inputs[1]].data
    if axes is None:
        return ()
    over = {int(axis) % len(shape) for axis in axes.reshape(-1)}
    return tuple(size for axis, size in enumerate(shape) if axis not in over)


def drop_empty(graph: Graph) -> None:
    """Takes tensors that hold no values out of what is concatenated; FileFormatError if one is read otherwise."""
    empty = {index for index, tensor in enumerate(graph.tensors) if 0 in tensor.shape and tensor.dtype == "float32"}
    for operator in graph.operators:
        if operator.kind == "CONCATENATION":
            operator.inputs = [index for index in operator.inputs if index not in empty] or operator.inputs
    _drop_unread(graph)
    left = {*graph.outputs, *(index for operator in graph.operators for index in operator.activations)} & empty
    for index in sorted(left):
        tensor = graph.tensors[index]
        raise FileFormatError(
            f"{tensor.name!r} holds no values: its shape is {tensor.shape}; cut it out of the network and convert again"
        )


def _drop_unread(graph: Graph) -> None:
    """Removes operators whose outputs nothing reads, as far as that reaches back."""
    for operator in reversed(list(graph.operators)):
        if not any(index in graph.outputs or graph.consumers(index) for index in operator.outputs):
            graph.operators.remove(operator)


def _pads_same(graph: Graph, pad: Operator, consumer: Operator) -> bool:
    if consumer.kind not in _STRIDED or consumer.options.padding != constant("Padding", "VALID"):
        return False
    if consumer.data != pad.outputs[0]:
        return False
    amounts = graph.tensors[pad.inputs[1]].data
    if amounts is None or pad.outputs[0] in graph.outputs or amounts[0].any() or amounts[3].any():
        return False
    size, kernel = graph.tensors[pad.inputs[0]].shape, graph.tensors[consumer.inputs[1]].shape
    options = consumer.options
    rows = _same_padding(size[1], kernel[1], options.strideH, options.dilationHFactor)
    columns = _same_padding(size[2], kernel[2], options.strideW, options.dilationWFactor)
    return tuple(amounts[1]) == rows and tuple(amounts[2]) == columns


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """(before, after) as TensorFlow's SAME rule has it: the odd pixel goes after."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
