"""How much more accurate one model is than another, or than a mixture of two, with an interval.

Where both were judged on the same images the outcomes are compared image by image, which is several times sharper
than two intervals side by side; else the two Wilson intervals are combined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from edgekit.sampling import Z95


class Outcomes(msgspec.Struct, frozen=True):
    """Which images of a set were answered right: bit i, in hexadecimal digits, is image i in the order of the set.

    `labelled` has the images whose true class is known.
    """

    images_sha256: str
    labelled: str
    right: str


class Accuracy(msgspec.Struct, frozen=True):
    """Top-1 as a fraction with its 95 % interval over `of` images; `outcomes` where they are known one by one.

    `basis` is "measured" for what a record says and "published" for what somebody else found.
    """

    value: float
    low: float
    high: float
    of: int
    basis: str = "measured"
    outcomes: Outcomes | None = None


class Difference(msgspec.Struct, frozen=True):
    """A difference of two accuracies, as a fraction, with its 95 % interval; `paired` if image by image."""

    value: float
    low: float
    high: float
    paired: bool

    @property
    def significant(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


class Mixture(msgspec.Struct, frozen=True):
    """A point between two accuracies: `weight`, 0 to 1, is that of the second."""

    first: Accuracy
    second: Accuracy
    weight: float

    @property
    def value(self) -> float:
        """The accuracy there."""
        return (1 - self.weight) * self.first.value + self.weight * self.second.value


def outcomes(images_sha256: str, rank: Sequence[int | None]) -> Outcomes:
    """From ranks of the true classes, 0-based, None where no label is known."""
    labelled = ["0" if position is None else "1" for position in reversed(rank)]
    right = ["1" if position == 0 else "0" for position in reversed(rank)]
    return Outcomes(images_sha256, *(f"{int(''.join(bits) or '0', 2):x}" for bits in (labelled, right)))


def difference(one: Accuracy, other: Accuracy) -> Difference:
    """`one` less `other`."""
    return against(one, Mixture(other, other, 0.0))


def against(one: Accuracy, mixture: Mixture, extra_variance: float = 0.0) -> Difference:
    """`one` less the mixture; `extra_variance` is that of the mixture's place, which is not known exactly."""
    sides = (one.outcomes, mixture.first.outcomes, mixture.second.outcomes)
    known = [side for side in sides if side is not None]
    if len(known) == 3 and len({side.images_sha256 for side in known}) == 1:
        return _paired(known, mixture.weight, extra_variance)
    return _unpaired(one, mixture, extra_variance)


def _paired(sides: Sequence[Outcomes], weight: float, extra_variance: float) -> Difference:
    """The mean of d = one - (1 - weight) first - weight second over the images, with Agresti and Min's interval.

    They add half an image to each cell of the two-by-two table, that is two images whose differences are 0 in sum and
    1 in squares (Statistics in Medicine 24, 2005): without it the interval is empty where the two never differ.
    """
    n, total, squares = _moments(sides, weight)
    if n == 0:
        return Difference(0.0, -1.0, 1.0, paired=True)
    mean, size = total / n, n + 2
    variance = ((squares + 1) / size - (total / size) ** 2) / size
    half = Z95 * math.sqrt(variance + extra_variance)
    middle = total / size
    return Difference(mean, max(-1.0, min(middle - half, mean)), min(1.0, max(middle + half, mean)), paired=True)


def _moments(sides: Sequence[Outcomes], weight: float) -> tuple[int, float, float]:
    """How many images all three judged, and the sum and the sum of squares of their differences.

    Outcomes are 0 or 1, so counts of images that two models both got right give every square and product.
    """
    labelled = int(sides[0].labelled, 16) & int(sides[1].labelled, 16) & int(sides[2].labelled, 16)
    a, b, c = (int(side.right, 16) & labelled for side in sides)
    u, v = 1 - weight, weight
    total = a.bit_count() - u * b.bit_count() - v * c.bit_count()
    squares = a.bit_count() + u * u * b.bit_count() + v * v * c.bit_count()
    squares += 2 * (u * v * (b & c).bit_count() - u * (a & b).bit_count() - v * (a & c).bit_count())
    return labelled.bit_count(), total, squares


def _unpaired(one: Accuracy, mixture: Mixture, extra_variance: float) -> Difference:
    """Newcombe's square-and-add of Wilson limits (Statistics in Medicine 17, 1998), for a weighted sum.

    A mixture of one model with itself is that model, whose error counts once.
    """
    first, second, w = mixture.first, mixture.second, mixture.weight
    value = one.value - mixture.value
    parts = [(first, 1.0)] if first == second else [(first, 1 - w), (second, w)]
    below = (one.value - one.low) ** 2 + sum((u * (part.high - part.value)) ** 2 for part, u in parts)
    above = (one.high - one.value) ** 2 + sum((u * (part.value - part.low)) ** 2 for part, u in parts)
    extra = Z95 * Z95 * extra_variance
    return Difference(value, value - math.sqrt(below + extra), value + math.sqrt(above + extra), paired=False)
