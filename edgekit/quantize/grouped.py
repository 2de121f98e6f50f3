"""Grouped convolutions whose groups are too narrow for a kernel's tile are computed a few groups at a time.

XNNPACK computes 16 filters at once, whatever a group has: with 8 filters in a group, half of what it computes is
thrown away. Neighbouring groups become one by zeros in the kernel, and by these two fill the tile that each of them
filled by half. `kernel_cost` says how many belong together; where a group fills its tiles, none do.
Exact: sums only gain zeros, so integer results stay equal to the last bit.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from edgekit.graph import Array, Graph, Operator
from edgekit.quantize.kernel_cost import instructions


def merge_groups(graph: Graph) -> None:
    """Merges the groups of every convolution whose kernel then takes fewer instructions on cores with dot products."""
    for operator in int8_convolutions(graph):
        kernel, count = graph.tensors[operator.inputs[1]], groups(graph, operator)
        together = cheapest(count, kernel.shape)
        if together > 1 and kernel.data is not None:
            data = merged(kernel.data, count, together)
            operator.inputs[1] = graph.add_tensor(dataclasses.replace(kernel, shape=data.shape, data=data))


def int8_convolutions(graph: Graph) -> list[Operator]:
    """The convolutions, but not depthwise ones, of int8 activations with constant int8 kernels."""
    return [
        operator
        for operator in graph.operators
        if operator.kind == "CONV_2D"
        and graph.tensors[operator.data].dtype == graph.tensors[operator.inputs[1]].dtype == "int8"
        and graph.tensors[operator.inputs[1]].data is not None
    ]


def groups(graph: Graph, operator: Operator) -> int:
    """How many groups a convolution has; 1 for an ordinary one."""
    return graph.tensors[operator.data].shape[3] // graph.tensors[operator.inputs[1]].shape[3]


def cheapest(count: int, shape: tuple[int, ...]) -> int:
    """How many of `count` groups to compute as one, for a kernel (filters, rows, columns, channels of a group)."""
    filters, rows, columns, channels = shape

    def cost(together: int) -> float:
        calls = count // together
        return calls * instructions(filters // calls, rows * columns, channels * together)

    return min((together for together in range(1, count + 1) if count % together == 0), key=cost)


def merged(kernel: Array, count: int, together: int) -> Array:
    """The kernel of a convolution of `count` groups for one of `count // together`: zeros for what is not its own."""
    filters, rows, columns, channels = kernel.shape
    each = filters // count
    wide = np.zeros((filters, rows, columns, together * channels), kernel.dtype)
    for group in range(count):
        first = group % together * channels
        own = slice(group * each, (group + 1) * each)
        wide[own, ..., first : first + channels] = kernel[own]
    return wide
