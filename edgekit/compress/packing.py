"""From a model's bytes to the smallest .ekz that this edgekit can make of them, without loss."""

from __future__ import annotations

import bz2
import contextlib
import importlib
import lzma
import zlib
from dataclasses import dataclass

from edgekit.compress import blocks, container, layout
from edgekit.compress.blocks import Section


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


def by_others(content: bytes) -> dict[str, int | None]:
    """Bytes that common compressors make of a model at their best; None where one is not installed."""
    found: dict[str, int | None] = {
        "zip": len(zlib.compress(content, 9)),
        "bzip2": len(bz2.compress(content, 9)),
        "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
        "zstd": None,
        "brotli": None,
    }
    with contextlib.suppress(ModuleNotFoundError):
        found["zstd"] = len(importlib.import_module("zstandard").ZstdCompressor(level=22).compress(content))
    with contextlib.suppress(ModuleNotFoundError):
        found["brotli"] = len(importlib.import_module("brotli").compress(content, quality=11, lgwin=24))
    return found
