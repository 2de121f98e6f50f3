"""Codes with distances between them, as Deep Compression's files store pruned kernels, from dense codes and back."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Array

LONGEST_GAP = 15


def entries(codes: Array) -> tuple[Array, Array]:
    """Codes and gaps, uint8, of flat codes: what is not 0, and a filler of 0 in every stretch of 16 without one."""
    places = np.flatnonzero(codes)
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps // (LONGEST_GAP + 1)
    ends = np.cumsum(fillers + 1) - 1
    stored = np.zeros(len(places) + int(fillers.sum()), np.uint8)
    distances: Array = np.full(len(stored), LONGEST_GAP, np.uint8)
    stored[ends], distances[ends] = codes[places], gaps - fillers * (LONGEST_GAP + 1)
    return stored, distances


def halves(values: Array) -> Array:
    """Two to a byte, the first in the low half."""
    even = np.append(values, np.zeros(len(values) % 2, np.uint8)).astype(np.uint8)
    packed: Array = even[0::2] | even[1::2] << 4
    return packed


def unhalved(packed: Array, count: int) -> Array:
    """The first `count` halves."""
    found: Array = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count]
    return found


def section(codes: Array, values: int) -> bytes:
    """The bytes of a layer's codes and gaps; `values` is the codebook's size, 256 or 16."""
    stored, distances = entries(codes)
    coded = stored if values == 256 else halves(stored)
    return bytes(coded) + bytes(halves(distances))


def ranks(book: Array) -> Array:
    """Each code's symbol, uint8: its value's rank, counted from that of code 0; equal values stand in code order."""
    order = np.argsort(book, kind="stable")
    places = np.empty(len(book), np.int64)
    places[order] = np.arange(len(book))
    found: Array = ((places - places[0]) & 0xFF).astype(np.uint8)
    return found
