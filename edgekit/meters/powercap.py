"""Linux powercap: the RAPL counters of Intel and AMD processors, summed over the packages.

The counters are updated about every millisecond and wrap around at `max_energy_range_uj`
(Linux, Documentation/power/powercap/powercap.rst). They see the processor package, not the board.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import MissingError, UsageError
from edgekit.meters import MIN_UPDATES, Meter, Window

FORM = "powercap"

_FOLDER = Path("sys/class/powercap")


class Powercap(Meter):
    """The energy of all processor packages; `packages` are their powercap folders."""

    source = "RAPL"
    scope = "cpu"
    resolution_s = 0.001

    def __init__(self, packages: list[Path], clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._packages = packages
        self._clock_ns = clock_ns
        self._ranges_uj = [_read_uj(package / "max_energy_range_uj") for package in packages]
        self._start_ns = 0
        self._start_uj: list[int] = []

    def start(self) -> None:
        """Begins a window."""
        self._start_uj = self._counters_uj()
        self._start_ns = self._clock_ns()

    def stop(self) -> Window:
        """The energy since `start()`; a window longer than one wrap of the counter (minutes) cannot be told apart."""
        window_s = (self._clock_ns() - self._start_ns) / 1e9
        if window_s < MIN_UPDATES * self.resolution_s:
            raise MissingError(
                f"{self.source} updates every {self.resolution_s * 1e3:.0f} ms; a window of {window_s * 1e3:.1f} ms is"
                f" too short, measure for at least {MIN_UPDATES * self.resolution_s * 1e3:.0f} ms"
            )
        windows = zip(self._start_uj, self._counters_uj(), self._ranges_uj, strict=True)
        energy_uj = sum(end - start if end >= start else end - start + wrap for start, end, wrap in windows)
        if energy_uj == 0:
            raise MissingError(f"{self.source} did not move in {window_s:.3f} s; a virtual machine may show a dead one")
        return Window(energy_uj / 1e6, window_s, int(window_s / self.resolution_s))

    def _counters_uj(self) -> list[int]:
        return [_read_uj(package / "energy_uj") for package in self._packages]


def find(root: Path = Path("/")) -> Meter | str:
    """The package counters under `root`, or why they cannot be used."""
    packages = [folder for folder in sorted((root / _FOLDER).glob("intel-rapl:*")) if _is_package(folder)]
    if not packages:
        return f"no RAPL counter under /{_FOLDER} (Arm boards and virtual machines have none)"
    try:
        meter = Powercap(packages)
        meter.start()
    except MissingError as error:
        return str(error)
    return meter


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The package counters; UsageError for arguments, of which there are none, MissingError without counters."""
    if arguments:
        raise UsageError(f"powercap takes no arguments, {arguments!r} was given; use --meter {FORM}")
    answer = find(root)
    if isinstance(answer, str):
        raise MissingError(answer)
    return answer


def _is_package(folder: Path) -> bool:
    """Whether this domain is a whole processor: core, uncore and dram lie inside one, psys around all of them."""
    try:
        return (folder / "name").read_text().startswith("package")
    except OSError:
        return False


def _read_uj(file: Path) -> int:
    try:
        return int(file.read_text())
    except PermissionError:
        raise MissingError(
            f"{file} is for root only; run as root, or allow reading: sudo chmod a+r /{_FOLDER}/intel-rapl:*/energy_uj"
        ) from None
    except (OSError, ValueError) as error:
        raise MissingError(f"{file} cannot be read as an energy counter ({error})") from None
