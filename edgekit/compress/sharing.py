"""Weights that share values, as in Deep Compression (Han et al. 2016, arXiv:1510.00149): k-means, layer by layer.

Beside the paper's three ways to begin, a weight may count by how much the answer minds it, and each weight's error
may be made up for by those not yet placed, as rounding does it (GPTVQ, van Baalen et al. 2024, arXiv:2402.15319).
Pruned weights stay 0 and have a place of their own in every codebook.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgekit.errors import UsageError
from edgekit.graph import Array

Start = Literal["linear", "density", "random"]
_ROUNDS = 50
_DAMPING = 0.01


def codebook(
    values: Array, size: int, start: Start = "linear", importance: Array | None = None, seed: int = 0
) -> Array:
    """`size` ascending float32 values, 0 first among equals, that come nearest to flat `values`, by Lloyd's rounds.

    One of them is 0 and stays it, where any value is. `importance` weighs each value's squared error. UsageError for
    a size below 2.
    """
    if size < 2:
        raise UsageError(f"a codebook has at least 2 values; {size} was asked for")
    alive = values != 0
    kept = values[alive].astype(np.float64)
    weights = np.ones(len(kept)) if importance is None else importance[alive].astype(np.float64) + 1e-30
    count = size - 1 if len(kept) < len(values) else size
    if not len(kept):
        return np.zeros(1, np.float32)
    centres = _begin(kept, min(count, len(np.unique(kept))), start, seed)
    for _ in range(_ROUNDS):
        nearest = _nearest(kept, centres)
        totals = np.bincount(nearest, weights, len(centres))
        sums = np.bincount(nearest, weights * kept, len(centres))
        moved = np.sort(np.where(totals > 0, sums / np.maximum(totals, 1e-300), centres))
        if np.allclose(moved, centres, rtol=1e-7, atol=0):
            break
        centres = moved
    with_zero = np.concatenate([[0.0], centres]) if count < size else centres
    return np.sort(with_zero).astype(np.float32)


def _begin(kept: Array, count: int, start: Start, seed: int) -> Array:
    """Where centres begin: evenly over the range, evenly over the weights, or on random ones."""
    if start == "linear":
        return np.linspace(kept.min(), kept.max(), count)
    if start == "density":
        return np.quantile(kept, (np.arange(count) + 0.5) / count)
    return np.sort(np.random.default_rng(seed).choice(np.unique(kept), count, replace=False))


def _nearest(values: Array, centres: Array) -> Array:
    found: Array = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return found


def shared(weights: Array, book: Array) -> Array:
    """Each weight's nearest value of the codebook; zeros stay zeros."""
    ascending = np.sort(book).astype(np.float64)
    found: Array = np.where(weights == 0, 0.0, ascending[_nearest(weights, ascending)])
    return found


def shared_with_feedback(weights: Array, book: Array, curvature: Array) -> Array:
    """As `shared`, but later columns make up for the errors of earlier ones; weights are (outputs, n).

    `curvature`, (n, n), is that of the layer's output error, its inputs' covariance, say. A pruned weight stays 0 and
    what is not pruned becomes no 0.
    """
    ascending = np.sort(book).astype(np.float64)
    others = ascending[ascending != 0] if (ascending != 0).any() else ascending
    diagonal = np.diag(curvature)
    damped = curvature + np.eye(len(diagonal)) * (_DAMPING * diagonal.mean() + 1e-12)
    order = np.argsort(-diagonal, kind="stable")
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rest, made = weights[:, order].astype(np.float64), np.zeros(weights.shape)
    pruned = weights[:, order] == 0
    for column in range(len(order)):
        chosen = np.where(pruned[:, column], 0.0, others[_nearest(rest[:, column], others)])
        made[:, column] = chosen
        error = (rest[:, column] - chosen) / upper[column, column]
        rest[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
    result = np.empty_like(made)
    result[:, order] = made
    return result
