"""Everything that can go wrong for a user, as one tree; each branch has its own exit code.

EdgekitError
├── UsageError             2  arguments that contradict each other
├── FileFormatError        3  missing, empty, truncated, corrupted or foreign file
│   ├── ChecksumError      3  a file whose sha256 is not the pinned one
│   └── UnsupportedModelError  3  a sound .tflite that this runtime cannot run
├── UnknownNameError       4  no such model, recipe, device ...; the nearest names are suggested
├── WeightsMismatchError   5  weights that do not fit the model
├── DataError              6  no images, too many unreadable ones, labels that do not match
├── MissingError           7  an optional part is not installed, or the network is away
├── OutputError            8  the result could not be written (disk full, no permission)
├── ModelCrashError        9  the native runtime died on a model, in a child process
└── QualityError          10  the result was made but is worse than the limit allows

Exit code 1 is a bug in edgekit, 130 is Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgekitError(Exception):
    """Says what was asked, what was found and what to do, in one line."""

    exit_code = 1


class UsageError(EdgekitError):
    """Arguments that cannot be meant together."""

    exit_code = 2


class FileFormatError(EdgekitError):
    """A file that is missing, empty, truncated, corrupted or of another format."""

    exit_code = 3


class ChecksumError(FileFormatError):
    """A file whose sha256 differs from the pinned one."""


class UnsupportedModelError(FileFormatError):
    """A sound .tflite that this runtime cannot run, because of an operator it does not know, say."""


class UnknownNameError(EdgekitError):
    """A name that is not in the list it was looked up in."""

    exit_code = 4

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """The error for `name`, with up to three of the nearest `known` names."""
        known = list(known)
        import difflib  # slow to import on a slow board

        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        return cls(f"no {kind} is called {name!r}; {hint}")


class WeightsMismatchError(EdgekitError):
    """Weights that do not fit the model; names the first layer and both shapes."""

    exit_code = 5


class DataError(EdgekitError):
    """Images or labels that cannot serve."""

    exit_code = 6


class MissingError(EdgekitError):
    """A part that is not installed or cannot be reached; says how to get it."""

    exit_code = 7


class OutputError(EdgekitError):
    """A result that could not be written; nothing half-written is left behind."""

    exit_code = 8


class ModelCrashError(EdgekitError):
    """The native runtime died while it held this model."""

    exit_code = 9


class QualityError(EdgekitError):
    """An artifact that is worse than its limit."""

    exit_code = 10


def last_line(text: str) -> str:
    """What another program said last, for a message."""
    return (text.strip().splitlines() or ["no message"])[-1]
