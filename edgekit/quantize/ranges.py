"""The range of every activation, observed on sample inputs in the float model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.errors import DataError
from edgekit.graph import Array, Graph, Operator
from edgekit.runtime import Runner

Range = tuple[float, float]
Sample = Array | tuple[Array, ...]  # one float32 array per input of the model, in its shape
Progress = Callable[[int, int], None]
_LOWEST = -1e30
_MOMENTUM = 0.95


def activations(graph: Graph) -> list[int]:
    """The float tensors that hold a value only while the model runs, in graph order."""
    produced = [*graph.inputs, *(tensor for operator in graph.operators for tensor in operator.outputs)]
    return [index for index in dict.fromkeys(produced) if graph.tensors[index].dtype == "float32"]


def run(
    model: bytes, samples: Sequence[Sample], indices: Sequence[int], progress: Progress | None = None, threads: int = 2
) -> Iterator[dict[int, Array]]:
    """The values of the tensors `indices` of a float model, sample by sample.

    DataError if there are no samples or one has another shape than the input.
    """
    if not len(samples):
        raise DataError("no calibration samples; give a folder of images with --calibration")
    runner = Runner(model, threads, keep_tensors=True)
    for number, sample in enumerate(samples):
        _fill(runner, sample if isinstance(sample, tuple) else (sample,))
        runner.invoke()
        yield {index: runner.tensor(index) for index in indices}
        if progress:
            progress(number + 1, len(samples))


def observe(
    graph: Graph, model: bytes, samples: Sequence[Sample], progress: Progress | None = None, threads: int = 2
) -> dict[int, Range]:
    """Smallest and largest value of each activation over all samples.

    DataError as `run` has it, and if a sample drives the model to infinity or NaN.
    """
    lowest, highest = _extremes(graph, model, samples, progress, threads)
    return _completed(graph, dict(zip(lowest, zip(_lowest(lowest), _highest(highest), strict=True), strict=True)))


def observe_average(
    graph: Graph, model: bytes, samples: Sequence[Sample], progress: Progress | None = None, threads: int = 2
) -> dict[int, Range]:
    """Moving average, sample by sample, of the smallest and largest value: one odd image does not set a range."""
    lowest, highest = _extremes(graph, model, samples, progress, threads)
    averaged = {index: (_average(lowest[index]), _average(highest[index])) for index in lowest}
    return _completed(graph, averaged)


def is_lowest_padding(graph: Graph, operator: Operator) -> bool:
    """Whether an operator pads with the lowest float, as max pooling asks for: any value below the range serves."""
    value = graph.tensors[operator.inputs[2]].data if operator.kind == "PADV2" else None
    return value is not None and bool((value < _LOWEST).all())


def _extremes(
    graph: Graph, model: bytes, samples: Sequence[Sample], progress: Progress | None, threads: int
) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    indices = activations(graph)
    lowest: dict[int, list[float]] = {index: [] for index in indices}
    highest: dict[int, list[float]] = {index: [] for index in indices}
    for values in run(model, samples, indices, progress, threads):
        for index, value in values.items():
            lowest[index].append(float(value.min()))
            highest[index].append(float(value.max()))
    return lowest, highest


def _lowest(values: Mapping[int, list[float]]) -> list[float]:
    return [float(np.min(each)) for each in values.values()]  # unlike min(), carries NaN


def _highest(values: Mapping[int, list[float]]) -> list[float]:
    return [float(np.max(each)) for each in values.values()]


def _average(values: list[float]) -> float:
    average = values[0]
    for value in values[1:]:
        average = _MOMENTUM * average + (1 - _MOMENTUM) * value
    return average


def _completed(graph: Graph, ranges: dict[int, Range]) -> dict[int, Range]:
    for operator in graph.operators:
        if is_lowest_padding(graph, operator):
            ranges[operator.outputs[0]] = ranges[operator.inputs[0]]
    _check_finite(graph, ranges)
    return ranges


def _fill(runner: Runner, sample: tuple[Array, ...]) -> None:
    if len(sample) != len(runner.inputs):
        raise DataError(f"the model has {len(runner.inputs)} inputs; a calibration sample gives {len(sample)}")
    for position, (info, values) in enumerate(zip(runner.inputs, sample, strict=True)):
        if tuple(values.shape) not in (info.shape, info.shape[1:]):
            raise DataError(f"a calibration sample is {values.shape}, but the input {info.name!r} is {info.shape}")
        runner.set_input(info.quantize(values), position)


def _check_finite(graph: Graph, ranges: dict[int, Range]) -> None:
    for index, limits in ranges.items():
        if not np.isfinite(limits).all():
            name = graph.tensors[index].name
            if index in graph.inputs:
                raise DataError(f"a calibration sample holds infinite or undefined values for {name!r}")
            raise DataError(f"the float model itself gives infinite or undefined values, first at {name!r}")
