"""A weights file's bytes, or one clear line about why there are none."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import FileFormatError


def file_bytes(path: Path, expected: str) -> bytes:
    """The whole file; `expected` says in words what it should hold.

    Raises FileFormatError if it is missing, a folder, unreadable or empty.
    """
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder; {expected} was expected")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}; {expected} was expected") from None
    if not content:
        raise FileFormatError(f"{path} is empty; {expected} was expected")
    return content
