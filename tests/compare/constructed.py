"""Comparisons whose answer is known beforehand."""

from __future__ import annotations

import random
from collections.abc import Sequence

from edgekit.compare import Row, share
from edgekit.compare.paired import Accuracy, outcomes
from edgekit.measurement import Instructions


def accuracy(right: Sequence[bool], images: str = "1" * 64) -> Accuracy:
    """Of a model that gets these images right."""
    found = share(list(right))
    assert found is not None
    ranks = [0 if hit else 7 for hit in right]
    return Accuracy(found.value, found.low, found.high, found.of, outcomes=outcomes(images, ranks))


def alike(size: int, rate: float, disagree: float, generator: random.Random) -> tuple[list[bool], list[bool]]:
    """Two models of one true accuracy that differ on a share of the images."""
    one, other = [], []
    for _ in range(size):
        differ = generator.random() < disagree
        hit = generator.random() < (0.5 if differ else (rate - disagree / 2) / (1 - disagree))
        one.append(hit)
        other.append(not hit if differ else hit)
    return one, other


def row(name: str, model: str | None, right: Sequence[bool] | None, **fields: object) -> Row:
    """A row of a constructed comparison; its file's hash is made of its name."""
    found = share(list(right)) if right is not None else None
    judged = outcomes("1" * 64, [0 if hit else 7 for hit in right]) if right is not None else None
    values = {"recipe": "int8", "size_bytes": 1_000_000, "device": "Board", "threads": 1, **fields}
    return Row(f"{name:x<64}", name, model, top1=found, outcomes=judged, **values)  # type: ignore[arg-type]


def counted(millions: float) -> Instructions:
    """So many instructions on an emulated core."""
    number = round(millions * 1e6)
    fields = (
        "a" * 64,
        "n",
        None,
        None,
        1,
        "Core (emulated)",
        "core",
        "r",
        "1",
        number,
        0,
        0,
        0,
        1,
        0,
        0.0,
        "x",
        "2026",
    )
    return Instructions(*fields)  # type: ignore[arg-type]


def first(hits: int, of: int) -> list[bool]:
    """The first images right, the others wrong."""
    return [place < hits for place in range(of)]
