"""Our int8 beside TensorFlow's own converter: same network, same samples."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from float_graphs import answers, noise

from edgekit import convert, quantize, recipe
from edgekit import graph as graphs
from edgekit.graph import Array, Graph
from edgekit.runtime import Runner

pytestmark = [pytest.mark.export, pytest.mark.slow]

SHAPE = (1, 40, 40, 3)
CALIBRATION = noise(*SHAPE, count=30, seed=2)
OTHERS = noise(*SHAPE, count=30, seed=3)

PLAIN = recipe.Recipe("plain", weights="int8", activations="int8", io="int8")


@dataclass(frozen=True)
class Forms:
    """One network: float, TensorFlow's int8 and ours."""

    real: bytes
    theirs: bytes
    ours: bytes


@pytest.fixture(scope="module")
def forms() -> Forms:
    model = _network()
    real = convert.to_float_tflite(model)
    return Forms(real, _converted(model), quantize.quantize(real, PLAIN, CALIBRATION).model)


def _network():
    """A fire module, a depthwise block with a shortcut, a grouped convolution and a dense layer, ending in logits."""
    pytest.importorskip("tensorflow")
    convert.import_keras()
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE[1:], name="image")
    stem = layers.ReLU()(layers.Conv2D(16, 3, strides=2)(image))
    pooled = layers.MaxPooling2D(3, 2)(stem)
    squeezed = layers.Conv2D(8, 1, activation="relu")(pooled)
    branches = [layers.Conv2D(16, size, padding="same", activation="relu")(squeezed) for size in (1, 3)]
    joined = layers.Concatenate()(branches)
    deep = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(joined)))
    summed = layers.ReLU()(layers.Add()([layers.Conv2D(32, 1)(deep), joined]))
    grouped = layers.Conv2D(32, 3, groups=2, padding="same", activation="relu")(summed)
    flat = layers.GlobalAveragePooling2D()(grouped)
    return keras.Model(image, layers.Dense(10)(flat))


def _converted(model: object) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample] for sample in CALIBRATION)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    content: bytes = converter.convert()
    return content


def _distance(real: bytes, integer: bytes, samples: list[Array]) -> float:
    """Mean absolute difference of the outputs."""
    return float(np.mean([np.abs(answers(real, x)[0] - answers(integer, x)[0]).mean() for x in samples]))


@pytest.mark.parametrize("samples", [CALIBRATION, OTHERS], ids=["calibration", "others"])
def test_ours_is_as_near_to_float(forms, samples):
    ours, theirs = _distance(forms.real, forms.ours, samples), _distance(forms.real, forms.theirs, samples)
    assert 0 < ours <= 1.1 * theirs


def test_ours_has_no_more_operators_and_no_newer_ones(forms):
    ours, theirs = graphs.load(forms.ours), graphs.load(forms.theirs)
    assert len(ours.operators) <= len(theirs.operators)
    newest = _versions(theirs)
    assert set(_versions(ours)) <= set(newest)
    assert {kind: version for kind, version in _versions(ours).items() if version > newest[kind]} == {}


def _versions(graph: Graph) -> dict[str, int]:
    versions: dict[str, int] = {}
    for operator in graph.operators:
        versions[operator.kind] = max(versions.get(operator.kind, 0), operator.version)
    return versions


def test_ours_is_fully_delegated_and_no_larger(forms):
    assert Runner(forms.ours).delegation().left == ()
    assert len(forms.ours) <= 1.015 * len(forms.theirs)


def test_ours_has_the_same_ends(forms):
    ours, theirs = Runner(forms.ours), Runner(forms.theirs)
    assert (ours.input.dtype, ours.input.shape) == (theirs.input.dtype, theirs.input.shape)
    assert ours.input.scale == pytest.approx(theirs.input.scale, rel=1e-5)
    assert ours.input.zero_point == theirs.input.zero_point
    assert (ours.output.dtype, ours.output.shape) == (theirs.output.dtype, theirs.output.shape)
