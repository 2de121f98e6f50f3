"""Rewrites of the float graph that change nothing but the work: the result is equal to the last bit."""

from __future__ import annotations

from edgekit.errors import FileFormatError
from edgekit.graph import Graph, Operator, constant

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
