"""This machine. What it is is read from /proc and /sys on Linux and from sysctl on macOS.

Models run in a child process: a native crash or a hang becomes an error that names the file.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from edgekit import bench, energy, isolate, meters
from edgekit.artifact import Artifact
from edgekit.bench import ColdStart, Progress
from edgekit.devices import Device
from edgekit.measurement import Fingerprint, Measurement, Protocol, Session

START_TIMEOUT_S = 300.0
_IMPLEMENTERS = {0x41: "Arm", 0x4E: "NVIDIA", 0x51: "Qualcomm", 0x61: "Apple"}
# MIDR_EL1 part numbers of Arm Ltd. (implementer 0x41), as in the cputype.h of Linux (arch/arm, arch/arm64)
_ARM_PARTS = {
    0xB76: "Arm1176",
    0xC07: "Cortex-A7",
    0xC08: "Cortex-A8",
    0xC09: "Cortex-A9",
    0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
}
_CPU_SENSORS = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "soc_thermal", "coretemp", "k10temp")
_NO_PRODUCT = ("", "To Be Filled By O.E.M.", "To be filled by O.E.M.", "System Product Name", "Default string")


class Local(Device):
    """The machine that edgekit runs on; `root` may be a recorded tree, for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The board, or where there is only a processor, that with its cores."""
        board = _device_tree(self._root)
        if board is not None:
            return board
        cores = _cores(self._root)
        return f"{_cpu(self._root) or platform.machine()}, {cores} {'core' if cores == 1 else 'cores'}"

    def fingerprint(self) -> Fingerprint:
        """The machine as it is now; MissingError without a TFLite runtime."""
        package, version = bench.runtime_version()
        return Fingerprint(
            board=_device_tree(self._root) or _dmi_product(self._root) or _sysctl("hw.model"),
            cpu=_cpu(self._root),
            cores=_cores(self._root),
            arch=platform.machine(),
            os=_os(self._root),
            python=platform.python_version(),
            runtime=package,
            runtime_version=version,
            governor=_governor(self._root),
            frequency_khz=_frequency_khz(self._root),
            temperature_c=_temperature_c(self._root),
            load_1min=_load_1min(self._root),
        )

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """Starts every file in a child of its own, then measures all of them interleaved in one child."""
        protocol, meter = session.protocol, meters.open(session.meter, self._root)
        fingerprint = self.fingerprint()  # also imports the runtime once, for all the children
        starts = [
            isolate.call(
                str(artifact.path), START_TIMEOUT_S, bench.cold_start, artifact, session.threads, protocol.seed
            )
            for artifact in artifacts
        ]
        with _relayed(progress) as tell:
            return isolate.call(
                ", ".join(str(artifact.path) for artifact in artifacts),
                _timeout_s(protocol, starts) + 10 * len(starts) * energy.session_s(meter),
                bench.measure_many,
                artifacts,
                protocol=protocol,
                device=self.name,
                fingerprint=fingerprint,
                threads=session.threads,
                meter=meter,
                starts=starts,
                progress=tell,
            )


def _timeout_s(protocol: Protocol, starts: Sequence[ColdStart]) -> float:
    """Ten times what the session should take, and a minute: only what hangs is stopped."""
    runs_s = (max(protocol.min_seconds, protocol.min_runs * start.first_ns / 1e9) for start in starts)
    return 60 + 10 * sum(protocol.warmup_s + seconds for seconds in runs_s)


@contextlib.contextmanager
def _relayed(progress: Progress | None) -> Iterator[Progress | None]:
    """Yields a function that a child process can call in the place of `progress`; a thread here passes it on."""
    if progress is None:
        yield None
        return
    receiver, sender = multiprocessing.Pipe(duplex=False)
    relay = threading.Thread(target=_relay, args=(receiver, progress), daemon=True)
    relay.start()
    try:
        yield sender.send
    finally:
        sender.send(math.nan)
        relay.join()
        sender.close()
        receiver.close()


def _relay(receiver: Connection, progress: Progress) -> None:
    while not math.isnan(share := receiver.recv()):
        progress(share)


def _text(file: Path) -> str | None:
    """What the file says, or None where there is no such file or it is not for us."""
    try:
        return file.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def _number(file: Path) -> float | None:
    try:
        return float(_text(file) or "")
    except ValueError:
        return None


def _device_tree(root: Path) -> str | None:
    return _text(root / "proc/device-tree/model")


def _dmi_product(root: Path) -> str | None:
    name = _text(root / "sys/class/dmi/id/product_name")
    return None if name in _NO_PRODUCT else name


def _cpu(root: Path) -> str | None:
    """The processor: decoded part numbers on Arm, "4x Cortex-A55 + 4x Cortex-A76", else the name that it reports."""
    info = _text(root / "proc/cpuinfo") or ""
    codes = zip(_cpuinfo(info, "CPU implementer"), _cpuinfo(info, "CPU part"), strict=False)
    cores = Counter(_core_name(int(implementer, 16), int(part, 16)) for implementer, part in codes)
    if len(cores) == 1:
        return next(iter(cores))
    if cores:
        return " + ".join(f"{count}x {name}" for name, count in cores.items())
    names = _cpuinfo(info, "model name")
    return names[0] if names else _sysctl("machdep.cpu.brand_string")


def _cpuinfo(info: str, field: str) -> list[str]:
    return re.findall(rf"^{field}\s*: *(\S.*?)\s*$", info, re.MULTILINE)


def _core_name(implementer: int, part: int) -> str:
    if implementer == 0x41 and part in _ARM_PARTS:
        return _ARM_PARTS[part]
    return f"{_IMPLEMENTERS.get(implementer, f'implementer {implementer:#x}')} part {part:#x}"


def _cores(root: Path) -> int:
    info = _text(root / "proc/cpuinfo") or ""
    return len(re.findall(r"^processor\s*:", info, re.MULTILINE)) or os.cpu_count() or 1


def _os(root: Path) -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    release = _text(root / "etc/os-release") or ""
    name = re.search(r'^PRETTY_NAME="?(.*?)"?$', release, re.MULTILINE)
    kernel = f"{platform.system()} {platform.release()}"
    return f"{name[1]}, {kernel}" if name else kernel


def _cpufreq(root: Path, file: str) -> list[Path]:
    """The file of every frequency domain: clusters of big and little cores have one each."""
    return sorted((root / "sys/devices/system/cpu/cpufreq").glob(f"policy*/{file}"))


def _governor(root: Path) -> str | None:
    governors = [_text(file) for file in _cpufreq(root, "scaling_governor")]
    return " + ".join(dict.fromkeys(name for name in governors if name)) or None


def _frequency_khz(root: Path) -> int | None:
    """The fastest domain's present frequency."""
    frequencies = [_number(file) for file in _cpufreq(root, "scaling_cur_freq")]
    return max((int(frequency) for frequency in frequencies if frequency), default=None)


def _temperature_c(root: Path) -> float | None:
    """The processor's own sensor, from the thermal zones or else hwmon; no other sensor will do."""
    readings = {_text(zone / "type"): _number(zone / "temp") for zone in (root / "sys/class/thermal").glob("*zone*")}
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        readings.setdefault(_text(chip / "name"), _number(chip / "temp1_input"))
    found = [readings[sensor] for sensor in _CPU_SENSORS if readings.get(sensor) is not None]
    return found[0] / 1000 if found and found[0] is not None else None


def _load_1min(root: Path) -> float | None:
    load = _text(root / "proc/loadavg")
    if load is not None:
        return float(load.split()[0])
    return os.getloadavg()[0] if sys.platform == "darwin" else None


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    try:
        answer = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
