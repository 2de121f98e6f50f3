"""Biases that are read in a wrong size, found by how far results are off: for files whose biases tell nothing.

A bias that is read f times too large moves the mean of every output channel by (1 - 1 / f) of what is read. What the
kernel's rounding costs does not follow the biases, channel by channel. What the layers before have shifted may, for
a corrected bias takes it back: so the float operator on the same inputs and the float model both have to say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Array

_SIGNIFICANT = 6.0  # standard errors
_LEAST = 0.1  # smaller shares are not worth a word
_ENOUGH = 20  # values of a channel
_FEWEST = 4  # channels
_APART = 3.0  # standard errors that two readers of one tensor may differ by


@dataclass(frozen=True)
class Share:
    """The share of a bias that is too much, as estimated, and its standard error."""

    value: float
    error: float


class Shifts:
    """What one reader's output channels are off by on average, added up over samples."""

    def __init__(self, bias: Array) -> None:
        self._bias = bias.astype(np.float64).reshape(-1)
        self._off, self._inherited = np.zeros(bias.size), np.zeros(bias.size)
        self._values = np.zeros(bias.size)

    def add(self, whole: Array, alone: Array, found: Array, limits: tuple[Array, Array] | None) -> None:
        """Counts a sample in: what the float model has, what its operator makes of the quantized model's inputs, and
        what the quantized model has. Values at a limit, or zeroed by an activation function, do not count."""
        inside = (whole != 0) & (alone != 0) & (found != 0)
        for values in (whole, alone, found) if limits is not None else ():
            low, high = limits if limits is not None else (0.0, 0.0)
            margin = (high - low) / 100
            inside &= (values > low + margin) & (values < high - margin)
        channels = (-1, self._bias.size)
        self._values += inside.reshape(channels).sum(0)
        self._off += np.where(inside, found - alone, 0).reshape(channels).sum(0, dtype=np.float64)
        self._inherited += np.where(inside, whole - alone, 0).reshape(channels).sum(0, dtype=np.float64)

    def share(self) -> Share | None:
        """What is too much by both accounts, against the float operator and against the float model; None if unclear.

        A sound bias that was corrected for what came before is off by the first account, and one that was not by the
        second.
        """
        known = self._values >= _ENOUGH
        if known.sum() < _FEWEST or not self._bias[known].any():
            return None
        off, inherited = (sums[known] / self._values[known] for sums in (self._off, self._inherited))
        found = [_slope(self._bias[known], values, self._values[known]) for values in (off, off - inherited)]
        least = min((share.value for share in found), key=abs)
        same = found[0].value * found[1].value > 0
        return Share(least if same else 0.0, max(share.error for share in found))


def _slope(bias: Array, off: Array, weights: Array) -> Share:
    """By least squares over the channels."""
    power = float((weights * bias**2).sum())
    value = float((weights * bias * off).sum()) / power
    rest = float((weights * (off - value * bias) ** 2).sum()) / (len(bias) - 1)
    return Share(value, math.sqrt(rest / power))


def factor(shares: Sequence[Share | None]) -> float | None:
    """How many times too large all readers of a tensor take their biases; None if they do not say so together."""
    known = [share for share in shares if share is not None and share.error > 0]
    if not known:
        return None
    weights = [share.error**-2 for share in known]
    value = sum(share.value * weight for share, weight in zip(known, weights, strict=True)) / sum(weights)
    agree = all(abs(share.value - value) <= _APART * share.error for share in known)
    clear = abs(value) > max(_LEAST, _SIGNIFICANT * sum(weights) ** -0.5)
    return 1 / (1 - value) if agree and clear and value < 1 else None
