"""A float model on its way to artifacts, whatever it was made of, and what every step of that way needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import recipe
from edgekit.artifact import Card
from edgekit.errors import DataError, EdgekitError, FileFormatError
from edgekit.spec import InputSpec, ModelSpec

SUFFIX, FLOAT = ".tflite", recipe.find("float32")
CHECK_SECONDS = 120.0

Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True)
class Trained:
    """A float model with what must travel beside it.

    `card` is the one of the float model itself and `stem` begins the names of the files that are made of it.
    `source` is the file that it came in, .tflite or .onnx: such a model is handled in child processes only.
    `warnings` say what the user should know about it.
    """

    tflite: bytes
    card: Card
    stem: str
    labels: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = ()
    source: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def input(self) -> InputSpec:
        """How images become its input."""
        return self.card.input


def ignore(stage: str, done: int, of: int) -> None:
    """The progress callback of callers that show none."""


def stem(source: ModelSpec | Path) -> str:
    """How the names of all files begin that are made of a network, or of a file: its own without -float32.

    Nor with onnx2tf's _float32.
    """
    if isinstance(source, Path):
        return source.stem.removesuffix("-float32").removesuffix("_float32")
    return f"{source.name}-{source.input_size}"


@contextlib.contextmanager
def about(what: str) -> Iterator[None]:
    """Lets every error name the model that it is about."""
    try:
        yield
    except EdgekitError as error:
        if what in str(error):
            raise
        raise type(error)(f"{what}: {error}") from error


@contextlib.contextmanager
def unexpected(source: Path) -> Iterator[None]:
    """Takes whatever goes wrong in a child process for the fault of the file of unknown origin that it works on."""
    with about(str(source)):
        try:
            yield
        except RuntimeError as error:
            raise FileFormatError(f"damaged, or of a form that is not known here ({error})") from error


def check_labels(what: str, labels: Sequence[str], classes: int) -> None:
    """DataError if there are labels, but not one for each class."""
    if labels and len(labels) != classes:
        raise DataError(f"{len(labels)} labels were given, but {what} has {classes} classes")
