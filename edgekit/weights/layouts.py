"""Kernel layouts of other frameworks turned into Keras's; i, o, h, w stand for input, output, height, width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgekit.weights.record import FloatArray, LayerWeights

Array = npt.NDArray[np.generic]


def conv_from_oihw(name: str, kernel: Array, bias: Array | None, groups: int = 1) -> LayerWeights:
    """A conv from an (o, i / groups, h, w) kernel; a depthwise one where every group has a single input channel."""
    out, group_in, height, width = kernel.shape
    if groups > 1 and group_in == 1:
        # Output channel c * multiplier + j reads input channel c.
        by_channel = kernel.reshape(groups, out // groups, height, width)
        return LayerWeights(name, "depthwise", arrays(by_channel.transpose(2, 3, 0, 1), bias))
    return LayerWeights(name, "conv", arrays(kernel.transpose(2, 3, 1, 0), bias))


def conv_from_ohwi(name: str, kernel: Array, bias: Array | None) -> LayerWeights:
    """A conv from TFLite's (o, h, w, i / groups) kernel."""
    return LayerWeights(name, "conv", arrays(kernel.transpose(1, 2, 3, 0), bias))


def depthwise_from_1hwo(name: str, kernel: Array, bias: Array | None, multiplier: int) -> LayerWeights:
    """A depthwise conv from TFLite's (1, h, w, channels * multiplier) kernel."""
    _, height, width, out = kernel.shape
    return LayerWeights(name, "depthwise", arrays(kernel.reshape(height, width, out // multiplier, multiplier), bias))


def dense_from_oi(name: str, kernel: Array, bias: Array | None) -> LayerWeights:
    """A dense layer from an (o, i) matrix."""
    return LayerWeights(name, "dense", arrays(kernel.transpose(), bias))


def arrays(kernel: Array, bias: Array | None) -> dict[str, FloatArray]:
    """The named arrays of a layer, contiguous and in float32."""
    named = {"kernel": np.ascontiguousarray(kernel, dtype=np.float32)}
    if bias is not None:
        named["bias"] = np.ascontiguousarray(bias, dtype=np.float32)
    return named
