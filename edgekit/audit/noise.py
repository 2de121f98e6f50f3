"""Signal and noise of one layer, added up over samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgekit.fidelity import LARGEST_DB
from edgekit.graph import Array


def power(values: Array) -> float:
    """The sum of squares; in float64 where float32 is too small for it."""
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(flat, flat))
    return total if math.isfinite(total) else float(np.square(flat, dtype=np.float64).sum())


@dataclass
class Noise:
    """Sums of squares of what should be and of how far it is off."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, expected: Array, difference: Array) -> None:
        """Counts one sample's values in."""
        self.signal += power(expected)
        self.noise += power(difference)

    @property
    def db(self) -> float:
        """Signal over noise, kept within what a float32 model can tell."""
        if self.noise == 0:
            return LARGEST_DB
        if self.signal == 0 or not math.isfinite(self.noise):
            return -LARGEST_DB
        return min(max(10 * (math.log10(self.signal) - math.log10(self.noise)), -LARGEST_DB), LARGEST_DB)


@dataclass
class Tally:
    """One layer: all its noise, its own, and how many of its values lie beyond its range."""

    total: Noise = field(default_factory=Noise)
    own: Noise = field(default_factory=Noise)
    values: int = 0
    beyond: int = 0

    def add(self, expected: Array, found: Array, limits: tuple[Array, Array] | None) -> None:
        """Counts one sample in; spoils `found`, which saves a copy. `limits` are the ends of what can be held."""
        np.subtract(expected, found, out=found)
        self.total.add(expected, found)
        self.values += expected.size
        if limits is not None:
            self.beyond += int(np.count_nonzero(expected < limits[0]) + np.count_nonzero(expected > limits[1]))

    def add_own(self, expected: Array, found: Array) -> None:
        """Counts in what the float operators make of this layer's inputs, and what it made of them."""
        self.own.add(expected, expected - found)

    @property
    def clipped(self) -> float:
        """The share of values beyond the range."""
        return self.beyond / self.values if self.values else 0.0
