"""What this machine can do, and how to get what it lacks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path

import msgspec

from edgekit import graph, meters, runtime
from edgekit.devices import local
from edgekit.errors import EdgekitError, MissingError

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
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _EXPORT_STACK)
    return Finding("export stack", True, versions)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
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
