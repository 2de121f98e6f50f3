"""Entropy coding by asymmetric numeral systems (Duda 2013, arXiv:1311.2540), in numpy alone.

Symbol i belongs to lane i % lanes; all lanes take a step at a time, so that numpy does the work of a whole step. They
share one stream of 16-bit words: after a step, each lane that ran low takes the next word, in the order of the lanes.
Every symbol has a context, and every context a table of frequencies that add up to 4096.
"""

from __future__ import annotations

import numpy as np

from edgekit.compress.limits import damaged
from edgekit.graph import Array

PRECISION = 12
TOTAL = 1 << PRECISION
SYMBOLS = 256
_LOW = 1 << 20  # states lie in _LOW .. _LOW << 16, so that a table's rounding costs nothing that could be measured
_STATE_BYTES = 5
_STEPS = 4096  # as many lanes as make about this many steps; each lane costs 20 bits
_MOST_LANES = 4096
_MOST_STEPS = 1 << 17  # numpy takes a second or two for so many


def lanes_for(count: int) -> int:
    """How many lanes `count` symbols are coded in."""
    return int(np.clip(count // _STEPS, 4, _MOST_LANES))


def frequencies(counts: Array) -> Array:
    """Integer frequencies that add up to 4096, at least 1 where a count is not 0; counts are (contexts, 256).

    A context that never occurs gets all of its weight on symbol 0.
    """
    counts = np.asarray(counts, np.float64).copy()
    counts[counts.sum(1) == 0, 0] = 1
    made = np.empty(counts.shape, np.int64)
    for row, found in enumerate(counts):
        made[row] = _rounded(found * (TOTAL / found.sum()))
    return made


def _rounded(wanted: Array) -> Array:
    """Whole numbers near `wanted`, whose sum is 4096: what is left over goes where it changes code lengths most."""
    used = wanted > 0
    found = np.where(used, np.maximum(np.rint(wanted), 1), 0).astype(np.int64)
    while (excess := int(found.sum()) - TOTAL) != 0:
        step = 1 if excess < 0 else -1
        allowed = used & (found + step >= 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(allowed, wanted * (np.log(found + step) - np.log(found)), -np.inf)
        many = min(abs(excess), int(allowed.sum()))
        found[np.argsort(-gain, kind="stable")[:many]] += step
    return found


def encode(symbols: Array, contexts: Array, tables: Array, lanes: int) -> bytes:
    """How many lanes (uint16), their states, and the words.

    `symbols` and `contexts` are flat uint8, `tables` are (contexts, 256).
    """
    starts = np.cumsum(tables, axis=1) - tables
    states = np.full(lanes, _LOW, np.uint64)
    words: list[Array] = []
    steps = -(-len(symbols) // lanes)
    for step in range(steps - 1, -1, -1):
        part = slice(step * lanes, (step + 1) * lanes)
        coded, context = symbols[part], contexts[part]
        frequency = tables[context, coded].astype(np.uint64)
        state = states[: len(coded)]
        full = state >= frequency << np.uint64(36 - PRECISION)
        words.append((state[full] & np.uint64(0xFFFF)).astype("<u2"))
        state[full] >>= np.uint64(16)
        quotient, rest = state // frequency, state % frequency
        states[: len(coded)] = (quotient << np.uint64(PRECISION)) + rest + starts[context, coded].astype(np.uint64)
    packed = states.astype("<u8").view(np.uint8).reshape(lanes, 8)[:, :_STATE_BYTES]
    stream = np.concatenate([*reversed(words), np.zeros(0, "<u2")])
    return b"".join([np.array([lanes], "<u2").tobytes(), packed.tobytes(), stream.tobytes()])


def decode(coded: bytes, contexts: Array, tables: Array) -> Array:
    """The symbols, uint8, of these contexts; FileFormatError if the stream is not exactly what they take."""
    lanes = int.from_bytes(coded[:2], "little")
    start = 2 + lanes * _STATE_BYTES
    if not 1 <= lanes <= _MOST_LANES or len(coded) < start or (len(coded) - start) % 2:
        raise damaged("an entropy-coded section is cut short")
    if len(contexts) > _MOST_STEPS * lanes:
        raise damaged("an entropy-coded section has too few lanes for its symbols")
    states = np.zeros((lanes, 8), np.uint8)
    states[:, :_STATE_BYTES] = np.frombuffer(coded, np.uint8, start - 2, 2).reshape(lanes, _STATE_BYTES)
    words = np.frombuffer(coded, "<u2", offset=start)
    symbols, state, taken = _steps(contexts, _lookup(tables), states.reshape(-1).view("<u8").astype(np.uint64), words)
    if taken != len(words) or (state != _LOW).any():
        raise damaged("an entropy-coded section does not end where it should")
    return symbols


def _steps(contexts: Array, lookup: Array, state: Array, words: Array) -> tuple[Array, Array, int]:
    """All symbols, the states after the last one, and how many words were taken."""
    lanes, count = len(state), len(contexts)
    symbols = np.empty(count, np.uint8)
    mask, byte, shift = np.uint64(TOTAL - 1), np.uint64(0xFFF), np.uint64(PRECISION)
    low, eight, twenty, sixteen = np.uint64(_LOW), np.uint64(8), np.uint64(20), np.uint64(16)
    taken = 0
    for start in range(0, count, lanes):
        part = contexts[start : start + lanes]
        now = state[: len(part)]  # a view: the last step may have fewer symbols than lanes
        place = part.astype(np.uint64)
        place <<= shift
        place += now & mask
        entry = lookup.take(place)
        symbols[start : start + len(part)] = entry
        now >>= shift
        now *= entry >> twenty
        now += (entry >> eight) & byte
        short = np.flatnonzero(now < low)
        if len(short):
            given = words[taken : taken + len(short)]
            if len(given) < len(short):
                raise damaged("an entropy-coded section ends too early")
            now[short] = (now[short] << sixteen) | given
            taken += len(short)
    return symbols, state, taken


def _lookup(tables: Array) -> Array:
    """For each context and place: frequency << 20 | distance to the symbol's first place << 8 | symbol."""
    entries = np.empty((len(tables), TOTAL), np.uint64)
    places, numbers = np.arange(TOTAL), np.arange(SYMBOLS)
    for row, table in enumerate(tables):
        symbol = np.repeat(numbers, table)
        start = np.cumsum(table) - table
        entries[row] = (table[symbol] << 20) | ((places - start[symbol]) << 8) | symbol
    return entries.reshape(-1)


def cost_bits(counts: Array, tables: Array) -> float:
    """How many bits symbols that occur so often take with these tables."""
    used = counts > 0
    return float((counts[used] * (PRECISION - np.log2(tables[used]))).sum())
