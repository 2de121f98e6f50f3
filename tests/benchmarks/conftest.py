"""The two drivers as modules, and a device that measures nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.devices import Device
from edgekit.errors import ModelCrashError
from edgekit.measurement import Delegation, Fingerprint, Measurement, Protocol, Session

ROOT = Path(__file__).parents[2]
FINGERPRINT = Fingerprint("Board", "Cortex-A76", 2, "aarch64", "Linux 6", "3.11.2", "ai-edge-litert", "2.3.0")


class FakeDevice(Device):
    """Says 1 ms of everything, and remembers what it was asked; files named in `deadly` crash."""

    def __init__(self, deadly: tuple[str, ...] = ()) -> None:
        self.deadly = deadly
        self.asked: list[tuple[int, list[str]]] = []

    @property
    def name(self) -> str:
        return "Raspberry Pi 5 (fake)"

    def fingerprint(self) -> Fingerprint:
        return FINGERPRINT

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        self.asked.append((session.threads, [artifact.name for artifact in artifacts]))
        for artifact in artifacts:
            if artifact.name in self.deadly:
                raise ModelCrashError(f"{artifact.path}: the runtime died (SIGSEGV)")
        return [self._measurement(artifact, session.protocol, session.threads) for artifact in artifacts]

    def _measurement(self, artifact: Artifact, protocol: Protocol, threads: int) -> Measurement:
        return Measurement(
            artifact.sha256,
            artifact.name,
            model=None,
            recipe=None,
            size_bytes=artifact.size_bytes,
            device=self.name,
            protocol=protocol,
            threads=threads,
            latency_ns=(1_000_000,),
            load_ns=1,
            first_ns=1,
            delegation=Delegation("XNNPACK", 1, 1),
            fingerprint=FINGERPRINT,
            started_utc="2026-01-01T10:00:00+00:00",
        )


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run() -> ModuleType:
    return _load("run")


@pytest.fixture
def report() -> ModuleType:
    return _load("report")


@pytest.fixture
def make_device() -> Callable[..., FakeDevice]:
    return FakeDevice
