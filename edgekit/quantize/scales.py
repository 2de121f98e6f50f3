"""One scale for every activation: wide enough for its range, equal where an operator needs that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Operator, Quantization
from edgekit.quantize import operators
from edgekit.quantize.operators import Activation
from edgekit.quantize.ranges import Range

_DEAD_SPAN = 1e-12
_STEPS: dict[Activation, int] = {"int8": 255, "int16": 32767}
_LARGEST_STRIDE = 128  # how many of its output's steps an input's step may be; kernels refuse 256


@dataclass(frozen=True)
class Scale:
    """real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int

    def covers(self, limits: Range, activation: Activation) -> bool:
        """Whether real values within `limits` can be stored, to one step."""
        stored = np.iinfo(activation)
        low, high = ((step - self.zero_point) * self.scale for step in (stored.min - 1, stored.max + 1))
        return bool(low <= limits[0] and limits[1] <= high)

    def quantization(self) -> Quantization:
        """The same, as a tensor carries it."""
        return Quantization(np.array([self.scale], np.float32), np.array([self.zero_point], np.int64))


def scale_for(limits: Range, activation: Activation) -> Scale:
    """The scale that covers `limits` and represents 0 exactly: asymmetric for int8, symmetric for int16.

    An activation that is always 0 gets the scale of 0..1: any serves, but the smallest would overflow the next bias.
    """
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if high - low < _DEAD_SPAN:
        high = 1.0
    if activation == "int16":
        return Scale(max(-low, high) / 32767, 0)
    scale = (high - low) / 255
    return Scale(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def widened(
    graph: Graph, integer: list[Operator], ranges: dict[int, Range], activation: Activation
) -> dict[int, Range]:
    """`ranges` with none so narrow that its step would be far below the rounding error of what it is made from.

    Kernels refuse such a multiplier, and an output that is nearly always 0 would ask for one.
    """
    result = dict(ranges)
    for operator in integer:
        if operator.kind not in operators.RESCALING:
            continue
        steps = [scale_for(result[index], activation).scale for index in operator.activations if index in result]
        if operator.has_weights:
            kernel = graph.tensors[operator.inputs[1]].data
            assert kernel is not None
            steps.append(float(np.abs(kernel).max()) / 127)
        finest = _finest(operator, steps)
        for output in operator.outputs:
            if scale_for(result[output], activation).scale < finest:
                low = result[output][0]
                start = min(low, 0.0) if activation == "int8" else 0.0
                result[output] = low, start + finest * _STEPS[activation]
    return result


def _finest(operator: Operator, steps: list[float]) -> float:
    """The smallest step of an output that a kernel can make of inputs with these steps."""
    if operator.kind == "RSQRT":  # its multiplier has no limit, and what is small becomes large
        return 0.0
    if operator.kind == "SQUARED_DIFFERENCE":
        return max(steps) ** 2 / _LARGEST_STRIDE
    multiplies = operator.has_weights or operator.kind == "MUL"
    return (math.prod(steps) if multiplies else max(steps)) / _LARGEST_STRIDE


def choose_scales(integer: list[Operator], ranges: dict[int, Range], activation: Activation) -> dict[int, Scale]:
    """One scale per activation; tensors that must share one get the union of their ranges."""
    fixed = {
        output: Scale(*operators.FIXED_OUTPUT[operator.kind][activation])
        for operator in integer
        for output in operator.outputs
        if operator.kind in operators.FIXED_OUTPUT
    }
    scales: dict[int, Scale] = {}
    for group in shared_scales(integer, ranges):
        limits = min(ranges[index][0] for index in group), max(ranges[index][1] for index in group)
        given = {fixed[index] for index in group if index in fixed}
        covering = [scale for scale in given if scale.covers(limits, activation)]
        scale = covering[0] if len(given) == len(covering) == 1 else scale_for(limits, activation)
        scales.update(dict.fromkeys(group, scale))
    return scales


def shared_scales(integer: list[Operator], ranges: dict[int, Range]) -> list[list[int]]:
    """The activations in groups that must have one scale, because an operator only moves or compares their values."""
    group = {index: [index] for index in ranges}
    for operator in integer:
        if operator.kind not in operators.SAME_SCALE:
            continue
        members = [index for index in (*operator.activations, *operator.outputs) if index in ranges]
        merged = list(dict.fromkeys(index for member in members for index in group[member]))
        group.update(dict.fromkeys(merged, merged))
    return list({id(members): members for members in group.values()}.values())
