"""Differences of accuracies against published values, brute force, and how often their intervals hold the truth."""

from __future__ import annotations

import random

import pytest
from constructed import accuracy, alike, first
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.compare import wilson
from edgekit.compare.paired import Accuracy, Mixture, against, difference, outcomes

rights = st.integers(2, 60).flatmap(lambda n: st.tuples(*[st.lists(st.booleans(), min_size=n, max_size=n)] * 3))


def test_outcomes_tell_hits_from_misses_and_from_unlabelled_images() -> None:
    found = outcomes("1" * 64, [0, 3, None, 0])
    assert (int(found.labelled, 16), int(found.right, 16)) == (0b1011, 0b1001)


@settings(deadline=None)
@given(rights, st.floats(0, 1))
def test_a_mixture_is_compared_image_by_image(three: tuple[list[bool], ...], weight: float) -> None:
    one, a, b = three
    found = against(accuracy(one), Mixture(accuracy(a), accuracy(b), weight))
    each = [x - (1 - weight) * y - weight * z for x, y, z in zip(one, a, b, strict=True)]
    n = len(each)
    assert found.paired and found.value == pytest.approx(sum(each) / n, abs=1e-12)
    padded = [*each, 2**-0.5, -(2**-0.5)]  # two images more, 0 in sum and 1 in squares
    mean = sum(padded) / (n + 2)
    half = 1.959964 * (sum((d - mean) ** 2 for d in padded) / (n + 2) ** 2) ** 0.5
    assert found.low == pytest.approx(max(-1, min(mean - half, found.value)), abs=1e-6)
    assert found.high == pytest.approx(min(1, max(mean + half, found.value)), abs=1e-6)


def test_the_interval_is_agresti_and_mins() -> None:
    """Half an image in each cell of the table: 794, 150, 86 and 570 pairs of approval ratings (Agresti 2002)."""
    one = [True] * 794 + [True] * 150 + [False] * 86 + [False] * 570
    other = [True] * 794 + [False] * 150 + [True] * 86 + [False] * 570
    found = difference(accuracy(one), accuracy(other))
    b, c, n = 150.5, 86.5, 1602.0
    half = 1.959964 * ((b + c) - (b - c) ** 2 / n) ** 0.5 / n
    assert (found.low, found.high) == pytest.approx(((b - c) / n - half, (b - c) / n + half), abs=1e-6)


@settings(deadline=None)
@given(rights)
def test_a_difference_turns_around(three: tuple[list[bool], ...]) -> None:
    one, other, _ = three
    there, back = difference(accuracy(one), accuracy(other)), difference(accuracy(other), accuracy(one))
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)


def test_models_that_never_differ_are_not_certainly_equal() -> None:
    found = difference(accuracy(first(20, 40)), accuracy(first(20, 40)))
    assert found.low < 0 < found.high and not found.significant


@pytest.mark.parametrize("disagree", [0.02, 0.1, 0.3])
def test_equal_models_are_called_different_as_seldom_as_promised(disagree: float) -> None:
    generator = random.Random(3)
    pairs = [alike(400, 0.65, disagree, generator) for _ in range(600)]
    wrong = sum(difference(accuracy(one), accuracy(other)).significant for one, other in pairs)
    assert wrong <= 0.075 * 600


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """Three points of 400 images, always to one side: significant in pairs, hidden in two Wilson intervals."""
    one, other = first(272, 400), first(260, 400)
    paired = difference(accuracy(one), accuracy(other))
    apart = difference(accuracy(one), accuracy(other, "2" * 64))
    assert paired.paired and paired.significant
    assert not apart.paired and not apart.significant


def test_apart_it_is_newcombes_interval() -> None:
    """Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10: 56/70 less 48/80."""
    one, other = (Accuracy(hits / of, *wilson(hits, of), of) for hits, of in ((56, 70), (48, 80)))
    found = difference(one, other)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_only_images_that_all_have_labels_for_count() -> None:
    one = Accuracy(1, 1, 1, 2, outcomes=outcomes("1" * 64, [0, 0, None]))
    other = Accuracy(0.5, 0, 1, 2, outcomes=outcomes("1" * 64, [5, None, 0]))
    assert difference(one, other).value == 1.0


def test_an_uncertain_place_widens_the_interval() -> None:
    one, other = accuracy(first(30, 60)), accuracy(first(20, 60))
    mixture = Mixture(other, accuracy(first(40, 60)), 0.5)
    sure, unsure = against(one, mixture), against(one, mixture, extra_variance=0.01)
    assert unsure.high - unsure.low > sure.high - sure.low
    assert unsure.high - unsure.low == pytest.approx(((sure.high - sure.low) ** 2 + 4 * 3.8415 * 0.01) ** 0.5, rel=1e-3)
