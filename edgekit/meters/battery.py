"""A battery that Linux knows: /sys/class/power_supply, in micro-units (Documentation/ABI/testing/sysfs-class-power).

Power is power_now, or current_now times voltage_now; where there is neither, the fall of energy_now, or that of
charge_now times voltage_now. The ABI wants a negative current while discharging; older drivers give a positive one,
and power has no rule (Linux commits 05f94eb98907 and 234f71555019): so the sign says nothing, and `status` everything.
A gauge renews its figures about once a second or slower: only changes count as updates. It is never chosen by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import MissingError, UsageError
from edgekit.meters import Meter, Window
from edgekit.meters._sampling import SampledMeter, Sampler, Trace, check_window

FORM = "battery[:BAT0]"
_FOLDER = Path("sys/class/power_supply")
_PERIOD_S = 0.2
_UWH = 3600e-6  # joules of a microwatt-hour
_VOLT_UAH = 3600e-6  # joules of a microampere-hour at one volt


class PowerBattery(SampledMeter):
    """A battery that tells its power; `folder` is its own under power_supply."""

    scope = "board"
    resolution_s = 1.0
    period_s = _PERIOD_S

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.source = f"battery {folder.name}"
        self._folder = folder
        self._tells_power = (folder / "power_now").exists()

    def watts(self) -> float:
        """The power that leaves the battery; MissingError while it charges."""
        check_discharging(self._folder)
        if self._tells_power:
            return abs(_number(self._folder / "power_now")) / 1e6
        return abs(_number(self._folder / "current_now")) * _number(self._folder / "voltage_now") / 1e12

    def updates(self, trace: Trace) -> int:
        """Changes: the gauge does not say when it measures."""
        return trace.changes()


class CountingBattery(Meter):
    """A battery that only tells what is left in it."""

    scope = "board"
    resolution_s = 1.0
    samples = True

    def __init__(self, folder: Path) -> None:
        self.source = f"battery {folder.name}"
        self._folder = folder
        self._sampler = Sampler(self._left_j(), _PERIOD_S)
        self._start_ns = 0

    def start(self) -> None:
        """Begins a window; MissingError while the battery charges."""
        check_discharging(self._folder)
        self._sampler.begin()
        self._start_ns = time.perf_counter_ns()

    def stop(self) -> Window:
        """What has left the battery since `start()`, to the counter's last step."""
        seconds = (time.perf_counter_ns() - self._start_ns) / 1e9
        trace = self._sampler.end()
        check_discharging(self._folder)
        check_window(self, trace, trace.changes(), seconds)
        return Window(trace.values[0] - trace.values[-1], seconds, trace.changes(), trace.missed)

    def _left_j(self) -> Callable[[], float]:
        folder = self._folder
        if (folder / "energy_now").exists():
            return lambda: _number(folder / "energy_now") * _UWH
        volts = _number(folder / "voltage_now") / 1e6  # kept: a voltage that moves would look like charge
        return lambda: _number(folder / "charge_now") * volts * _VOLT_UAH


def check_discharging(folder: Path) -> None:
    """Raises MissingError unless the battery alone feeds the machine."""
    status = _text(folder / "status")
    if status != "Discharging":
        raise MissingError(f"battery {folder.name} is {status.lower()!r}, not discharging; unplug the charger")


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The battery of that name, or the only one. UsageError for a name there is not, MissingError if it cannot tell."""
    batteries = [folder for folder in sorted((root / _FOLDER).glob("*")) if _is_battery(folder)]
    there = ", ".join(folder.name for folder in batteries) or "none"
    if not batteries:
        raise MissingError(f"no battery under /{_FOLDER}; use a meter in the supply line, as in docs/energy.md")
    chosen = [folder for folder in batteries if arguments in ("", folder.name)]
    if len(chosen) != 1:
        raise UsageError(f"battery:{arguments} names {len(chosen)} batteries; there: {there}, write {FORM}")
    check_discharging(chosen[0])
    return _meter(chosen[0])


def _meter(folder: Path) -> Meter:
    has = {file.name for file in folder.iterdir()}
    if "power_now" in has or {"current_now", "voltage_now"} <= has:
        return PowerBattery(folder)
    if "energy_now" in has or {"charge_now", "voltage_now"} <= has:
        return CountingBattery(folder)
    raise MissingError(f"battery {folder.name} tells neither power nor current nor what is left in it")


def _is_battery(folder: Path) -> bool:
    """A battery of the machine: mice and pens have some as well, with the scope Device."""
    try:
        scope = (folder / "scope").read_text().strip() if (folder / "scope").exists() else ""
        return _text(folder / "type") == "Battery" and scope != "Device"
    except (OSError, MissingError):
        return False


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise MissingError(f"{file} cannot be read ({error.strerror})") from None


def _number(file: Path) -> int:
    text = _text(file)
    try:
        return int(text)
    except ValueError:
        raise MissingError(f"{file} holds {text[:40]!r}, no whole number") from None
