"""From an .ekz to the bytes that were compressed, proved by their hash: all that a device needs, and numpy alone."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgekit.artifact import atomic_write
from edgekit.compress import blocks, container
from edgekit.compress.container import Header
from edgekit.errors import ChecksumError, FileFormatError


def unpack(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The model's bytes, block by block; the last step checks their hash, so take them all before you trust them.

    FileFormatError for anything but a whole and sound .ekz, ChecksumError where the hash is another one. No more than
    a block's worth of memory, some tens of MB, is taken at a time. `name` is for errors.
    """
    header = container.read_header(file, name)
    digest = hashlib.sha256()
    for size, coded in container.read_blocks(file, header):
        content = blocks.decode(coded, size)
        digest.update(content)
        yield content
    if digest.hexdigest() != header.sha256:
        raise ChecksumError(
            f"{name} was unpacked to bytes of sha256 {digest.hexdigest()[:16]}..., and {header.sha256[:16]}... is "
            "what was compressed; download it again"
        )


def unpack_bytes(content: bytes, name: str) -> bytes:
    """What `unpack` gives, as a whole; every error names `name`."""
    try:
        return b"".join(unpack(io.BytesIO(content), name))
    except FileFormatError as error:
        raise (error if name in str(error) else type(error)(f"{name}: {error}")) from None


def unpack_file(path: Path, target: Path) -> Header:
    """Unpacks to `target`, which appears whole and checked, or not at all."""
    with _opened(path) as file, atomic_write(target) as out:
        try:
            for content in unpack(file, str(path)):
                out.write(content)
        except FileFormatError as error:
            raise (error if str(path) in str(error) else type(error)(f"{path}: {error}")) from None
    return read_header(path)


def read_header(path: Path) -> Header:
    """What an .ekz says of itself; FileFormatError if it is none."""
    with _opened(path) as file:
        return container.read_header(file, str(path))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
