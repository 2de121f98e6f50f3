"""The rows of a comparison as points of families: on which terms they may stand in one picture or on one curve."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edgekit.compare import Row, wilson
from edgekit.compare import baseline as baselines
from edgekit.compare.baseline import Point, Standing
from edgekit.compare.costs import Cost
from edgekit.compare.paired import Accuracy

MEASURED, PUBLISHED = "measured", "published"
BASES = (MEASURED, PUBLISHED)
BASELINES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3")
INVALID, SUSPECT = "invalid", "suspect"
_IMAGENET_VALIDATION = 50_000
_FAMILY = re.compile(r"mobilenet_v\d+|[a-z]+")

Known = Mapping[tuple[str, int], float]
"""Published top-1 in percent by model and input size."""


class Terms(msgspec.Struct, frozen=True):
    """On what two models are held against each other: the same recipe and place, one cost, one kind of accuracy."""

    cost: Cost
    recipe: str | None
    device: str | None
    threads: int | None
    basis: str


class Beside(msgspec.Struct, frozen=True):
    """Where a row stands beside a family's curve of so many points, on which terms.

    `published` is of how many points of the family the accuracy is published. A curve of fewer lies too low, if
    anywhere, so beside it only a model that is worse has been shown to be.
    """

    row: Row
    family: str
    terms: Terms
    standing: Standing
    points: int
    published: int

    @property
    def partial(self) -> bool:
        """Whether the curve may lie too low for its want of points."""
        return self.points < self.published


def family(row: Row) -> str:
    """The network's family, such as mobilenet_v1; "other" for a file that does not say what it is."""
    return _family(row.model or "")


def _family(model: str) -> str:
    found = _FAMILY.match(model)
    return found[0] if found else "other"


def accuracy(row: Row, basis: str, known: Known) -> Accuracy | None:
    """The row's top-1 as measured on images, or as published for the network, whatever the recipe."""
    if basis == MEASURED:
        if row.top1 is None:
            return None
        return Accuracy(row.top1.value, row.top1.low, row.top1.high, row.top1.of, MEASURED, row.outcomes)
    percent = None if row.model is None or row.input_size is None else known.get((row.model, row.input_size))
    if percent is None:
        return None
    hits = round(percent / 100 * _IMAGENET_VALIDATION)
    return Accuracy(percent / 100, *wilson(hits, _IMAGENET_VALIDATION), _IMAGENET_VALIDATION, PUBLISHED)


def point(row: Row, terms: Terms, known: Known) -> Point | None:
    """The row on these terms; None where it has no such cost or accuracy, or where its timing is invalid."""
    cost, found = terms.cost.value(row), accuracy(row, terms.basis, known)
    if cost is None or cost <= 0 or found is None or (terms.cost.at_place and row.verdict == INVALID):
        return None
    error = (row.latency_error or 0.0) if terms.cost.key == "latency_ms" else 0.0
    return Point(row.artifact_name, cost, found, error)


def on_terms(rows: Iterable[Row], terms: Terms) -> list[Row]:
    """The rows of the terms' recipe and place; for costs of the file alone one row for each file, wherever it was."""
    found: dict[str, Row] = {}
    for row in rows:
        here = (row.device, row.threads) == (terms.device, terms.threads) or not terms.cost.at_place
        if here and row.recipe == terms.recipe:
            found.setdefault(row.artifact_sha256, row)
    return list(found.values())


def curve(rows: Iterable[Row], of: str, terms: Terms, known: Known) -> list[Point]:
    """The curve of one family on these terms."""
    return baselines.curve(members(rows, of, terms, known))


def members(rows: Iterable[Row], of: str, terms: Terms, known: Known) -> list[Point]:
    """The points of one family on these terms, on its curve or below."""
    points = [point(row, terms, known) for row in on_terms(rows, terms) if family(row) == of]
    return [found for found in points if found is not None]


def every_terms(rows: Sequence[Row], costs: Iterable[Cost]) -> list[Terms]:
    """All terms on which any row could stand, in the order in which they first appear."""
    found: dict[tuple[str, str | None, str | None, int | None, str], Terms] = {}
    for cost in costs:
        for row in rows:
            place = (row.device, row.threads) if cost.at_place else (None, None)
            if cost.value(row) is not None:
                for basis in BASES:
                    key = (cost.key, row.recipe, *place, basis)
                    found.setdefault(key, Terms(cost, row.recipe, *place, basis))
    return list(found.values())


def besides(
    rows: Sequence[Row], costs: Iterable[Cost], known: Known, families: Sequence[str] = BASELINES
) -> list[Beside]:
    """Every row beside the curve of every family that it does not belong to, on all terms that both have.

    A curve needs two points; beside a single one only the point itself could be compared.
    """
    found = []
    for terms in every_terms(rows, costs):
        here = on_terms(rows, terms)
        for of in families:
            on_curve = members(here, of, terms, known)
            line = baselines.curve(on_curve)
            if len(line) < 2:
                continue
            published = sum(_family(model) == of for model, _ in known)
            strangers = [(row, point(row, terms, known)) for row in here if family(row) not in families]
            found += [
                Beside(row, of, terms, baselines.standing(its, line), len(on_curve), published)
                for row, its in strangers
                if its is not None
            ]
    return found
