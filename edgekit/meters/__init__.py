"""What a machine can tell about its energy: one file per source, found by looking through this folder.

A meter knows nothing of models or latency; it sees a window of time.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from pathlib import Path

SCOPES = ("cpu", "soc", "board", "wall")
MIN_UPDATES = 10


class Meter(ABC):
    """One source of energy readings; `start()` and `stop()` bracket a window, any number of times.

    source: what is read, as a report names it
    scope: what the reading covers, one of SCOPES
    resolution_s: the time between two updates of the reading
    """

    source: str
    scope: str
    resolution_s: float

    @abstractmethod
    def start(self) -> None:
        """Begins a window. Raises MissingError if the source cannot be read."""

    @abstractmethod
    def stop(self) -> float:
        """Joules since `start()`.

        Raises MissingError if the source cannot be read, did not move, or was given a window of fewer than
        MIN_UPDATES updates, for then the reading says more about the update than about the work.
        """


def find(root: Path = Path("/")) -> Meter | str:
    """The meter of this machine that sees most of it, or why there is none.

    Every module of this folder has a `find(root)` of its own with the same answer; `root` may be a recorded tree.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    answers: list[Meter | str] = [importlib.import_module(f"{__name__}.{name}").find(root) for name in names]
    meters = [answer for answer in answers if isinstance(answer, Meter)]
    if meters:
        return max(meters, key=lambda meter: (SCOPES.index(meter.scope), -meter.resolution_s))
    return "; ".join(answer for answer in answers if isinstance(answer, str))
