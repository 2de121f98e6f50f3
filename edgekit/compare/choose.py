"""The best models for a device within limits, in order, with the reason why each wins, loses or is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from edgekit.compare import Row
from edgekit.compare.costs import COSTS, Cost
from edgekit.compare.family import INVALID, MEASURED, PUBLISHED, Known, accuracy
from edgekit.compare.paired import Accuracy, difference
from edgekit.errors import UnknownNameError, UsageError

_ALIKE = 0.02  # costs that differ by less are not told as a difference


class Limits(msgspec.Struct, frozen=True):
    """The most that each cost may be, by the cost's key and in its unit; `min_top1` is in percent."""

    most: dict[str, float] = {}
    min_top1: float | None = None


class Choice(msgspec.Struct, frozen=True):
    """One row: its `place` in the order from 1, None if it does not fit; `reason` in words."""

    row: Row
    place: int | None
    reason: str


def choose(
    rows: Iterable[Row], limits: Limits, device: str | None = None, basis: str = MEASURED, known: Known | None = None
) -> list[Choice]:
    """The rows of a device that keep the limits, most accurate first, then those that do not.

    `device` is any part of its name that tells it from the others: "pi4" is Raspberry Pi 4. Of equally accurate ones
    the cheaper comes first: by the first cost that is limited, or else by latency, instructions and size.
    UnknownNameError for a device that no row has, UsageError for a name that several have.
    """
    known = known or {}
    timed = [row for row in rows if row.device is not None]
    name = find_device({row.device for row in timed if row.device}, device)
    here = [row for row in timed if row.device == name]
    judged = [(row, _why_not(row, limits, accuracy(row, basis, known), basis)) for row in here]
    fitting = [row for row, why in judged if not why]
    fitting.sort(key=lambda row: (-_sure(row, basis, known).value, *_thrift(row, limits)))
    chosen = [Choice(row, place, _reason(row, fitting, basis, known)) for place, row in enumerate(fitting, start=1)]
    return chosen + [Choice(row, None, why) for row, why in judged if why]


def find_device(devices: Iterable[str], wanted: str | None) -> str:
    """The one device that is meant; see `choose`."""
    known = sorted(devices)
    found = known if wanted is None else [name for name in known if _plain(wanted) in _plain(name)]
    if wanted is not None and wanted in known:
        return wanted
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownNameError.among("device of these results", wanted or "", known)
    raise UsageError(f"{wanted or 'the results'} may mean {', '.join(found)}; say which with --device")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _sure(row: Row, basis: str, known: Known) -> Accuracy:
    found = accuracy(row, basis, known)
    assert found is not None
    return found


def _why_not(row: Row, limits: Limits, found: Accuracy | None, basis: str) -> str:
    """What speaks against the row, or nothing."""
    if row.verdict == INVALID:
        return f"left out, the measurement is invalid: {'; '.join(row.verdict_reasons)}"
    for cost in COSTS:
        most = limits.most.get(cost.key)
        value = cost.value(row)
        if most is not None and value is None:
            return f"left out, {cost.title.lower()} is not known here{_why_unknown(row, cost)}"
        if most is not None and value is not None and value > most:
            return f"loses, {cost.title.lower()} is {cost.words(value)} and {cost.words(most)} are allowed"
    if found is None:
        return f"left out, no {basis} accuracy"
    if limits.min_top1 is not None and 100 * found.value < limits.min_top1:
        return f"loses, top-1 is {100 * found.value:.2f} % and {limits.min_top1:g} % are asked for"
    return ""


def _why_unknown(row: Row, cost: Cost) -> str:
    if row.instructions is not None:
        return ": an emulated core has no time, memory or power of its own"
    return f": {row.energy_reason}" if cost.key == "energy_mj" and row.energy_reason else ""


def _thrift(row: Row, limits: Limits) -> tuple[float, ...]:
    """Costs in the order in which they decide between equals; what is not known comes last."""
    order = [cost for cost in COSTS if cost.key in limits.most]
    order += [cost for key in ("latency_ms", "instructions_m", "size_mb") for cost in COSTS if cost.key == key]
    values = [cost.value(row) for cost in order]
    return tuple(float("inf") if value is None else value for value in values)


def _reason(row: Row, fitting: Sequence[Row], basis: str, known: Known) -> str:
    best = fitting[0]
    if row is best:
        return "wins, " + (
            "the only one that fits" if len(fitting) == 1 else f"most accurate of {len(fitting)} that fit"
        )
    if row.artifact_sha256 == best.artifact_sha256:
        return f"the same file on {row.threads} {'thread' if row.threads == 1 else 'threads'}{_cheaper(row, best)}"
    if basis == PUBLISHED and (row.model, row.input_size) == (best.model, best.input_size):
        return f"the same network as the first{_cheaper(row, best)}"
    found = difference(_sure(row, basis, known), _sure(best, basis, known))
    points = f"{100 * found.value:+.2f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f}) beside the first"
    certain = "loses" if found.significant else "no significant difference"
    return f"{certain}, {points}{_cheaper(row, best)}"


def _cheaper(row: Row, best: Row) -> str:
    """Where the row costs less than the best, for that may be what somebody wants."""
    told = []
    for cost in COSTS:
        own, other = cost.value(row), cost.value(best)
        if own is not None and other is not None and own < (1 - _ALIKE) * other:
            told.append(f"{cost.title.lower()} {own / other:.0%} of its")
    return f"; {', '.join(told)}" if told else ""
