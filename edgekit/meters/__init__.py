"""What a machine can tell about its energy: one file per source, found by looking through this folder.

A meter knows nothing of models or latency; it sees a window of time.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from edgekit.errors import UnknownNameError, UsageError

# From the narrowest to the widest. "rails" are the outputs of a board's regulators: the processor, its memory and what
# sits beside them, but neither the regulators' losses nor what hangs on the supply itself (USB, fan, hats).
SCOPES = ("cpu", "soc", "rails", "board", "wall")
MIN_UPDATES = 10
NO_METER = "no meter was asked for"


@dataclass(frozen=True)
class Window:
    """What a meter saw between `start()` and `stop()`.

    updates: how often the reading was renewed within the window
    missed: readings that were due and did not come; the energy bridges them with a straight line
    """

    energy_j: float
    seconds: float
    updates: int
    missed: int = 0


@dataclass(frozen=True)
class Uncertainty:
    """How far off a reading may be, as a share of it, and who says so."""

    share: float
    stated_by: str


class Meter(ABC):
    """One source of energy readings; `start()` and `stop()` bracket a window, any number of times.

    source: what is read, as a report names it
    scope: what the reading covers, one of SCOPES
    resolution_s: the time between two updates of the reading
    uncertainty: of a reading; None where nobody states one
    samples: whether it works during the window, and so may slow down what it watches
    """

    source: str
    scope: str
    resolution_s: float
    uncertainty: Uncertainty | None = None
    samples: bool = False

    @abstractmethod
    def start(self) -> None:
        """Begins a window. Raises MissingError if the source cannot be read."""

    @abstractmethod
    def stop(self) -> Window:
        """What was seen since `start()`.

        Raises MissingError if the source cannot be read, did not move, or was given a window of fewer than
        MIN_UPDATES updates, for then the reading says more about the update than about the work.
        """


def names() -> list[str]:
    """Every meter that `open` knows."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find(root: Path = Path("/")) -> Meter | str:
    """The meter of this machine that sees most of it, or why there is none.

    A module of this folder whose source can be recognised has a `find(root)` of its own with the same answer; the
    others have to be asked for. `root` may be a recorded tree.
    """
    modules = [_module(name) for name in names()]
    answers: list[Meter | str] = [module.find(root) for module in modules if hasattr(module, "find")]
    meters = [answer for answer in answers if isinstance(answer, Meter)]
    if meters:
        return max(meters, key=lambda meter: (SCOPES.index(meter.scope), -meter.resolution_s))
    return "; ".join(answer for answer in answers if isinstance(answer, str))


def open(text: str, root: Path = Path("/")) -> Meter | str:
    """The meter that the user asked for: `auto`, `none` or `NAME[:ARGUMENTS]`; for none of them, the reason.

    Every module of this folder has an `open(arguments, root)`, and FORM, which says how it is asked for. Raises
    UnknownNameError for a name that no module has, UsageError for arguments that do not fit, MissingError for a
    source that is not there.
    """
    name, _, arguments = text.partition(":")
    if text == "auto":
        return find(root)
    if text == "none":
        return NO_METER
    if name == "modelled":
        raise UsageError("modelled energy is not measured, so it is no meter; ask for it with --modelled beside one")
    if name not in names():
        forms = ", ".join(str(_module(known).FORM) for known in names())
        raise UnknownNameError(f"no meter is called {name!r}; there are: auto, none, {forms}")
    meter: Meter = _module(name).open(arguments, root)
    return meter


def checked_scope(scope: str) -> str:
    """The scope, if there is such a one; else UnknownNameError."""
    if scope not in SCOPES:
        raise UnknownNameError.among("scope", scope, SCOPES)
    return scope


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
