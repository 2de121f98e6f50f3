"""A model as a download: .ekz, which becomes the same bytes again on the device, with nothing but numpy.

`pack` makes one of any file's bytes, `unpack` gives them back and proves it by their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekit.artifact import atomic_write
from edgekit.compress import blocks, container, layout
from edgekit.compress.blocks import Section
from edgekit.compress.container import SUFFIX, Header, is_compressed
from edgekit.errors import ChecksumError, FileFormatError

__all__ = ["SUFFIX", "Header", "Packed", "Section", "is_compressed", "pack", "read_header", "unpack", "unpack_file"]


@dataclass(frozen=True)
class Packed:
    """A compressed model and what each of its streams came to."""

    content: bytes
    sections: tuple[Section, ...]


def pack(content: bytes, kind: str = "tflite") -> Packed:
    """The .ekz of a model's bytes; it unpacks to the same bytes, whatever they are."""
    coded: list[tuple[int, bytes]] = []
    shown: list[Section] = []
    place = 0
    for pieces in layout.pieces(content):
        size = sum(piece.length for piece in pieces)
        made, sections = blocks.encode(content[place : place + size], pieces)
        coded.append((size, made))
        shown += sections
        place += size
    return Packed(container.pack(kind, content, coded), tuple(shown))


def unpack(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The model's bytes, block by block; the last step checks their hash, so take them all before you trust them.

    FileFormatError for anything but a whole and sound .ekz, ChecksumError where the hash is another one. No more than
    a block's worth of memory, some tens of MB, is taken at a time.
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


def read_header(path: Path) -> Header:
    """What an .ekz says of itself; FileFormatError if it is none."""
    with _opened(path) as file:
        return container.read_header(file, str(path))


def unpack_file(path: Path, target: Path) -> Header:
    """Unpacks to `target`, which appears whole and checked, or not at all."""
    with _opened(path) as file, atomic_write(target) as out:
        for content in unpack(file, str(path)):
            out.write(content)
    return read_header(path)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
