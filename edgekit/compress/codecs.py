"""Bytes to fewer bytes and back, by whichever coder does best: each is one number in the file, and lasts for ever.

Decoders are told how much may come out and never give more.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from edgekit.compress import huffman, rans
from edgekit.compress.limits import damaged
from edgekit.graph import Array


class Codec(NamedTuple):
    """A coder: its number in the file, the name that reports show, and both directions."""

    number: int
    name: str
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, int], bytes]


def smallest(content: bytes) -> tuple[Codec, bytes]:
    """The codec that makes `content` smallest, and what it makes of it."""
    made = [(codec, codec.encode(content)) for codec in CODECS]
    return min(made, key=lambda pair: len(pair[1]))


def sizes(content: bytes) -> dict[str, int]:
    """Bytes by the name of each codec."""
    return {codec.name: len(codec.encode(content)) for codec in CODECS}


def decode(number: int, coded: bytes, size: int) -> bytes:
    """The `size` bytes that were coded; FileFormatError if it is not exactly that many, or nothing sound."""
    known = {codec.number: codec for codec in CODECS}
    if number not in known:
        raise damaged(f"a section is coded in way {number}, and {len(CODECS)} ways are known")
    try:
        content = known[number].decode(coded, size)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise damaged(f"a section cannot be decoded ({error})") from None
    if len(content) != size:
        raise damaged(f"a section has {len(content)} bytes in place of {size}")
    return content


def _deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return packer.compress(content) + packer.flush()


def _inflate(coded: bytes, size: int) -> bytes:
    unpacker = zlib.decompressobj(-15)
    content = unpacker.decompress(coded, size + 1)
    return _ended(content, unpacker.eof, unpacker.unused_data)


def _lzma_filters(literal_context: int, literal_position: int, position: int) -> list[dict[str, int]]:
    return [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": 1 << 22,
            "lc": literal_context,
            "lp": literal_position,
            "pb": position,
        }
    ]


def _to_lzma(content: bytes, *bits: int) -> bytes:
    filters = [{**_lzma_filters(*bits)[0], "preset": 9 | lzma.PRESET_EXTREME, "nice_len": 273}]
    return lzma.compress(content, lzma.FORMAT_RAW, filters=filters)


def _from_lzma(coded: bytes, size: int, *bits: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, memlimit=None, filters=_lzma_filters(*bits))
    content = unpacker.decompress(coded, size + 1)
    return _ended(content, True, unpacker.unused_data)


def _from_bz2(coded: bytes, size: int) -> bytes:
    unpacker = bz2.BZ2Decompressor()
    content = unpacker.decompress(coded, size + 1)
    return _ended(content, unpacker.eof, unpacker.unused_data)


def _ended(content: bytes, complete: bool, left: bytes) -> bytes:
    if not complete or left:
        raise damaged("a section does not end where it should")
    return content


def _to_rans(content: bytes) -> bytes:
    symbols = np.frombuffer(content, np.uint8)
    tables = rans.frequencies(np.bincount(symbols, minlength=rans.SYMBOLS)[None])
    contexts = np.zeros(len(symbols), np.uint8)
    return pack_tables(tables) + rans.encode(symbols, contexts, tables, rans.lanes_for(len(symbols)))


def _from_rans(coded: bytes, size: int) -> bytes:
    tables, used = unpack_tables(coded, 1)
    made = rans.decode(coded[used:], np.zeros(size, np.uint8), tables)
    return made.tobytes()


def pack_tables(tables: Array) -> bytes:
    """Frequencies, in the order 0, 255, 1, 254, ... that small magnitudes come first, as bytes.

    0 is followed by how many zeros there are, 1 to 239 stands for itself, and 240 to 255 begin a number of 12 bits.
    """
    made = bytearray()
    for value, run in _runs(tables[:, _ORDER].reshape(-1)):
        if value == 0:
            for start in range(0, run, 255):
                made += bytes([0, min(run - start, 255)])
        else:
            code = [value] if value < 240 else [240 + (value - 1 >> 8), value - 1 & 255]
            made += bytes(code) * run
    return bytes(made)


def unpack_tables(packed: bytes, count: int) -> tuple[Array, int]:
    """`count` tables and how many bytes they took; FileFormatError unless each adds up to 4096."""
    values: list[int] = []
    place, wanted = 0, count * rans.SYMBOLS
    try:
        while len(values) < wanted:
            first, place = packed[place], place + 1
            if first == 0:
                values += [0] * max(packed[place], 1)
                place += 1
            elif first < 240:
                values.append(first)
            else:
                values.append(((first - 240) << 8 | packed[place]) + 1)
                place += 1
    except IndexError:
        raise damaged("a table of frequencies is cut short") from None
    tables = np.zeros((count, rans.SYMBOLS), np.int64)
    if len(values) != wanted:
        raise damaged("a table of frequencies is too long")
    tables[:, _ORDER] = np.array(values).reshape(count, rans.SYMBOLS)
    if (tables.sum(1) != rans.TOTAL).any():
        raise damaged("frequencies do not add up")
    return tables, place


_ORDER = np.stack([np.arange(128), 255 - np.arange(128)], axis=1).reshape(-1)


def _runs(values: Array) -> list[tuple[int, int]]:
    ends = np.flatnonzero(np.diff(values, append=-1))
    lengths = np.diff(ends, prepend=-1)
    return [(int(values[end]), int(length)) for end, length in zip(ends, lengths, strict=True)]


def _to_planes(content: bytes) -> bytes:
    """The bytes of 32-bit words, the first of each first, by LZMA: neighbouring floats share their high bytes."""
    return _to_lzma(_turned(content, 4), 0, 0, 0)


def _from_planes(coded: bytes, size: int) -> bytes:
    return _turned(_from_lzma(coded, size, 0, 0, 0), -4)


def _turned(content: bytes, by: int) -> bytes:
    whole = len(content) // 4 * 4
    words = np.frombuffer(content, np.uint8, whole).reshape((-1, 4) if by > 0 else (4, -1))
    turned: bytes = words.T.tobytes()
    return turned + content[whole:]


CODECS = (
    Codec(0, "stored", lambda content: content, lambda coded, size: coded),
    Codec(1, "deflate", _deflate, _inflate),
    Codec(2, "lzma", lambda content: _to_lzma(content, 3, 0, 0), lambda coded, size: _from_lzma(coded, size, 3, 0, 0)),
    Codec(
        3,
        "lzma words",
        lambda content: _to_lzma(content, 0, 2, 2),
        lambda coded, size: _from_lzma(coded, size, 0, 2, 2),
    ),
    Codec(4, "bzip2", bz2.compress, _from_bz2),
    Codec(5, "rans", _to_rans, _from_rans),
    Codec(6, "byte planes", _to_planes, _from_planes),
    Codec(
        7,
        "huffman",
        lambda content: huffman.encode(np.frombuffer(content, np.uint8)),
        lambda coded, size: huffman.decode(coded, size).tobytes(),
    ),
)
