"""Ranges by method: each does what its name says, and what it gives up is worth it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from float_graphs import RELU, Net, answers, noise
from hypothesis import given
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit.graph import Array
from edgekit.quantize import activations, histograms, normalisation, quantize, ranges
from edgekit.quantize.histograms import BINS, Histogram
from edgekit.quantize.ranges import Range
from edgekit.recipe import RangeMethod, Recipe
from edgekit.spec import InputSpec, square

MAP = (1, 6, 6, 3)
PLAIN = Recipe("plain", weights="int8", activations="int8", io="int8")


def by(method: RangeMethod, **options: float) -> Recipe:
    return msgspec.structs.replace(PLAIN, ranges=method, **options)


def outlier_net() -> tuple[Net, bytes]:
    """A layer that hands its input on, and one that reads it."""
    net = Net(MAP)
    first = net.add("CONV_2D", [0, net.constant(np.eye(3).reshape(3, 1, 1, 3)), net.constant(np.zeros(3))], MAP)
    return net, net.done(net.conv(first, 4))


def samples_with_outlier(height: float = 40.0) -> list[Array]:
    samples = noise(*MAP, count=20)
    samples[0][0, 0, 0, 0] = height
    return samples


def fitted(recipe: Recipe, samples: list[Array]) -> tuple[float, float]:
    net, _model = outlier_net()
    return found(net, recipe, samples)[net.graph.operators[0].outputs[0]]


def found(net: Net, recipe: Recipe, samples: list[Array]) -> dict[int, Range]:
    return activations.fitted(net.graph, recipe, activations.observe(net.graph, recipe, samples))


def test_minmax_keeps_an_outlier_and_the_others_give_it_up():
    samples = samples_with_outlier()
    assert fitted(by("minmax"), samples)[1] == pytest.approx(40)
    assert fitted(by("moving_average"), samples)[1] < 20
    assert fitted(by("percentile", percentile=99.0), samples)[1] < 5


def test_least_error_gives_up_an_outlier_once_enough_values_pay_for_its_steps():
    low, high = np.array([-40.0]), np.array([40.0])
    counts = np.histogram(np.random.default_rng(0).normal(0, 1, 10_000), BINS, (-40, 40))[0][None].astype(float)
    counts[0, -1] = 1
    alone = counts.copy()
    alone[0, :-1] *= 1000
    assert (
        histograms.least_error(Histogram(low, high, alone))[0] < histograms.least_error(Histogram(low, high, counts))[0]
    )


def test_without_outliers_least_error_keeps_nearly_everything():
    random = np.random.default_rng(0)
    samples = list(random.uniform(-1, 1, (20, *MAP)).astype(np.float32))
    low, high = fitted(by("mse"), samples)
    assert low == pytest.approx(-1, abs=0.03)
    assert high == pytest.approx(1, abs=0.03)


def test_percentile_100_is_the_whole_range():
    samples = samples_with_outlier()
    assert fitted(by("percentile", percentile=100.0), samples)[1] == pytest.approx(40, rel=0.01)


def test_tensors_that_share_a_scale_are_fitted_together():
    net = Net(MAP)
    parts = [net.conv(0, 4, size, fusedActivationFunction=RELU) for size in (1, 3)]
    both = net.add("CONCATENATION", parts, (1, 6, 6, 8), axis=3)
    net.done(net.conv(both, 4))
    fitted_to = found(net, by("mse"), noise(*MAP, count=8))
    assert fitted_to[parts[0]] == fitted_to[parts[1]] == fitted_to[both]


@given(st.lists(st.floats(-100, 100), min_size=5, max_size=200))
def test_the_chosen_share_has_the_least_error_of_those_tried(values: list[float]):
    data = np.array(values)
    low, high = np.array([min(data.min(), 0.0)]), np.array([max(data.max(), 0.0) + 1e-3])
    counts = np.histogram(data[data != 0], BINS, (low[0], high[0]))[0][None].astype(float)
    histogram = Histogram(low, high, counts)
    errors = [squared_error(histogram, low[0] * share, high[0] * share) for share in np.linspace(1.0, 0.2, 41)]
    chosen = float(histograms.least_error(histogram)[0])
    assert 0.2 <= chosen <= 1
    assert squared_error(histogram, low[0] * chosen, high[0] * chosen) <= min(errors) * (1 + 1e-6)


def squared_error(histogram: Histogram, low: float, high: float) -> float:
    """Of quantizing to [low, high], bin by bin: rounding inside, distance outside."""
    centres = histogram.centres()[0]
    beyond = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
    return float((histogram.counts[0] * np.where(beyond > 0, beyond**2, ((high - low) / 255) ** 2 / 12)).sum())


def test_histograms_count_every_value_that_is_not_zero():
    _net, model = outlier_net()
    samples = noise(*MAP, count=3)
    index = graphs.load(model).operators[0].outputs[0]
    limits = {index: ranges.observe(graphs.load(model), model, samples).limits(index)}
    counted = histograms.collect(model, samples, limits)[index]
    assert counted.counts.sum(1).tolist() == [3 * 36] * 3
    np.testing.assert_allclose(counted.high, np.max([sample.max((0, 1, 2)) for sample in samples], axis=0), rtol=1e-5)


RGB = square(6, mean=(100.0, 120.0, 90.0), std=(50.0, 60.0, 70.0))
BGR = square(6, channels="BGR", mean=(104.0, 117.0, 123.0))


@pytest.mark.parametrize("spec", [RGB, BGR], ids=["rgb", "bgr"])
def test_a_folded_network_says_of_pixels_what_it_said_of_normalised_ones(spec: InputSpec):
    net = Net(MAP)
    net.add("CONV_2D", [0, net.weights(4, 3, 3, 3), net.weights(4)], (1, 4, 4, 4), padding=1)
    model, graph = net.done(), graphs.load(net.done())
    folded = normalisation.fold(graph, spec)
    assert folded == msgspec.structs.replace(spec, channels="RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, MAP).astype(np.float32)
    ordered = pixels if spec.channels == "RGB" else pixels[..., ::-1]
    normalised = ((ordered - np.array(spec.mean)) / np.array(spec.std)).astype(np.float32)
    np.testing.assert_allclose(
        answers(graphs.dump(graph), pixels)[0], answers(model, normalised)[0], rtol=1e-4, atol=1e-3
    )
    np.testing.assert_array_equal(normalisation.as_pixels([normalised], spec)[0], pixels)


def test_a_padded_first_layer_is_not_folded():
    net = Net(MAP)
    net.conv(0, 4, 3)
    model = net.done()
    graph = graphs.load(model)
    assert normalisation.fold(graph, RGB) is None
    assert graphs.dump(graph) == model


def test_an_int8_input_of_a_folded_network_loses_no_pixel():
    net = Net(MAP)
    net.add("CONV_2D", [0, net.weights(4, 3, 3, 3), net.weights(4)], (1, 4, 4, 4), padding=1)
    samples = [(sample * 3 - 1).astype(np.float32) for sample in noise(*MAP)]
    recipe = msgspec.structs.replace(PLAIN, fold_input=True)
    found = quantize(net.done(), recipe, samples, spec=RGB)
    input_tensor = graphs.load(found.model).tensors[graphs.load(found.model).inputs[0]]
    assert input_tensor.quantization is not None
    assert (input_tensor.quantization.scale[0], input_tensor.quantization.zero_point[0]) == (1.0, -128)
    assert found.input is not None
    assert found.input.std == (1.0, 1.0, 1.0)


def test_moving_average_weighs_the_samples_in_order():
    net, model = outlier_net()
    samples = [np.full(MAP, value, np.float32) for value in (1.0, 3.0)]
    averaged = ranges.observe(net.graph, model, samples).average(net.graph)
    assert averaged[0] == pytest.approx((1.1, 1.1))


def test_int16_leaves_room_for_what_no_sample_reached():
    net = Net(MAP)
    model = net.done(net.conv(net.conv(0, 6, 3, fusedActivationFunction=RELU), 4))
    recipe = Recipe("int16x8", weights="int8", activations="int16", io="int16")
    samples = noise(*MAP, count=6)
    made = quantize(model, recipe, samples).model
    beyond = 3 * samples[0]
    np.testing.assert_allclose(answers(made, beyond)[0], answers(model, beyond)[0], rtol=0.02, atol=0.1)
