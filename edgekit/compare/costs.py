"""What a model costs, one cost for each axis: what is measured, counted and modelled are never one cost."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edgekit.compare import Row


class Cost(msgspec.Struct, frozen=True):
    """One axis: `value` reads it off a row, None where it is not known; less is better.

    `kind` says how it came about. `at_place` costs belong to a device, the others to the file alone.
    """

    key: str
    title: str
    unit: str
    kind: str
    value: Callable[[Row], float | None]
    at_place: bool = True
    digits: int = 3

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}"

    def words(self, value: float) -> str:
        """The value with its unit."""
        return f"{value:.{self.digits}g} {self.unit}"


def _millions(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _energy_mj(row: Row) -> float | None:
    return None if row.energy is None else row.energy.energy_j * 1e3


def _modelled_mj(row: Row) -> float | None:
    return None if row.modelled is None else row.modelled.modelled_j * 1e3


def _instructions(row: Row) -> float | None:
    return None if row.instructions is None else row.instructions.instructions / 1e6


LATENCY = Cost("latency_ms", "Latency", "ms", "measured", lambda row: row.latency_median_ms)
SIZE = Cost("size_mb", "Size on disk", "MB", "measured", lambda row: row.size_bytes / 1e6, at_place=False)
DOWNLOAD = Cost(
    "download_mb", "Download size", "MB", "measured", lambda row: _millions(row.download_bytes), at_place=False
)
MEMORY = Cost("memory_mb", "Peak memory", "MB", "measured", lambda row: _millions(row.peak_rss_bytes))
ENERGY = Cost("energy_mj", "Energy, measured", "mJ", "measured", _energy_mj)
MODELLED = Cost("modelled_mj", "Energy, modelled", "mJ", "modelled", _modelled_mj)
INSTRUCTIONS = Cost("instructions_m", "Instructions", "million", "counted", _instructions)

COSTS = (LATENCY, SIZE, DOWNLOAD, MEMORY, ENERGY, MODELLED, INSTRUCTIONS)
