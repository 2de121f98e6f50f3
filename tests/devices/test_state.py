"""The machine at one moment: readings from trees made after real ones, and from the machine that the tests run on."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgekit.devices import _state

PI = {
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpufreq/policy0/related_cpus": "0 1 2 3\n",
    "proc/stat": "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 100 20 30 4000 50 6 7 8 0 0\n",
    "proc/meminfo": "MemTotal: 8000000 kB\nSwapTotal: 102400 kB\nSwapFree: 102000 kB\nHugePages_Total: 0\n",
    "proc/loadavg": "0.42 0.30 0.10 1/200 4242\n",
}


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_a_pi_tells_everything_but_its_supply(tmp_path: Path) -> None:
    found = _state.read(machine(tmp_path, PI))
    assert found.throttled == 0x50005
    assert (found.frequency_khz, found.frequency_limit_khz, found.governor) == (1_500_000, 2_400_000, "ondemand")
    assert (found.busy_s, found.stolen_s) == (1.63, 0.08)
    assert (found.swap_used_bytes, found.load_1min, found.power_source) == (400 * 1024, 0.42, None)


def test_big_and_little_cores_are_looked_at_apart(tmp_path: Path) -> None:
    big = {name.replace("policy0", "policy4"): text for name, text in PI.items() if "policy0" in name}
    big["sys/devices/system/cpu/cpufreq/policy4/related_cpus"] = "4 5 6 7\n"
    big["sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq"] = "2200000\n"
    root = machine(tmp_path, PI | big)
    assert _state.read(root).frequency_khz == 2_200_000
    assert _state.read(root, cores=(0, 1)).frequency_khz == 1_500_000
    assert _state.read(root, cores=(6,)).frequency_khz == 2_200_000


@pytest.mark.parametrize(
    ("answer", "bits"),
    [("throttled=0x50005\n", 0x50005), ("0\n", 0), ("throttled=0x0", 0), ("", None), ("error=1", None), ("VCHI", None)],
)
def test_both_forms_of_the_throttled_bits_are_read(answer: str, bits: int | None) -> None:
    assert _state.parse_throttled(answer) == bits


@pytest.mark.parametrize(
    ("supplies", "source"),
    [
        ({"AC": ("Mains", "1", ""), "BAT0": ("Battery", None, "")}, "mains"),
        ({"AC": ("Mains", "0", ""), "BAT0": ("Battery", None, "")}, "battery"),
        ({"ucsi-source": ("USB", "1", ""), "BAT0": ("Battery", None, "")}, "mains"),
        ({"hidpp_battery_0": ("Battery", "1", "Device")}, None),  # a mouse's, on a desktop
        ({}, None),
    ],
)
def test_the_supply_is_told(
    tmp_path: Path, supplies: dict[str, tuple[str, str | None, str]], source: str | None
) -> None:
    for name, (kind, online, scope) in supplies.items():
        files = {"type": kind, "online": online, "scope": scope}
        machine(tmp_path / "sys/class/power_supply" / name, {file: text for file, text in files.items() if text})
    assert _state.power_source(tmp_path) == source


def test_throttling_is_counted_over_cores_and_packages(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    files = {folder.format(core, kind): "2\n" for core in (0, 1) for kind in ("core", "package")}
    assert _state.throttle_count(machine(tmp_path, files)) == 8
    assert _state.throttle_count(tmp_path / "none") is None


@pytest.mark.parametrize("content", ["", "cpu", "intr 1 2 3 4 5 6 7 8 9", "cpu  1 2 3"])
def test_a_strange_stat_is_nothing(tmp_path: Path, content: str) -> None:
    assert _state.processor_time_s(machine(tmp_path, {"proc/stat": content})) == (None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's files are Linux's")
def test_work_of_this_process_is_seen_as_its_own() -> None:
    since_ns = time.perf_counter_ns()
    before = _state.read(since_ns=since_ns)
    stop = time.process_time() + 0.3
    while time.process_time() < stop:
        pass
    after = _state.read(since_ns=since_ns)
    assert after.own_s is not None and before.own_s is not None and after.own_s - before.own_s >= 0.29
    assert after.busy_s is not None and before.busy_s is not None and after.busy_s - before.busy_s >= 0.2
    assert 0 <= before.at_s < after.at_s
    assert abs(after.clock_offset_ns - before.clock_offset_ns) < 50_000_000
    assert before.slept_ns is not None and before.slept_ns >= 0
