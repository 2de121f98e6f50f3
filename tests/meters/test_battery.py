"""Batteries under power_supply, on constructed trees in the units of the kernel's ABI document."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from edgekit import meters
from edgekit.errors import MissingError, UsageError
from edgekit.meters import Meter, battery
from edgekit.meters.battery import CountingBattery, PowerBattery


def supply(root: Path, name: str = "BAT0", kind: str = "Battery", status: str = "Discharging", **files: object) -> Path:
    path = root / "sys/class/power_supply" / name
    path.mkdir(parents=True)
    for file, value in ({"type": kind, "status": status} | files).items():
        (path / file).write_text(f"{value}\n")
    return path


def opened(root: Path) -> Meter:
    meter = meters.open("battery", root)
    assert isinstance(meter, Meter)
    return meter


@pytest.mark.parametrize(
    "files",
    [
        {"power_now": 7_500_000},
        {"power_now": -7_500_000, "current_now": 1, "voltage_now": 1},
        {"current_now": -2_000_000, "voltage_now": 3_750_000},
        {"current_now": 2_000_000, "voltage_now": 3_750_000},
    ],
)
def test_power_has_either_sign_and_is_what_leaves(tmp_path: Path, files: dict[str, int]) -> None:
    supply(tmp_path, **files)
    meter = opened(tmp_path)
    assert isinstance(meter, PowerBattery) and meter.watts() == pytest.approx(7.5)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown"])
def test_only_a_discharging_battery_is_a_meter(tmp_path: Path, status: str) -> None:
    supply(tmp_path, status=status, power_now=7_500_000)
    with pytest.raises(MissingError, match=f"is '{status.lower()}', not discharging; unplug"):
        opened(tmp_path)


def test_plugged_in_within_the_window_gives_no_figure(tmp_path: Path) -> None:
    folder = supply(tmp_path, power_now=7_500_000)
    meter = opened(tmp_path)
    meter.start()
    (folder / "status").write_text("Charging\n")
    time.sleep(0.7)
    with pytest.raises(MissingError, match="the last with: battery BAT0 is 'charging'"):
        meter.stop()


def test_a_gauge_that_did_not_move_enough_is_refused_however_often_it_was_read(tmp_path: Path) -> None:
    supply(tmp_path, power_now=7_500_000)
    meter = opened(tmp_path)
    meter.start()
    time.sleep(0.5)
    with pytest.raises(MissingError, match="battery BAT0: 0 updates"):
        meter.stop()


@pytest.mark.parametrize(
    ("files", "counter", "step", "step_j"),
    [
        ({"energy_now": 40_000_000}, "energy_now", 1_000, 3.6),  # 1 mWh
        ({"charge_now": 4_000_000, "voltage_now": 4_000_000}, "charge_now", 1_000, 14.4),  # 1 mAh at 4 V
    ],
)
def test_a_counter_is_read_until_it_moved_often_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, int], counter: str, step: int, step_j: float
) -> None:
    monkeypatch.setattr(battery, "_PERIOD_S", 0.002)
    folder = supply(tmp_path, **files)
    meter = opened(tmp_path)
    assert isinstance(meter, CountingBattery)

    def drain() -> None:
        for number in range(1, 13):
            time.sleep(0.03)
            scratch = folder / "new"
            scratch.write_text(str(files[counter] - number * step))
            scratch.replace(folder / counter)

    drainer = threading.Thread(target=drain)
    meter.start()
    drainer.start()
    drainer.join()
    window = meter.stop()
    assert window.energy_j == pytest.approx(12 * step_j)
    assert window.updates == 12


def test_of_two_batteries_one_is_named_and_a_mouse_is_none(tmp_path: Path) -> None:
    supply(tmp_path, "BAT0", power_now=1_000_000)
    supply(tmp_path, "BAT1", power_now=2_000_000)
    supply(tmp_path, "hidpp_battery_0", scope="Device", power_now=1)
    supply(tmp_path, "AC", kind="Mains")
    with pytest.raises(UsageError, match="names 2 batteries; there: BAT0, BAT1"):
        opened(tmp_path)
    meter = meters.open("battery:BAT1", tmp_path)
    assert isinstance(meter, PowerBattery) and meter.watts() == pytest.approx(2.0)


def test_a_machine_without_a_battery_is_told_of_other_meters(tmp_path: Path) -> None:
    supply(tmp_path, "AC", kind="Mains")
    with pytest.raises(MissingError, match=r"no battery .*docs/energy\.md"):
        opened(tmp_path)


def test_a_battery_that_tells_nothing_of_use_is_refused(tmp_path: Path) -> None:
    supply(tmp_path, capacity=80)
    with pytest.raises(MissingError, match="tells neither power nor current nor what is left"):
        opened(tmp_path)


def test_a_battery_is_never_chosen_by_itself(tmp_path: Path) -> None:
    supply(tmp_path, power_now=7_500_000)
    assert isinstance(meters.find(tmp_path), str)
