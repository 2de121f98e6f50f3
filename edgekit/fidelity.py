"""How faithful a quantized model is to its float form, layer by layer: what an audit found, as records.

Knows no framework, so that a card may hold one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import msgspec

LARGEST_DB = 144.5  # 20 log10(2 ** 24): less noise than this is below the rounding of the float model itself
_NUMBERED = re.compile(r"_\d+$")


class Hits(msgspec.Struct, frozen=True):
    """`hits` out of `of`: what a share and its interval are computed from."""

    hits: int
    of: int


class Layer(msgspec.Struct, frozen=True):
    """One operator of the quantized model whose output exists in the float model too.

    `name` is the tensor in the quantized file, `index` the operator's position there. `sqnr_db` compares what the two
    models hold here, with all that went before; `own_sqnr_db` compares what this operator made of the very inputs that
    it got with what the float operator makes of them, so it is this layer's own doing; None where that could not be
    separated. Both are signal over noise and stay within LARGEST_DB, either way. `clipped` is the share (0 to 1) of
    the float model's values that lie beyond what the tensor can hold.

    `expected_scale` is set where the file contradicts itself: the biases of all that read this tensor were made for
    that scale, and not for `scale`. The layer's own noise is then what those readers are told wrong.
    """

    name: str
    kind: str
    index: int
    dtype: str
    sqnr_db: float
    own_sqnr_db: float | None
    clipped: float
    scale: float | None = None
    zero_point: int | None = None
    expected_scale: float | None = None


class Audit(msgspec.Struct, frozen=True):
    """A quantized model held against its float form on `samples` inputs, `own_samples` of them for own noise.

    `layers` are in file order, `worst` the names of those with the most noise of their own, worst first. `operators`
    says how many quantized operators there are, `matched` how many were found in the float model and `named` how many
    of these by their name; the others by kernel and shape. `agreement` counts equal first classes, `kl_nats` is the
    mean KL(float || quantized); `top1` and `float_top1` count right answers where true classes were given.

    The rest describes the quantized file: its activations by type, the kinds of the float operators that stand between
    a DEQUANTIZE and a QUANTIZE, how many operators only convert, and the share of MACs that the delegate takes.
    """

    layers: tuple[Layer, ...]
    worst: tuple[str, ...]
    operators: int
    matched: int
    named: int
    samples: int
    own_samples: int
    agreement: Hits
    kl_nats: float
    activations: dict[str, int]
    islands: tuple[str, ...]
    transposes: int
    quantizes: int
    dequantizes: int
    macs_delegated: float | None = None
    top1: Hits | None = None
    float_top1: Hits | None = None

    @property
    def names(self) -> list[str]:
        """The layers' names, in file order."""
        return [layer.name for layer in self.layers]

    @property
    def float_islands(self) -> int:
        """How many float operators stand between a DEQUANTIZE and a QUANTIZE."""
        return len(self.islands)

    @property
    def ranked(self) -> list[Layer]:
        """The layers, worst first."""
        return by_own_noise(self.layers)


def by_own_noise(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with the most noise of their own first; those without a figure come last."""
    return sorted(layers, key=lambda layer: math.inf if layer.own_sqnr_db is None else layer.own_sqnr_db)


class Counts(msgspec.Struct, frozen=True):
    """How many values fell into each of equally wide bins from `low` to `high`; the end bins hold all beyond."""

    low: float
    high: float
    counts: tuple[int, ...]


class Histogram(msgspec.Struct, frozen=True):
    """What one layer holds and by how much it is off.

    `values` are the float model's, in the quantized model's units; `error` is the whole difference to them and
    `own_error` what the layer itself adds, both in steps of its scale (of the float values' spread / 255 where the
    layer has no scale). `range` is what the tensor can hold.
    """

    values: Counts
    error: Counts
    own_error: Counts | None
    range: tuple[float, float] | None


def short_names(names: Sequence[str]) -> list[str]:
    """Names for people: without what a converter adds to nearly all of them, as long as they stay different.

    "net_1/conv1_1/Relu;net_1/conv1_1/BiasAdd" among its like becomes "conv1".
    """
    found = list(names)
    for shorten in (_first_part, _without_root, _without_root, _without_leaf, _without_leaf, _without_number):
        shorter = [shorten(name, found) for name in found]
        times = Counter(found + shorter)
        alone = [bool(new) and times[new] == 1 for new in shorter]
        found = [new if free else old for old, new, free in zip(found, shorter, alone, strict=True)]
    return found


def _first_part(name: str, _names: Sequence[str]) -> str:
    return name.split(";", maxsplit=1)[0]


def _without_root(name: str, names: Sequence[str]) -> str:
    """Without the first folder, where most names lie in it."""
    root, times = Counter(other.split("/", maxsplit=1)[0] for other in names).most_common(1)[0]
    return name.removeprefix(f"{root}/") if 2 * times > len(names) else name


def _without_leaf(name: str, _names: Sequence[str]) -> str:
    return name.rpartition("/")[0]


def _without_number(name: str, names: Sequence[str]) -> str:
    """Without the number at its end, where most names end in the same one."""
    ends = Counter(found[0] for found in map(_NUMBERED.search, names) if found)
    end, times = ends.most_common(1)[0] if ends else ("", 0)
    return name.removesuffix(end) if 2 * times > len(names) else name
