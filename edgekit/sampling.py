"""What a series of latencies says of itself: whether it drifts, how well its median is known, what a few more would do.

Plain Python on numbers: knows neither records nor machines.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.errors import DataError

Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile
DRIFT_BLOCKS = 20
DRIFT_LEAST = 8  # the normal approximation of Kendall's statistic serves from about here on
_QUANTILES = 400  # of all blocks together: more would cost time and change nothing

Blocks = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Drift:
    """A trend through a series: its change from end to end as a share of the median, and how likely it is chance."""

    change: float
    p_value: float


def drift(values: Sequence[float]) -> Drift | None:
    """The trend of a series in the order of its time; None for fewer than 8 values, which show none.

    Mann and Kendall's test on the medians of up to 20 blocks, because single latencies resemble their neighbours and
    would make chance look like a trend; the change is Theil and Sen's slope times the length (Sen 1968).
    """
    if len(values) < DRIFT_LEAST:
        return None
    medians = [statistics.median(block) for block in _cut(values, min(DRIFT_BLOCKS, len(values)))]
    n = len(medians)
    pairs = [(j - i, medians[j] - medians[i]) for i, j in itertools.combinations(range(n), 2)]
    score = sum((rise > 0) - (rise < 0) for _, rise in pairs)
    slope = statistics.median(rise / run for run, rise in pairs)
    middle = statistics.median(medians)
    return Drift(slope * (n - 1) / middle if middle else 0.0, _kendall_p(score, medians))


def _kendall_p(score: int, values: Sequence[float]) -> float:
    """The two-sided p-value of Kendall's score, by the normal approximation with its correction for ties."""
    n = len(values)
    ties = [len(list(group)) for _, group in itertools.groupby(sorted(values))]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if variance <= 0 or score == 0:
        return 1.0
    return math.erfc((abs(score) - 1) / math.sqrt(2 * variance))


def _cut(values: Sequence[float], count: int) -> list[Sequence[float]]:
    edges = [len(values) * number // count for number in range(count + 1)]
    return [values[start:stop] for start, stop in itertools.pairwise(edges)]


def early_stopping(values: Sequence[float], percentile: float = 0.9, confidence: float = 0.99) -> float | None:
    """An upper estimate of a percentile, as MLPerf's LoadGen makes it for a single stream; None for too few values.

    It is the t-th greatest value, for the greatest t of 1 or more with which, if the true percentile were any higher,
    so many as t values above would be seen with a probability of no more than 1 - `confidence`: P(Binomial(n, 1 -
    percentile) <= t) <= 1 - confidence. 64 values are the fewest for 90 %, 662 for 99 %.
    Source: MLPerf inference, loadgen/early_stopping.cc and results.cc (single stream, tolerance 0).
    """
    if not 0 < percentile < 1 or not 0 < confidence < 1:
        raise DataError(f"asked for percentile {percentile} with confidence {confidence}; both lie between 0 and 1")
    allowed = over_latency(len(values), percentile, confidence)
    return sorted(values)[len(values) - allowed] if allowed else None


def over_latency(n: int, percentile: float, confidence: float) -> int:
    """The greatest t of `early_stopping`; 0 if there is none."""
    cumulative, found = 0.0, 0
    for t in range(n + 1):
        cumulative += math.exp(_log_binomial(n, t, 1 - percentile))
        if cumulative > 1 - confidence:
            break
        found = t
    return found


def _log_binomial(n: int, k: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return ways + k * math.log(p) + (n - k) * math.log1p(-p)


def median_interval(blocks: Blocks, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the median of all values, by drawing whole blocks; see `ratio_interval`."""
    blocks = [block for block in blocks if block]
    _check(blocks)
    pooled = _Pooled(blocks)
    value = statistics.median(itertools.chain.from_iterable(blocks))
    generator = random.Random(seed)
    draws = sorted(pooled.median(_draw(len(blocks), generator)) / value for _ in range(resamples))
    low, high = _widened(draws, len(blocks))
    return value * low, value * high


def ratio_interval(above: Blocks, below: Blocks, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the ratio of two medians whose samples were taken in turns, block by block.

    Blocks are drawn with replacement and in pairs (a block bootstrap, Künsch 1989), because latencies within one slice
    resemble each other, and because what slows one slice down slows the one beside it too. A few blocks vary less
    among themselves than many would, so the interval is widened as Student's t asks. DataError for blocks that do not
    pair up, or fewer than 2.
    """
    if len(above) != len(below):
        raise DataError(f"asked to pair {len(above)} slices with {len(below)}; they are not of one session")
    paired = [pair for pair in zip(above, below, strict=True) if pair[0] and pair[1]]
    _check(paired)
    numerators, denominators = _Pooled([pair[0] for pair in paired]), _Pooled([pair[1] for pair in paired])
    every = [1] * len(paired)
    value = numerators.median(every) / denominators.median(every)
    generator = random.Random(seed)
    draws = []
    for _ in range(resamples):
        counts = _draw(len(paired), generator)
        draws.append(numerators.median(counts) / denominators.median(counts) / value)
    low, high = _widened(sorted(draws), len(paired))
    return value * low, value * high


def _check(blocks: Sequence[object]) -> None:
    if len(blocks) < 2:
        raise DataError(f"asked for an interval from {len(blocks)} slices; 2 or more are needed")


def _draw(count: int, generator: random.Random) -> list[int]:
    """How often each block is drawn."""
    counts = [0] * count
    for _ in range(count):
        counts[int(generator.random() * count)] += 1
    return counts


def _widened(relative: Sequence[float], blocks: int) -> tuple[float, float]:
    """The 95 % percentile interval of sorted relative values, widened around 1 for how few blocks there are."""
    factor = student(blocks - 1) / Z95 * math.sqrt(blocks / (blocks - 1))
    low = relative[int(0.025 * len(relative))]
    high = relative[math.ceil(0.975 * len(relative)) - 1]
    return min(1.0, low**factor), max(1.0, high**factor)


def student(degrees: int) -> float:
    """Student's 97.5 % quantile: exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion."""
    if degrees <= 2:
        return (12.7062, 4.3027)[degrees - 1]
    z, v = Z95, degrees
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


class _Pooled:
    """Blocks as sorted quantiles with weights, so that the median of any draw of them is one walk."""

    def __init__(self, blocks: Blocks) -> None:
        each = max(5, _QUANTILES // len(blocks))
        points = [
            (value, number, weight) for number, block in enumerate(blocks) for value, weight in _quantiles(block, each)
        ]
        self._points = sorted(points)
        self._weights = [float(len(block)) for block in blocks]

    def median(self, counts: Sequence[int]) -> float:
        """The median of so many copies of each block."""
        half = sum(count * weight for count, weight in zip(counts, self._weights, strict=True)) / 2
        passed = 0.0
        for value, number, weight in self._points:
            passed += counts[number] * weight
            if passed >= half:
                return value
        return self._points[-1][0]


def _quantiles(block: Sequence[float], most: int) -> list[tuple[float, float]]:
    """At most so many values of the block with the number of values that each stands for."""
    ordered = sorted(block)
    count = min(most, len(ordered))
    return [(ordered[len(ordered) * (2 * i + 1) // (2 * count)], len(ordered) / count) for i in range(count)]
