"""Current sensors by Linux's driver, on constructed trees in the units of the kernel's documentation."""

from __future__ import annotations

import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit import meters
from edgekit.energy import Account, measure_idle
from edgekit.errors import MissingError, UnknownNameError, UsageError
from edgekit.meters import hwmon


def sensor(root: Path, folder: str = "hwmon2", name: str = "ina219", **files: int) -> Path:
    path = root / "sys/class/hwmon" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    for file, value in files.items():
        (path / file).write_text(f"{value}\n")
    return path


def test_power_is_in_microwatts(tmp_path: Path) -> None:
    sensor(tmp_path, power1_input=3_420_000, curr1_input=9, in1_input=9, shunt_resistor=100_000)
    sensor(tmp_path, "hwmon0", "cpu_thermal", temp1_input=40_000)
    meter = meters.find(tmp_path)
    assert isinstance(meter, hwmon.Hwmon)
    assert meter.watts() == pytest.approx(3.42)
    assert (meter.source, meter.scope) == ("INA219 by hwmon with 100 mohm", "board")
    assert meter.uncertainty is not None and "SBOS448G" in meter.uncertainty.stated_by


def test_without_power_it_is_milliamperes_times_millivolts(tmp_path: Path) -> None:
    sensor(tmp_path, name="ina260", curr1_input=684, in1_input=5_000)
    meter = meters.open("hwmon", tmp_path)
    assert isinstance(meter, hwmon.Hwmon) and meter.watts() == pytest.approx(3.42)
    assert meter.uncertainty is None  # nobody was asked


@pytest.mark.parametrize(("interval_ms", "period_s"), [(35, 0.035), (2, 0.01)])
def test_the_driver_s_interval_is_the_resolution(tmp_path: Path, interval_ms: int, period_s: float) -> None:
    sensor(tmp_path, name="ina226", power1_input=1, update_interval=interval_ms)
    meter = meters.open("hwmon:hwmon2", tmp_path)
    assert isinstance(meter, hwmon.Hwmon) and (meter.resolution_s, meter.period_s) == (period_s, period_s)


def test_of_several_one_has_to_be_chosen(tmp_path: Path) -> None:
    sensor(tmp_path, "hwmon1", "ina226", power1_input=1)
    sensor(tmp_path, "hwmon2", "ina219", power1_input=1)
    assert hwmon.find(tmp_path) == "several INA chips, choose one: --meter hwmon:hwmon1, --meter hwmon:hwmon2"
    with pytest.raises(UsageError, match=r"there: hwmon1 .ina226., hwmon2 .ina219."):
        meters.open("hwmon", tmp_path)
    meter = meters.open("hwmon:hwmon1:soc", tmp_path)
    assert isinstance(meter, hwmon.Hwmon) and (meter.source, meter.scope) == ("INA226 by hwmon", "soc")


def test_a_scope_that_there_is_not_is_refused(tmp_path: Path) -> None:
    sensor(tmp_path, power1_input=1)
    with pytest.raises(UnknownNameError, match="did you mean board"):
        meters.open("hwmon:hwmon2:bord", tmp_path)


def test_without_a_sensor_the_reason_says_how_to_get_one(tmp_path: Path) -> None:
    assert "dtoverlay=i2c-sensor" in str(hwmon.find(tmp_path))
    with pytest.raises(MissingError, match="there: none"):
        meters.open("hwmon:hwmon2", tmp_path)


def test_a_sensor_that_cannot_be_read_gives_the_reason(tmp_path: Path) -> None:
    sensor(tmp_path)
    assert "cannot be read" in str(hwmon.find(tmp_path))


_WRITER = """
import itertools, os, sys, time
path = sys.argv[1]
for step in itertools.count():
    with open(path + ".new", "w") as file:
        file.write(str(2_000_000 + 1_000_000 * (step % 2)))
    os.replace(path + ".new", path)
    if step == 0:
        print("ready", flush=True)
    time.sleep(0.003)
"""


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Path]:
    """A tree whose power a process of its own switches between 2 and 3 W, as a driver does."""
    folder = sensor(tmp_path, power1_input=2_000_000)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(folder / "power1_input")], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    yield tmp_path
    writer.kill()
    writer.communicate()


def inferences(seconds: float) -> list[int]:
    """Latencies of some work that lets other threads run meanwhile, as a runtime does."""
    work, samples_ns, end = bytes(range(256)) * 2000, [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start_ns = time.perf_counter_ns()
        zlib.compress(work, 1)
        samples_ns.append(time.perf_counter_ns() - start_ns)
    return samples_ns


def test_a_living_tree_is_sampled_beside_real_work_and_the_cost_is_told(alive: Path) -> None:
    meter = meters.open("hwmon", alive)
    assert isinstance(meter, hwmon.Hwmon)
    for _ in range(5):  # a machine too busy to read in time is told of, and then there is no energy
        account, runs = sampled(meter)
        energy = account.energy()
        if energy is not None:
            break
        assert "readings" in account.reason
    assert energy is not None, account.reason
    assert energy.seconds is not None and energy.idle_power_w is not None and energy.net_j is not None
    assert energy.idle_power_w == pytest.approx(2.5, abs=0.3)
    assert energy.energy_j * runs / energy.seconds == pytest.approx(2.5, abs=0.3)
    assert abs(energy.net_j) < 0.2 * energy.energy_j  # the work changes nothing in this tree
    assert energy.updates is not None and energy.updates >= 4 * 10
    assert energy.sampler_ratio is not None and 0.5 < energy.sampler_ratio < 2


def sampled(meter: meters.Meter) -> tuple[Account, int]:
    """Four windows of work with the meter and four without, and the inferences under the meter."""
    account, runs = Account(meter, measure_idle(meter)), 0
    for round_number in range(4):
        if round_number % 2:
            account.bare(inferences(0.1))
        account.open()
        account.close(metered := inferences(0.4))
        runs += len(metered)
        if round_number % 2 == 0:
            account.bare(inferences(0.1))
    return account, runs
