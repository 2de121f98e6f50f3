"""What this machine or another device can do, and how to get what it lacks."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import devices, graph, meters, runtime
from edgekit.devices import local
from edgekit.errors import EdgekitError, MissingError, OutputError

if TYPE_CHECKING:
    from edgekit.devices.adb import Adb
    from edgekit.devices.emulated import Emulated
    from edgekit.devices.ssh import Facts

_ROOM_BYTES = 100_000_000
_CLOCK_S = 2.0
_EXPORT_STACK = ("tensorflow", "keras", "h5py", "protobuf")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked for; `remedy` says how to get it where `ok` is false."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Looks at runtime, delegate, machine, meters, export stack and assets; imports none of the heavy parts."""
    return [*examine_board(), _export_stack(), _assets()]


def examine_board() -> list[Finding]:
    """What measuring needs: Python, runtime, delegate, machine and meters."""
    return [_python(), _runtime(), _delegate(), *_machine(), _meter()]


def examine_device(where: str) -> list[Finding]:
    """The same of another device: whether it can be reached, what it is and what it lacks.

    What stops the examination is a finding too. UsageError or UnknownNameError where `where` names no device.
    """
    device = devices.find(where)
    try:
        return _device_findings(where, device)
    except (MissingError, OutputError) as error:
        return [Finding(where, False, "cannot be used", str(error))]


def _device_findings(where: str, device: devices.Device | Emulated) -> list[Finding]:
    from edgekit.devices.adb import Adb
    from edgekit.devices.ssh import Ssh

    if isinstance(device, Ssh):
        facts, found = device.examine()
        return [*_board(where, facts), *(Finding(item.what, item.ok, item.found, item.remedy) for item in found)]
    if isinstance(device, Adb):
        return _phone(where, device)
    there = device.fingerprint()
    words = f"{there.cpu}, {there.arch}, {there.runtime} {there.runtime_version}"
    return [Finding(where, True, words), Finding("time and energy", True, "none: an emulated core has instructions")]


def _board(where: str, facts: Facts) -> list[Finding]:
    """What is known of a board before edgekit runs there; `free` is room for models, edgekit is already on it."""
    system = f"{facts.machine}, {facts.bits}-bit programs, glibc {facts.glibc}"
    free = Finding("free space", facts.free_bytes > _ROOM_BYTES, f"{facts.free_bytes / 1e6:.0f} MB", "free 200 MB")
    ahead = facts.clock_ahead_s
    remedy = "results are dated by this machine's clock; to set the board's: sudo timedatectl set-ntp true"
    clock = Finding("clock", abs(ahead) < _CLOCK_S, f"{ahead:+.0f} s against this machine", remedy)
    return [Finding(where, True, system), free, clock]


def _phone(where: str, device: Adb) -> list[Finding]:
    phone = device.examine()
    found = [Finding(where, True, f"{phone.model} ({phone.soc}), {phone.abi}, Android {phone.release}")]
    try:
        found.append(Finding("runs models", True, device.how()))
    except MissingError as error:
        found.append(Finding("runs models", False, "nothing does", str(error)))
    status = phone.thermal_status
    temperature = "" if phone.temperature_c is None else f", {phone.temperature_c:.0f} °C"
    words = "not told" if status is None else f"thermal status {status}{temperature}"
    found.append(Finding("heat", not status, words, "it slows itself down; let it cool, out of its case"))
    battery = phone.battery
    if battery is None:
        return [*found, Finding("energy meter", False, "none", phone.battery_reason or "no battery is told")]
    remedy = "for energy, connect over Wi-Fi and pull the cable: adb tcpip 5555, adb connect PHONE:5555"
    return [
        *found,
        Finding("energy meter", not battery.plugged, "plugged in" if battery.plugged else "battery", remedy),
    ]


def _python() -> Finding:
    return Finding("Python", sys.version_info >= (3, 10), platform.python_version(), "install Python 3.10 or later")


def _runtime() -> Finding:
    try:
        package, version = runtime.version()
    except MissingError as error:
        return Finding("runtime", False, "none", str(error))
    return Finding("runtime", True, f"{package} {version}")


def _delegate() -> Finding:
    try:
        name = runtime.Runner(_smallest_model()).delegation().delegate
    except EdgekitError as error:
        return Finding("delegate", False, "unknown", str(error))
    remedy = "int8 kernels need XNNPACK; install ai-edge-litert rather than tflite-runtime"
    return Finding("delegate", name == "XNNPACK", name, remedy)


def _smallest_model() -> bytes:
    """One RELU, to see who runs it."""
    tensors = [graph.Tensor(name, (1, 4), "float32") for name in ("in", "out")]
    return graph.dump(graph.Graph(tensors, [graph.Operator("RELU", [0], [1])], [0], [1]))


def _machine() -> list[Finding]:
    try:
        machine = local.Local().fingerprint()
    except MissingError:  # it names the runtime, and there is none
        return [Finding("processor", True, f"{local.Local().name}, {platform.machine()}")]
    cores = Finding("processor", True, f"{machine.cpu or 'unknown'}, {os.cpu_count()} cores, {machine.arch}")
    governor = machine.governor
    steady = governor in (None, "performance")
    remedy = "for steady timings: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return [cores, Finding("governor", steady, governor or "not shown by this system", remedy)]


def _meter() -> Finding:
    meter = meters.find(Path("/"))
    if isinstance(meter, str):
        return Finding("energy meter", False, "none", meter)
    return Finding("energy meter", True, f"{meter.source} ({meter.scope})")


def _export_stack() -> Finding:
    missing = [name for name in _EXPORT_STACK if not _installed(name)]
    if missing:
        return Finding("export stack", False, f"without {', '.join(missing)}", "pip install 'edgekit[export]'")
    from importlib import metadata  # slow to import on a slow board

    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _EXPORT_STACK)
    return Finding("export stack", True, versions)


def _installed(package: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _assets() -> Finding:
    from edgekit.weights import store

    folder, names = store.folder(), store.catalogue()
    there = sum((folder / name).is_file() for name in names)
    found = f"{there} of {len(names)} in {folder}"
    if not os.environ.get("EDGEKIT_ASSETS"):
        return Finding("assets", True, f"{found}; what is missing is downloaded")
    return Finding("assets", there == len(names), found, "unset EDGEKIT_ASSETS to have them downloaded")
