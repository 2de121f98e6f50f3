"""GoogLeNet without its auxiliary heads, as Caffe has it (bvlc_googlenet); arXiv:1409.4842.

7.00 M parameters and 1.58 G MACs by count. The MobileNet paper's 6.8 M and 1550 M for GoogLeNet are 3 and 2 % lower;
they do not come out of this structure, with or without biases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor
    from keras import Model


class Inception(NamedTuple):
    """Output channels of the six convolutions of an inception module."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool_proj: int


MODULES = {
    "3a": Inception(64, 96, 128, 16, 32, 32),
    "3b": Inception(128, 128, 192, 32, 96, 64),
    "4a": Inception(192, 96, 208, 16, 48, 64),
    "4b": Inception(160, 112, 224, 24, 64, 64),
    "4c": Inception(128, 128, 256, 24, 64, 64),
    "4d": Inception(112, 144, 288, 32, 64, 64),
    "4e": Inception(256, 160, 320, 32, 128, 128),
    "5a": Inception(256, 160, 320, 32, 128, 128),
    "5b": Inception(384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {"4a": "pool3_3x3_s2", "5a": "pool4_3x3_s2"}

VARIANTS = (
    ModelSpec(
        name="googlenet",
        family="googlenet",
        input_size=224,
        published=Published("MobileNet paper, Table 8 (arXiv:1704.04861)", 69.8),
        params=6_998_552,
        macs=1_582_671_872,
    ),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes). pool5 averages the whole map, 7x7 at 224 pixels."""
    image = layers.image(spec.input_size)
    x = layers.conv(image, 64, 7, strides=2, pad=3, name="conv1_7x7_s2")
    x = layers.local_response_norm(layers.max_pool(x, name="pool1_3x3_s2"))
    x = layers.conv(x, 64, 1, name="conv2_3x3_reduce")
    x = layers.conv(x, 192, 3, pad=1, name="conv2_3x3")
    x = layers.max_pool(layers.local_response_norm(x), name="pool2_3x3_s2")
    for name, module in MODULES.items():
        if name in POOL_BEFORE:
            x = layers.max_pool(x, name=POOL_BEFORE[name])
        x = _inception(x, module, f"inception_{name}")
    x = layers.global_average(x, name="pool5_7x7_s1")
    x = layers.dropout(x, 0.4, name="pool5_drop_7x7_s1")
    x = layers.dense(x, spec.classes, name="loss3_classifier")
    return layers.network(spec, image, layers.softmax(x))


def _inception(x: Tensor, module: Inception, name: str) -> Tensor:
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1."""
    first = layers.conv(x, module.conv1x1, 1, name=f"{name}_1x1")
    second = layers.conv(x, module.reduce3x3, 1, name=f"{name}_3x3_reduce")
    second = layers.conv(second, module.conv3x3, 3, pad=1, name=f"{name}_3x3")
    third = layers.conv(x, module.reduce5x5, 1, name=f"{name}_5x5_reduce")
    third = layers.conv(third, module.conv5x5, 5, pad=2, name=f"{name}_5x5")
    fourth = layers.max_pool_same(x, name=f"{name}_pool")
    fourth = layers.conv(fourth, module.pool_proj, 1, name=f"{name}_pool_proj")
    return layers.concat([first, second, third, fourth], name=f"{name}_output")
