"""How the values of activations are distributed, and the ranges that quantize them with the least error.

Zeros are not counted: a scale represents them exactly, and after a ReLU they are most of the values.
"""

from __future__ import annotations

import threading
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

    def divided(self, gains: Array) -> Histogram:
        """The same of channels that are divided by these gains."""
        return Histogram(self.low / gains, self.high / gains, self.counts)

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
    lock = threading.Lock()

    def take(_number: int, values: dict[int, Array]) -> None:
        for index, value in values.items():
            counted = _counts(found[index], value)
            with lock:
                found[index].counts += counted

    ranges.each(model, samples, list(limits), take, progress)
    return found


def least_error(histogram: Histogram) -> Array:
    """The share of the whole range, per channel, that an 8-bit scale should cover so that the squared error is least.

    What lies beyond is clipped.
    """
    low, high = np.minimum(0, histogram.low), np.maximum(0, histogram.high)
    upper, lower = _Tail(histogram), _Tail(_mirrored(histogram))
    errors = [
        upper.clipped(high * share) + lower.clipped(-low * share) + _rounding(upper, lower, low * share, high * share)
        for share in _SHRINKS
    ]
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


class _Tail:
    """Sums over what lies above a limit, for any limit: of the counts, and of the squared distance from it."""

    def __init__(self, histogram: Histogram) -> None:
        self.low = histogram.low
        self.width = np.maximum(histogram.high - histogram.low, _NARROWEST) / BINS
        powers = (np.arange(BINS) + 0.5) ** np.arange(3)[:, None, None]  # of the bins' centres, in bins
        sums = np.zeros((3, len(self.low), BINS + 1))
        sums[:, :, :BINS] = np.cumsum((histogram.counts * powers)[:, :, ::-1], axis=2)[:, :, ::-1]
        self.sums = sums

    def count(self, limit: Array) -> Array:
        """How many values of each channel lie above its limit."""
        count: Array = self._above(limit)[0]
        return count

    def clipped(self, limit: Array) -> Array:
        """The squared error of clipping each channel at its limit."""
        place = (limit - self.low) / self.width
        count, linear, squared = self._above(limit)
        error: Array = (squared - 2 * place * linear + place**2 * count) * self.width**2
        return error

    def _above(self, limit: Array) -> Array:
        first = np.clip(np.floor((limit - self.low) / self.width + 0.5), 0, BINS).astype(np.int64)
        above: Array = self.sums[:, np.arange(len(first)), first]
        return above


def _mirrored(histogram: Histogram) -> Histogram:
    return Histogram(-histogram.high, -histogram.low, histogram.counts[:, ::-1])


def _rounding(upper: _Tail, lower: _Tail, low: Array, high: Array) -> Array:
    """The squared error of rounding what lies between the limits."""
    inside = upper.sums[0, :, 0] - upper.count(high) - lower.count(-low)
    error: Array = inside * ((high - low) / _STEPS) ** 2 / 12
    return error


def _counts(histogram: Histogram, value: Array) -> Array:
    channels, rows = len(histogram.low), ranges.by_channel(value)
    rows = rows[:: max(1, rows.size // _MOST_VALUES)]
    span = np.maximum(histogram.high - histogram.low, _NARROWEST)
    bins = ((rows - histogram.low) * (BINS / span * (1 - 1e-6)).astype(np.float32)).astype(np.int32)
    bins = np.clip(bins, 0, BINS - 1) + np.arange(channels, dtype=np.int32) * BINS
    counted = np.bincount(bins[rows != 0], minlength=channels * BINS)
    return counted.reshape(channels, BINS)
