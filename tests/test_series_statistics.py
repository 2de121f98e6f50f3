"""Statistics of series: drift, the early-stopping estimate and the intervals, on data whose answer is known."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import sampling
from edgekit.errors import DataError

latencies = st.lists(st.integers(1, 10**9), min_size=8, max_size=300)


def noisy(seed: int, n: int, change: float = 0.0, spread: float = 0.01) -> list[float]:
    random_numbers = random.Random(seed)
    return [(1 + change * i / (n - 1)) * random_numbers.lognormvariate(0, spread) * 1e6 for i in range(n)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("change", [-0.2, 0.05, 0.3])
def test_a_drift_is_found_and_sized(seed: int, change: float) -> None:
    found = sampling.drift(noisy(seed, 200, change))
    assert found is not None and found.p_value < 1e-3
    assert found.change == pytest.approx(change / (1 + change / 2), abs=0.02)


def test_steady_series_seldom_look_like_drift() -> None:
    found = [sampling.drift(noisy(seed, 200)) for seed in range(400)]
    assert 2 <= sum(drift.p_value < 0.05 for drift in found if drift) <= 36  # 20 expected


@given(latencies)
def test_a_series_backwards_drifts_the_other_way(values: list[int]) -> None:
    one, other = sampling.drift(values), sampling.drift(values[::-1])
    assert one is not None and other is not None
    assert 0 <= one.p_value <= 1
    if len(values) % min(20, len(values)) == 0:  # else the blocks fall otherwise
        assert other.p_value == pytest.approx(one.p_value)
        assert other.change == pytest.approx(-one.change)


@given(st.integers(1, 10**9), st.integers(8, 100))
def test_constant_series_do_not_drift(value: int, n: int) -> None:
    assert sampling.drift([value] * n) == sampling.Drift(0.0, 1.0)


def test_too_few_values_show_no_drift() -> None:
    assert sampling.drift([1.0] * 7) is None


# The fewest queries of which one may be over the latency, as MLPerf's rules list them for 99 % confidence.
@pytest.mark.parametrize(("percentile", "fewest"), [(0.9, 64), (0.95, 130), (0.99, 662)])
def test_the_fewest_queries_are_those_of_the_rules(percentile: float, fewest: int) -> None:
    values = list(range(fewest))
    assert sampling.early_stopping(values[1:], percentile) is None
    assert sampling.early_stopping(values, percentile) == fewest - 1  # with t = 1, the greatest of all


@given(st.integers(64, 3000), st.sampled_from([0.5, 0.9, 0.97]))
@settings(max_examples=40, deadline=None)
def test_the_early_stopping_count_is_where_the_binomial_says(n: int, percentile: float) -> None:
    t = sampling.over_latency(n, percentile, 0.99)

    def at_most(k: int) -> float:
        return math.fsum(math.comb(n, x) * (1 - percentile) ** x * percentile ** (n - x) for x in range(k + 1))

    if n <= 1000:  # beyond, the powers underflow
        assert t == 0 or at_most(t) <= 0.01 + 1e-12
        assert at_most(t + 1) > 0.01 - 1e-12
    assert t <= n * (1 - percentile)


@given(st.lists(st.integers(1, 10**9), min_size=64, max_size=400))
def test_the_early_stopping_estimate_errs_on_the_high_side(values: list[int]) -> None:
    estimate = sampling.early_stopping(values)
    assert estimate in values
    assert estimate >= sorted(values)[math.ceil(0.9 * len(values)) - 1]


def test_early_stopping_bounds_the_true_percentile_as_often_as_it_says() -> None:
    truth = math.log(10)  # the 90th percentile of the exponential distribution
    generator = random.Random(1)
    below = 0
    for _ in range(500):
        estimate = sampling.early_stopping([generator.expovariate(1) for _ in range(300)])
        assert estimate is not None
        below += estimate < truth
    assert below <= 13  # 5 expected


def test_an_impossible_percentile_is_refused() -> None:
    with pytest.raises(DataError, match="both lie between 0 and 1"):
        sampling.early_stopping([1.0] * 100, 1.0)


def blocks(generator: random.Random, centre: float, count: int, shared: list[float]) -> list[list[float]]:
    """Slices with what is shared by a pair of slices, and what is each slice's own."""
    own = [generator.lognormvariate(0, 0.01) for _ in range(count)]
    return [[centre * shared[i] * own[i] * generator.lognormvariate(0, 0.02) for _ in range(15)] for i in range(count)]


def test_the_ratio_of_slices_is_covered_as_often_as_it_says() -> None:
    generator = random.Random(2)
    hits = 0
    for trial in range(200):
        shared = [generator.lognormvariate(0, 0.1) for _ in range(10)]  # a machine that changes all the time
        low, high = sampling.ratio_interval(
            blocks(generator, 3e6, 10, shared), blocks(generator, 2e6, 10, shared), resamples=200, seed=trial
        )
        hits += low <= 1.5 <= high
    assert hits >= 180  # 190 expected


def test_slices_in_turns_are_narrower_than_slices_apart() -> None:
    generator = random.Random(3)
    shared = [generator.lognormvariate(0, 0.1) for _ in range(10)]
    above, below = blocks(generator, 3e6, 10, shared), blocks(generator, 2e6, 10, shared)
    paired = sampling.ratio_interval(above, below)
    shuffled = sampling.ratio_interval(above, below[5:] + below[:5])
    assert paired[1] - paired[0] < (shuffled[1] - shuffled[0]) / 2


@given(st.lists(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), min_size=2, max_size=12))
@settings(max_examples=50, deadline=None)
def test_intervals_turn_around_and_hold_their_middle(slices: list[list[int]]) -> None:
    low, high = sampling.ratio_interval(slices, slices, resamples=50)
    assert low == high == pytest.approx(1.0)  # the same slices are drawn on both sides
    low, high = sampling.median_interval(slices, resamples=50)
    every = [value for block in slices for value in block]
    assert low <= statistics.median(every) * (1 + 1e-9) and high >= statistics.median(every) * (1 - 1e-9)


def test_slices_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(DataError, match="not of one session"):
        sampling.ratio_interval([[1.0]] * 3, [[1.0]] * 2)
    with pytest.raises(DataError, match="2 or more are needed"):
        sampling.median_interval([[1.0, 2.0]])


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (30, 2.042)])
def test_students_quantiles_are_those_of_the_tables(degrees: int, value: float) -> None:
    assert sampling.student(degrees) == pytest.approx(value, rel=0.01)
