"""How the values of activations are distributed, and the ranges that quantize them with the least error.

Zeros are not counted: a scale represents them exactly, and after a ReLU they are most of the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Array
from edgekit.quantize import ranges
from edgekit.quantize.ranges import Progress, Range, Sample

BINS = 1024
_SHRINKS = np.linspace(1.0, 0.2, 41)  # how much of the whole range is tried
_STEPS = 255
_NARROWEST = 1e-20  # a channel that hardly varies; its bins would not be floats
_MOST_VALUES = 1 << 16  # of one tensor and sample; more add nothing but time


@dataclass
class Histogram:
    """Counts of shape (channels, BINS) over equal bins from `low` to `high`, one pair of them per channel."""

    low: Array
    high: Array
    counts: Array

    def centres(self) -> Array:
        """The value each bin stands for, of shape (channels, BINS)."""
        share = (np.arange(BINS) + 0.5) / BINS
        centres: Array = self.low[:, None] + share * (self.high - self.low)[:, None]
        return centres


def collect(
    model: bytes,
    samples: Sequence[Sample],
    limits: Mapping[int, tuple[Array, Array]],
    progress: Progress | None = None,
) -> dict[int, Histogram]:
    """One histogram per tensor within its (low, high): arrays of one element, or one per channel of its last axis."""
    found = {index: Histogram(low, high, np.zeros((len(low), BINS))) for index, (low, high) in limits.items()}
    for values in ranges.run(model, samples, list(limits), progress):
        for index, value in values.items():
            _count(found[index], value)
    return found


def channel_limits(
    model: bytes, samples: Sequence[Sample], indices: Sequence[int], progress: Progress | None = None
) -> dict[int, tuple[Array, Array]]:
    """Smallest and largest value of each channel (last axis) of some tensors."""
    lowest, highest = dict[int, Array](), dict[int, Array]()
    for values in ranges.run(model, samples, indices, progress):
        for index, value in values.items():
            rows = value.reshape(-1, value.shape[-1])
            low, high = rows.min(0), rows.max(0)
            lowest[index] = np.minimum(lowest.get(index, low), low)
            highest[index] = np.maximum(highest.get(index, high), high)
    return {index: (lowest[index], highest[index]) for index in lowest}


def least_error(histograms: Sequence[Histogram]) -> Array:
    """The share of the whole range, per channel, that an 8-bit scale should cover so that the squared error is least.

    What lies beyond is clipped. Several histograms of equal channel counts are fitted together, for tensors that
    share a scale; the range is then that of their union.
    """
    low = np.minimum(0, np.min([each.low for each in histograms], axis=0))
    high = np.maximum(0, np.max([each.high for each in histograms], axis=0))
    errors = [np.sum([_error(each, low * share, high * share) for each in histograms], axis=0) for share in _SHRINKS]
    best: Array = _SHRINKS[np.argmin(errors, axis=0)]
    return best


def percentile(histograms: Iterable[Histogram], percent: float) -> Range:
    """The range that holds so many percent of the non-zero values on each side of 0, over all channels."""
    values = [(each.centres().ravel(), each.counts.ravel()) for each in histograms]
    centres, counts = (np.concatenate(part) for part in zip(*values, strict=True))
    return -_reach(-centres, counts, percent), _reach(centres, counts, percent)


def _reach(centres: Array, counts: Array, percent: float) -> float:
    """Below which value `percent` of the positive ones lie; 0 if there are none."""
    order = np.argsort(centres)
    order = order[centres[order] > 0]
    if not counts[order].sum():
        return 0.0
    share = np.cumsum(counts[order]) / counts[order].sum()
    return float(centres[order][min(int(np.searchsorted(share, percent / 100)), len(order) - 1)])


def _error(histogram: Histogram, low: Array, high: Array) -> Array:
    """Squared error of quantizing to [low, high] per channel: rounding inside, distance outside."""
    centres = histogram.centres()
    beyond = np.maximum(centres - high[:, None], 0) + np.maximum(low[:, None] - centres, 0)
    rounding = ((high - low) / _STEPS) ** 2 / 12
    error: Array = (histogram.counts * np.where(beyond > 0, beyond**2, rounding[:, None])).sum(1)
    return error


def _count(histogram: Histogram, value: Array) -> None:
    channels = len(histogram.low)
    rows = value.reshape(-1, channels)
    rows = rows[:: max(1, rows.size // _MOST_VALUES)]
    span = np.maximum(histogram.high - histogram.low, _NARROWEST)
    bins = ((rows - histogram.low) * (BINS / span * (1 - 1e-6)).astype(np.float32)).astype(np.int32)
    bins = np.clip(bins, 0, BINS - 1) + np.arange(channels, dtype=np.int32) * BINS
    counted = np.bincount(bins[rows != 0], minlength=channels * BINS)
    histogram.counts += counted.reshape(channels, BINS)
