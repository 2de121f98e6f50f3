"""What the page's script works on: every row with its costs, accuracies and outcomes, as JSON that breaks no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekit.compare import Comparison, Row
from edgekit.compare.costs import COSTS, Cost
from edgekit.compare.family import BASELINES, BASES, INVALID, SUSPECT, Known, accuracy
from edgekit.compare.paired import Accuracy
from edgekit.report.plot import FAMILIES, RECIPES, family_of, label
from edgekit.report.table import plain

LIMITED = ("latency_ms", "size_mb", "download_mb", "memory_mb", "energy_mj", "instructions_m")
"""The costs that a reader may limit: what was modelled is not for choosing by."""


def payload(comparison: Comparison, known: Known) -> str:
    """A JSON object for a script element: no "<", which alone could end it."""
    content = {
        "rows": [_row(number, row, known) for number, row in enumerate(comparison.rows)],
        "costs": [_cost(cost) for cost in COSTS],
        "limits": LIMITED,
        "families": FAMILIES,
        "recipes": RECIPES,
        "baselines": BASELINES,
        "bases": BASES,
    }
    return msgspec.json.encode(content).decode().replace("<", "\\u003c")


def place(row: Row) -> str:
    """Device and threads as one choice; empty for a file that was only judged."""
    if row.device is None:
        return ""
    threads = "" if row.instructions else f", {row.threads} {'thread' if row.threads == 1 else 'threads'}"
    return plain(f"{row.device}{threads}")


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "key": cost.key,
        "title": cost.title,
        "unit": cost.unit,
        "kind": cost.kind,
        "place": cost.at_place,
        "digits": cost.digits,
    }


def _row(number: int, row: Row, known: Known) -> dict[str, Any]:
    costs = {cost.key: value for cost in COSTS if (value := cost.value(row)) is not None}
    return {
        "id": number,
        "file": row.artifact_sha256[:16],
        "name": label(row),
        "net": plain(f"{row.model} {row.input_size}"),
        "family": family_of(row),
        "recipe": row.recipe if row.recipe in RECIPES else "other",
        "said": plain(row.recipe or "no recipe"),
        "place": place(row),
        "timed": row.device is not None,
        "invalid": row.verdict == INVALID,
        "suspect": row.verdict == SUSPECT,
        "why": plain("; ".join(row.verdict_reasons)),
        "emulated": row.instructions is not None,
        "noenergy": plain(row.energy_reason or ""),
        "costs": {key: float(f"{value:.7g}") for key, value in costs.items()},
        "top1": {basis: _accuracy(found) for basis in BASES if (found := accuracy(row, basis, known))},
    }


def _accuracy(found: Accuracy) -> dict[str, Any]:
    values: dict[str, Any] = {"v": found.value, "l": round(found.low, 6), "h": round(found.high, 6), "n": found.of}
    if found.outcomes:
        known: Sequence[str] = (found.outcomes.images_sha256[:12], found.outcomes.labelled, found.outcomes.right)
        values |= dict(zip(("set", "lab", "hit"), known, strict=True))
    return values
