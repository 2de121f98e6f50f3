"""AlexNet as Caffe has it (bvlc_alexnet), the row that SqueezeNet and SqueezeNext compare themselves with.

conv2, conv4 and conv5 are in two groups, one per graphics card of the original; local response normalization comes
before the pool, with Caffe's constants. 60.97 M parameters and 724 M MACs, published as 60 M and 720 M. Re-
implementations without the groups have 62.4 M and 1.14 G; those with one column of 64 filters in conv1 are yet others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

VARIANTS = (
    ModelSpec(
        name="alexnet",
        family="alexnet",
        input_size=227,
        published=Published("SqueezeNet paper, Table 2 (arXiv:1602.07360)", 57.2, 80.3),
        params=60_965_224,
        macs=724_406_816,
        note="two groups in conv2, conv4 and conv5, as in Caffe",
    ),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes). At 32 pixels pool5 finds a single pixel and passes it on."""
    image = layers.image(spec.input_size)
    x = layers.conv(image, 96, 11, strides=4, name="conv1")
    x = layers.max_pool(layers.local_response_norm(x), name="pool1")
    x = layers.conv(x, 256, 5, pad=2, groups=2, name="conv2")
    x = layers.max_pool(layers.local_response_norm(x), name="pool2")
    x = layers.conv(x, 384, 3, pad=1, name="conv3")
    x = layers.conv(x, 384, 3, pad=1, groups=2, name="conv4")
    x = layers.conv(x, 256, 3, pad=1, groups=2, name="conv5")
    x = layers.flatten(layers.max_pool(x, name="pool5"), name="flatten")
    x = layers.dropout(layers.dense(x, 4096, relu=True, name="fc6"), 0.5, name="drop6")
    x = layers.dropout(layers.dense(x, 4096, relu=True, name="fc7"), 0.5, name="drop7")
    x = layers.dense(x, spec.classes, name="fc8")
    return layers.network(spec, image, layers.softmax(x))
