"""Places to run: one file per kind, all with the one interface below.

A device says what it is and measures files; how the files get there is its own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.errors import UsageError
from edgekit.measurement import Fingerprint, Measurement, Session

if TYPE_CHECKING:
    from edgekit.devices.emulated import Emulated


class Device(ABC):
    """One machine that runs models."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the machine is, for a table: its board or processor, never a host or a user."""

    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """The machine as it is now."""

    @abstractmethod
    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """Measures all artifacts in one session, interleaved; one Measurement each, in their order.

        `progress` is called with the done share, 0 to 1.
        Raises ModelCrashError, naming the file, if the runtime dies or hangs on one of them.
        """


def find(where: str, benchmark_model: Path | None = None) -> Device | Emulated:
    """The device called `local`, `ssh://[user@]host[:port]`, `adb:SERIAL`, `adb:HOST:PORT` or `emulated:CORE`.

    `app:` in the place of `adb:` leaves the measuring to the demo app, whatever else is on the phone.
    `benchmark_model` is TensorFlow Lite's tool for a phone's processor. Nothing is contacted yet. UsageError or
    UnknownNameError for any other text.
    """
    if benchmark_model is not None and not where.startswith("adb:"):
        raise UsageError(f"--benchmark-model is for phones (adb:...), and the device is {where}")
    if where == "local":
        from edgekit.devices.local import Local

        return Local()
    if where.startswith("ssh:"):
        from edgekit.devices.ssh import Ssh

        return Ssh(where)
    if where.startswith("adb:"):
        from edgekit.devices.adb import Adb

        return Adb(where.removeprefix("adb:"), benchmark_model)
    if where.startswith("app:"):
        from edgekit.devices.app import App

        return App(where.removeprefix("app:"))
    if where.startswith("emulated:"):
        from edgekit.devices.emulated import Emulated

        return Emulated(where.removeprefix("emulated:"))
    raise UsageError(
        f"no device is written {where!r}; write local, ssh://user@host, adb:SERIAL, adb:HOST:PORT, app:SERIAL,"
        " emulated:cortex-a72 or emulated:cortex-a76"
    )
