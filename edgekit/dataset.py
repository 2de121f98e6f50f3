"""Which class each image shows: from a wnid in its name, the folder it lies in, or a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import DataError

_WNID = re.compile(r"n\d{8}")


class ClassNames:
    """The names by which a model's classes are known: their ids (wnids), their labels and their numbers."""

    def __init__(self, classes: int, ids: Sequence[str] = (), labels: Sequence[str] = ()) -> None:
        for what, names in (("ids", ids), ("labels", labels)):
            if names and len(names) != classes:
                raise DataError(f"the model has {classes} classes, but {len(names)} {what} are given")
        self.classes = classes
        self._numbers = {label.strip().lower(): number for number, label in enumerate(labels)}
        self._numbers |= {label.split(",")[0].strip().lower(): number for number, label in enumerate(labels)}
        self._numbers |= {name.lower(): number for number, name in enumerate(ids)}

    def number(self, name: str) -> int | None:
        """The class called `name`, or None."""
        name = name.strip().lower()
        if name in self._numbers:
            return self._numbers[name]
        return int(name) if name.isdigit() and int(name) < self.classes else None


def truths(paths: Sequence[Path], names: ClassNames, csv_file: Path | None = None) -> list[int | None]:
    """The class of each image, None where nothing tells it.

    DataError if a CSV names a class that the model does not have, or if names were found but none is a class.
    """
    if csv_file is not None:
        table = _read_csv(csv_file, names)
        return [table.get(path.name) for path in paths]
    found = [(path, _name_of(path)) for path in paths]
    classes = [None if name is None else names.number(name) for path, name in found]
    wnids = [name for path, name in found if name and _WNID.fullmatch(name)]
    if wnids and all(number is None for number in classes):
        raise DataError(f"the images are labelled {wnids[0]!r} and the like, but no class of the model has such an id")
    return classes


def _name_of(path: Path) -> str | None:
    wnid = _WNID.search(path.name) or _WNID.fullmatch(path.parent.name)
    return wnid.group() if wnid else path.parent.name or None


def _read_csv(path: Path, names: ClassNames) -> dict[str, int]:
    """Rows of file name and class; a first row that names no class is taken as a heading."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) >= 2]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels in {path}: {error}") from None
    if not rows:
        raise DataError(f"{path} holds no labels; rows of file name,class were expected")
    if names.number(rows[0][1]) is None:
        rows = rows[1:]
    for name, label, *_ in rows:
        if names.number(label) is None:
            raise DataError(f"{path}: {name!r} is labelled {label!r}, which is no class of the model")
    return {Path(name).name: number for name, label, *_ in rows if (number := names.number(label)) is not None}
