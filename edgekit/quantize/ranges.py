"""The range of every activation, observed on sample inputs in the float model."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgekit.errors import DataError
from edgekit.graph import Array, Graph, Operator
from edgekit.runtime import Runner

Range = tuple[float, float]
Sample = Array | tuple[Array, ...]  # one float32 array per input of the model, in its shape
Progress = Callable[[int, int], None]
_LOWEST = -1e30
_MOMENTUM = 0.95
_WORKERS = min(4, os.cpu_count() or 1)
_T = TypeVar("_T")


def activations(graph: Graph) -> list[int]:
    """The float tensors that hold a value only while the model runs, in graph order."""
    produced = [*graph.inputs, *(tensor for operator in graph.operators for tensor in operator.outputs)]
    return [index for index in dict.fromkeys(produced) if graph.tensors[index].dtype == "float32"]


def run(
    model: bytes, samples: Sequence[Sample], indices: Sequence[int], threads: int = 2
) -> Iterator[dict[int, Array]]:
    """The values of the tensors `indices` of a float model, sample by sample.

    DataError if there are no samples or one has another shape than the input.
    """
    if not len(samples):
        raise DataError("no calibration samples; give a folder of images with --calibration")
    runner = Runner(model, threads, keep_tensors=True)
    for sample in samples:
        fill(runner, sample)
        runner.invoke()
        yield {index: runner.tensor(index) for index in indices}


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value of each channel (last axis) of each activation: (samples, channels) by tensor."""

    low: Mapping[int, Array]
    high: Mapping[int, Array]

    def limits(self, index: int) -> tuple[Array, Array]:
        """What each channel of a tensor reaches over all samples."""
        return self.low[index].min(0), self.high[index].max(0)

    def divided(self, gains: Mapping[int, Array]) -> Extremes:
        """The same of a graph whose channels are divided by these gains, by tensor."""
        low, high = ({index: each / gains[index] for index, each in side.items()} for side in (self.low, self.high))
        return Extremes(low, high)

    def whole(self, graph: Graph) -> dict[int, Range]:
        """The range of each activation over all samples."""
        found = {index: self.limits(index) for index in self.low}
        return _completed(graph, {index: (float(low.min()), float(high.max())) for index, (low, high) in found.items()})

    def average(self, graph: Graph) -> dict[int, Range]:
        """Moving average of the ranges, sample by sample: one odd image does not set a range."""
        found = {index: (_average(self.low[index].min(1)), _average(self.high[index].max(1))) for index in self.low}
        return _completed(graph, found)


def observe(
    graph: Graph,
    model: bytes,
    samples: Sequence[Sample],
    progress: Progress | None = None,
    *,
    channels: bool = True,
) -> Extremes:
    """What each channel of each activation reaches; of pooled values, what reaches the pooling.

    Without `channels` the whole tensor counts as one, which is quicker.

    DataError as `run` has it, and if a sample drives the model to infinity or NaN.
    """
    passed = {operator.outputs[0]: operator for operator in graph.operators if _passes_on(graph, operator)}
    indices = [index for index in activations(graph) if index not in passed]
    ends = each(model, samples, indices, lambda _number, values: _ends(values, channels), progress)
    low, high = ({index: np.stack([end[side][index] for end in ends]) for index in indices} for side in (0, 1))
    for index, operator in passed.items():
        for found in (low, high):
            found[index] = np.concatenate([found[source] for source in operator.inputs], axis=1)
    reached = Extremes(low, high)
    _check_finite(graph, reached)
    return reached


def _passes_on(graph: Graph, operator: Operator) -> bool:
    """Whether each channel of the output holds values of one channel of an input, and nothing else."""
    fused = bool(getattr(operator.options, "fusedActivationFunction", 0))
    if fused or graph.tensors[operator.outputs[0]].dtype != "float32":
        return False
    if operator.kind == "CONCATENATION":
        joins_channels = operator.options.axis in (-1, len(graph.tensors[operator.outputs[0]].shape) - 1)
        return joins_channels and all(graph.tensors[index].data is None for index in operator.inputs)
    return operator.kind == "MAX_POOL_2D" and operator.inputs[0] not in padded_lowest(graph)


def each(
    model: bytes,
    samples: Sequence[Sample],
    indices: Sequence[int],
    take: Callable[[int, dict[int, Array]], _T],
    progress: Progress | None = None,
) -> list[_T]:
    """What `take` makes of each sample's number and values, in the samples' order; taken in several threads.

    DataError as `run` has it.
    """
    workers = max(1, min(_WORKERS, len(samples)))
    done = itertools.count(1)

    def part(first: int) -> list[_T]:
        found = []
        values = run(model, samples[first::workers], indices, threads=1)
        for number, value in zip(range(first, len(samples), workers), values, strict=True):
            found.append(take(number, value))
            if progress:
                progress(next(done), len(samples))
        return found

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(part, range(workers)))
    return [parts[number % workers][number // workers] for number in range(len(samples))]


def _ends(values: Mapping[int, Array], channels: bool) -> tuple[dict[int, Array], dict[int, Array]]:
    """The smallest and largest value of each tensor or of each of its channels; 0 where it has none."""
    low, high = dict[int, Array](), dict[int, Array]()
    for index, value in values.items():
        rows = by_channel(value) if value.size else np.zeros((1, 1))
        axis = 0 if channels else None
        low[index], high[index] = np.atleast_1d(rows.min(axis)), np.atleast_1d(rows.max(axis))
    return low, high


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many of the samples, evenly from all over."""
    places = np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int)
    return [samples[place] for place in places]


def by_channel(value: Array) -> Array:
    """A tensor's values as (positions, channels)."""
    return value.reshape(-1, value.shape[-1] if value.ndim else 1)


def fill(runner: Runner, sample: Sample) -> None:
    """Sets all inputs of a model; DataError for a sample of another shape."""
    parts = sample if isinstance(sample, tuple) else (sample,)
    if len(parts) != len(runner.inputs):
        raise DataError(f"the model has {len(runner.inputs)} inputs; a sample gives {len(parts)}")
    for position, (info, values) in enumerate(zip(runner.inputs, parts, strict=True)):
        if tuple(values.shape) not in (info.shape, info.shape[1:]):
            raise DataError(f"a sample is {values.shape}, but the input {info.name!r} is {info.shape}")
        runner.set_input(info.quantize(values), position)


def padded_lowest(graph: Graph) -> dict[int, int]:
    """What was padded with the lowest float, by the tensor that holds it with its padding."""
    return {each.outputs[0]: each.inputs[0] for each in graph.operators if is_lowest_padding(graph, each)}


def is_lowest_padding(graph: Graph, operator: Operator) -> bool:
    """Whether an operator pads with the lowest float, as max pooling asks for: any value below the range serves."""
    value = graph.tensors[operator.inputs[2]].data if operator.kind == "PADV2" else None
    return value is not None and bool((value < _LOWEST).all())


def _average(values: Array) -> float:
    average = float(values[0])
    for value in values[1:]:
        average = _MOMENTUM * average + (1 - _MOMENTUM) * float(value)
    return average


def _completed(graph: Graph, ranges: dict[int, Range]) -> dict[int, Range]:
    for padded, source in padded_lowest(graph).items():
        ranges[padded] = ranges[source]
    return ranges


def _check_finite(graph: Graph, extremes: Extremes) -> None:
    padded = padded_lowest(graph)
    for index in (index for index in extremes.low if index not in padded):
        if not np.isfinite(extremes.limits(index)).all():
            name = graph.tensors[index].name
            if index in graph.inputs:
                raise DataError(f"a calibration sample holds infinite or undefined values for {name!r}")
            raise DataError(f"the float model itself gives infinite or undefined values, first at {name!r}")
