"""This machine. What it is is read from /proc and /sys on Linux and from sysctl on macOS.

Models run in a child process: a native crash or a hang becomes an error that names the file.
"""

from __future__ import annotations

import contextlib
import functools
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
from typing import Any

import msgspec

from edgekit import bench, energy, feeds, isolate, meters, profile, validity
from edgekit.artifact import Artifact, read_model
from edgekit.bench import ColdStart, Progress
from edgekit.devices import Device, _state
from edgekit.devices._state import text
from edgekit.errors import UsageError
from edgekit.measurement import Fingerprint, Measurement, Protocol, Session
from edgekit.profile import Profile

START_TIMEOUT_S = 300.0
PROFILE_TIMEOUT_S = 3600.0
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

    def fingerprint(self, cores: tuple[int, ...] = ()) -> Fingerprint:
        """The machine as it is now, with what a session on these cores sees; MissingError without a TFLite runtime."""
        package, version = bench.runtime_version()
        now = _state.read(self._root, cores)
        return Fingerprint(
            board=_device_tree(self._root) or _dmi_product(self._root) or _sysctl("hw.model"),
            cpu=_cpu(self._root),
            cores=_cores(self._root),
            arch=platform.machine(),
            os=_os(self._root),
            python=platform.python_version(),
            runtime=package,
            runtime_version=version,
            governor=_state.governors(self._root),
            frequency_khz=now.frequency_khz,
            temperature_c=now.temperature_c,
            load_1min=now.load_1min,
            soc=_soc(self._root),
            frequency_max_khz=_state.frequency_max_khz(self._root, cores),
            throttled=now.throttled,
            power_source=now.power_source,
            swap_used_bytes=now.swap_used_bytes,
            pinned=cores,
            features=_features(self._root),
        )

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """Starts every file in children of its own, then measures all of them interleaved in one child.

        A child is forked from here on Linux, where the runtime's library is loaded already but has done nothing yet.
        Raises UsageError for cores that this machine does not have.
        """
        protocol, meter = session.protocol, meters.open(session.meter, self._root)
        _check_cores(session.cores)
        feeds.check(session.inputs)
        fingerprint = self.fingerprint(session.cores)  # also imports the runtime once, for all the children
        steps = len(artifacts) * protocol.starts
        share = _share_of_starts(protocol, len(artifacts))
        starts: list[list[ColdStart]] = []
        for artifact in artifacts:
            starts.append([])
            for _ in range(protocol.starts):
                starts[-1].append(_start(artifact, session))
                if progress is not None and protocol.starts > 1:
                    progress(share * sum(map(len, starts)) / steps)
        with _relayed(_remaining(progress, share)) as tell:
            measured = isolate.call(
                ", ".join(str(artifact.path) for artifact in artifacts),
                _timeout_s(protocol, [first[0] for first in starts]) + 10 * len(starts) * energy.session_s(meter),
                _measured,
                session.cores,
                artifacts,
                protocol=protocol,
                device=self.name,
                fingerprint=fingerprint,
                threads=session.threads,
                meter=meter,
                starts=starts,
                progress=tell,
                watch=functools.partial(_state.read, self._root, session.cores),
                inputs=session.inputs,
            )
        return [validity.judged(msgspec.structs.replace(measurement, meter=session.meter)) for measurement in measured]


def profile_operators(artifact: Artifact, threads: int = 1, progress: Progress | None = None) -> Profile:
    """Times a file operator by operator, in a child process; see `profile.profile`."""
    content = read_model(artifact.path)
    with _relayed(progress) as tell:
        return isolate.call(
            str(artifact.path), PROFILE_TIMEOUT_S, profile.profile, content, threads=threads, progress=tell
        )


def _start(artifact: Artifact, session: Session) -> ColdStart:
    return isolate.call(
        str(artifact.path),
        START_TIMEOUT_S,
        _cold_start,
        session.cores,
        artifact,
        session.threads,
        session.protocol.seed,
        session.inputs,
    )


def _cold_start(cores: tuple[int, ...], artifact: Artifact, threads: int, seed: int, inputs: str) -> ColdStart:
    """Runs in a child process."""
    _pin(cores)
    return bench.cold_start(artifact, threads, seed, inputs)


def _measured(cores: tuple[int, ...], artifacts: Sequence[Artifact], **options: Any) -> list[Measurement]:
    """Runs in a child process."""
    _pin(cores)
    return bench.measure_many(artifacts, **options)


def _pin(cores: tuple[int, ...]) -> None:
    """Keeps this process, and the threads that the runtime will start, on these cores."""
    if cores and sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def _check_cores(cores: tuple[int, ...]) -> None:
    if not cores:
        return
    if sys.platform != "linux":
        raise UsageError(f"asked to stay on cores {cores}, but {platform.system()} lets no program choose its cores")
    allowed = os.sched_getaffinity(0)
    if absent := sorted(set(cores) - allowed):
        raise UsageError(
            f"asked for cores {sorted(cores)}, but {absent} are not among those allowed: {sorted(allowed)}"
        )


def _share_of_starts(protocol: Protocol, artifacts: int) -> float:
    """How much of the progress the cold starts are; nothing to speak of, unless they are the point."""
    if protocol.starts == 1:
        return 0.0
    return 0.9 if protocol.min_seconds * artifacts < protocol.starts else 0.1


def _remaining(progress: Progress | None, share: float) -> Progress | None:
    if progress is None or share == 0:
        return progress
    return lambda done: progress(share + (1 - share) * done)


def _timeout_s(protocol: Protocol, starts: Sequence[ColdStart]) -> float:
    """Ten times what the session should take, the longest warm-up, and a minute: only what hangs is stopped."""
    runs_s = (max(protocol.min_seconds, protocol.min_runs * start.first_ns / 1e9) for start in starts)
    return 60 + 10 * sum(max(protocol.warmup_s, protocol.warmup_most_s) + seconds for seconds in runs_s)


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


def _device_tree(root: Path) -> str | None:
    return text(root / "proc/device-tree/model")


def _dmi_product(root: Path) -> str | None:
    name = text(root / "sys/class/dmi/id/product_name")
    return None if name in _NO_PRODUCT else name


def _cpu(root: Path) -> str | None:
    """The processor: decoded part numbers on Arm, "4x Cortex-A55 + 4x Cortex-A76", else the name that it reports."""
    info = text(root / "proc/cpuinfo") or ""
    codes = zip(_cpuinfo(info, "CPU implementer"), _cpuinfo(info, "CPU part"), strict=False)
    cores = Counter(_core_name(int(implementer, 16), int(part, 16)) for implementer, part in codes)
    if len(cores) == 1:
        return next(iter(cores))
    if cores:
        return " + ".join(f"{count}x {name}" for name, count in cores.items())
    names = _cpuinfo(info, "model name")
    return names[0] if names else _sysctl("machdep.cpu.brand_string")


_WANTED = ("asimd", "asimddp", "i8mm", "avx2", "avx_vnni", "avx512_vnni")  # what the speed of int8 depends on


def _features(root: Path) -> tuple[str, ...]:
    """Which of the wanted ones the processor has, as /proc/cpuinfo names them; empty where it is silent."""
    info = text(root / "proc/cpuinfo") or ""
    told = set(" ".join([*_cpuinfo(info, "Features")[:1], *_cpuinfo(info, "flags")[:1]]).split())
    return tuple(feature for feature in _WANTED if feature in told)


def _cpuinfo(info: str, field: str) -> list[str]:
    return re.findall(rf"^{field}\s*: *(\S.*?)\s*$", info, re.MULTILINE)


def _core_name(implementer: int, part: int) -> str:
    if implementer == 0x41 and part in _ARM_PARTS:
        return _ARM_PARTS[part]
    return f"{_IMPLEMENTERS.get(implementer, f'implementer {implementer:#x}')} part {part:#x}"


def _cores(root: Path) -> int:
    info = text(root / "proc/cpuinfo") or ""
    return len(re.findall(r"^processor\s*:", info, re.MULTILINE)) or os.cpu_count() or 1


def _os(root: Path) -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    release = text(root / "etc/os-release") or ""
    name = re.search(r'^PRETTY_NAME="?(.*?)"?$', release, re.MULTILINE)
    kernel = f"{platform.system()} {platform.release()}"
    return f"{name[1]}, {kernel}" if name else kernel


def _soc(root: Path) -> str | None:
    """The chip's name: the last of the device tree's compatible names that is no board, such as "brcm,bcm2712"."""
    names = (text(root / "proc/device-tree/compatible") or "").split("\0")
    return names[-1] if len(names) > 1 else text(root / "sys/devices/soc0/machine")


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    try:
        answer = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
