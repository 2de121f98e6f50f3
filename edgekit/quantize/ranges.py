"""The range of every activation, observed on sample inputs in the float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgekit.errors import DataError
from edgekit.graph import Array, Graph
from edgekit.runtime import Runner

Range = tuple[float, float]
Progress = Callable[[int, int], None]


def activations(graph: Graph) -> list[int]:
    """The float tensors that hold a value only while the model runs, in graph order."""
    produced = [*graph.inputs, *(tensor for operator in graph.operators for tensor in operator.outputs)]
    return [index for index in dict.fromkeys(produced) if graph.tensors[index].dtype == "float32"]


def observe(
    graph: Graph, model: bytes, samples: Sequence[Array], progress: Progress | None = None, threads: int = 2
) -> dict[int, Range]:
    """Smallest and largest value of each activation over all samples (each shaped like the input, float32).

    DataError if there are no samples, or a sample drives the model to infinity or NaN.
    """
    if not len(samples):
        raise DataError("no calibration samples; give a folder of images with --calibration")
    runner = Runner(model, threads, keep_tensors=True)
    indices = activations(graph)
    lowest, highest = np.full(len(indices), np.inf), np.full(len(indices), -np.inf)
    for number, sample in enumerate(samples):
        runner.run(runner.input.quantize(sample))
        values = [runner.tensor(index) for index in indices]
        lowest = np.minimum(lowest, [value.min() for value in values])
        highest = np.maximum(highest, [value.max() for value in values])
        if progress:
            progress(number + 1, len(samples))
    ranges = dict(zip(indices, zip(lowest.tolist(), highest.tolist(), strict=True), strict=True))
    _check_finite(graph, ranges)
    return ranges


def _check_finite(graph: Graph, ranges: dict[int, Range]) -> None:
    for index, limits in ranges.items():
        if not np.isfinite(limits).all():
            name = graph.tensors[index].name
            raise DataError(f"the float model itself gives infinite or undefined values, first at {name!r}")
