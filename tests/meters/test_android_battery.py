"""What a phone tells of its battery, told apart by evidence; readings are constructed but for the transcribed ones."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import meters
from edgekit.errors import FileFormatError, MissingError, UsageError
from edgekit.meters.android import CurrentScale, Reading, current_scale, discharge, parse_dumpsys, volts

SECOND = 1_000_000_000
# Transcribed from a Samsung phone's answer (gh0st.tistory.com/6), the vendor's settings left out.
PLUGGED = """\
Current Battery Service state:
  mBootCompleted: true
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 0
  Max charging voltage: 0
  Charge counter: 0
  status: 2
  health: 2
  present: true
  level: 84
  scale: 100
  voltage: 4063
  temperature: 326
  technology: Li-ion
  LED Charging: true
  current now: 321
  charge counter: 0
"""
# Constructed after AOSP's BatteryService.dumpInternal, whose words and order these are.
UNPLUGGED = """\
Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  Dock powered: false
  Max charging current: 0
  Max charging voltage: 0
  Charge counter: 2857000
  status: 3
  health: 2
  present: true
  level: 71
  scale: 100
  voltage: 3942
  temperature: 287
  technology: Li-ion
"""


def run(
    currents: Sequence[int | None],
    counters: Sequence[int | None] | None = None,
    voltage: int = 4000,
    plugged: bool = False,
) -> list[Reading]:
    """A reading every second."""
    told = counters or [None] * len(currents)
    return [
        Reading(second * SECOND, plugged, voltage, current, counter)
        for second, (current, counter) in enumerate(zip(currents, told, strict=True))
    ]


def test_an_answer_of_dumpsys_is_read() -> None:
    assert parse_dumpsys(UNPLUGGED, 7) == Reading(7, False, 3942, None, 2_857_000)
    assert parse_dumpsys(PLUGGED, 7) == Reading(7, True, 4063, 321, 0)


def test_a_dock_feeds_as_well() -> None:
    assert parse_dumpsys(UNPLUGGED.replace("Dock powered: false", "Dock powered: true"), 0).plugged


def test_set_values_are_not_measured_ones() -> None:
    text = UNPLUGGED.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n")
    with pytest.raises(MissingError, match="dumpsys battery reset"):
        parse_dumpsys(text, 0)


@pytest.mark.parametrize("text", ["", "Can't find service: battery", "voltage: 4000"])
def test_another_answer_is_refused(text: str) -> None:
    with pytest.raises(FileFormatError, match="no answer of dumpsys battery"):
        parse_dumpsys(text, 0)


@pytest.mark.parametrize(("told", "expected"), [(4063, 4.063), (4_063_000, 4.063), (8_400, 8.4)])
def test_voltage_is_in_milli_or_microvolts(told: int, expected: float) -> None:
    assert volts(Reading(0, False, told)) == pytest.approx(expected)


@pytest.mark.parametrize("told", [None, 0, 13, 40_000, 400])
def test_a_voltage_that_no_battery_has_is_refused(told: int | None) -> None:
    with pytest.raises(MissingError, match="neither mV nor uV"):
        volts(Reading(0, False, told))


@given(st.integers(50, 8_000), st.booleans(), st.booleans())
def test_unit_and_sign_are_found_by_size(milliamperes: int, micro: bool, negative: bool) -> None:
    told = milliamperes * (1000 if micro else 1) * (-1 if negative else 1)
    scale = current_scale(run([told] * 3))
    assert abs(told) * scale.step_a == pytest.approx(milliamperes / 1e3)
    assert scale.discharging_is_negative == negative
    assert scale.evidence == f"as {'uA' if micro else 'mA'}, by its size"


@given(st.integers(15, 3_000), st.booleans())
def test_the_charge_that_left_shows_the_unit_where_the_size_would_not(milliamperes: int, micro: bool) -> None:
    seconds = 3600
    left_uah = [3_000_000 - milliamperes * 1000 * second // 3600 for second in range(0, seconds, 60)]
    told = -milliamperes * (1000 if micro else 1)
    readings = [Reading(minute * 60 * SECOND, False, 4000, told, counter) for minute, counter in enumerate(left_uah)]
    scale = current_scale(readings)
    assert scale == CurrentScale(1e-6 if micro else 1e-3, True, f"as {'uA' if micro else 'mA'}, by the charge counter")


def test_a_current_that_fits_no_unit_is_refused() -> None:
    with pytest.raises(MissingError, match="15000 is plausible neither in uA nor in mA"):
        current_scale(run([-15_000] * 3))


def test_a_current_that_contradicts_the_charge_is_refused() -> None:
    with pytest.raises(MissingError, match="agree in no unit"):
        current_scale(run([-20_000] * 20, [3_000_000 - 200 * second for second in range(20)]))


def test_a_sign_that_changes_while_unplugged_is_refused() -> None:
    with pytest.raises(MissingError, match="changes its sign"):
        current_scale(run([-500_000, 400_000, -500_000]))


def test_a_phone_without_a_current_is_refused() -> None:
    with pytest.raises(MissingError, match="tells no current"):
        current_scale(run([None, 0, None]))


@pytest.mark.parametrize("function", [current_scale, discharge])
def test_a_plugged_in_phone_is_refused_with_the_remedy(function: object) -> None:
    assert callable(function)
    with pytest.raises(MissingError, match="adb tcpip 5555"):
        function(run([-500_000] * 20, plugged=True))


def test_energy_is_the_integral_of_current_and_voltage() -> None:
    seen = discharge(run([-500_000 - 10 * second for second in range(21)]))
    assert seen.by == "current, as uA, by its size"
    assert seen.window.energy_j == pytest.approx(0.5001 * 4 * 20)
    assert (seen.window.seconds, seen.window.updates, seen.window.missed) == (20.0, 20, 0)


def test_a_reading_without_a_current_is_missed() -> None:
    currents: list[int | None] = [-500 - second for second in range(25)]
    currents[7] = None
    assert discharge(run(currents)).window.missed == 1


def test_the_charge_counter_goes_before_the_current() -> None:
    counters = [3_000_000 - 150 * second for second in range(21)]  # 0.54 A
    seen = discharge(run([-500_000] * 21, counters))
    assert seen.by == "charge counter"
    assert seen.window.energy_j == pytest.approx(150e-6 * 3600 * 4 * 20)


def test_the_energy_counter_goes_before_all_others() -> None:
    readings = run([-500_000] * 21, [3_000_000 - 150 * second for second in range(21)])
    readings = [
        Reading(r.time_ns, False, r.voltage, r.current, r.charge_counter, 10_000_000_000 - 600_000 * second)
        for second, r in enumerate(readings)
    ]
    seen = discharge(readings)
    assert (seen.by, seen.window.energy_j) == ("energy counter", pytest.approx(600_000e-9 * 3600 * 20))


@pytest.mark.parametrize("counter", [0, 71, 1000])
def test_a_charge_counter_that_is_none_is_not_believed(counter: int) -> None:
    seen = discharge(run([-500_000 - second for second in range(21)], [counter + 20 - second for second in range(21)]))
    assert seen.by.startswith("current")


def test_too_few_updates_say_how_long_to_measure() -> None:
    with pytest.raises(MissingError, match=r"renewed its current 5 times in 20 s; measure for at least 40 s"):
        discharge(run([-500_000 - second // 4 for second in range(21)]))


def test_this_machine_has_no_phone_s_battery() -> None:
    with pytest.raises(UsageError, match="--device adb:SERIAL"):
        meters.open("android")


def test_readings_are_values_alone() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Reading(1, False, 4000, -5)), type=Reading) == Reading(
        1, False, 4000, -5
    )
