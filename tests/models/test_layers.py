"""The layers against Caffe's arithmetic, written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.models import layers

pytestmark = pytest.mark.export


def caffe_max_pool(image, window, strides):
    """(h, w, c) pooled as Caffe does: as many windows as start inside and are needed to cover the map."""
    size = image.shape[0]
    out = max(math.ceil((size - window) / strides) + 1, 1)
    starts = range(0, out * strides, strides)
    return np.array([[image[y : y + window, x : x + window].max(axis=(0, 1)) for x in starts] for y in starts])


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 12, 13])
def test_max_pool_is_caffes(size, window):
    import keras

    image = np.random.default_rng(size).normal(size=(size, size, 2)).astype("float32")
    inputs = layers.image(size)
    model = keras.Model(inputs, layers.max_pool(inputs, window=window, name="pool"))
    pooled = np.asarray(model(np.concatenate([image, image[..., :1]], axis=-1)[None]))[0]
    assert pooled[..., :2] == pytest.approx(caffe_max_pool(image, window, 2))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "MaxPooling2D"]


def test_pooling_that_cannot_be_one_operator_is_refused():
    with pytest.raises(AssertionError):
        layers.pool_padding(10, 4, 4)
    with pytest.raises(AssertionError):
        layers.pool_padding(7, 4, 2)


@pytest.mark.parametrize(
    ("kernel", "strides", "pad", "padding_layer"),
    [(7, 2, 3, True), (7, 2, 0, False), (3, 1, 1, False), ((3, 1), 1, (1, 0), False), (1, 1, 1, True)],
)
def test_conv_pads_like_caffe(kernel, strides, pad, padding_layer):
    import keras

    inputs = layers.image(9)
    outputs = layers.conv(inputs, 1, kernel, strides=strides, pad=pad, relu=False, name="conv")
    model = keras.Model(inputs, outputs)
    model.get_layer("conv").kernel.assign(np.ones(model.get_layer("conv").kernel.shape, "float32"))
    image = np.random.default_rng(0).normal(size=(9, 9, 3)).astype("float32")

    (height, width), (top, left) = np.broadcast_to(kernel, 2), np.broadcast_to(pad, 2)
    padded = np.pad(image, ((top, top), (left, left), (0, 0)))
    expected = [
        [padded[y : y + height, x : x + width].sum() for x in range(0, padded.shape[1] - width + 1, strides)]
        for y in range(0, padded.shape[0] - height + 1, strides)
    ]
    assert np.asarray(model(image[None]))[0, :, :, 0] == pytest.approx(np.array(expected), abs=1e-4)
    assert ("conv_pad" in [layer.name for layer in model.layers]) == padding_layer


def test_local_response_norm_is_caffes():
    import keras

    inputs = keras.Input((2, 3, 8))
    image = np.random.default_rng(0).normal(scale=200, size=(2, 3, 8)).astype("float32")
    result = np.asarray(keras.Model(inputs, layers.local_response_norm(inputs))(image[None]))[0]
    squares = np.pad(image.astype("float64") ** 2, ((0, 0), (0, 0), (2, 2)))
    sums = sum(squares[..., i : i + 8] for i in range(5))
    assert result == pytest.approx(image / (1 + 1e-4 / 5 * sums) ** 0.75, rel=1e-4)
    assert np.abs(result / image).min() < 0.8  # the norm had something to do


def test_local_response_norm_can_be_saved(tmp_path):
    import keras

    inputs = keras.Input((2, 3, 8))
    model = keras.Model(inputs, layers.local_response_norm(inputs))
    model.save(tmp_path / "norm.keras")
    image = np.random.default_rng(0).normal(scale=200, size=(1, 2, 3, 8)).astype("float32")
    loaded = keras.models.load_model(tmp_path / "norm.keras")
    assert np.asarray(loaded(image)) == pytest.approx(np.asarray(model(image)))


def test_batch_norm_has_caffes_epsilon():
    import keras

    inputs = layers.image(4)
    model = keras.Model(inputs, layers.batch_norm(inputs, name="norm"))
    assert model.get_layer("norm").epsilon == 1e-5
