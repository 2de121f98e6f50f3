"""This machine: what it says of itself, on trees invented after real ones, and how it runs models in children."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from edgekit import artifact as artifact_file
from edgekit import bench, isolate
from edgekit.artifact import Artifact
from edgekit.bench import NO_METER, ColdStart
from edgekit.devices import local
from edgekit.devices.local import Local
from edgekit.errors import FileFormatError, ModelCrashError
from edgekit.measurement import Protocol, Session

forks = pytest.mark.skipif(sys.platform != "linux", reason="a child sees the replaced function only if it is forked")
SHORT = Protocol("short", warmup_s=0.01, min_runs=20, min_seconds=0.05)

ARM_CORE = "processor\t: {}\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {}\n\n"
PI_5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/cpuinfo": "".join(ARM_CORE.format(core, "0xd0b") for core in range(4))
    + "Serial\t\t: 100000001234abcd\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/loadavg": "0.42 0.30 0.10 1/200 4242\n",
    "etc/hostname": "secret-host\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2400000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48250\n",
}
BIG_LITTLE = {
    "proc/device-tree/model": "Radxa ROCK 5B\0",
    "proc/cpuinfo": "".join(ARM_CORE.format(core, "0xd05" if core < 4 else "0xd0b") for core in range(8)),
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1800000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "2256000\n",
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "99000\n",
    "sys/class/thermal/thermal_zone1/type": "soc-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "41000\n",
}
LAPTOP = {
    "proc/cpuinfo": "".join(f"processor\t: {core}\nmodel name\t: AMD Ryzen 7 PRO\n\n" for core in range(2)),
    "sys/class/dmi/id/product_name": "ThinkPad T14s\n",
    "sys/class/hwmon/hwmon0/name": "nvme\n",
    "sys/class/hwmon/hwmon0/temp1_input": "30000\n",
    "sys/class/hwmon/hwmon1/name": "k10temp\n",
    "sys/class/hwmon/hwmon1/temp1_input": "55500\n",
}


def machine(root: Path, files: dict[str, str]) -> Local:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Local(root)


def test_a_pi_is_named_by_its_board(tmp_path: Path) -> None:
    device = machine(tmp_path, PI_5)
    found = device.fingerprint()
    assert device.name == found.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert (found.cpu, found.cores) == ("Cortex-A76", 4)
    assert (found.governor, found.frequency_khz) == ("ondemand", 2_400_000)
    assert (found.temperature_c, found.load_1min) == (48.25, 0.42)
    assert found.os.startswith("Debian GNU/Linux 12 (bookworm), ")


def test_clusters_are_told_apart(tmp_path: Path) -> None:
    found = machine(tmp_path, BIG_LITTLE).fingerprint()
    assert (found.cpu, found.cores) == ("4x Cortex-A55 + 4x Cortex-A76", 8)
    assert (found.governor, found.frequency_khz) == ("schedutil + performance", 2_256_000)
    assert found.temperature_c == 41.0


def test_a_pc_is_named_by_its_processor(tmp_path: Path) -> None:
    device = machine(tmp_path, LAPTOP)
    found = device.fingerprint()
    assert device.name == "AMD Ryzen 7 PRO, 2 cores"
    assert (found.board, found.cpu, found.temperature_c) == ("ThinkPad T14s", "AMD Ryzen 7 PRO", 55.5)


@pytest.mark.parametrize("product", ["To Be Filled By O.E.M.", "\n"])
def test_a_product_without_a_name_is_none(tmp_path: Path, product: str) -> None:
    device = machine(tmp_path, LAPTOP | {"sys/class/dmi/id/product_name": product})
    assert device.fingerprint().board is None


@pytest.mark.skipif(sys.platform != "linux", reason="macOS answers by sysctl, whatever the tree says")
def test_a_system_that_says_nothing_gives_nothing(tmp_path: Path) -> None:
    found = Local(tmp_path).fingerprint()
    assert [found.board, found.cpu, found.governor, found.frequency_khz, found.temperature_c, found.load_1min] == [
        None
    ] * 6
    assert found.cores >= 1 and found.arch and found.runtime_version


def test_a_broken_sensor_is_none(tmp_path: Path) -> None:
    device = machine(tmp_path, PI_5 | {"sys/class/thermal/thermal_zone0/temp": "\n"})
    assert device.fingerprint().temperature_c is None


@pytest.mark.parametrize(
    ("implementer", "part", "name"),
    [
        (0x41, 0xD08, "Cortex-A72"),
        (0x41, 0xD03, "Cortex-A53"),
        (0x41, 0xFFF, "Arm part 0xfff"),
        (0x51, 0x802, "Qualcomm part 0x802"),
        (0x99, 0x1, "implementer 0x99 part 0x1"),
    ],
)
def test_parts_are_decoded_or_told_as_they_are(implementer: int, part: int, name: str) -> None:
    assert local._core_name(implementer, part) == name


def test_no_host_user_or_serial_number_is_told(tmp_path: Path) -> None:
    words = str(machine(tmp_path, PI_5).fingerprint())
    assert "secret-host" not in words and "1234abcd" not in words
    assert (os.environ.get("USER") or "\0") not in str(Local().fingerprint())


def stand_in(tmp_path: Path, name: str) -> Artifact:
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(b"1234TFL3")
    return artifact_file.read(path)


def die(artifact: Artifact, threads: int, seed: int, inputs: str) -> ColdStart:
    faulthandler.disable()  # pytest's, which would print
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hang(artifact: Artifact, threads: int, seed: int, inputs: str) -> ColdStart:
    time.sleep(60)
    raise AssertionError


@forks
def test_a_model_that_kills_the_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "cold_start", die)
    with pytest.raises(ModelCrashError, match=r"deadly\.tflite: the runtime died \(SIGSEGV\)"):
        Local().run([stand_in(tmp_path, "deadly")], Session(SHORT))


@forks
def test_a_model_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "cold_start", hang)
    monkeypatch.setattr(local, "START_TIMEOUT_S", 0.1)
    with pytest.raises(ModelCrashError, match=r"slow\.tflite: no answer after 0 s"):
        Local().run([stand_in(tmp_path, "slow")], Session(SHORT))


def test_a_file_that_is_no_model_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"empty\.tflite: .*\w"):
        Local().run([stand_in(tmp_path, "empty")], Session(SHORT))


def test_only_what_hangs_runs_out_of_time() -> None:
    quick = ColdStart(load_ns=1, first_ns=1_000_000, peak_rss_bytes=None)
    slow = ColdStart(load_ns=1, first_ns=2_000_000_000, peak_rss_bytes=None)
    assert local._timeout_s(bench.QUICK, [quick]) == pytest.approx(60 + 10 * (3 + 1))
    assert local._timeout_s(bench.QUICK, [quick, slow]) == pytest.approx(60 + 10 * (3 + 1 + 3 + 50 * 2))


@pytest.mark.assets
def test_real_models_run_in_children_and_progress_comes_back(assets: Path) -> None:
    folder = assets / "tflite"
    names = ["mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant"]
    seen: list[float] = []
    device = Local()
    measurements = device.run(
        [artifact_file.read(folder / f"{name}.tflite") for name in names],
        Session(SHORT),
        progress=seen.append,
    )
    assert [measurement.artifact_name for measurement in measurements] == names
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) == 22
    for measurement in measurements:
        assert measurement.device == device.name
        assert len(measurement.latency_ns) >= 20
        assert (measurement.energy, measurement.energy_reason) == (None, NO_METER)
        if sys.platform == "linux":
            assert measurement.peak_rss_bytes is not None
            assert measurement.size_bytes < measurement.peak_rss_bytes < 200 << 20


@pytest.mark.assets
@forks
def test_a_crash_in_the_session_ends_the_relay_too(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die_later(*_: object, **options: object) -> None:
        options["progress"](0.5)  # type: ignore[operator]
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(bench, "measure_many", die_later)
    artifact = artifact_file.read(assets / "tflite" / "mobilenet_v1_0.25_128_quant.tflite")
    seen: list[float] = []
    with pytest.raises(ModelCrashError, match="SIGKILL"):
        Local().run([artifact], Session(SHORT), progress=seen.append)
    assert seen == [0.5]
    assert isolate.call("after", 5, os.getpid) != os.getpid()
