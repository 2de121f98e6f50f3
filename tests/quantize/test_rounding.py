"""Rounding that minds the layer's output: better than nearest, still integers, and only where it may."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from float_graphs import NO_TENSOR, RELU, Net, answers, noise, steps_off
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit.graph import Array
from edgekit.quantize import kernels, patches, quantize, rounding
from edgekit.recipe import Recipe

MAP = (1, 9, 9, 4)
NEAREST = Recipe("nearest", weights="int8", activations="int8", io="int8")
CORRECTED = msgspec.structs.replace(NEAREST, bias_correction=True)
GPTQ = msgspec.structs.replace(CORRECTED, rounding="gptq")
INT16 = msgspec.structs.replace(GPTQ, activations="int16", io="int16")
WEIGHTS = Recipe("weights", weights="int8", activations="float32", io="float32", rounding="gptq", bias_correction=True)


def smooth(count: int, seed: int = 1) -> list[Array]:
    """Samples whose neighbours and channels are alike, as in pictures: what there is to gain from."""
    base = noise(1, 3, 3, 1, count=count, seed=seed)
    grain = noise(*MAP, count=count, seed=seed + 100)
    block = np.ones((1, 3, 3, 4), np.float32)
    return [np.kron(rough, block) + 0.2 * fine for rough, fine in zip(base, grain, strict=True)]


def network() -> bytes:
    net = Net(MAP)
    first = net.conv(0, 16, 3, fusedActivationFunction=RELU)
    deep = net.add(
        "DEPTHWISE_CONV_2D", [first, net.weights(1, 3, 3, 16), net.weights(16)], (1, 9, 9, 16),
        fusedActivationFunction=RELU,
    )  # fmt: skip
    grouped = net.conv(deep, 16, 3, groups=2, fusedActivationFunction=RELU)
    mean = net.add("MEAN", [net.conv(grouped, 12, 3), net.constant([1, 2], "int32")], (1, 12))
    return net.done(net.add("FULLY_CONNECTED", [mean, net.weights(6, 12), net.weights(6)], (1, 6)))


def error(model: bytes, found: bytes) -> float:
    pairs = [(answers(model, sample)[0], answers(found, sample)[0]) for sample in smooth(20, seed=50)]
    return float(np.mean([((a - b) ** 2).mean() for a, b in pairs]))


def test_minding_the_output_beats_rounding_to_the_nearest():
    net = Net(MAP)
    net.conv(0, 16, 3)
    model, samples = net.done(), smooth(40)
    sixteen = msgspec.structs.replace(NEAREST, activations="int16", io="int16")
    nearest, careful = (error(model, quantize(model, by, samples).model) for by in (sixteen, INT16))
    assert careful < nearest / 2


def test_int8_weights_alone_gain_too():
    model, samples = network(), smooth(40)
    plain = msgspec.structs.replace(WEIGHTS, rounding="nearest", bias_correction=False)
    assert error(model, quantize(model, WEIGHTS, samples).model) < error(model, quantize(model, plain).model)


def test_biases_take_up_the_mean_error():
    """Inputs far from zero: what a kernel's rounding adds up to is a shift, and the bias can undo a shift."""
    net = Net(MAP)
    net.conv(0, 8, 3)
    model = net.done()
    samples = [sample + 5 for sample in noise(*MAP, count=8)]

    def shift(recipe: Recipe) -> float:
        found = quantize(model, recipe, samples).model
        differences = [answers(found, sample)[0] - answers(model, sample)[0] for sample in samples]
        return float(np.abs(np.mean(differences, axis=(0, 1, 2, 3))).max())

    assert shift(CORRECTED) < shift(NEAREST) / 3


def test_a_layer_without_a_bias_gets_one_only_if_it_needs_one():
    net = Net((1, 30))
    kernel = net.weights(5, 30)
    model = net.done(net.add("FULLY_CONNECTED", [0, kernel, NO_TENSOR], (1, 5)))
    samples = [sample + 3 for sample in noise(1, 30)]
    plain, corrected = (graphs.load(quantize(model, by, samples).model) for by in (NEAREST, CORRECTED))
    assert plain.operators[0].bias == NO_TENSOR
    assert corrected.tensors[corrected.operators[0].bias].dtype == "int32"


def test_every_operator_of_the_result_computes_what_its_integers_say():
    found = quantize(network(), GPTQ, smooth(20)).model
    for kind, off in steps_off(found, smooth(1, seed=7)[0]):
        assert off <= 1.01, kind


def test_the_result_repeats():
    model, samples = network(), smooth(10)
    assert quantize(model, GPTQ, samples).model == quantize(model, GPTQ, samples).model


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 24), st.integers(1, 6))
def test_codes_are_integers_in_range_and_no_worse_than_the_nearest(seed: int, width: int, outputs: int):
    random = np.random.default_rng(seed)
    rows = random.normal(0, 1, (200, width)) @ random.normal(0, 1, (width, width))
    curvature = (rows.T @ rows / len(rows))[None]
    weights = random.normal(0, 1, (1, outputs, width))
    steps = np.abs(weights).max(2) / random.integers(3, 127)
    codes = rounding._compensated(weights, steps, curvature)
    assert (codes == np.rint(codes)).all()
    assert np.abs(codes).max() <= 127

    def cost(found: Array) -> Array:
        missed = found * steps[:, :, None] - weights
        damped = curvature + 0.01 * np.trace(curvature[0]) / width * np.eye(width)
        return np.einsum("gon,gnm,gom->go", missed, damped, missed)

    assert cost(codes).sum() <= cost(np.rint(weights / steps[:, :, None])).sum() * (1 + 1e-9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("kind", "groups"), [("CONV_2D", 1), ("CONV_2D", 2), ("DEPTHWISE_CONV_2D", 1)])
def test_rows_times_matrix_is_the_layer(kind: str, groups: int, padding: int, stride: int):
    net = Net(MAP)
    size = -(-9 // stride) if padding == 0 else -(-(9 - 2) // stride)
    filters = 8
    kernel = net.weights(8, 3, 3, 4 // groups) if kind == "CONV_2D" else net.weights(1, 3, 3, 8)
    options = {"strideH": stride, "strideW": stride, "padding": padding}
    if kind == "DEPTHWISE_CONV_2D":
        options["depthMultiplier"] = 2
    net.add(kind, [0, kernel, net.constant(np.zeros(filters))], (1, size, size, filters), **options)
    model, layer, sample = net.done(), net.graph.operators[0], noise(*MAP, count=1)[0]
    data = net.graph.tensors[kernel].data
    assert data is not None
    rows = patches.rows(net.graph, layer, sample, 10**6, seed=0)
    matrix = patches.as_matrix(net.graph, layer, data)
    made = np.einsum("grn,gon->rgo", rows, matrix).reshape(1, size, size, filters)
    np.testing.assert_allclose(made, answers(model, sample)[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(patches.from_matrix(net.graph, layer, matrix), data)


def test_kernels_that_are_shared_or_computed_are_left_to_nearest_rounding():
    net = Net((1, 4, 4, 4))
    first = net.conv(0, 4, 3)
    kernel, bias = net.graph.operators[0].inputs[1:]
    second = net.add("CONV_2D", [first, kernel, bias], (1, 4, 4, 4))
    model = net.done(second)
    assert not kernels.can_round(net.graph, net.graph.operators[0])
    samples = noise(1, 4, 4, 4)
    found = quantize(model, GPTQ, samples).model
    assert found == quantize(model, NEAREST, samples).model


def test_inputs_that_hardly_vary_about_a_large_mean_can_be_rounded():
    net = Net(MAP)
    net.conv(0, 8, 3)
    model = net.done()
    samples = [(1e4 + 1e-3 * sample).astype(np.float32) for sample in noise(*MAP, count=6)]
    found = quantize(model, GPTQ, samples).model
    for sample in samples:
        expected = answers(model, sample)[0]
        assert np.abs(answers(found, sample)[0] - expected).max() <= 0.02 * np.abs(expected).max()
