"""A Linux machine at one moment, from /proc, /sys and a Pi's firmware: clocks, heat, throttling, supply, load, swap.

Every reading is None where the system does not tell; a tree may be a recorded one, for tests.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from edgekit.measurement import State

_CPU_SENSORS = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "soc_thermal", "coretemp", "k10temp")
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_MAINS = ("Mains", "USB", "USB_C", "USB_PD", "Wireless")
_ANSWER_S = 2.0


def read(root: Path = Path("/"), cores: tuple[int, ...] = (), since_ns: int = 0) -> State:
    """The machine now; frequencies are of the domains of `cores`, or of all.

    `since_ns` is what `time.perf_counter_ns` said when the session began.
    """
    now_ns = time.perf_counter_ns()
    busy_s, stolen_s = processor_time_s(root)
    return State(
        at_s=(now_ns - since_ns) / 1e9,
        clock_offset_ns=time.time_ns() - now_ns,
        slept_ns=_slept_ns(),
        frequency_khz=_fastest(root, "scaling_cur_freq", cores),
        frequency_limit_khz=_fastest(root, "scaling_max_freq", cores),
        governor=governors(root),
        temperature_c=temperature_c(root),
        throttled=throttled(root),
        throttle_count=throttle_count(root),
        power_source=power_source(root),
        load_1min=load_1min(root),
        swap_used_bytes=swap_used_bytes(root),
        busy_s=busy_s,
        stolen_s=stolen_s,
        own_s=time.process_time(),
    )


def text(file: Path) -> str | None:
    """What the file says, or None where there is no such file or it is not for us."""
    try:
        return file.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def number(file: Path) -> float | None:
    """The number that the file holds, or None."""
    try:
        return float(text(file) or "")
    except ValueError:
        return None


def _domains(root: Path, cores: tuple[int, ...]) -> list[Path]:
    """Every frequency domain, or those of some cores: clusters of big and little cores have one each."""
    found = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    if not cores:
        return found
    return [domain for domain in found if set(cores) & set(map(int, (text(domain / "related_cpus") or "").split()))]


def _fastest(root: Path, file: str, cores: tuple[int, ...]) -> int | None:
    frequencies = [number(domain / file) for domain in _domains(root, cores)]
    return max((int(frequency) for frequency in frequencies if frequency), default=None)


def frequency_max_khz(root: Path, cores: tuple[int, ...] = ()) -> int | None:
    """What the fastest domain can do."""
    return _fastest(root, "cpuinfo_max_freq", cores)


def governors(root: Path) -> str | None:
    """Of all domains, each once."""
    names = [text(domain / "scaling_governor") for domain in _domains(root, ())]
    return " + ".join(dict.fromkeys(name for name in names if name)) or None


def temperature_c(root: Path) -> float | None:
    """The processor's own sensor, from the thermal zones or else hwmon; no other sensor will do."""
    readings = {text(zone / "type"): number(zone / "temp") for zone in (root / "sys/class/thermal").glob("*zone*")}
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        readings.setdefault(text(chip / "name"), number(chip / "temp1_input"))
    found = [readings[sensor] for sensor in _CPU_SENSORS if readings.get(sensor) is not None]
    return found[0] / 1000 if found and found[0] is not None else None


def throttled(root: Path) -> int | None:
    """A Raspberry Pi's get_throttled bits: from sysfs (hexadecimal), else from its command."""
    found = parse_throttled(text(root / _FIRMWARE) or "")
    if found is None and root == Path("/") and (command := _vcgencmd()):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=_ANSWER_S)
            found = parse_throttled(answer.stdout)
    return found


@functools.cache
def _vcgencmd() -> str | None:
    return shutil.which("vcgencmd")


def parse_throttled(answer: str) -> int | None:
    """The bits in "throttled=0x50005" (vcgencmd) or "50005" (sysfs); None for anything else."""
    try:
        return int(answer.strip().removeprefix("throttled="), 16)
    except ValueError:
        return None


def throttle_count(root: Path) -> int | None:
    """How often the x86 cores and packages have throttled since the start, added up."""
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    counts = [number(folder / f"{kind}_throttle_count") for folder in folders for kind in ("core", "package")]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def power_source(root: Path) -> str | None:
    """ "mains" where a supply is online, "battery" where only a battery gives power; None for neither."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    own = [supply for supply in supplies if text(supply / "scope") != "Device"]  # a mouse's battery is not ours
    kinds = {supply: text(supply / "type") for supply in own}
    online = [number(supply / "online") for supply, kind in kinds.items() if kind in _MAINS]
    if any(online):
        return "mains"
    return "battery" if "Battery" in kinds.values() else None


def load_1min(root: Path) -> float | None:
    """The load average of a minute."""
    load = text(root / "proc/loadavg")
    if load is not None:
        return float(load.split()[0])
    return os.getloadavg()[0] if sys.platform == "darwin" else None


def swap_used_bytes(root: Path) -> int | None:
    """Swap in use (proc(5), meminfo)."""
    lines = (line.split() for line in (text(root / "proc/meminfo") or "").splitlines())
    fields = {words[0]: int(words[1]) * 1024 for words in lines if len(words) > 1 and words[1].isdigit()}
    total, free = fields.get("SwapTotal:"), fields.get("SwapFree:")
    return None if total is None or free is None else total - free


def processor_time_s(root: Path) -> tuple[float | None, float | None]:
    """Seconds that all cores have worked since the start, and that a hypervisor kept from them (proc(5), stat)."""
    words = (text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None, None
    user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen = map(int, words[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + interrupts + soft_interrupts) / ticks, stolen / ticks


def _slept_ns() -> int | None:
    """How long the machine has been suspended: the one clock of Linux goes on meanwhile, the other does not."""
    if sys.platform != "linux":
        return None
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC))
