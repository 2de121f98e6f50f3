"""Places to run: one file per kind, all with the one interface below.

A device says what it is and measures files; how the files get there is its own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.measurement import Fingerprint, Measurement, Session


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
