"""What a block holds: some bytes of a model, taken apart into streams that are alike, each coded in its own way.

A block is a plan (numbers in base 128, compressed) and sections. The plan says which stream each run of bytes comes
from, in the order of the model, and how its kernels are matrices; sections hold the streams. Kernels are joined to
one stream of symbols: what differs from a kernel's zero point, or from the middle of its palette where a float kernel
has no more than 256 values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress import codecs, contexts, rans, sparse
from edgekit.compress.limits import BLOCK_BYTES, MOST_PIECES, damaged
from edgekit.graph import Array

STREAMS = ("structure", "words", "tail")  # bytes as they are: flatbuffer, tables of numbers, and what follows both
KERNEL = len(STREAMS)  # the stream of pieces that are matrices
_SHARED, _PRUNED = 7, 8  # how a plan names kernels with a palette, and pruned ones
_MOST_DENSE = 64  # weights for each byte of a pruned kernel
_CLASSES, _TABLES, _WEIGHTS, _PLAN = "classes", "tables", "weights", "plan"
_RANS_CONTEXTS = 255  # the codec of weights that are coded with classes; the others are those of `codecs`


@dataclass(frozen=True)
class Piece:
    """A run of bytes of the model: which stream it belongs to, and for kernels the matrix.

    `zero` is what symbol 0 stands for: a zero point as a byte, or a place in the `palette` (float32, ascending). Codes
    and gaps of a pruned kernel stand for `dense` weights; `rows` float32 biases lie before them, and before these a
    codebook of `book` values, whose order gives the symbols.
    """

    stream: int
    length: int
    rows: int = 0
    zero: int = 0
    palette: tuple[float, ...] = ()
    dense: int = 0
    book: int = 0

    @property
    def symbols(self) -> int:
        """How many symbols a kernel has."""
        return self.dense or (self.length // 4 if self.palette else self.length)


@dataclass(frozen=True)
class Section:
    """One coded stream, for reports."""

    name: str
    size_bytes: int
    coded_bytes: int
    codec: str


def encode(content: bytes, pieces: Sequence[Piece]) -> tuple[bytes, list[Section]]:
    """The block's coded form, and what became of each of its streams."""
    streams: list[list[bytes]] = [[] for _ in STREAMS]
    matrices: list[Array] = []
    place = 0
    for piece in pieces:
        part = content[place : place + piece.length]
        place += piece.length
        if piece.stream == KERNEL:
            matrices.append(to_symbols(part, piece, content[: place - piece.length]))
        else:
            streams[piece.stream].append(part)
    coded: list[bytes] = []
    shown: list[Section] = []
    for name, parts in zip(STREAMS, streams, strict=True):
        _add(coded, shown, name, b"".join(parts))
    if matrices:
        _add_weights(coded, shown, matrices)
    plan: list[bytes] = []
    _add(plan, shown, _PLAN, _pack_plan(pieces))
    return b"".join([*plan, *coded]), shown


def decode(coded: bytes, size: int) -> bytes:
    """The `size` bytes of the model that this block stands for; FileFormatError if it contradicts itself."""
    reader = _Reader(coded)
    pieces = _unpack_plan(reader.section(BLOCK_BYTES), size)
    streams = [memoryview(reader.section(size)) for _ in STREAMS]
    kernels = [piece for piece in pieces if piece.stream == KERNEL]
    symbols = _weights(reader, kernels) if kernels else np.zeros(0, np.uint8)
    reader.end()
    content = bytearray()
    places, taken = [0] * len(STREAMS), 0
    for piece in pieces:
        if piece.stream == KERNEL:
            content += _from_symbols(symbols[taken : taken + piece.symbols], piece, content)
            taken += piece.symbols
        else:
            start = places[piece.stream]
            content += streams[piece.stream][start : start + piece.length]
            places[piece.stream] += piece.length
    if len(content) != size or places != [len(stream) for stream in streams]:
        raise damaged("a block's streams are not as long as its plan says")
    return bytes(content)


def to_symbols(part: bytes, piece: Piece, before: bytes = b"") -> Array:
    """A kernel's bytes as a matrix of symbols, uint8; a pruned one needs what lies before it in the model."""
    if piece.dense:
        return _ranks(piece, before)[unsparse(part, piece)].reshape(piece.rows, -1)
    if piece.palette:
        values = np.frombuffer(part, "<f4")
        codes = np.searchsorted(np.array(piece.palette, "<f4"), values)
    else:
        codes = np.frombuffer(part, np.uint8).astype(np.int64)
    symbols: Array = ((codes - piece.zero) & 0xFF).astype(np.uint8).reshape(piece.rows, -1)
    return symbols


def unsparse(part: bytes, piece: Piece) -> Array:
    """The dense codes of a pruned kernel's codes and gaps."""
    count = len(part) * 2 // (3 if piece.book == 256 else 2)
    stored = count if piece.book == 256 else (count + 1) // 2
    raw = np.frombuffer(part, np.uint8)
    coded = raw[:stored] if piece.book == 256 else sparse.unhalved(raw[:stored], count)
    places = np.cumsum(sparse.unhalved(raw[stored:], count).astype(np.int64) + 1) - 1
    codes: Array = np.zeros(piece.dense, np.uint8)
    inside = places < piece.dense
    codes[places[inside]] = coded[inside]
    return codes


def _ranks(piece: Piece, before: bytes | bytearray) -> Array:
    start = len(before) - 4 * (piece.rows + piece.book)
    if start < 0:
        raise damaged("a pruned kernel has no codebook before it")
    return sparse.ranks(np.frombuffer(bytes(before[start : start + 4 * piece.book]), "<f4"))


def _from_symbols(symbols: Array, piece: Piece, before: bytearray) -> bytes:
    if piece.dense:
        ranks = _ranks(piece, before)
        codes = np.zeros(256, np.uint8)
        codes[ranks] = np.arange(len(ranks))
        made = sparse.section(codes[symbols], piece.book)
        if len(made) != piece.length:
            raise damaged("a pruned kernel is not as long as its plan says")
        return made
    codes = symbols + np.uint8(piece.zero)
    if not piece.palette:
        return bytes(codes)
    if codes.max(initial=0) >= len(piece.palette):
        raise damaged("a weight is none of its kernel's values")
    return bytes(np.array(piece.palette, "<f4")[codes])


def _add(coded: list[bytes], shown: list[Section], name: str, content: bytes) -> None:
    codec, made = codecs.smallest(content)
    coded.append(_section(codec.number, len(content), made))
    shown.append(Section(name, len(content), len(coded[-1]), codec.name))


def _add_weights(coded: list[bytes], shown: list[Section], matrices: Sequence[Array]) -> None:
    symbols = np.concatenate([matrix.reshape(-1) for matrix in matrices])
    classes = contexts.fitted(matrices)
    tables = rans.frequencies(contexts.counts(matrices, classes))
    lanes = rans.lanes_for(len(symbols))
    side: list[bytes] = []
    about: list[Section] = []
    sides = np.concatenate([*classes.rows, *classes.columns]).tobytes()
    _add(side, about, _CLASSES, bytes([classes.row_classes, classes.column_classes]) + sides)
    _add(side, about, _TABLES, codecs.pack_tables(tables))
    made = rans.encode(symbols, classes.contexts(), tables, lanes)
    codec, plainly = codecs.smallest(symbols.tobytes())
    if len(plainly) < len(made) + sum(map(len, side)):
        coded.append(_section(codec.number, len(symbols), plainly))
        shown.append(Section(_WEIGHTS, len(symbols), len(coded[-1]), codec.name))
        return
    coded += [_section(_RANS_CONTEXTS, len(symbols), made), *side]
    shown += [Section(_WEIGHTS, len(symbols), len(coded[-3]), f"rans, {classes.tables} tables"), *about]


def _weights(reader: _Reader, kernels: Sequence[Piece]) -> Array:
    count = sum(piece.symbols for piece in kernels)
    codec, size, made = reader.raw(count)
    if size != count:
        raise damaged("there are not as many weights as the kernels have")
    if codec != _RANS_CONTEXTS:
        return np.frombuffer(codecs.decode(codec, made, size), np.uint8)
    shapes = [(piece.rows, piece.symbols // piece.rows) for piece in kernels]
    classes = _classes(reader.section(2 + sum(map(sum, shapes))), shapes)
    tables, _used = codecs.unpack_tables(reader.section(classes.tables * rans.SYMBOLS * 2), classes.tables)
    return rans.decode(made, classes.contexts(), tables)


def _classes(packed: bytes, shapes: Sequence[tuple[int, int]]) -> contexts.Classes:
    if len(packed) != 2 + sum(map(sum, shapes)) or not 1 <= packed[0] * packed[1] <= 256:
        raise damaged("the classes of rows and columns are not as many as there are rows and columns")
    given = np.frombuffer(packed, np.uint8, offset=2)
    ends = np.cumsum([rows for rows, _ in shapes] + [columns for _, columns in shapes])[:-1]
    parts = np.split(given, ends)
    rows, columns = tuple(parts[: len(shapes)]), tuple(parts[len(shapes) :])
    for each, of in ((rows, packed[0]), (columns, packed[1])):
        if max(int(part.max(initial=0)) for part in each) >= of:
            raise damaged("a row or column is of a class that does not exist")
    return contexts.Classes(rows, columns, packed[0], packed[1])


def _pack_plan(pieces: Sequence[Piece]) -> bytes:
    made = bytearray()
    made += _number(len(pieces))
    for piece in pieces:
        kind = _PRUNED if piece.dense else _SHARED if piece.palette else piece.stream
        made += _number(kind) + _number(piece.length)
        if piece.stream == KERNEL:
            made += _number(piece.rows) + bytes([piece.zero])
        if piece.dense:
            made += _number(piece.dense) + _number(piece.book)
        if piece.palette:
            made += bytes([len(piece.palette) - 1]) + np.array(piece.palette, "<f4").tobytes()
    return bytes(made)


def _unpack_plan(packed: bytes, size: int) -> list[Piece]:
    reader = _Reader(packed)
    count = reader.number()
    if count > MOST_PIECES:
        raise damaged(f"a block's plan has {count} pieces, and {MOST_PIECES} is the limit")
    pieces, left = [], size
    for _ in range(count):
        piece = _unpack_piece(reader)
        left -= piece.length
        if left < 0:
            raise damaged("a block's plan is of more bytes than the block")
        pieces.append(piece)
    reader.end()
    return pieces


def _unpack_piece(reader: _Reader) -> Piece:
    stream, length = reader.number(), reader.number()
    if stream < KERNEL:
        return Piece(stream, length)
    rows, zero = reader.number(), reader.take(1)[0]
    palette: tuple[float, ...] = ()
    dense = book = 0
    if stream == _SHARED:
        palette = tuple(np.frombuffer(reader.take(4 * (reader.take(1)[0] + 1)), "<f4").tolist())
    elif stream == _PRUNED:
        dense, book = reader.number(), reader.number()
    elif stream != KERNEL:
        raise damaged(f"a block's plan names stream {stream}, which does not exist")
    if stream == _PRUNED and (book not in (16, 256) or not 1 <= dense <= _MOST_DENSE * length):
        raise damaged("a pruned kernel is none")
    piece = Piece(KERNEL, length, rows, zero, palette, dense, book)
    if rows < 1 or piece.symbols % rows or (palette and length % 4):
        raise damaged("a kernel is no matrix")
    return piece


def _section(codec: int, size: int, made: bytes) -> bytes:
    return bytes([codec]) + _number(size) + _number(len(made)) + made


def _number(value: int) -> bytes:
    """Seven bits to a byte, the low ones first; all but the last byte have the eighth set."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


class _Reader:
    """Takes a block apart; asks for nothing that is not there."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def take(self, count: int) -> bytes:
        found = self.content[self.place : self.place + count]
        if len(found) < count:
            raise damaged("a block ends too early")
        self.place += count
        return found

    def number(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise damaged("a number is too long")

    def raw(self, most: int) -> tuple[int, int, bytes]:
        """A section's codec, its declared size, and its coded form."""
        codec, size, length = self.take(1)[0], self.number(), self.number()
        if size > most:
            raise damaged(f"a section declares {size} bytes where {most} is the limit")
        return codec, size, self.take(length)

    def section(self, most: int) -> bytes:
        codec, size, made = self.raw(most)
        return codecs.decode(codec, made, size)

    def end(self) -> None:
        if self.place != len(self.content):
            raise damaged("there is something behind the last section")
