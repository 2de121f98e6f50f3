"""Convolutions of few channels read neighbouring pixels as one pixel of many channels: the same sums, less to do.

A kernel spends as much on finding a pixel as on multiplying its three colours, and rounds these up to four or eight.
In memory the pixels of a row follow each other, so a RESHAPE of [1, H, W, C] to [1, H, W / g, g * C] costs nothing and
makes one tap of g. A window that starts within such a group needs zeros in its kernel for what it does not see. With
a stride of s, one group is the start of g / s output columns, its period. There are two ways to get them all:

- apart: one convolution for each column of the period, on an image moved by s pixels, so that each window is one group
  wide. Their outputs, concatenated along the channels, are again pixels in a row.
- together: one convolution writes the columns of a period as channels. Its windows reach into the next group, and its
  kernel holds more zeros, but nothing is moved or concatenated: it serves where filters are so few that a kernel's
  tile has room.

Which one, and whether at all, `kernel_cost` says: conv1 of SqueezeNet is folded, a layer of 16 channels is not.
Exact: sums only gain zeros, so integer results stay equal to the last bit.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Quantization, Tensor, constant
from edgekit.quantize.grouped import groups, int8_convolutions
from edgekit.quantize.kernel_cost import instructions
from edgekit.quantize.moves import Moves

_LONGEST_PERIOD = 8
_MOST_JOINED = 5  # tensors: XNNPACK concatenates no more
_WORTH, _WORTH_HERE = 0.004, 0.04  # of the instructions of all convolutions and of one: less is not worth operators
_JOINING = 64  # instructions to bring one pixel beside its neighbour: 45 counted, and more as copies wait for memory
_COPIED_BYTES = 6  # by one instruction, where a whole map is copied
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


class Plan(NamedTuple):
    """How many output columns stand in a group, and whether one convolution writes them all."""

    period: int
    together: bool


@dataclass(frozen=True)
class Convolution:
    """A convolution with what is padded around its input; `pad` is the operator that does it, or None."""

    operator: Operator
    pad: Operator | None
    source: int
    kernel: Array  # (filters, rows, columns, channels)
    shape: tuple[int, ...]  # of the source
    out_shape: tuple[int, ...]
    rows: tuple[int, int]  # zeros above and below that `pad` adds
    left: int

    @property
    def stride(self) -> int:
        """From one output column to the next, in pixels."""
        return int(self.operator.options.strideW)

    @property
    def same(self) -> bool:
        """Whether it pads by itself."""
        return bool(self.operator.options.padding == constant("Padding", "SAME"))

    def groups(self, plan: Plan) -> int:
        """How many groups the output columns make; the last one may be incomplete."""
        return -(-self.out_shape[2] // plan.period)

    def taps(self, plan: Plan) -> int:
        """How many groups one window of the folded kernel spans."""
        last = (plan.period - 1) * self.stride if plan.together else 0
        return -(-(last + int(self.kernel.shape[2])) // (plan.period * self.stride))

    def cost(self, plan: Plan | None) -> float:
        """Instructions of one inference, folded by a plan or as it is."""
        filters, rows, columns, channels = self.kernel.shape
        _, height, width, _ = self.out_shape
        if plan is None:
            return height * width * instructions(filters, rows * columns, channels)
        made = filters * plan.period if plan.together else filters
        each = instructions(made, rows * self.taps(plan), plan.period * self.stride * channels)
        columns = self.groups(plan) * (1 if plan.together else plan.period)
        moved = 0.0 if plan.together or plan.period == 1 else float(_JOINING)
        if self.groups(plan) * plan.period != width:
            moved += filters / _COPIED_BYTES
        return height * (columns * each + width * moved)


def fold_pixels(graph: Graph) -> None:
    """Folds every int8 convolution where that spares a good part of the network's instructions."""
    found = [made for operator in int8_convolutions(graph) if (made := understood(graph, operator))]
    total = sum(convolution.cost(None) for convolution in found)
    for convolution in found:
        plan = min(plans(convolution), key=convolution.cost, default=None)
        before = convolution.cost(None)
        if plan and before - convolution.cost(plan) >= max(_WORTH * total, _WORTH_HERE * before):
            fold(graph, convolution, plan)
            _fix_batch(graph)


def _fix_batch(graph: Graph) -> None:
    """Says that the batch is what its size was taken for, if it was unknown: a RESHAPE now holds it."""
    for tensor in graph.tensors:
        tensor.shape_signature = None


def understood(graph: Graph, operator: Operator) -> Convolution | None:
    """A convolution that can be folded where there is a plan for it; None for everything else."""
    if operator.kind != "CONV_2D" or operator.options.dilationWFactor != 1 or groups(graph, operator) > 1:
        return None
    kernel = graph.tensors[operator.inputs[1]]
    bias = None if operator.bias == NO_TENSOR else graph.tensors[operator.bias].data
    if kernel.data is None or bias is None:
        return None
    (rows, columns), pad = ((0, 0), (0, 0)), _pad_before(graph, operator)
    source = operator.data if pad is None else pad.inputs[0]
    shape, out_shape = graph.tensors[source].shape, graph.tensors[operator.outputs[0]].shape
    if pad is not None:
        rows, columns = _amounts(graph, pad)
    elif operator.options.padding == constant("Padding", "SAME"):
        reach = (out_shape[2] - 1) * operator.options.strideW + kernel.shape[2]
        columns = (max(reach - shape[2], 0) // 2, 0)
    return Convolution(operator, pad, source, kernel.data, shape, out_shape, rows, columns[0])


def plans(convolution: Convolution) -> list[Plan]:
    """The ways to fold a convolution."""
    width, kernel, stride = convolution.out_shape[2], convolution.kernel.shape[2], convolution.stride
    periods = range(1, min(_LONGEST_PERIOD, width) + 1)
    apart = [Plan(period, together=False) for period in periods[:_MOST_JOINED] if period * stride >= kernel]
    together = [Plan(period, together=True) for period in periods]
    return [plan for plan in apart + together if plan.period * stride > 1 and _serves(convolution, plan)]


def _serves(convolution: Convolution, plan: Plan) -> bool:
    """Whether every image holds a part of the source, and SAME pads no columns but the last group's neighbour."""
    taps = convolution.taps(plan)
    starts = [start - convolution.left for start in _starts(convolution, plan)]
    wide = convolution.groups(plan) * plan.period * convolution.stride
    inside = starts[-1] < convolution.shape[2] and starts[0] + wide > 0
    return inside and (not convolution.same or taps == 1 or (taps == 2 and convolution.left == 0))


def fold(graph: Graph, convolution: Convolution, plan: Plan) -> None:
    """Puts the folded form into the place of a convolution, and of the operator that pads its input."""
    operator, output = convolution.operator, convolution.operator.outputs[0]
    moves = Moves(graph, graph.tensors[output].name)
    weights = _weights(graph, convolution, plan)
    options = copy.copy(operator.options)
    options.strideW = 1
    maps = []
    batch, height, _, filters = convolution.out_shape
    for image in _images(moves, convolution, plan):
        shape = batch, height, convolution.groups(plan), graph.tensors[weights[0]].shape[0]
        maps.append(moves.again(operator, [image, *weights], moves.like(output, shape, "folded"), options))
    joined = moves.concatenate(maps, axis=3)
    _unfold(moves, joined, output, (batch, height, convolution.groups(plan) * plan.period, filters))
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = moves.operators
    if convolution.pad is not None:
        graph.operators.remove(convolution.pad)


def _weights(graph: Graph, convolution: Convolution, plan: Plan) -> list[int]:
    """The kernel and the bias of the folded form, as new tensors."""
    kernel, taps = convolution.kernel, convolution.taps(plan)
    filters, rows, columns, channels = kernel.shape
    group, copies = plan.period * convolution.stride, plan.period if plan.together else 1
    wide = np.zeros((copies, filters, rows, taps * group, channels), kernel.dtype)
    for number in range(copies):
        first = number * convolution.stride
        wide[number, :, :, first : first + columns] = kernel
    folded = wide.reshape(copies * filters, rows, taps, group * channels)
    old_kernel, bias = (graph.tensors[index] for index in convolution.operator.inputs[1:])
    assert bias.data is not None
    repeated = np.tile(bias.data.reshape(-1), copies)
    return [graph.add_tensor(_with(old_kernel, folded, copies)), graph.add_tensor(_with(bias, repeated, copies))]


def _with(tensor: Tensor, data: Array, copies: int) -> Tensor:
    """A constant with other data, whose scales, if there is one for each filter, repeat as often as the filters do."""
    scales = tensor.quantization
    if scales is not None and scales.per_channel:
        scales = Quantization(np.tile(scales.scale, copies), np.tile(scales.zero_point, copies), scales.axis)
    return dataclasses.replace(tensor, name=f"{tensor.name}_folded", shape=data.shape, data=data, quantization=scales)


def _images(moves: Moves, convolution: Convolution, plan: Plan) -> list[int]:
    """What each convolution of the folded form reads: (batch, rows, groups, pixels of a group * channels)."""
    batch, height, width, channels = convolution.shape
    group = plan.period * convolution.stride
    across = convolution.groups(plan) + (0 if convolution.same else convolution.taps(plan) - 1)
    flat = moves.reshape(convolution.source, (batch, height, width * channels))
    images = []
    for start in _starts(convolution, plan):
        first = start - convolution.left
        rows = _window(moves, flat, convolution.rows, first * channels, (first + across * group) * channels)
        images.append(moves.reshape(rows, (batch, moves.shape(rows)[1], across, group * channels)))
    return images


def _starts(convolution: Convolution, plan: Plan) -> list[int]:
    """Where in the padded source each image of the folded form begins."""
    return [column * convolution.stride for column in range(1 if plan.together else plan.period)]


def _window(moves: Moves, flat: int, rows: tuple[int, int], start: int, stop: int) -> int:
    """The columns start..stop of an image with one value per column; zeros where there are none.

    XNNPACK pads pixel by pixel where channels follow, but this row by row.
    """
    width = moves.shape(flat)[2]
    if start > 0 or stop < width:
        flat = moves.cut(flat, 2, max(start, 0), min(stop, width))
    sides = max(-start, 0), max(stop - width, 0)
    return moves.pad(flat, [(0, 0), rows, sides]) if any(rows + sides) else flat


def _unfold(moves: Moves, joined: int, output: int, shape: tuple[int, ...]) -> None:
    """Makes columns of the period's channels, and drops those beyond the last one where somebody would see them."""
    graph, width = moves.graph, moves.shape(output)[2]
    if shape[2] == width:
        moves.reshape(joined, shape, output)
        return
    wide = moves.reshape(joined, shape)
    readers = graph.consumers(output)
    if output not in graph.outputs and all(_overlooks(reader, width, shape[2]) for reader in readers):
        for reader in readers:
            reader.inputs = [wide if index == output else index for index in reader.inputs]
    else:
        moves.cut(wide, 2, 0, width, output)


def _overlooks(reader: Operator, width: int, wider: int) -> bool:
    """Whether a pool makes the same of a map with more columns, as its windows never reach them."""
    if reader.kind not in _POOLS or reader.options.padding != constant("Padding", "VALID"):
        return False
    window, stride = reader.options.filterWidth, reader.options.strideW
    return bool((wider - window) // stride == (width - window) // stride)


def _pad_before(graph: Graph, operator: Operator) -> Operator | None:
    """The PAD that only this convolution reads and that adds rows and columns alone."""
    pad = graph.producer(operator.data)
    if pad is None or pad.kind != "PAD" or operator.options.padding != constant("Padding", "VALID"):
        return None
    amounts = graph.tensors[pad.inputs[1]].data
    if amounts is None or amounts[0].any() or amounts[3].any():
        return None
    return pad if len(graph.consumers(operator.data)) == 1 and operator.data not in graph.outputs else None


def _amounts(graph: Graph, pad: Operator) -> tuple[tuple[int, int], tuple[int, int]]:
    amounts = graph.tensors[pad.inputs[1]].data
    assert amounts is not None
    (top, bottom), (left, right) = amounts[1].tolist(), amounts[2].tolist()
    return (top, bottom), (left, right)
