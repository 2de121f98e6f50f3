"""What the layers of a quantized model hold and are off by, as histograms: the slow part of an audit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgekit.audit.models import Models
from edgekit.fidelity import Counts, Histogram
from edgekit.graph import Array
from edgekit.quantize.ranges import Sample

_BINS = 120
_SPREADS = 4  # how many times its root mean square an error's axis reaches
_LEVELS = 255  # steps that a layer without a scale is divided into


def collect(models: Models, pairs: Sequence[tuple[Sample, Sample]]) -> dict[str, Histogram]:
    """A histogram for each layer by its name; runs both models twice, for the axes and to fill them."""
    extents = [_Extent() for _ in models.stretches]
    for position, arrays in _every_layer(models, pairs):
        extents[position].add(*arrays)
    sheets = [_Sheet(models, *item) for item in enumerate(extents)]
    for position, arrays in _every_layer(models, pairs):
        sheets[position].add(*arrays)
    names = [models.quantized.tensors[stretch.tensor].name for stretch in models.stretches]
    return {name: sheet.histogram() for name, sheet in zip(names, sheets, strict=True)}


def _every_layer(
    models: Models, pairs: Sequence[tuple[Sample, Sample]]
) -> Iterator[tuple[int, tuple[Array, Array, Array | None]]]:
    """(Position, (float values, error, own error)), in the quantized model's units, sample by sample."""
    for pair in pairs:
        models.load(*pair)
        for position, stretch in enumerate(models.stretches):
            expected, gain, alone = models.expected(stretch), models.gain(stretch), models.alone(position)
            own_error = None if alone is None else (alone[1] - alone[0]) / gain
            yield position, (expected / gain, (models.found(stretch) - expected) / gain, own_error)


class _Extent:
    """How far a layer's values and errors reach."""

    def __init__(self) -> None:
        self.lowest, self.highest = math.inf, -math.inf
        self._squares, self._own_squares, self._values = 0.0, 0.0, 0

    def add(self, values: Array, error: Array, own_error: Array | None) -> None:
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))
        self._squares += float(np.square(error, dtype=np.float64).sum())
        self._own_squares += 0.0 if own_error is None else float(np.square(own_error, dtype=np.float64).sum())
        self._values += values.size

    @property
    def rms(self) -> tuple[float, float]:
        """The root mean square of the error and of the layer's own."""
        return math.sqrt(self._squares / self._values), math.sqrt(self._own_squares / self._values)


class _Sheet:
    """The histograms of one layer while they are filled."""

    def __init__(self, models: Models, position: int, extent: _Extent) -> None:
        stretch = models.stretches[position]
        self._range = models.range(stretch)
        self._step = models.scale(stretch) or (extent.highest - extent.lowest) / _LEVELS or 1.0
        ends = [extent.lowest, extent.highest, *(self._range or ())]
        reaches = [max(1.0, _SPREADS * rms / self._step) for rms in extent.rms]
        self._values = _Bins(min(ends), max(ends))
        self._error, self._own_error = (_Bins(-reach, reach) for reach in reaches)
        self._separate = stretch.model is not None

    def add(self, values: Array, error: Array, own_error: Array | None) -> None:
        self._values.add(values)
        self._error.add(error / np.float32(self._step))
        if own_error is not None:
            self._own_error.add(own_error / np.float32(self._step))

    def histogram(self) -> Histogram:
        """The record of it."""
        own_error = self._own_error.counts if self._separate else None
        return Histogram(self._values.counts, self._error.counts, own_error, self._range)


class _Bins:
    """Counts that grow; the end bins hold all beyond them."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high if high > low else low + 1.0
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, values: Array) -> None:
        places = (values.reshape(-1) - np.float32(self._low)) * np.float32(_BINS / (self._high - self._low))
        np.clip(places, 0, _BINS - 1, out=places)
        self._counts += np.bincount(places.astype(np.intp), minlength=_BINS)

    @property
    def counts(self) -> Counts:
        """The record of it."""
        return Counts(self._low, self._high, tuple(self._counts.tolist()))
