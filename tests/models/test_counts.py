"""Counting on layers small enough to count by hand."""

from __future__ import annotations

import pytest

from edgekit import models
from edgekit.spec import LayerCount

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def model():
    import keras

    inputs = keras.Input((9, 9, 4), name="image")
    x = keras.layers.Conv2D(6, (3, 1), strides=2, groups=2, name="grouped")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = keras.layers.Add(name="sum")([x, y])
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="dense")(x))


def test_layer_table(model):
    assert models.layer_table(model) == [
        LayerCount("grouped", "conv", (4, 5, 6), "3x1/2 g2", params=3 * 2 * 6 + 6, macs=3 * 2 * 6 * 20),
        LayerCount("norm", "batch_norm", (4, 5, 6), "", params=12, macs=0),
        LayerCount("depthwise", "depthwise_conv", (4, 5, 6), "3x3/1", params=54, macs=54 * 20),
        LayerCount("sum", "add", (4, 5, 6), "", params=0, macs=0),
        LayerCount("pool", "max_pool", (2, 2, 6), "2x2/2", params=0, macs=0),
        LayerCount("mean", "global_average_pool", (6,), "", params=0, macs=0),
        LayerCount("dense", "dense", (3,), "", params=21, macs=18),
    ]


def test_count_is_the_tables_sum(model):
    assert models.count(model) == (42 + 12 + 54 + 21, 720 + 1080 + 18)


def test_freezing_changes_no_count(model):
    before = models.count(model)
    model.trainable = False
    assert models.count(model) == before
    model.trainable = True


def test_an_outline_counts_like_the_network():
    spec = models.find("squeezenet_v1_1", classes=10, input_size=32)
    assert models.layer_table(models.outline(spec)) == models.layer_table(models.build(spec))
