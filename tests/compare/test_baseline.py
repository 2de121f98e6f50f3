"""A model beside a curve, where the answer is known by construction."""

from __future__ import annotations

import math
import random

import pytest
from constructed import accuracy, counted, first, row
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.compare import Row, family
from edgekit.compare.baseline import APART, BETTER, SAME, WORSE, Point, curve, standing
from edgekit.compare.costs import INSTRUCTIONS, LATENCY, SIZE
from edgekit.compare.family import Terms
from edgekit.compare.pareto import front
from edgekit.errors import DataError

N = 1000
LINE = curve([Point(f"m{cost}", cost, accuracy(first(hits, N))) for cost, hits in ((1, 400), (4, 600), (16, 800))])
costs = st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0, 1)), min_size=1, max_size=40)


@settings(deadline=None)
@given(costs)
def test_a_front_is_what_no_other_beats(points: list[tuple[float, float]]) -> None:
    found = front(points, lambda p: p[0], lambda p: p[1])
    beaten = {p for p in points if any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    assert set(found) == set(points) - beaten
    assert found == sorted(found) and [p[1] for p in found] == sorted({p[1] for p in found})


def test_halfway_over_the_logarithm_is_halfway_in_accuracy() -> None:
    found = standing(Point("x", 2.0, accuracy(first(500, N))), LINE)
    assert found.at_equal_cost is not None and found.at_equal_cost.value == pytest.approx(0, abs=1e-12)
    assert (found.word, found.between) == (SAME, ("m1", "m4"))


@pytest.mark.parametrize(("hits", "word"), [(600, BETTER), (400, WORSE), (505, SAME)])
def test_the_word_follows_the_interval(hits: int, word: str) -> None:
    found = standing(Point("x", 2.0, accuracy(first(hits, N))), LINE)
    assert found.word == word and found.at_equal_cost is not None
    assert found.at_equal_cost.value == pytest.approx((hits - 500) / N)


@settings(deadline=None)
@given(st.floats(1.01, 15.9), st.floats(0.25, 4))
def test_at_equal_accuracy_the_ratio_of_costs_is_found(cost: float, ratio: float) -> None:
    """A model with the curve's accuracy at `cost` that costs `ratio` times as much."""
    number = 0 if cost <= 4 else 1
    share = math.log(cost / LINE[number].cost) / math.log(4)
    hits = round(N * (LINE[number].accuracy.value + 0.2 * share))
    exact = LINE[number].cost * 4 ** ((hits / N - LINE[number].accuracy.value) / 0.2)
    found = standing(Point("x", exact * ratio, accuracy(first(hits, N))), LINE).at_equal_accuracy
    assert found is not None and found.value == pytest.approx(ratio, rel=1e-6)
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.high >= found.value


def test_what_is_as_accurate_as_the_curves_end_has_an_open_interval() -> None:
    found = standing(Point("x", 8.0, accuracy(first(800, N))), LINE).at_equal_accuracy
    assert found is not None and found.value == pytest.approx(0.5) and found.low is None and found.high is not None


def test_beyond_the_curve_the_dearest_point_is_the_rival() -> None:
    found = standing(Point("x", 100.0, accuracy(first(700, N))), LINE)
    assert (found.word, found.between) == (WORSE, ("m16",)) and "costs less" in found.why


def test_below_the_curve_nothing_is_compared() -> None:
    found = standing(Point("x", 0.5, accuracy(first(900, N))), LINE)
    assert found.word == APART and found.at_equal_cost is None and "2 times as much" in found.why


def test_a_latency_that_is_hardly_known_makes_no_difference_significant() -> None:
    exact = standing(Point("x", 2.0, accuracy(first(530, N))), LINE)
    vague = standing(Point("x", 2.0, accuracy(first(530, N)), log_error=0.5), LINE)
    assert (exact.word, vague.word) == (BETTER, SAME)


def test_points_that_are_beaten_do_not_bend_the_curve() -> None:
    poor = Point("poor", 5.0, accuracy(first(100, N)))
    assert curve([*LINE, poor]) == LINE


def test_a_cost_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="above 0"):
        curve([Point("x", 0.0, accuracy(first(1, 2)))])
    with pytest.raises(DataError, match="without points"):
        standing(LINE[0], [])


def test_chance_alone_seldom_makes_a_model_better_or_worse_than_the_curve() -> None:
    generator = random.Random(9)
    wrong = 0
    for _ in range(400):
        hits = [[generator.random() < rate for _ in range(400)] for rate in (0.5, 0.7, 0.6)]
        line = curve([Point("a", 1, accuracy(hits[0])), Point("b", 4, accuracy(hits[1]))])
        wrong += standing(Point("x", 2, accuracy(hits[2])), line).word != SAME
    assert wrong <= 0.08 * 400


def rows() -> list[Row]:
    """SqueezeNet as good as a MobileNet of its size, and four times as slow as one of its accuracy."""
    mobiles = [
        row(f"mobilenet_v1_{n}-{px}-int8", f"mobilenet_v1_{n}", first(hits, 400), size_bytes=size, latency_median_ms=ms)
        for n, px, hits, size, ms in (("025", 128, 180, 500_000, 1.0), ("050", 160, 280, 1_500_000, 4.0))
    ]
    squeeze = row("squeezenet-224-int8", "squeezenet_v1_1", first(280, 400), size_bytes=1_500_000, latency_median_ms=16)
    return [*mobiles, squeeze]


def test_the_answer_differs_by_what_is_held_equal() -> None:
    found = {beside.terms.cost.key: beside for beside in family.besides(rows(), [SIZE, LATENCY], {})}
    assert found["size_mb"].standing.word == SAME
    assert found["size_mb"].standing.at_equal_accuracy is not None
    assert found["size_mb"].standing.at_equal_accuracy.value == pytest.approx(1.0)
    assert found["latency_ms"].standing.at_equal_accuracy is not None
    assert found["latency_ms"].standing.at_equal_accuracy.value == pytest.approx(4.0)


def test_invalid_timings_are_on_no_curve_of_time_but_on_that_of_size() -> None:
    bad = [*rows()[:1], row("m", "mobilenet_v1_050", first(280, 400), latency_median_ms=4.0, verdict="invalid")]
    here = Terms(LATENCY, "int8", "Board", 1, "measured")
    assert [p.name for p in family.curve(bad, "mobilenet_v1", here, {})] == ["mobilenet_v1_025-128-int8"]
    of_size = Terms(SIZE, "int8", None, None, "measured")
    assert len(family.curve(bad, "mobilenet_v1", of_size, {})) == 2


def test_published_and_measured_accuracies_are_on_curves_of_their_own() -> None:
    plain = row("mobilenet_v1_100-224-int8", "mobilenet_v1", None, instructions=counted(90), input_size=224)
    other = row("mobilenet_v1_050-160-int8", "mobilenet_v1_050", None, instructions=counted(11), input_size=160)
    mine = row("squeezenext-227-int8", "squeezenext_23", None, instructions=counted(50), input_size=227)
    known = {("mobilenet_v1", 224): 70.9, ("mobilenet_v1_050", 160): 59.1, ("squeezenext_23", 227): 59.05}
    (found,) = family.besides([plain, other, mine], [INSTRUCTIONS], known)
    assert found.terms.basis == "published" and found.standing.word == WORSE
    assert found.standing.at_equal_accuracy is not None
    assert found.standing.at_equal_accuracy.low is not None and found.standing.at_equal_accuracy.low > 4
    assert family.besides([plain, other, mine], [INSTRUCTIONS], {}) == []


def test_families_are_told_by_name() -> None:
    names = {"mobilenet_v1_050": "mobilenet_v1", "squeezenext_23_g": "squeezenext", "squeezenet_v1_1": "squeezenet"}
    assert {name: family.family(row("x", name, None)) for name in names} == names
    assert family.family(row("x", None, None)) == "other"
