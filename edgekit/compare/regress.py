"""Two result sets, old and new, artifact by artifact and cost by cost: what became worse, and how certainly."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from edgekit.compare import Comparison, Row
from edgekit.compare.costs import COSTS, Cost
from edgekit.compare.family import INVALID, MEASURED, accuracy
from edgekit.compare.paired import difference
from edgekit.errors import QualityError, UsageError
from edgekit.sampling import Z95

_SURE = ("size_mb", "download_mb", "instructions_m", "modelled_mj")


class Change(msgspec.Struct, frozen=True):
    """One figure of one artifact at one place: `change` as a share of the old, above 0 is worse.

    `low` and `high` are its 95 % interval, the same as `change` for what repeats exactly; None where nothing is known
    of how far it scatters. `certain` is whether the interval leaves out 0.
    """

    artifact_name: str
    device: str | None
    threads: int | None
    what: str
    old: float
    new: float
    change: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether this is more than chance, as far as that is known."""
        return self.low is None or self.high is None or self.low > 0 or self.high < 0

    def worse_by(self, share: float) -> bool:
        """Whether it became worse by more than a share, beyond chance."""
        return self.change > share and self.certain


class Regression(msgspec.Struct, frozen=True):
    """What changed between two result sets; `only_old` and `only_new` name what the other set lacks."""

    changes: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    left_out: tuple[str, ...]


def regress(old: Comparison, new: Comparison) -> Regression:
    """Rows are the same if name, device and threads are: a new build of a file has another hash."""
    before, after = {_name(row): row for row in old.rows}, {_name(row): row for row in new.rows}
    both = [(row, after[name]) for name, row in before.items() if name in after]
    changes = {(c.artifact_name, c.device, c.threads, c.what): c for two in both for c in _changes(*two)}
    return Regression(
        tuple(changes.values()),
        tuple(_words(name) for name in before if name not in after),
        tuple(_words(name) for name in after if name not in before),
        tuple(_words(_name(row)) for two in both for row in two if row.verdict == INVALID),
    )


def check(found: Regression, share: float) -> None:
    """QualityError that names what became worse by more than a share; for CI."""
    worse = [change for change in found.changes if change.worse_by(share)]
    if worse:
        named = "; ".join(f"{c.artifact_name}, {c.what} {c.change:+.1%}" for c in worse[:5])
        more = f"; and {len(worse) - 5} more" if len(worse) > 5 else ""
        raise QualityError(
            f"{len(worse)} of {len(found.changes)} figures are worse by more than {share:.1%}: {named}{more}"
        )


def parse_share(text: str) -> float:
    """ "5%" or "0.05" as 0.05."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not found:
        raise UsageError(f"asked to fail on a regression of {text!r}; give a percentage such as 5%")
    return float(found[1]) / 100 if found[2] else float(found[1])


_Name = tuple[str, str | None, int | None]


def _name(row: Row) -> _Name:
    return row.artifact_name, row.device, row.threads


def _words(name: _Name) -> str:
    artifact, device, threads = name
    return (
        artifact if device is None else f"{artifact} on {device}, {threads} {'thread' if threads == 1 else 'threads'}"
    )


def _changes(old: Row, new: Row) -> Iterator[Change]:
    for cost in COSTS:
        before, after = cost.value(old), cost.value(new)
        untold = cost.key == "latency_ms" and INVALID in (old.verdict, new.verdict)
        if before and after is not None and not untold:
            yield _change(old, cost.heading, before, after, _error(cost, old, new), cost.at_place)
    one, other = accuracy(old, MEASURED, {}), accuracy(new, MEASURED, {})
    if one and other and one.value > 0:
        lost = difference(one, other)
        low, high = lost.low / one.value, lost.high / one.value
        yield _change(old, "top-1, %", 100 * one.value, 100 * other.value, (lost.value / one.value, low, high))
    if old.agreement and new.agreement and old.agreement.value > 0:
        change = 1 - new.agreement.value / old.agreement.value
        below, above = old.agreement.high - old.agreement.value, new.agreement.value - new.agreement.low
        half = (below**2 + above**2) ** 0.5 / old.agreement.value
        agreed = (100 * old.agreement.value, 100 * new.agreement.value)
        yield _change(old, "agreement, %", *agreed, (change, change - half, change + half))


_Error = tuple[float, float | None, float | None]


def _error(cost: Cost, old: Row, new: Row) -> _Error:
    """The change with its interval."""
    before, after = cost.value(old), cost.value(new)
    assert before and after is not None
    change = after / before - 1
    if cost.key in _SURE:
        return change, change, change
    if cost.key == "latency_ms" and old.latency_error is not None and new.latency_error is not None:
        off = Z95 * (old.latency_error**2 + new.latency_error**2) ** 0.5
        return change, (1 + change) / (1 + off) - 1, (1 + change) * (1 + off) - 1
    return change, None, None


def _change(row: Row, what: str, old: float, new: float, error: _Error, at_place: bool = False) -> Change:
    """What belongs to the file alone has no place, and is told once."""
    place = (row.device, row.threads) if at_place else (None, None)
    return Change(row.artifact_name, place[0], place[1], what, old, new, *error)
