"""Where a model's kernels, tables of numbers and text lie in its file, so that each can be coded in its own way.

A wrong guess costs bytes, never correctness: whatever is not recognised is structure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit import graph as graphs
from edgekit.compress import sparse
from edgekit.compress.blocks import KERNEL, STREAMS, Piece, unsparse
from edgekit.compress.limits import BLOCK_BYTES
from edgekit.errors import EdgekitError
from edgekit.graph import Array, Graph, Operator, Tensor

_STRUCTURE, _WORDS, _TAIL = (STREAMS.index(name) for name in ("structure", "words", "tail"))
_SMALLEST = 64  # bytes; a table smaller than this is not worth a piece
_PALETTE = 256


@dataclass(frozen=True)
class _Find:
    start: int
    piece: Piece


def pieces(content: bytes) -> list[list[Piece]]:
    """The pieces of every block of a .tflite, or of any other file: that one is structure throughout."""
    if content[4:8] != b"TFL3":
        return _blocks(len(content), _pruned(content), len(content))
    try:
        graph = graphs.load(content)
    except EdgekitError:
        return _blocks(len(content), [], len(content))
    return _blocks(len(content), _found(content, graph), _tail_start(content))


def _pruned(content: bytes) -> list[_Find]:
    """The parts of one of the authors' .net files that we would write the same; none for any other file."""
    from edgekit.weights import deep_compression

    layers = deep_compression.known_layers(content) or []
    found: list[_Find] = []
    start = 4 * len(layers)
    for number, layer in enumerate(layers):
        count = int(np.frombuffer(content, "<u4", 1, 4 * number)[0])
        book, biases = deep_compression.codebook_size(layer), layer[1][0]
        tables, end = 4 * (book + biases), start + deep_compression.section_bytes(layer, count)
        found += [_Find(start, Piece(_WORDS, 4 * book)), _Find(start + 4 * book, Piece(_WORDS, 4 * biases))]
        part = content[start + tables : end]
        piece = Piece(KERNEL, len(part), biases, dense=math.prod(layer[1]), book=book)
        if part and sparse.section(unsparse(part, piece), book) == part:
            found.append(_Find(start + tables, piece))
        start = end
    return found


def is_float(content: bytes) -> bool:
    """Whether a .tflite computes in float and stores its weights so: none of its tensors is quantized."""
    graph = graphs.load(content)
    return all(tensor.quantization is None for tensor in graph.tensors) and any(
        operator.has_weights and graph.tensors[operator.inputs[1]].dtype == "float32" for operator in graph.operators
    )


def _tail_start(content: bytes) -> int:
    """Where the zip tail begins: behind the flatbuffer, at the first local header that the end record reaches."""
    place = content.find(b"PK\x03\x04")
    return place if place >= 0 and content.rfind(b"PK\x05\x06") > place else len(content)


def _found(content: bytes, graph: Graph) -> list[_Find]:
    """Kernels and tables in the order of the file, none within another."""
    wanted = [piece for operator in graph.operators for piece in _kernel(graph, operator)]
    kernels = {id(data) for data, _ in wanted}
    for tensor in graph.tensors:
        if tensor.data is not None and id(tensor.data) not in kernels and tensor.dtype in ("int32", "float32"):
            wanted.append((tensor.data, Piece(_WORDS, tensor.data.nbytes)))
        if tensor.quantization is not None:
            wanted.append((tensor.quantization.scale, Piece(_WORDS, tensor.quantization.scale.nbytes)))
    finds: dict[int, _Find] = {}
    after: dict[bytes, int] = {}
    for data, piece in sorted(wanted, key=lambda pair: -pair[1].length):
        raw = np.ascontiguousarray(data).tobytes()
        if len(raw) < _SMALLEST:
            continue
        start = content.find(raw, after.get(raw, 0))
        after[raw] = start + 1 if start >= 0 else len(content)
        if start >= 0 and _free(finds, start, start + len(raw)):
            finds[start] = _Find(start, piece)
    return [finds[start] for start in sorted(finds)]


def _free(finds: dict[int, _Find], start: int, end: int) -> bool:
    return all(end <= each.start or start >= each.start + each.piece.length for each in finds.values())


def _kernel(graph: Graph, operator: Operator) -> list[tuple[Array, Piece]]:
    if not operator.has_weights:
        return []
    tensor = graph.tensors[operator.inputs[1]]
    if tensor.data is None or not tensor.shape or tensor.dtype not in ("int8", "uint8", "float32"):
        return []
    rows = tensor.shape[0] if operator.kind != "DEPTHWISE_CONV_2D" else math.prod(tensor.shape[:3])
    palette = _palette(tensor)
    if tensor.dtype == "float32" and not palette:
        return []
    zero = palette.index(0.0) if 0.0 in palette else len(palette) // 2
    if not palette and tensor.quantization is not None and tensor.dtype == "uint8":
        zero = int(tensor.quantization.zero_point[0]) & 0xFF
    return [(tensor.data, Piece(KERNEL, tensor.data.nbytes, rows, zero, palette))]


def _palette(tensor: Tensor) -> tuple[float, ...]:
    """The values of a float kernel that has few, as one of shared weights does; signed zeros and NaN count as many."""
    if tensor.dtype != "float32" or tensor.data is None:
        return ()
    values = np.unique(tensor.data)
    if len(values) > _PALETTE or not np.isfinite(values).all() or np.signbit(tensor.data[tensor.data == 0]).any():
        return ()
    return tuple(values.astype("<f4").tolist())


def _blocks(size: int, finds: list[_Find], tail: int) -> list[list[Piece]]:
    """Everything between the finds is structure up to the tail; pieces are cut where a block ends."""
    whole: list[Piece] = []
    place = 0
    for find in [*finds, _Find(size, Piece(_STRUCTURE, 0))]:
        cut = min(max(tail, place), find.start)
        whole += [Piece(_STRUCTURE, cut - place), Piece(_TAIL, find.start - cut), find.piece]
        place = find.start + find.piece.length
    return _cut([piece for piece in whole if piece.length])


def _cut(whole: list[Piece]) -> list[list[Piece]]:
    blocks: list[list[Piece]] = [[]]
    room = BLOCK_BYTES
    for piece in whole:
        while piece.length >= room:
            first, piece = _split(piece, room)
            blocks[-1] += first
            blocks.append([])
            room = BLOCK_BYTES
        if piece.length:
            blocks[-1].append(piece)
            room -= piece.length
    return [block for block in blocks if block]


def _split(piece: Piece, room: int) -> tuple[list[Piece], Piece]:
    """A piece's first `room` bytes, and what is left of it; a kernel is cut between rows, a broken row is structure."""
    if piece.dense:
        piece = Piece(_STRUCTURE, piece.length)
    if piece.stream != KERNEL:
        return [Piece(piece.stream, room)] * (room > 0), Piece(piece.stream, piece.length - room)
    row = piece.length // piece.rows
    fit = room // row
    first = [Piece(KERNEL, fit * row, fit, piece.zero, piece.palette)] * (fit > 0)
    if fit == piece.rows:
        return first, Piece(_STRUCTURE, 0)
    broken = room - fit * row
    first += [Piece(_STRUCTURE, broken)] * (broken > 0)
    rest = piece.rows - fit - (broken > 0)
    head = row - broken if broken else 0
    if not head:
        return first, Piece(KERNEL, rest * row, rest, piece.zero, piece.palette)
    return first, Piece(_STRUCTURE, head + rest * row)  # rare: the rest of a kernel that a block's end cuts in a row
