"""How much the answer minds an error in each weight: the curvature of the divergence, from gradients in numpy.

For an error e in a layer's weights the divergence KL(before || after) is about half the mean square of e @ gradient,
where the gradient is that of a random combination of the log-probabilities whose covariance is that of the classes
(Gauss-Newton, Martens 2014, arXiv:1412.1193; one random sign vector for each image). Gradients of the float graph;
no labels, no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, constant
from edgekit.quantize import patches, ranges
from edgekit.quantize.ranges import Progress, Sample

_WIDEST = 4096  # kernels with more inputs than this get no matrix
_HEADS = ("SOFTMAX",)
_MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass
class Curvature:
    """Of one layer: `inputs`, (groups, n, n), summed over the outputs of a group; `outputs`, (groups, outputs).

    Both in nats for an error of 1, on average over the samples. `inputs` is None for very wide layers.
    """

    inputs: Array | None = None
    outputs: Array = field(default_factory=lambda: np.zeros(0))
    samples: int = 0

    def add(self, gradient: Array) -> None:
        """Counts a gradient of shape (groups, outputs, n)."""
        if self.samples == 0:
            groups, outputs, width = gradient.shape
            self.outputs = np.zeros((groups, outputs))
            self.inputs = np.zeros((groups, width, width)) if width <= _WIDEST else None
        if self.inputs is not None:
            self.inputs += gradient.transpose(0, 2, 1) @ gradient / 2
        self.outputs += np.einsum("gon,gon->go", gradient, gradient, dtype=np.float64) / 2
        self.samples += 1


def curvatures(
    graph: Graph, samples: Sequence[Sample], progress: Progress | None = None, seed: int = 0
) -> dict[int, Curvature] | None:
    """By the index of each kernel; None if the graph has an operator whose gradient is not known here."""
    if not all(operator.kind in _BACKWARD for operator in graph.operators):
        return None
    wanted = sorted({*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)})
    generator = np.random.default_rng(seed)
    found: dict[int, Curvature] = {}
    for number, values in enumerate(ranges.run(graphs.dump(graph), samples, wanted)):
        for kernel, gradient in _gradients(graph, values, generator).items():
            found.setdefault(kernel, Curvature()).add(gradient)
        if progress:
            progress(number + 1, len(samples))
    return found


def _gradients(graph: Graph, values: Mapping[int, Array], generator: np.random.Generator) -> dict[int, Array]:
    """Of one random combination of log-probabilities, by kernel, (groups, outputs, n)."""
    backward = _Pass(graph, values)
    backward.start(generator)
    for operator in reversed(graph.operators):
        if operator.outputs[0] in backward.slopes:
            _BACKWARD[operator.kind](backward, operator, backward.take(operator))
    return backward.kernels


class _Pass:
    """One way back through the graph; `slopes` are those of activations not yet passed."""

    def __init__(self, graph: Graph, values: Mapping[int, Array]) -> None:
        self.graph, self.values = graph, values
        self.slopes: dict[int, Array] = {}
        self.kernels: dict[int, Array] = {}

    def start(self, generator: np.random.Generator) -> None:
        """Slopes of the scores before the softmax: random signs whose covariance becomes that of the classes."""
        output = self.graph.outputs[0]
        operator = self.graph.producer(output)
        given = self.values[output].reshape(-1).astype(np.float64)
        if operator is not None and operator.kind in _HEADS:
            shares = given / given.sum()
        else:
            powers = np.exp(given - given.max())
            shares = powers / powers.sum()
        signs = generator.choice([-1.0, 1.0], len(shares))
        roots = np.sqrt(shares)
        slopes = roots * signs - shares * (roots @ signs)
        self.slopes[output] = slopes.reshape(self.values[output].shape).astype(np.float32)

    def take(self, operator: Operator) -> Array:
        """The slopes of what an operator computes before its activation."""
        slopes = self.slopes.pop(operator.outputs[0])
        value = self.values[operator.outputs[0]]
        activation = getattr(operator.options, "fusedActivationFunction", 0) if operator.options is not None else 0
        if activation == constant("ActivationFunctionType", "NONE"):
            return slopes
        passing = value > 0
        if activation == constant("ActivationFunctionType", "RELU6"):
            passing &= value < 6
        masked: Array = slopes * passing
        return masked

    def add(self, index: int, slopes: Array) -> None:
        """Slopes for an activation; those of its readers add up."""
        if index == NO_TENSOR or self.graph.tensors[index].data is not None or index in self.graph.inputs:
            return
        shaped = slopes.reshape(self.values[index].shape)
        self.slopes[index] = self.slopes[index] + shaped if index in self.slopes else shaped

    def kernel(self, operator: Operator) -> Array:
        """An operator's weights."""
        data = self.graph.tensors[operator.inputs[1]].data
        assert data is not None
        return data


def _windows(
    backward: _Pass, operator: Operator, taps: tuple[int, int]
) -> tuple[Array, Array, list[tuple[slice, slice]]]:
    """The padded input, zeros of its shape, and the part of it that each tap sees."""
    options, value = operator.options, backward.values[operator.data][0]
    steps = options.strideH, options.strideW
    gaps = getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)
    output = backward.values[operator.outputs[0]].shape[1:3]
    sides = [(0, 0), (0, 0)]
    if options.padding == constant("Padding", "SAME"):
        reach = [(count - 1) * gap + 1 for count, gap in zip(taps, gaps, strict=True)]
        sides = [patches.same_padding(*side) for side in zip(value.shape[:2], reach, steps, strict=True)]
    padded = np.pad(value, [*sides, (0, 0)])
    seen = [
        tuple(
            slice(tap * gap, tap * gap + (count - 1) * step + 1, step)
            for tap, gap, count, step in zip((row, column), gaps, output, steps, strict=True)
        )
        for row in range(taps[0])
        for column in range(taps[1])
    ]
    return padded, np.zeros_like(padded), seen  # type: ignore[return-value]


def _cropped(backward: _Pass, operator: Operator, padded: Array) -> Array:
    """What belongs to the input itself, of slopes of its padded form."""
    height, width = backward.values[operator.data].shape[1:3]
    top, left = ((padded.shape[axis] - size) // 2 for axis, size in enumerate((height, width)))
    return padded[top : top + height, left : left + width]


def _convolution(backward: _Pass, operator: Operator, slopes: Array) -> None:
    kernel = backward.kernel(operator)
    padded, below, seen = _windows(backward, operator, (kernel.shape[1], kernel.shape[2]))
    flat = slopes.reshape(-1, slopes.shape[-1])
    groups = padded.shape[-1] // kernel.shape[3]
    gradient = np.empty((kernel.shape[1] * kernel.shape[2], *kernel.shape[::3]), np.float32)
    weights = kernel.reshape(kernel.shape[0], -1, kernel.shape[3])
    outputs, inputs = kernel.shape[0] // groups, kernel.shape[3]
    for group in range(groups):
        out, into = slice(group * outputs, (group + 1) * outputs), slice(group * inputs, (group + 1) * inputs)
        own = np.ascontiguousarray(flat[:, out])
        for tap, part in enumerate(seen):
            gradient[tap, out] = own.T @ padded[part][..., into].reshape(len(own), -1)
            if operator.data not in backward.graph.inputs:
                below[part][..., into] += (own @ weights[out, tap]).reshape(*slopes.shape[1:3], -1)
    shaped = gradient.transpose(1, 0, 2).reshape(kernel.shape)
    backward.kernels[operator.inputs[1]] = patches.as_matrix(backward.graph, operator, shaped)
    backward.add(operator.data, _cropped(backward, operator, below))


def _depthwise(backward: _Pass, operator: Operator, slopes: Array) -> None:
    kernel = backward.kernel(operator)
    padded, below, seen = _windows(backward, operator, (kernel.shape[1], kernel.shape[2]))
    times = kernel.shape[3] // padded.shape[-1]
    weights = kernel.reshape(-1, kernel.shape[3])
    gradient = np.empty(weights.shape, np.float32)
    for tap, part in enumerate(seen):
        gradient[tap] = (slopes[0] * np.repeat(padded[part], times, axis=2)).sum((0, 1))
        moved = slopes[0] * weights[tap]
        below[part] += moved.reshape(*moved.shape[:2], -1, times).sum(3)
    backward.kernels[operator.inputs[1]] = patches.as_matrix(backward.graph, operator, gradient.reshape(kernel.shape))
    backward.add(operator.data, _cropped(backward, operator, below))


def _dense(backward: _Pass, operator: Operator, slopes: Array) -> None:
    kernel = backward.kernel(operator)
    flat = slopes.reshape(-1, kernel.shape[0])
    rows = backward.values[operator.data].reshape(-1, kernel.shape[1])
    backward.kernels[operator.inputs[1]] = (flat.T @ rows)[None]
    backward.add(operator.data, flat @ kernel)


def _average(backward: _Pass, operator: Operator, slopes: Array) -> None:
    taps = operator.options.filterHeight, operator.options.filterWidth
    padded, below, seen = _windows(backward, operator, taps)
    inside = np.zeros(padded.shape[:2])
    _cropped(backward, operator, inside)[:] = 1
    counts = sum(inside[part] for part in seen)  # padding is no part of an average
    for part in seen:
        below[part] += slopes[0] / np.asarray(counts)[:, :, None]
    backward.add(operator.data, _cropped(backward, operator, below))


def _maximum(backward: _Pass, operator: Operator, slopes: Array) -> None:
    taps = operator.options.filterHeight, operator.options.filterWidth
    padded, below, seen = _windows(backward, operator, taps)
    value = backward.values[operator.outputs[0]][0]
    inside = np.full(padded.shape, -np.inf, np.float32)
    _cropped(backward, operator, inside)[:] = backward.values[operator.data][0]
    free = np.ones(value.shape, bool)
    for part in seen:  # the first of equal values gets all
        hit = free & (inside[part] == value)
        free &= ~hit
        below[part] += slopes[0] * hit
    backward.add(operator.data, _cropped(backward, operator, below))


def _mean(backward: _Pass, operator: Operator, slopes: Array) -> None:
    shape = backward.values[operator.inputs[0]].shape
    axes = backward.graph.tensors[operator.inputs[1]].data
    assert axes is not None
    kept = [1 if axis in axes.reshape(-1) % len(shape) else size for axis, size in enumerate(shape)]
    spread = np.broadcast_to(slopes.reshape(kept), shape) * np.float32(slopes.size / np.prod(shape))
    backward.add(operator.inputs[0], spread)


def _joined(backward: _Pass, operator: Operator, slopes: Array) -> None:
    start = 0
    axis = operator.options.axis
    for index in operator.inputs:
        size = backward.graph.tensors[index].shape[axis]
        backward.add(index, np.take(slopes, np.arange(start, start + size), axis))
        start += size


def _sum(backward: _Pass, operator: Operator, slopes: Array) -> None:
    for index in operator.inputs:
        if backward.graph.tensors[index].data is None and backward.values[index].shape == slopes.shape:
            backward.add(index, slopes)


def _padded(backward: _Pass, operator: Operator, slopes: Array) -> None:
    widths = backward.graph.tensors[operator.inputs[1]].data
    assert widths is not None
    kept = tuple(
        slice(int(before), size - int(after)) for (before, after), size in zip(widths, slopes.shape, strict=True)
    )
    backward.add(operator.inputs[0], slopes[kept])


def _same(backward: _Pass, operator: Operator, slopes: Array) -> None:
    """Softmax, for the slopes are those of what it reads; and whatever only changes a shape."""
    backward.add(operator.inputs[0], slopes)


_BACKWARD: dict[str, Callable[[_Pass, Operator, Array], None]] = {
    "ADD": _sum,
    "AVERAGE_POOL_2D": _average,
    "CONCATENATION": _joined,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _maximum,
    "MEAN": _mean,
    "PAD": _padded,
    "RELU": lambda backward, operator, slopes: backward.add(
        operator.inputs[0], slopes * (backward.values[operator.outputs[0]] > 0)
    ),
    **dict.fromkeys((*_HEADS, *_MOVES), _same),
}
