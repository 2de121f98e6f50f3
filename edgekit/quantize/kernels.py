"""Weights as int8, symmetric, one scale per output channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Quantization, Tensor
from edgekit.quantize.operators import hybrid_version

_LIMIT = 127
_DEAD = 1e-20  # smaller weights than this are zeros: their scales would be no normal numbers in a kernel's product

_BIAS_LIMIT = {"int32": 2**30, "int64": 2**46}  # half of what kernels add up in, so that the products fit beside it


@dataclass(frozen=True)
class Rounded:
    """An int8 kernel, its scales (one per output channel, or one for all) and the float bias that goes with it."""

    kernel: Array
    scales: Array
    bias: Array


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


def nearest(kernel: Array, bias: Array, axis: int | None, floor: Array | None = None) -> Rounded:
    """Every weight to its nearest step."""
    scales = channel_scales(kernel, axis, floor)
    return Rounded(round_kernel(kernel, scales, axis), scales, bias)


def kernel_tensor(tensor: Tensor, rounded: Rounded, axis: int | None) -> Tensor:
    """The int8 form of a float kernel tensor."""
    quantization = Quantization(rounded.scales, np.zeros(len(rounded.scales), np.int64), axis or 0)
    return Tensor(tensor.name, tensor.shape, "int8", rounded.kernel, quantization)


def bias_floor(bias: Array, input_scale: float, bias_type: str) -> Array:
    """The smallest kernel scales with which a bias fits its integer type; beyond, it would wrap around."""
    floor: Array = np.abs(bias.reshape(-1)) / (input_scale * _BIAS_LIMIT[bias_type])
    return floor


def can_round(graph: Graph, operator: Operator) -> bool:
    """Whether the kernel and the bias are this operator's own float constants, so that they may be chosen for it."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return False
    indices = [index for index in (operator.inputs[1], operator.bias) if index != NO_TENSOR]
    own = all(len(graph.consumers(index)) == 1 for index in indices)
    return own and all(
        graph.tensors[index].data is not None and graph.tensors[index].dtype == "float32" for index in indices
    )


def store_int8(graph: Graph, rounded: Mapping[int, Rounded]) -> None:
    """Makes every kernel int8 and leaves activations and biases float ("dynamic range").

    `rounded` gives kernels and biases by the index of the float kernel; the others are rounded to the nearest.
    """
    for operator in graph.operators:
        kernel = graph.tensors[operator.inputs[1]] if operator.has_weights else None
        if kernel is None or kernel.data is None or kernel.dtype != "float32":
            continue
        if operator.kind == "TRANSPOSE_CONV" or is_grouped(graph, operator):
            continue
        axis, chosen = channel_axis(operator), rounded.get(operator.inputs[1])
        if chosen is None:
            chosen = nearest(kernel.data, np.zeros(0), axis)
        else:
            set_bias(graph, operator, Tensor("bias", chosen.bias.shape, "float32", chosen.bias))
        operator.inputs[1] = graph.add_tensor(kernel_tensor(kernel, chosen, axis))
        operator.version = hybrid_version(operator)


def as_float(graph: Graph, rounded: Mapping[int, Rounded]) -> Graph:
    """A float graph that computes with the values of the rounded kernels."""
    made = graph.copy()
    for operator in made.operators:
        chosen = rounded.get(operator.inputs[1]) if operator.has_weights else None
        if chosen is not None:
            kernel = made.tensors[operator.inputs[1]]
            shape, axis = [1] * chosen.kernel.ndim, channel_axis(operator)
            shape[axis or 0] = -1
            kernel.data = chosen.kernel * chosen.scales.reshape(shape).astype(np.float32)
            set_bias(made, operator, Tensor("bias", chosen.bias.shape, "float32", chosen.bias))
    return made


def set_bias(graph: Graph, operator: Operator, bias: Tensor) -> None:
    """Gives an operator a bias of its own, which keeps its old one's name; zeros are left out where it had none."""
    if operator.bias == NO_TENSOR:
        assert bias.data is not None
        if not bias.data.any():
            return
        bias.name = f"{graph.tensors[operator.inputs[1]].name}_bias"
    else:
        bias.name = graph.tensors[operator.bias].name
    position = operator.bias_position
    operator.inputs = [*operator.inputs[:position], graph.add_tensor(bias), *operator.inputs[position + 1 :]]
