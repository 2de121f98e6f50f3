"""Weights that become 0: by magnitude, or by what their loss costs once the others have made up for it.

The second is the Optimal Brain Surgeon (Hassibi and Stork 1993) in the blocked form of SparseGPT (Frantar and Alistarh
2023, arXiv:2301.00774): one column after another, with the inverse curvature's Cholesky factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.errors import UsageError
from edgekit.graph import Array

_BLOCK = 64
_DAMPING = 0.01


def by_magnitude(weights: Array, sparsity: float) -> Array:
    """The weights without the smallest ones; `sparsity` is the share of zeros, 0 to 1."""
    _check(sparsity)
    doomed = round(sparsity * weights.size)
    order = np.argsort(np.abs(weights).reshape(-1), kind="stable")
    pruned = weights.copy().reshape(-1)
    pruned[order[:doomed]] = 0
    return pruned.reshape(weights.shape)


def by_surgery(weights: Array, curvature: Array, sparsity: float) -> Array:
    """The weights, (outputs, n), with about that share of zeros, and the others changed to make up for them.

    `curvature`, (n, n), is that of the layer's output error: its inputs' covariance, say. In every block of 64
    columns the same share goes, those first whose loss is least.
    """
    _check(sparsity)
    diagonal = np.diag(curvature)
    damped = curvature + np.eye(len(diagonal)) * (_DAMPING * diagonal.mean() + 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    rest = weights.astype(np.float64).copy()
    for start in range(0, rest.shape[1], _BLOCK):
        end = min(start + _BLOCK, rest.shape[1])
        losses = (rest[:, start:end] / np.diag(upper)[start:end]) ** 2
        doomed = _least(losses, round(sparsity * losses.size))
        errors = np.zeros(losses.shape)
        for column in range(start, end):
            gone = np.where(doomed[:, column - start], rest[:, column], 0.0)
            rest[:, column] -= gone
            errors[:, column - start] = gone / upper[column, column]
            rest[:, column + 1 : end] -= errors[:, column - start, None] * upper[column, column + 1 : end]
        rest[:, end:] -= errors @ upper[start:end, end:]
    return rest


def _least(losses: Array, count: int) -> Array:
    chosen = np.zeros(losses.size, bool)
    chosen[np.argsort(losses.reshape(-1), kind="stable")[:count]] = True
    return chosen.reshape(losses.shape)


def _check(sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise UsageError(f"a sparsity is a share of zeros from 0 to below 1; got {sparsity}")


def layer_sparsities(
    losses: Mapping[str, Sequence[float]], sparsities: Sequence[float], sizes: Mapping[str, int], target: float
) -> dict[str, float]:
    """Which sparsity each layer gets so that all together have `target`, and the losses add up to the least.

    `losses` gives for each layer what each of the ascending `sparsities` costs, measured one layer at a time; `sizes`
    how many weights it has. Steps are taken in the order of loss for each weight that they remove.
    """
    place = dict.fromkeys(losses, 0)
    wanted = target * sum(sizes.values())
    removed = sum(sparsities[0] * size for size in sizes.values())
    while removed < wanted:
        steps = {
            name: (losses[name][at + 1] - losses[name][at]) / ((sparsities[at + 1] - sparsities[at]) * sizes[name])
            for name, at in place.items()
            if at + 1 < len(sparsities)
        }
        if not steps:
            break
        name = min(steps, key=lambda each: steps[each])
        removed += (sparsities[place[name] + 1] - sparsities[place[name]]) * sizes[name]
        place[name] += 1
    return {name: sparsities[at] for name, at in place.items()}
