"""A layer as a matrix product: what its kernel is multiplied with at each position of its output."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Array, Graph, Operator, constant


def rows(graph: Graph, layer: Operator, value: Array, most: int, seed: int) -> Array:
    """Inputs of the kernel at up to `most` random positions: (groups, positions, n), in the order of `as_matrix`.

    The same seed gives the same positions of the same layer.
    """
    if layer.kind == "FULLY_CONNECTED":
        return value.reshape(1, -1, _kernel(graph, layer).shape[1])
    windows = _windows(graph, layer, value[0])
    height, width = windows.shape[:2]
    chosen = np.arange(height * width)
    if len(chosen) > most:
        chosen = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
    taken = windows[chosen // width, chosen % width]  # positions, channels, kernel height, kernel width
    if layer.kind == "DEPTHWISE_CONV_2D":
        return np.ascontiguousarray(taken.transpose(1, 0, 2, 3)).reshape(taken.shape[1], len(chosen), -1)
    groups = taken.shape[1] // _kernel(graph, layer).shape[3]
    parts = taken.reshape(len(chosen), groups, -1, *taken.shape[2:])
    return np.ascontiguousarray(parts.transpose(1, 0, 3, 4, 2)).reshape(groups, len(chosen), -1)


def as_matrix(graph: Graph, layer: Operator, kernel: Array) -> Array:
    """The kernel as (groups, outputs of a group, n)."""
    if layer.kind == "FULLY_CONNECTED":
        return kernel[None]
    if layer.kind == "DEPTHWISE_CONV_2D":
        channels = graph.tensors[layer.data].shape[-1]
        taps = kernel.shape[1] * kernel.shape[2]
        return np.ascontiguousarray(kernel.reshape(taps, channels, -1).transpose(1, 2, 0))
    groups = graph.tensors[layer.data].shape[-1] // kernel.shape[3]
    return kernel.reshape(groups, kernel.shape[0] // groups, -1)


def from_matrix(graph: Graph, layer: Operator, matrix: Array) -> Array:
    """The inverse of `as_matrix`."""
    shape = _kernel(graph, layer).shape
    if layer.kind == "DEPTHWISE_CONV_2D":
        return np.ascontiguousarray(matrix.transpose(2, 0, 1)).reshape(shape)
    return matrix.reshape(shape)


def _kernel(graph: Graph, layer: Operator) -> Array:
    data = graph.tensors[layer.inputs[1]].data
    assert data is not None
    return data


def _windows(graph: Graph, layer: Operator, value: Array) -> Array:
    """What lies under the kernel: (height, width, channels, kernel height, kernel width), a view."""
    options = layer.options
    taps = _kernel(graph, layer).shape[1:3]
    strides, gaps = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    reach = [(count - 1) * gap + 1 for count, gap in zip(taps, gaps, strict=True)]
    if options.padding == constant("Padding", "SAME"):
        sides = [same_padding(*side) for side in zip(value.shape[:2], reach, strides, strict=True)]
        value = np.pad(value, [*sides, (0, 0)])
    view = np.lib.stride_tricks.sliding_window_view(value, reach, (0, 1))
    return view[:: strides[0], :: strides[1], :, :: gaps[0], :: gaps[1]]


def same_padding(size: int, reach: int, stride: int) -> tuple[int, int]:
    """What SAME pads before and after, for one side of a window that reaches so far."""
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
