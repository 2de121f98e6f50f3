"""VGG-16 (configuration D), the large row of the papers' comparisons; arXiv:1409.1556.

138.4 M parameters. The MobileNet paper's 15300 M MACs are those of the convolutions; the dense layers add 124 M.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

VARIANTS = (
    ModelSpec(
        name="vgg16",
        family="vgg",
        input_size=224,
        published=Published("MobileNet paper, Table 8 (arXiv:1704.04861)", 71.5),
        params=138_357_544,
        macs=15_470_264_320,
    ),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers conv1_1 ... conv5_3, fc6, fc7, fc8."""
    x = image = layers.image(spec.input_size)
    for block, (channels, convolutions) in enumerate(BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            x = layers.conv(x, channels, 3, pad=1, name=f"conv{block}_{index}")
        x = layers.max_pool(x, window=2, name=f"pool{block}")
    x = layers.flatten(x, name="flatten")
    x = layers.dropout(layers.dense(x, 4096, relu=True, name="fc6"), 0.5, name="drop6")
    x = layers.dropout(layers.dense(x, 4096, relu=True, name="fc7"), 0.5, name="drop7")
    x = layers.dense(x, spec.classes, name="fc8")
    return layers.network(spec, image, layers.softmax(x))
