""".ekz on disk: a header, blocks that each stand for at most 4 MiB of the model, and nothing behind them.

docs/ekz-format.md is the same in prose. To this file a block is bytes; `blocks.py` knows what is in them.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekit.artifact import PACKED_MARK
from edgekit.compress.limits import BLOCK_BYTES, MOST_BYTES, MOST_RATIO, damaged
from edgekit.errors import FileFormatError

MAGIC = PACKED_MARK
VERSION = 1
SUFFIX = ".ekz"
KINDS = ("tflite", "net")  # what comes out, by its number
_HEADER = struct.Struct("<8sBBHQ32s")  # magic, version, kind, blocks, size, sha256; then a crc32
_BLOCK = struct.Struct("<III")  # size, coded size, crc32 of both and of what follows
HEADER_BYTES = _HEADER.size + 4


@dataclass(frozen=True)
class Header:
    """What a file says of itself: `kind` is the suffix of what comes out, `sha256` its hash, in hexadecimal."""

    kind: str
    blocks: int
    size_bytes: int
    sha256: str


def is_compressed(path: Path) -> bool:
    """Whether a file begins like an .ekz; a name alone proves nothing."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def pack(kind: str, content: bytes, blocks: list[tuple[int, bytes]]) -> bytes:
    """The whole file; `blocks` gives for each how many bytes of `content` it stands for, and its coded form."""
    digest = hashlib.sha256(content).digest()
    header = _HEADER.pack(MAGIC, VERSION, KINDS.index(kind), len(blocks), len(content), digest)
    made = [header, struct.pack("<I", zlib.crc32(header))]
    for size, coded in blocks:
        lengths = struct.pack("<II", size, len(coded))
        made += [lengths, struct.pack("<I", zlib.crc32(coded, zlib.crc32(lengths))), coded]
    return b"".join(made)


def read_header(file: BinaryIO, name: str) -> Header:
    """The header of a file opened at its start; `name` is for errors.

    FileFormatError if it is no .ekz, of a newer version, damaged, or declares more than the limits allow.
    """
    content = file.read(HEADER_BYTES)
    if content[: len(MAGIC)] != MAGIC:
        raise FileFormatError(f"{name} is not a compressed model: it does not begin with the mark of an .ekz file")
    if len(content) < HEADER_BYTES:
        raise damaged("its header is cut short")
    _magic, version, kind, blocks, size, digest = _HEADER.unpack(content[: _HEADER.size])
    if version > VERSION:
        raise FileFormatError(f"{name} is of version {version}, and this edgekit reads {VERSION}; update edgekit")
    if zlib.crc32(content[: _HEADER.size]) != struct.unpack("<I", content[_HEADER.size :])[0]:
        raise damaged("its header does not match its checksum")
    if kind >= len(KINDS) or version < 1:
        raise damaged(f"its header names a kind of file ({kind}) that is not known")
    if size > MOST_BYTES or blocks != -(-size // BLOCK_BYTES):
        raise damaged(f"it declares {size} bytes in {blocks} blocks; {MOST_BYTES} bytes is the limit")
    return Header(KINDS[kind], blocks, size, digest.hex())


def read_blocks(file: BinaryIO, header: Header) -> Iterator[tuple[int, bytes]]:
    """Each block's size and its coded form, checked; FileFormatError if anything is missing, left over or absurd."""
    left = header.size_bytes
    for number in range(header.blocks):
        start = file.read(_BLOCK.size)
        if len(start) < _BLOCK.size:
            raise damaged(f"block {number + 1} of {header.blocks} is missing")
        size, length, checksum = _BLOCK.unpack(start)
        if size != min(left, BLOCK_BYTES) or length > size + BLOCK_BYTES:
            raise damaged(f"block {number + 1} declares {size} bytes, coded in {length}")
        coded = file.read(length)
        if len(coded) < length or zlib.crc32(coded, zlib.crc32(start[:8])) != checksum:
            raise damaged(f"block {number + 1} of {header.blocks} is cut short or altered")
        if size > MOST_RATIO * max(length, 1):
            raise damaged(f"block {number + 1} declares {size} bytes in {length}, more than any model comes to")
        left -= size
        yield size, coded
    if left or file.read(1):
        raise damaged("there is something behind the last block")
