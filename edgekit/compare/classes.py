"""Which classes a model knows badly and what it takes them for, from a record that tells classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from edgekit.compare import Share, wilson
from edgekit.measurement import Quality


class ClassAccuracy(msgspec.Struct, frozen=True):
    """Top-1 of the images of one class, by its number."""

    number: int
    top1: Share


class Confusion(msgspec.Struct, frozen=True):
    """How often images of the class `truth` were named `answer`; `image` is the place of the first in the set."""

    truth: int
    answer: int
    count: int
    image: int


def by_class(quality: Quality) -> list[ClassAccuracy]:
    """Every class that has an image, worst first; nothing from a record that does not tell classes."""
    counts: dict[int, list[bool]] = {}
    for truth, answer in zip(quality.truth, quality.answer, strict=True):
        if truth is not None:
            counts.setdefault(truth, []).append(truth == answer)
    found = [ClassAccuracy(number, _share(hits)) for number, hits in counts.items()]
    return sorted(found, key=lambda item: (item.top1.value, -item.top1.of, item.number))


def _share(hits: Sequence[bool]) -> Share:
    low, high = wilson(sum(hits), len(hits))
    return Share(sum(hits) / len(hits), low, high, len(hits))


def confusions(quality: Quality, most: int = 12) -> list[Confusion]:
    """The pairs of classes that are taken for each other most often; of equals those whose answer was furthest off."""
    places: dict[tuple[int, int], int] = {}
    counts: Counter[tuple[int, int]] = Counter()
    depth: Counter[tuple[int, int]] = Counter()
    judged = zip(quality.truth, quality.answer, quality.rank, strict=True)
    for place, (truth, answer, rank) in enumerate(judged):
        if truth is not None and truth != answer:
            counts[truth, answer] += 1
            places.setdefault((truth, answer), place)
            depth[truth, answer] = max(depth[truth, answer], rank or 0)
    worst = sorted(counts, key=lambda pair: (-counts[pair], -depth[pair], pair))[:most]
    return [Confusion(*pair, counts[pair], places[pair]) for pair in worst]
