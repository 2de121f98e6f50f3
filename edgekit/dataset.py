"""Which class each image shows: from a wnid in its name, the folder it lies in, or a CSV file."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from edgekit.errors import DataError

_WNID = re.compile(r"n\d{8}")


class ClassNames:
    """The names by which a model's classes are known: their ids (wnids), their labels and their numbers."""

    def __init__(self, classes: int, ids: Sequence[str] = (), labels: Sequence[str] = ()) -> None:
        for what, names in (("ids", ids), ("labels", labels)):
            if names and len(names) != classes:
                raise DataError(f"the model has {classes} classes, but {len(names)} {what} are given")
        self.classes = classes
        firsts = [label.split(",")[0] for label in labels]
        self._numbers = _numbered(firsts) | _numbered(labels) | _numbered(ids)

    def number(self, name: str) -> int | None:
        """The class called `name`, or None."""
        name = name.strip().lower()
        if name in self._numbers:
            return self._numbers[name]
        return int(name) if name.isdecimal() and int(name) < self.classes else None


def _numbered(names: Sequence[str]) -> dict[str, int]:
    """Numbers by name; a name that stands twice, as "crane" does in ImageNet, is none."""
    plain = [name.strip().lower() for name in names]
    times = Counter(plain)
    return {name: number for number, name in enumerate(plain) if times[name] == 1}


def truths(paths: Sequence[Path], names: ClassNames, csv_file: Path | None = None) -> list[int | None]:
    """The class of each image, None where nothing tells it.

    Images in one folder without wnids are unlabelled. DataError if names were found but none is a class: no image is
    in the CSV, or it names a class that the model does not have; no wnid or none of several folders is a class.
    """
    if csv_file is not None:
        table = _read_csv(csv_file, names)
        classes = [_look_up(table, path) for path in paths]
        if all(number is None for number in classes):
            raise DataError(f"none of the {len(paths)} images is named in {csv_file}")
        return classes
    found = [_name_of(path) for path in paths]
    classes = [names.number(name) for name in found]
    wnids = [name for name in found if _WNID.fullmatch(name)]
    if all(number is None for number in classes) and (wnids or len(set(found)) > 1):
        raise DataError(
            f"the images are labelled {(wnids or found)[0]!r} and the like, but the model has no such class; "
            "rows of file name,class in a CSV may say which they are"
        )
    return classes


def _name_of(path: Path) -> str:
    wnid = _WNID.search(path.name) or _WNID.fullmatch(path.parent.name)
    return wnid.group() if wnid else path.parent.name


def _look_up(table: dict[PurePath, int], path: Path) -> int | None:
    """The class of the row that gives the most of the image's path."""
    parts = path.parts
    endings = (PurePath(*parts[start:]) for start in range(len(parts)))
    return next((table[ending] for ending in endings if ending in table), None)


def _read_csv(path: Path, names: ClassNames) -> dict[PurePath, int]:
    """Rows of file name (or the end of a path) and class; a first row that names no class is taken as a heading."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if len(row) >= 2]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the labels in {path}: {error}") from None
    if not rows:
        raise DataError(f"{path} holds no labels; rows of file name,class were expected")
    if names.number(rows[0][1]) is None:
        rows = rows[1:]
    for name, label, *_ in rows:
        if names.number(label) is None:
            raise DataError(f"{path}: {name!r} is labelled {label!r}, which is no class of the model")
    table = {PurePath(name): number for name, label, *_ in rows if (number := names.number(label)) is not None}
    shared = Counter(name.name for name in table)
    return {PurePath(name.name): number for name, number in table.items() if shared[name.name] == 1} | table
