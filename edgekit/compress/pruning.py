"""Weights that become 0: by magnitude, or by what their loss costs once the others have made up for it.

The second is the Optimal Brain Surgeon (Hassibi and Stork 1993), row by row as in Optimal Brain Compression (Frantar et
al. 2022, arXiv:2208.11580).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.errors import UsageError
from edgekit.graph import Array

_ROUNDS = (0.6, 0.85, 1.0)
_DAMPING = 0.01


def by_magnitude(weights: Array, sparsity: float) -> Array:
    """The weights without the smallest ones; `sparsity` is the share of zeros, 0 to 1."""
    _check(sparsity)
    doomed = round(sparsity * weights.size)
    order = np.argsort(np.abs(weights).reshape(-1), kind="stable")
    pruned = weights.copy().reshape(-1)
    pruned[order[:doomed]] = 0
    found: Array = pruned.reshape(weights.shape)
    return found


def by_surgery(weights: Array, curvature: Array, sparsity: float) -> Array:
    """The weights, (outputs, n), with that share of zeros, and the others changed to make up for them.

    `curvature`, (n, n), is that of the layer's output error: its inputs' covariance, say. Weights go in a few rounds,
    those first whose loss is least, and after each round the rest is fitted anew, row by row.
    """
    _check(sparsity)
    firm = _DAMPING * np.diag(curvature).mean() + 1e-12
    damped = curvature + np.eye(len(curvature)) * firm
    wanted, made = weights.astype(np.float64) @ damped, weights.astype(np.float64).copy()
    kept = np.ones(weights.shape, bool)
    for share in _ROUNDS:
        doomed = round(share * sparsity * weights.size) - int((~kept).sum())
        losses = np.where(kept, made**2 * _firmness(damped, kept), np.inf)
        kept.reshape(-1)[np.argsort(losses.reshape(-1), kind="stable")[: max(doomed, 0)]] = False
        for row, alive in enumerate(kept):
            made[row] = 0
            made[row, alive] = np.linalg.solve(damped[np.ix_(alive, alive)], wanted[row, alive])
    result: Array = made
    return result


def _firmness(damped: Array, kept: Array) -> Array:
    """For each weight what its square costs once the others of its row have made up for it."""
    found = np.ones(kept.shape)
    for row, alive in enumerate(kept):
        found[row, alive] = 1 / np.diag(np.linalg.inv(damped[np.ix_(alive, alive)]))
    return found


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
