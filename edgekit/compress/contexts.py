"""Which frequency table a weight is coded with: a class of its row and a class of its column, for all kernels at once.

A kernel is a matrix: a row for each output channel, a column for each of its inputs. Rows differ in how large their
codes are, and so do columns; channels that were pruned differ from those that were not. The classes are found by
alternating between them and the tables (k-means with code lengths in place of distances) and travel with the model,
which costs a few hundred bytes and lets a decoder know every context before it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress import rans
from edgekit.graph import Array

_ROUNDS = 8
_FADED = 2.0  # how many symbols' worth of the neighbours' shape a table is filled up with while classes are sought
_SHAPES = ((1, 1), (2, 1), (4, 1), (8, 1), (4, 2), (8, 2), (16, 1), (8, 3), (16, 2), (16, 3), (12, 4))
_TABLE_BITS = 10.0  # what a symbol in a table costs, about


@dataclass(frozen=True)
class Classes:
    """The classes of all rows and all columns of a list of matrices, and how many of each there are."""

    rows: tuple[Array, ...]
    columns: tuple[Array, ...]
    row_classes: int
    column_classes: int

    @property
    def tables(self) -> int:
        """How many tables they choose from."""
        return self.row_classes * self.column_classes

    def contexts(self) -> Array:
        """The table of every symbol, matrix by matrix and row by row."""
        made = [
            (rows[:, None] * self.column_classes + columns[None, :]).astype(np.uint8).reshape(-1)
            for rows, columns in zip(self.rows, self.columns, strict=True)
        ]
        return np.concatenate(made) if made else np.zeros(0, np.uint8)


def plain(matrices: Sequence[Array]) -> Classes:
    """One table for everything."""
    rows = tuple(np.zeros(matrix.shape[0], np.uint8) for matrix in matrices)
    columns = tuple(np.zeros(matrix.shape[1], np.uint8) for matrix in matrices)
    return Classes(rows, columns, 1, 1)


def fitted(matrices: Sequence[Array]) -> Classes:
    """The classes with which these matrices of uint8 symbols come to the fewest bytes, side information included."""
    found = [(_total_bits(matrices, plain(matrices)), plain(matrices))]
    for shape in _SHAPES[1:]:
        classes = _alternate(matrices, *shape)
        found.append((_total_bits(matrices, classes), classes))
    return min(found, key=lambda each: each[0])[1]


def counts(matrices: Sequence[Array], classes: Classes) -> Array:
    """How often each symbol occurs in each context, (tables, 256)."""
    flat = np.concatenate([matrix.reshape(-1) for matrix in matrices] or [np.zeros(0, np.uint8)])
    places = classes.contexts().astype(np.int64) * rans.SYMBOLS + flat
    return np.bincount(places, minlength=classes.tables * rans.SYMBOLS).reshape(classes.tables, rans.SYMBOLS)


def _alternate(matrices: Sequence[Array], row_classes: int, column_classes: int) -> Classes:
    classes = Classes(
        _by_size([_sizes(matrix).mean(1) for matrix in matrices], row_classes),
        tuple(_by_size([_sizes(matrix).mean(0)], column_classes)[0] for matrix in matrices),
        row_classes,
        column_classes,
    )
    for _round in range(_ROUNDS):
        lengths = _lengths(counts(matrices, classes)).reshape(row_classes, column_classes, -1)
        rows = tuple(
            _cheapest(_histograms(matrix, columns, column_classes), lengths)
            for matrix, columns in zip(matrices, classes.columns, strict=True)
        )
        classes = Classes(rows, classes.columns, row_classes, column_classes)
        if column_classes > 1:
            lengths = _lengths(counts(matrices, classes)).reshape(row_classes, column_classes, -1)
            columns = tuple(
                _cheapest(_histograms(matrix.T, own, row_classes), lengths.transpose(1, 0, 2))
                for matrix, own in zip(matrices, rows, strict=True)
            )
            classes = Classes(rows, columns, row_classes, column_classes)
    return classes


def _sizes(symbols: Array) -> Array:
    """Magnitudes of symbols that stand for int8 values."""
    sizes: Array = np.log2(1.0 + np.abs(symbols.astype(np.int8).astype(np.float32)))
    return sizes


def _by_size(values: Sequence[Array], classes: int) -> tuple[Array, ...]:
    limits = np.quantile(np.concatenate(values), np.linspace(0, 1, classes + 1)[1:-1])
    return tuple(np.searchsorted(limits, each).astype(np.uint8) for each in values)


def _histograms(matrix: Array, classes: Array, of: int) -> Array:
    """For each row how often each symbol occurs in columns of each class: (rows, of * 256)."""
    width = of * rans.SYMBOLS
    places = classes.astype(np.int64)[None, :] * rans.SYMBOLS + matrix
    places += np.arange(matrix.shape[0])[:, None] * width
    found = np.bincount(places.reshape(-1), minlength=matrix.shape[0] * width)
    return found.reshape(matrix.shape[0], width).astype(np.float32)


def _cheapest(histograms: Array, lengths: Array) -> Array:
    """For each row the class whose tables code it in the fewest bits; `lengths` are (classes, others, 256)."""
    best: Array = (histograms @ lengths.reshape(len(lengths), -1).T.astype(np.float32)).argmin(1)
    return best.astype(np.uint8)


def _lengths(found: Array) -> Array:
    """Code lengths in bits; symbols that a table has not seen yet get those of all tables together."""
    everywhere = found.sum(0) + 1e-3
    filled = found + _FADED * everywhere / everywhere.sum()
    lengths: Array = -np.log2(filled / filled.sum(1, keepdims=True))
    return lengths


def _total_bits(matrices: Sequence[Array], classes: Classes) -> float:
    found = counts(matrices, classes)
    tables = rans.frequencies(found)
    side = sum(_entropy(part) for part in (classes.rows, classes.columns))
    return rans.cost_bits(found, tables) + side + _TABLE_BITS * float((found > 0).sum())


def _entropy(parts: Sequence[Array]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    found = np.bincount(values)
    found = found[found > 0]
    return float((found * -np.log2(found / found.sum())).sum()) if len(found) else 0.0
