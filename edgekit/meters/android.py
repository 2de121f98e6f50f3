"""A phone's battery, by what `dumpsys battery`, sysfs or BatteryManager tell: values in, energy out, nothing is read.

BatteryManager gives CURRENT_NOW in microamperes, negative while discharging, CHARGE_COUNTER in microampere-hours and
ENERGY_COUNTER in nanowatt-hours (developer.android.com, BatteryManager); `dumpsys battery` gives "voltage" in
millivolts and "Charge counter" in microampere-hours (AOSP, BatteryService.java). Vendors differ: milliamperes for
microamperes, and the other sign (termux/termux-api#293, community-code/amps#1). So unit and sign are not believed but
found: from the charge that left the counter meanwhile, else from what a phone can draw at all.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import FileFormatError, MissingError, UsageError
from edgekit.meters import MIN_UPDATES, Meter, Window
from edgekit.meters._sampling import integrate

FORM = "android"
SOURCE, SCOPE = "phone's battery", "board"
DISCHARGING = 3  # BatteryManager.BATTERY_STATUS_DISCHARGING
_NWH = 3600e-9  # joules of a nanowatt-hour
_UAH = 3600e-6  # coulombs of a microampere-hour
# What a phone that computes draws, in amperes: a number that would be outside in one unit is in the other.
_LEAST_A, _MOST_A = 0.02, 10.0
_COUNTER_UAH = (50_000, 50_000_000)  # what is left in a battery, if it is a counter at all
_COUNTER_STEPS = 5  # as many changes as make a mean of the charge that left


@dataclass(frozen=True)
class Reading:
    """What was told at one moment, numbers as they came; None where the phone does not tell."""

    time_ns: int
    plugged: bool
    voltage: int | None = None
    current: int | None = None
    charge_counter: int | None = None
    energy_counter: int | None = None


@dataclass(frozen=True)
class CurrentScale:
    """Amperes of one step of the phone's current, whether discharging is negative, and what shows it."""

    step_a: float
    discharging_is_negative: bool
    evidence: str


@dataclass(frozen=True)
class Discharge:
    """The energy that left the battery, and by which of its figures."""

    window: Window
    by: str


def parse_dumpsys(text: str, time_ns: int) -> Reading:
    """The answer to `dumpsys battery`; FileFormatError if it is something else.

    "current now" is there on Samsung's phones only. Where the service was told to pretend, its figures are refused.
    """
    if "UPDATES STOPPED" in text:
        raise MissingError("dumpsys battery shows set values, not measured ones; run: adb shell dumpsys battery reset")
    pairs = [line.split(":", 1) for line in text.splitlines() if ":" in line]
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name.strip().lower(), value.strip())
    powered = [value == "true" for name, value in fields.items() if name.endswith(" powered")]
    if "voltage" not in fields or not powered:
        raise FileFormatError("this is no answer of dumpsys battery: there is no voltage, or no word on the charger")
    plugged = any(powered) or fields.get("status", str(DISCHARGING)) == "2"
    return Reading(
        time_ns, plugged, *(_whole(fields.get(name)) for name in ("voltage", "current now", "charge counter"))
    )


def volts(reading: Reading) -> float:
    """The voltage, of millivolts or microvolts; MissingError if it can be neither, as on devices without a battery."""
    for factor in (1e-3, 1e-6):
        if reading.voltage is not None and 2.5 <= reading.voltage * factor <= 20:
            return reading.voltage * factor
    raise MissingError(f"the battery's voltage is given as {reading.voltage}, which is neither mV nor uV of a battery")


def current_scale(readings: Sequence[Reading]) -> CurrentScale:
    """Unit and sign of the current while the battery alone feeds the phone.

    Raises MissingError while it is plugged in, without currents, where the sign changes (then the battery was not
    only discharging), and where the evidence points to neither unit.
    """
    check_unplugged(readings)
    currents = [reading.current for reading in readings if reading.current]
    if not currents:
        raise MissingError("the phone tells no current, or always 0; its battery cannot serve as a meter")
    negative = currents[0] < 0
    if any((current < 0) != negative for current in currents):
        raise MissingError("the battery's current changes its sign while unplugged; it cannot be told what it means")
    step_a, evidence = _by_counter(readings, currents) or _by_magnitude(currents)
    return CurrentScale(step_a, negative, evidence)


def discharge(readings: Sequence[Reading]) -> Discharge:
    """The energy between the first and the last reading, by the best figure that moved often enough.

    The energy counter goes before the charge counter, and that before the current: counters see what happens between
    readings. Raises MissingError while plugged in or where no figure was renewed MIN_UPDATES times.
    """
    check_unplugged(readings)
    if len(readings) < 2:
        raise MissingError(f"{len(readings)} readings of the battery make no window")
    seconds = (readings[-1].time_ns - readings[0].time_ns) / 1e9
    for by, counted in (("energy counter", _energy_counter(readings)), ("charge counter", _charge_counter(readings))):
        if counted is not None and counted[1] >= MIN_UPDATES:
            return Discharge(Window(counted[0], seconds, counted[1]), by)
    return _by_current(readings, seconds)


def check_unplugged(readings: Sequence[Reading]) -> None:
    """Raises MissingError if a charger fed the phone at any of these moments."""
    if any(reading.plugged for reading in readings):
        raise MissingError(
            "the phone is plugged in, so its battery does not show what it draws; measure over Wi-Fi with the cable"
            " out: adb tcpip 5555, then adb connect PHONE:5555"
        )


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """Raises UsageError: a phone's battery is read by way of adb, by its device, not by a meter of this machine."""
    raise UsageError("the phone's battery is read with the phone: --device adb:SERIAL; this machine has no such meter")


def _energy_counter(readings: Sequence[Reading]) -> tuple[float, int] | None:
    return _fallen([reading.energy_counter for reading in readings], _NWH)


def _charge_counter(readings: Sequence[Reading]) -> tuple[float, int] | None:
    counters = [reading.charge_counter for reading in readings]
    if not all(counter is not None and _COUNTER_UAH[0] <= counter <= _COUNTER_UAH[1] for counter in counters):
        return None
    return _fallen(counters, _UAH * statistics.fmean(map(volts, readings)))


def _fallen(counters: Sequence[int | None], unit_j: float) -> tuple[float, int] | None:
    """Joules by which a counter fell and in how many steps; None where it is not told, or rose."""
    values = [counter for counter in counters if counter]
    if len(values) < len(counters) or any(after > before for before, after in itertools.pairwise(values)):
        return None
    steps = sum(after != before for before, after in itertools.pairwise(values))
    return (values[0] - values[-1]) * unit_j, steps


def _by_current(readings: Sequence[Reading], seconds: float) -> Discharge:
    scale = current_scale(readings)
    told = [reading for reading in readings if reading.current is not None]
    changes = sum(after.current != before.current for before, after in itertools.pairwise(told))
    if changes < MIN_UPDATES:
        raise MissingError(
            f"the phone renewed its current {changes} times in {seconds:.0f} s; measure for at least"
            f" {seconds * MIN_UPDATES / max(changes, 1):.0f} s ({MIN_UPDATES} updates)"
        )
    watts = [abs(reading.current or 0) * scale.step_a * volts(reading) for reading in told]
    times_ns = [reading.time_ns for reading in told]
    energy_j = integrate(times_ns, watts, readings[0].time_ns, readings[-1].time_ns)
    return Discharge(Window(energy_j, seconds, changes, len(readings) - len(told)), f"current, {scale.evidence}")


def _by_counter(readings: Sequence[Reading], currents: Sequence[int]) -> tuple[float, str] | None:
    """The unit in which the current agrees with the charge that left meanwhile; None where too little left."""
    counted = _charge_counter(readings)
    seconds = (readings[-1].time_ns - readings[0].time_ns) / 1e9
    if counted is None or counted[1] < _COUNTER_STEPS or seconds <= 0:
        return None
    left_a = counted[0] / statistics.fmean(map(volts, readings)) / seconds
    mean = statistics.fmean(map(abs, currents))
    off, step_a = min((abs(math.log10(mean * step_a / left_a)), step_a) for step_a in (1e-6, 1e-3))
    if off > 0.5:
        raise MissingError(f"the current ({mean:.0f}) and the charge that left ({left_a:.3f} A) agree in no unit")
    return step_a, f"as {'uA' if step_a == 1e-6 else 'mA'}, by the charge counter"


def _by_magnitude(currents: Sequence[int]) -> tuple[float, str]:
    typical = statistics.median(map(abs, currents))
    fits = [step_a for step_a in (1e-6, 1e-3) if _LEAST_A <= typical * step_a <= _MOST_A]
    if len(fits) != 1:
        raise MissingError(f"a current of {typical:.0f} is plausible neither in uA nor in mA")
    return fits[0], f"as {'uA' if fits[0] == 1e-6 else 'mA'}, by its size"


def _whole(text: str | None) -> int | None:
    match = re.fullmatch(r"-?\d+", text or "")
    return int(match[0]) if match else None
