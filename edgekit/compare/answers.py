"""Whether a family is ever better than the baseline of the same cost: its best case for every cost and place."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from edgekit.compare import Row
from edgekit.compare.baseline import APART, BETTER, SAME, WORSE, CostRatio
from edgekit.compare.family import MEASURED, PUBLISHED, Beside, Known, accuracy, family

CHALLENGERS = ("squeezenet", "squeezenext")
BASELINE = "mobilenet_v1"
NAMES = {
    "mobilenet_v1": "MobileNet v1",
    "mobilenet_v2": "MobileNet v2",
    "mobilenet_v3": "MobileNet v3",
    "squeezenet": "SqueezeNet",
    "squeezenext": "SqueezeNext",
}


class Answer(msgspec.Struct, frozen=True):
    """The best that a family does on some terms: `beside` has the row and the figures.

    Of several recipes that counts whose curve has the most points, for a curve of a few misses better ones.
    """

    family: str
    beside: Beside


def answers(
    besides: Iterable[Beside], challengers: Sequence[str] = CHALLENGERS, baseline: str = BASELINE
) -> list[Answer]:
    """One for each family, cost, place and kind of accuracy, of what stands beside the baseline's curve."""
    best: dict[tuple[str, str, str | None, int | None, str], Answer] = {}
    for beside in besides:
        of, terms = family(beside.row), beside.terms
        if of not in challengers or beside.family != baseline:
            continue
        key = (of, terms.cost.key, terms.device, terms.threads, terms.basis)
        if key not in best or _rank(beside) > _rank(best[key].beside):
            best[key] = Answer(of, beside)
    return list(best.values())


def _rank(beside: Beside) -> tuple[int, float]:
    found = beside.standing.at_equal_cost
    return beside.points, -2.0 if found is None else found.value  # nothing is worse than nothing to compare with


def words(beside: Beside) -> str:
    """The standing as a reader takes it in."""
    standing = beside.standing
    if standing.word == APART or standing.at_equal_cost is None:
        return f"{APART}: {standing.why}"
    found = standing.at_equal_cost
    gap = f"{100 * found.value:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    return f"{standing.word}, {gap}{_dearer(standing.at_equal_accuracy)}"


def _dearer(ratio: CostRatio | None) -> str:
    if ratio is None or ratio.value is None:
        return ""
    low = "less" if ratio.low is None else f"{ratio.low:.2g}"
    high = "more" if ratio.high is None else f"{ratio.high:.2g}"
    return f"; {ratio.value:.2g} ({low} to {high}) times the cost at equal accuracy"


def sentence(of: str, found: Sequence[Answer], basis: str) -> str:
    """What a family's answers on one kind of accuracy come to, without figures; nothing without any."""
    mine = [answer.beside for answer in found if answer.family == of and answer.beside.terms.basis == basis]
    parts = [
        f"{said} {_and(costs)}"
        for word, said in _SAID.items()
        if (costs := _costs([beside for beside in mine if beside.standing.word == word]))
    ]
    if not parts:
        return ""
    never = "" if any(beside.standing.word == BETTER for beside in mine) else "never better but "
    return f"By {basis} accuracy {NAMES.get(of, of)} is {never}{', '.join(parts)}."


_SAID = {
    BETTER: f"better than the {NAMES[BASELINE]} of equal",
    SAME: "not significantly different from that of equal",
    WORSE: "worse than that of equal",
}


def _costs(group: Sequence[Beside]) -> list[str]:
    """The costs, each with the reserve that not all of the baseline's points are there."""
    named: dict[str, str] = {}
    for beside in group:
        named[beside.terms.cost.title.lower()] = reserve(beside)
    return [f"{title}{f' ({said})' if said else ''}" for title, said in named.items()]


def reserve(beside: Beside) -> str:
    """Who is not worse than a few points of a family may be worse than all of them."""
    if not beside.partial or beside.standing.word == WORSE:
        return ""
    return f"beside only {beside.points} of its {beside.published} variants"


def _and(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def favour(rows: Sequence[Row], known: Known) -> dict[str, float]:
    """By how many points the float networks of each family score above their published accuracy on these images.

    Where families differ in it, the images are no fair judge between them: they may be what some were trained on.
    """
    gains: dict[str, dict[str, float]] = {}
    for row in rows:
        here, there = accuracy(row, MEASURED, known), accuracy(row, PUBLISHED, known)
        if here and there and row.recipe == "float32":
            gains.setdefault(family(row), {})[row.artifact_name] = 100 * (here.value - there.value)
    return {of: statistics.fmean(values.values()) for of, values in gains.items()}
