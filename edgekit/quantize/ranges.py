"""The range of every activation, observed on sample inputs in the float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.errors import DataError
from edgekit.graph import Array, Graph, Operator
from edgekit.runtime import Runner

Range = tuple[float, float]
Sample = Array | tuple[Array, ...]  # one float32 array per input of the model, in its shape
Progress = Callable[[int, int], None]
_LOWEST = -1e30


def activations(graph: Graph) -> list[int]:
    """The float tensors that hold a value only while the model runs, in graph order."""
    produced = [*graph.inputs, *(tensor for operator in graph.operators for tensor in operator.outputs)]
    return [index for index in dict.fromkeys(produced) if graph.tensors[index].dtype == "float32"]


def observe(
    graph: Graph, model: bytes, samples: Sequence[Sample], progress: Progress | None = None, threads: int = 2
) -> dict[int, Range]:
    """Smallest and largest value of each activation over all samples.

    DataError if there are no samples, one has another shape than the input, or drives the model to infinity or NaN.
    """
    if not len(samples):
        raise DataError("no calibration samples; give a folder of images with --calibration")
    runner = Runner(model, threads, keep_tensors=True)
    indices = activations(graph)
    lowest, highest = np.full(len(indices), np.inf), np.full(len(indices), -np.inf)
    for number, sample in enumerate(samples):
        _fill(runner, sample if isinstance(sample, tuple) else (sample,))
        runner.invoke()
        values = [runner.tensor(index) for index in indices]
        lowest = np.minimum(lowest, [value.min() for value in values])
        highest = np.maximum(highest, [value.max() for value in values])
        if progress:
            progress(number + 1, len(samples))
    ranges = dict(zip(indices, zip(lowest.tolist(), highest.tolist(), strict=True), strict=True))
    for operator in graph.operators:
        if is_lowest_padding(graph, operator):
            ranges[operator.outputs[0]] = ranges[operator.inputs[0]]
    _check_finite(graph, ranges)
    return ranges


def is_lowest_padding(graph: Graph, operator: Operator) -> bool:
    """Whether an operator pads with the lowest float, as max pooling asks for: any value below the range serves."""
    value = graph.tensors[operator.inputs[2]].data if operator.kind == "PADV2" else None
    return value is not None and bool((value < _LOWEST).all())


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
