"""The drivers as modules, and a device that measures nothing."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.devices import Device
from edgekit.errors import EdgekitError, ModelCrashError
from edgekit.measurement import Delegation, Fingerprint, Measurement, Session

ROOT = Path(__file__).parents[2]
FINGERPRINT = Fingerprint("Board", "Cortex-A76", 2, "aarch64", "Linux 6", "3.11.2", "ai-edge-litert", "2.3.0")
sys.path.insert(0, str(ROOT / "benchmarks"))


class FakeDevice(Device):
    """Says 1 ms of everything after `pause_s`, and writes what it was asked into `log`, for it works in a child.

    Files named in `deadly` crash; after `sessions` whole ones `failure` is raised in the middle of the next.
    """

    def __init__(
        self,
        log: Path | None = None,
        *,
        deadly: tuple[str, ...] = (),
        called: str = "Raspberry Pi 5 (fake)",
        failure: BaseException | None = None,
        sessions: int = 0,
        pause_s: float = 0.0,
    ) -> None:
        self.log, self.deadly, self.called = log, deadly, called
        self.failure, self.sessions, self.pause_s = failure, sessions, pause_s

    @property
    def name(self) -> str:
        return self.called

    def fingerprint(self) -> Fingerprint:
        return FINGERPRINT

    @property
    def asked(self) -> list[tuple[int, list[str]]]:
        """Thread counts and names, session by session."""
        assert self.log is not None
        rows = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [(int(threads), names) for threads, *names in rows]

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        if self.log is not None:
            with self.log.open("a") as file:
                print(session.threads, *(artifact.name for artifact in artifacts), file=file)
        if progress is not None:
            progress(0.5)
        time.sleep(self.pause_s)
        if self.failure is not None and self.sessions == 0:
            raise self.failure
        self.sessions -= 1
        for artifact in artifacts:
            if artifact.name in self.deadly:
                raise ModelCrashError(f"{artifact.path}: the runtime died (SIGSEGV)")
        return [self._measurement(artifact, session) for artifact in artifacts]

    def _measurement(self, artifact: Artifact, session: Session) -> Measurement:
        return Measurement(
            artifact.sha256,
            artifact.name,
            model=None,
            recipe=None,
            size_bytes=artifact.size_bytes,
            device=self.name,
            protocol=session.protocol,
            threads=session.threads,
            meter=session.meter,
            latency_ns=(1_000_000,),
            load_ns=1,
            first_ns=1,
            delegation=Delegation("XNNPACK", 1, 1),
            fingerprint=msgspec.structs.replace(FINGERPRINT, pinned=session.cores),
            started_utc="2026-01-01T10:00:00+00:00",
        )


class UnreachableDevice(FakeDevice):
    """Fails at the first question."""

    @property
    def name(self) -> str:
        assert isinstance(self.failure, EdgekitError)
        raise self.failure


@pytest.fixture
def run() -> ModuleType:
    return importlib.import_module("run")


@pytest.fixture
def lanes() -> ModuleType:
    return importlib.import_module("lanes")


@pytest.fixture
def campaigns() -> ModuleType:
    return importlib.import_module("campaign")


@pytest.fixture
def kills() -> ModuleType:
    return importlib.import_module("kills")


@pytest.fixture
def report() -> ModuleType:
    return importlib.import_module("report")


@pytest.fixture
def make_device() -> Callable[..., FakeDevice]:
    return FakeDevice


@pytest.fixture
def make_unreachable() -> Callable[..., UnreachableDevice]:
    return UnreachableDevice
