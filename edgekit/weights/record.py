"""Trained weights as a record, in Keras layouts, whatever file they came from.

Knows no file format and no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekit.spec import InputSpec

FloatArray = npt.NDArray[np.float32]
Kind = Literal["conv", "depthwise", "dense", "batch_norm"]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One layer's float32 arrays by name.

    "kernel" is (height, width, channels in / groups, channels out) for conv, (height, width, channels, multiplier)
    for depthwise, (in, out) for dense; "bias" is (out,) and absent where the layer has none. A batch_norm has
    "mean" and "variance", and "gamma" and "beta" where they were trained, all (channels,); `after` names the layer
    whose output it normalises and `epsilon` what is added to the variance, both where the file says so.
    """

    name: str
    kind: Kind
    arrays: Mapping[str, FloatArray]
    after: str = ""
    epsilon: float | None = None

    @property
    def kernel(self) -> FloatArray:
        """The kernel of a conv, depthwise or dense layer."""
        return self.arrays["kernel"]


@dataclass(frozen=True, eq=False)
class Weights:
    """All layers of one file in network order.

    `source` is a file name or a public address and `sha256` hashes the file that holds the numbers. `input` is the
    preprocessing the file itself states or its format implies, None where it says nothing. With `channels_first`
    a dense kernel that reads a flattened feature map expects it in the order (channel, row, column). Without `ordered`
    the file says nothing of the network's order, and names alone can tell which layer is which. With `implied_input`
    the preprocessing is only what is usual.
    """

    layers: tuple[LayerWeights, ...]
    source: str
    sha256: str
    input: InputSpec | None = None
    channels_first: bool = False
    ordered: bool = True
    implied_input: bool = False
