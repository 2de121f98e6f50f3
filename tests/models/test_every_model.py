"""What holds for every network of the folder."""

from __future__ import annotations

import pytest

from edgekit import models

pytestmark = pytest.mark.export

FAMILIES = {spec.family: spec.name for spec in reversed(models.specs())}
# One of each structure; the others differ from these in widths and numbers of blocks alone.
STRUCTURES = [
    "squeezenet_v1_0",
    "squeezenet_v1_1",
    "squeezenet_v1_0_simple_bypass",
    "squeezenet_v1_0_complex_bypass",
    "squeezenext_23_v5",
    "squeezenext_23_g",
    "squeezenet_v1_0_torch",
    "squeezenet_bn",
    "squeezenext_23_torch",
    "mobilenet_v2_torch",
    "mobilenet_v3_small_torch",
    "mobilenet_v1_025",
    "mobilenet_v2_035",
    "mobilenet_v3_small",
    "mobilenet_v3_small_minimalistic",
    "alexnet",
    "googlenet",
    "vgg16",
]


def answer(name, size):
    """(model, its probabilities for two images)."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = models.build(models.find(name, classes=10, input_size=size))
    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    return model, np.asarray(model(images))


def assert_probabilities(probabilities):
    """For two images: they sum to 1, no class has it all, and the images do not get the same answer."""
    assert probabilities.shape == (2, 10)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert probabilities.max() < 0.9999
    assert abs(probabilities[0] - probabilities[1]).max() > 1e-5


@pytest.mark.parametrize("name", [spec.name for spec in models.specs()])
def test_counts_at_the_default_size(name, outlined):
    spec = models.find(name)
    model = outlined(name)
    assert models.count(model) == (spec.params, spec.macs)
    assert (model.name, model.inputs[0].name, model.inputs[0].dtype) == (name, "image", "float32")
    assert model.inputs[0].shape[1:] == (spec.input_size, spec.input_size, 3)
    assert model.outputs[0].shape[1:] == (1000,)


@pytest.mark.parametrize("name", STRUCTURES)
def test_it_runs_at_32_pixels(name):
    model, probabilities = answer(name, 32)
    assert_probabilities(probabilities)
    assert all(weight.dtype == "float32" for weight in model.weights)


@pytest.mark.parametrize("name", FAMILIES.values())
def test_it_runs_at_64_pixels(name):
    _, probabilities = answer(name, 64)
    assert_probabilities(probabilities)


def test_the_start_is_seeded():
    first, second = (answer("mobilenet_v1_025", 32)[0].get_weights() for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
