"""Where a model stands beside a family: how much more accurate at equal cost, how much dearer at equal accuracy.

The family's best points make a curve, straight between neighbours over the logarithm of the cost: a MobileNet's width
and resolution can be chosen freely, so that what lies between two points can be had. For the same reason a point below
the straight line between two others is no part of the curve. It is never drawn on beyond its ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from edgekit.compare.paired import Accuracy, Difference, Mixture, against
from edgekit.compare.pareto import front
from edgekit.errors import DataError

_STRAIGHT = 1e-9  # as far as three points may be off a straight line for rounding alone
_STEPS = 48  # places looked at between two points of the curve, where an interval of cost is sought

BETTER, WORSE, SAME, APART = "better", "worse", "no significant difference", "nothing to compare"


class Point(msgspec.Struct, frozen=True):
    """A model with its cost; `log_error` is the standard error of the cost's logarithm, 0 for what is counted."""

    name: str
    cost: float
    accuracy: Accuracy
    log_error: float = 0.0


class CostRatio(msgspec.Struct, frozen=True):
    """The cost over the curve's at the same accuracy; an end is None where the curve ends before it."""

    value: float | None
    low: float | None
    high: float | None


class Standing(msgspec.Struct, frozen=True):
    """A model beside the curve.

    `at_equal_cost` is the difference of accuracies, against `between`, the names of the curve's points; None below the
    curve's least cost. `at_equal_accuracy` is None where no accuracy of the curve is the model's. `why` says what could
    not be compared.
    """

    name: str
    word: str
    at_equal_cost: Difference | None
    between: tuple[str, ...]
    at_equal_accuracy: CostRatio | None
    why: str = ""


def curve(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats and no two others outdo, cheapest first.

    DataError for a cost that is not above 0.
    """
    for point in points:
        if not (point.cost > 0 and math.isfinite(point.cost)):
            raise DataError(f"{point.name} costs {point.cost}; a curve over logarithms takes costs above 0")
    line: list[Point] = []
    for point in front(points, lambda point: point.cost, lambda point: point.accuracy.value):
        while len(line) > 1 and _slope(line[-2], line[-1]) < (1 - _STRAIGHT) * _slope(line[-1], point):
            line.pop()
        line.append(point)
    return line


def _slope(before: Point, after: Point) -> float:
    """How much accuracy the logarithm of the cost buys between two points."""
    rise = after.accuracy.value - before.accuracy.value
    return rise / math.log(after.cost / before.cost)


def standing(model: Point, line: Sequence[Point]) -> Standing:
    """The model beside a curve that it is no part of; DataError for a curve without points."""
    if not line:
        raise DataError(f"asked where {model.name} stands beside a curve without points")
    ratio = _cost_ratio(model, line)
    if model.cost < line[0].cost:
        least = f"{line[0].name}, the cheapest of the curve, costs {line[0].cost / model.cost:.2g} times as much"
        return Standing(model.name, APART, None, (), ratio, least)
    at, names = _place(line, model.cost)
    found = _difference(model, line, at)
    word = SAME if not found.significant else BETTER if found.value > 0 else WORSE
    beyond = f"against {line[-1].name}, the dearest of the curve, which costs less" if at == len(line) - 1 else ""
    return Standing(model.name, word, found, names, ratio, beyond)


def _place(line: Sequence[Point], cost: float) -> tuple[float, tuple[str, ...]]:
    """Where on the curve a cost lies, as the number of the point before it and a fraction; its end for any more."""
    number = max(i for i, point in enumerate(line) if point.cost <= cost)
    if number == len(line) - 1:
        return float(number), (line[-1].name,)
    before, after = line[number], line[number + 1]
    fraction = math.log(cost / before.cost) / math.log(after.cost / before.cost)
    return number + fraction, (before.name, after.name) if fraction else (before.name,)


def _difference(model: Point, line: Sequence[Point], at: float) -> Difference:
    """The model less the curve at `at`; an uncertain cost moves the place, which counts as far as the curve rises."""
    number = min(int(at), max(0, len(line) - 2))
    before, after = line[number], line[min(number + 1, len(line) - 1)]
    weight = at - number
    if before is after:
        return against(model.accuracy, Mixture(before.accuracy, before.accuracy, 0.0))
    slope = _slope(before, after)
    errors = (model.log_error, (1 - weight) * before.log_error, weight * after.log_error)
    inside = 0.0 if weight == 1.0 and number == len(line) - 2 else sum(error * error for error in errors)
    return against(model.accuracy, Mixture(before.accuracy, after.accuracy, weight), slope * slope * inside)


def _cost_ratio(model: Point, line: Sequence[Point]) -> CostRatio | None:
    """The costs at which the curve is not significantly different from the model: an interval by inverting the test."""
    value = _equal(model, line)
    alike = [cost for at, cost in _walk(line) if not _difference(model, line, at).significant]
    if not alike:
        return None
    low = None if alike[-1] >= line[-1].cost else model.cost / alike[-1]
    high = None if alike[0] <= line[0].cost else model.cost / alike[0]
    if value is None:
        return CostRatio(None, low, high)
    return CostRatio(value, None if low is None else min(low, value), None if high is None else max(high, value))


def _equal(model: Point, line: Sequence[Point]) -> float | None:
    """The cost over that of the place where the curve is exactly as accurate; None where it nowhere is."""
    wanted = model.accuracy.value
    for before, after in itertools.pairwise(line):
        low, high = before.accuracy.value, after.accuracy.value
        if low <= wanted <= high:
            share = (wanted - low) / (high - low)
            return model.cost / _between(before.cost, after.cost, share)
    return None


def _between(low: float, high: float, share: float) -> float:
    """The cost at a share of the way between two, over logarithms."""
    return math.exp((1 - share) * math.log(low) + share * math.log(high))


def _walk(line: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """Places along the curve with their costs."""
    for number, (before, after) in enumerate(itertools.pairwise(line)):
        for step in range(_STEPS):
            share = step / _STEPS
            yield number + share, _between(before.cost, after.cost, share)
    yield float(len(line) - 1), line[-1].cost
