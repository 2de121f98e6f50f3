"""Layer tables: parameters and multiply-accumulates of a built network, layer by layer and in total.

Reads Keras objects, imports no Keras.

Parameters are the weights and biases of convolutions and dense layers and the scale and shift of batch norm; its
moving statistics are not counted. Multiply-accumulates (MACs) are those of convolutions, grouped and depthwise ones
as such, and of dense layers; biases, pooling, sums and activations are not counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgekit.spec import LayerCount

if TYPE_CHECKING:
    from keras import Model

# What the papers' tables have a row for. Activations, dropout, padding and reshapes change neither count.
KINDS = {
    "Conv2D": "conv",
    "DepthwiseConv2D": "depthwise_conv",
    "Dense": "dense",
    "BatchNormalization": "batch_norm",
    "MaxPooling2D": "max_pool",
    "AveragePooling2D": "average_pool",
    "GlobalAveragePooling2D": "global_average_pool",
    "Concatenate": "concat",
    "Add": "add",
    "Multiply": "multiply",
}


def layer_table(model: Model) -> list[LayerCount]:
    """One row per convolution, dense layer, batch norm, pooling and joint, from input to output."""
    return [_row(layer) for layer in model.layers if type(layer).__name__ in KINDS]


def count(model: Model) -> tuple[int, int]:
    """(parameters, multiply-accumulates for one image)."""
    rows = layer_table(model)
    return sum(row.params for row in rows), sum(row.macs for row in rows)


def _row(layer: Any) -> LayerCount:
    shape = tuple(int(side) for side in layer.output.shape[1:])
    return LayerCount(
        name=layer.name,
        kind=KINDS[type(layer).__name__],
        output_shape=shape,
        kernel=_kernel(layer),
        params=_params(layer),
        macs=_macs(layer, shape),
    )


def _kernel(layer: Any) -> str:
    """ "3x3/2" is a 3x3 window with stride 2, "3x1/1 g2" a 3x1 convolution in two groups; "" has no window."""
    window = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    if window is None:
        return ""
    groups = getattr(layer, "groups", 1)
    return f"{window[0]}x{window[1]}/{layer.strides[0]}" + (f" g{groups}" if groups > 1 else "")


def _params(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights if not weight.name.startswith("moving_"))


def _macs(layer: Any, output_shape: tuple[int, ...]) -> int:
    """Each weight of a kernel is used once per output pixel; the kernel of a grouped convolution is smaller by that."""
    kernel = getattr(layer, "kernel", None)
    return 0 if kernel is None else math.prod(kernel.shape) * math.prod(output_shape[:-1])
