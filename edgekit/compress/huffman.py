"""Huffman coding as in the Deep Compression paper, in canonical form and in lanes that numpy decodes side by side.

Symbol i belongs to lane i % lanes, and every lane is a string of bits of its own that begins at a whole byte.
"""

from __future__ import annotations

import heapq

import numpy as np

from edgekit.compress.limits import damaged
from edgekit.graph import Array

_LONGEST = 15
_SYMBOLS = 256
LANES = 64


def code_lengths(counts: Array) -> Array:
    """The lengths in bits, uint8 of shape (256,), of an optimal prefix code; 0 for what never occurs.

    Counts are flattened until no code is longer than 15 bits.
    """
    found = np.asarray(counts, np.int64)
    while True:
        lengths = _lengths(found)
        if lengths.max(initial=0) <= _LONGEST:
            return lengths
        found = np.where(found > 0, (found + 1) // 2, 0)


def _lengths(counts: Array) -> Array:
    lengths = np.zeros(_SYMBOLS, np.uint8)
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (int(count), symbol, (symbol,)) for symbol, count in enumerate(counts) if count
    ]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        together = first[2] + second[2]
        lengths[list(together)] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), together))
    return lengths


def encode(symbols: Array) -> bytes:
    """Code lengths (two to a byte), each lane's length in bytes (uint32), and the lanes."""
    lengths = code_lengths(np.bincount(symbols, minlength=_SYMBOLS))
    codes = _codes(lengths)
    lanes = [_bits(symbols[lane::LANES], lengths, codes) for lane in range(LANES)]
    packed = (lengths[0::2] | lengths[1::2] << 4).astype(np.uint8)
    sizes = np.array([len(lane) for lane in lanes], "<u4")
    return b"".join([packed.tobytes(), sizes.tobytes(), *lanes])


def _bits(symbols: Array, lengths: Array, codes: Array) -> bytes:
    places = np.arange(_LONGEST)[None, :]
    own = lengths[symbols].astype(np.int64)[:, None]
    bits = (codes[symbols][:, None] >> np.maximum(own - 1 - places, 0)) & 1
    packed: bytes = np.packbits(bits[places < own].astype(np.uint8)).tobytes()
    return packed


def _codes(lengths: Array) -> Array:
    """Canonical codes: shorter ones first, equal lengths in the order of their symbols."""
    codes = np.zeros(_SYMBOLS, np.int64)
    code, last = 0, 0
    for symbol in np.lexsort((np.arange(_SYMBOLS), lengths)):
        length = int(lengths[symbol])
        if length:
            code <<= length - last
            codes[symbol] = code
            code, last = code + 1, length
    return codes


def decode(coded: bytes, count: int) -> Array:
    """`count` symbols, uint8; FileFormatError if the lanes are not exactly what they take."""
    header = _SYMBOLS // 2 + 4 * LANES
    if len(coded) < header:
        raise damaged("a Huffman-coded section is cut short")
    packed = np.frombuffer(coded, np.uint8, _SYMBOLS // 2)
    lengths = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    sizes = np.frombuffer(coded, "<u4", LANES, _SYMBOLS // 2).astype(np.int64)
    if int(sizes.sum()) != len(coded) - header:
        raise damaged("the lanes of a Huffman-coded section do not add up")
    ends = np.cumsum(sizes) * 8
    content = np.concatenate([np.frombuffer(coded, np.uint8, offset=header), np.zeros(4, np.uint8)]).astype(np.uint32)
    return _steps(content, ends - sizes * 8, ends, _lookup(lengths), count)


def _steps(content: Array, place: Array, ends: Array, lookup: Array, count: int) -> Array:
    symbols = np.empty(count, np.uint8)
    for start in range(0, count, LANES):
        now = place[: min(LANES, count - start)]
        byte = now >> 3
        window = (content[byte] << 16) | (content[byte + 1] << 8) | content[byte + 2]
        entry = lookup[(window >> (24 - _LONGEST - (now & 7)).astype(np.uint32)) & ((1 << _LONGEST) - 1)]
        symbols[start : start + len(now)] = entry & 0xFF
        now += entry >> 8
        if (now > ends[: len(now)]).any() or not (entry >> 8).all():
            raise damaged("a Huffman-coded section ends too early")
    if (ends - place >= 8).any():
        raise damaged("a Huffman-coded section does not end where it should")
    return symbols


def _lookup(lengths: Array) -> Array:
    """For each window of 15 bits: length << 8 | symbol; 0 for what is no code."""
    if sum(1 << (_LONGEST - int(length)) for length in lengths if length) > 1 << _LONGEST:
        raise damaged("the code lengths of a Huffman-coded section are those of no code")
    table, codes = np.zeros(1 << _LONGEST, np.int64), _codes(lengths)
    for symbol in np.flatnonzero(lengths):
        length = int(lengths[symbol])
        first = int(codes[symbol]) << (_LONGEST - length)
        table[first : first + (1 << (_LONGEST - length))] = length << 8 | int(symbol)
    return table
