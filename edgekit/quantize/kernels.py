"""Weights as int8, symmetric, one scale per output channel."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Array, Graph, Operator, Quantization, Tensor
from edgekit.quantize.operators import hybrid_version

_LIMIT = 127
_DEAD = 1e-20  # smaller weights than this are zeros: their scales would be no normal numbers in a kernel's product


def channel_axis(operator: Operator) -> int | None:
    """Which axis of the kernel gets one scale per slice: OHWI for convolutions, 1HWC for depthwise, none for dense.

    Dense kernels share one scale, since runtimes before 2024 know no other.
    """
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}
    return axes.get(operator.kind)


def is_grouped(graph: Graph, operator: Operator) -> bool:
    """Whether each output channel of a convolution sees only a part of the input channels."""
    if operator.kind != "CONV_2D":
        return False
    data, kernel = graph.tensors[operator.data], graph.tensors[operator.inputs[1]]
    return data.shape[-1] != kernel.shape[-1]


def channel_scales(kernel: Array, axis: int | None, floor: Array | None = None) -> Array:
    """The smallest scales that keep every weight within -127..127: one per slice of `axis`, or one for all.

    `floor` gives a scale per output channel not to fall below. A channel of zeros gets 1 / 127, or a higher floor.
    """
    other = tuple(dimension for dimension in range(kernel.ndim) if dimension != axis)
    largest = np.atleast_1d(np.abs(kernel).max(axis=other))
    scales = np.where(largest > _DEAD, largest, 1.0) / _LIMIT
    if floor is not None:
        scales = np.maximum(scales, floor if axis is not None else floor.max())
    return scales.astype(np.float32)


def round_kernel(kernel: Array, scales: Array, axis: int | None) -> Array:
    """The int8 kernel nearest to the float one."""
    shape = [1] * kernel.ndim
    if axis is not None:
        shape[axis] = -1
    rounded: Array = np.clip(np.rint(kernel / scales.reshape(shape)), -_LIMIT, _LIMIT).astype(np.int8)
    return rounded


def quantized_kernel(tensor: Tensor, axis: int | None, floor: Array | None = None) -> Tensor:
    """The int8 form of a float kernel tensor."""
    assert tensor.data is not None
    scales = channel_scales(tensor.data, axis, floor)
    quantization = Quantization(scales, np.zeros(len(scales), np.int64), axis or 0)
    return Tensor(tensor.name, tensor.shape, "int8", round_kernel(tensor.data, scales, axis), quantization)


def store_int8(graph: Graph) -> None:
    """Makes every kernel int8 and leaves activations and biases float ("dynamic range")."""
    for operator in graph.operators:
        kernel = graph.tensors[operator.inputs[1]] if operator.has_weights else None
        if kernel is None or kernel.data is None or operator.kind == "TRANSPOSE_CONV" or is_grouped(graph, operator):
            continue
        operator.inputs[1] = graph.add_tensor(quantized_kernel(kernel, channel_axis(operator)))
        operator.version = hybrid_version(operator)
