"""Equalization: not a different function, and the same quantized network however its channels were scaled."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, Net, answers, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit.graph import Array, Graph
from edgekit.quantize import activations, equalize, quantize
from edgekit.recipe import Recipe

MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=8)
PLAIN = Recipe("plain", weights="int8", activations="int8", io="int8")
EQUALIZED = Recipe("equalized", weights="int8", activations="int8", io="int8", equalization=0.75, ranges="mse")


def fire(seed: int = 0) -> tuple[Net, bytes]:
    """Squeeze, two expands, their concatenation, pooling, a sum with a shortcut, a depthwise layer and a head."""
    net = Net(MAP, seed=seed)
    squeeze = net.conv(0, 6, fusedActivationFunction=RELU)
    parts = [net.conv(squeeze, 8, size, fusedActivationFunction=RELU) for size in (1, 3)]
    both = net.add("CONCATENATION", parts, (1, 8, 8, 16), axis=3)
    pooled = net.add(
        "MAX_POOL_2D", [both], (1, 4, 4, 16), filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=1
    )
    summed = net.add("ADD", [net.conv(pooled, 16), net.conv(pooled, 16)], (1, 4, 4, 16), fusedActivationFunction=RELU)
    deep = net.add(
        "DEPTHWISE_CONV_2D", [summed, net.weights(1, 3, 3, 16), net.weights(16)], (1, 4, 4, 16),
        fusedActivationFunction=RELU,
    )  # fmt: skip
    mean = net.add("MEAN", [deep, net.constant([1, 2], "int32")], (1, 16))
    return net, net.done(net.add("FULLY_CONNECTED", [mean, net.weights(5, 16), net.weights(5)], (1, 5)))


def equalized(model: bytes, strength: float = 0.75) -> tuple[Graph, dict[str, Array]]:
    graph = graphs.load(model)
    return graph, equalize.by_name(graph, equalize.equalize(graph, reach_of(graph), strength))


def reach_of(graph: Graph) -> dict[int, Array]:
    return activations.reach(graph, activations.observe(graph, EQUALIZED, SAMPLES))


@settings(max_examples=15)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_function_stays_the_same(seed: int, strength: float):
    model = fire(seed)[1]
    graph, gains = equalized(model, strength)
    assert gains
    for sample in SAMPLES[:3]:
        expected = answers(model, sample)[0]
        np.testing.assert_allclose(answers(graphs.dump(graph), sample)[0], expected, rtol=1e-4, atol=1e-4)


def test_every_gain_is_what_the_channel_was_divided_by():
    model = fire()[1]
    graph, gains = equalized(model)
    before, after = graphs.load(model), graph
    from edgekit.quantize import ranges

    indices = ranges.activations(before)
    for old, new in zip(
        ranges.run(model, SAMPLES[:2], indices), ranges.run(graphs.dump(after), SAMPLES[:2], indices), strict=True
    ):
        for index in indices:
            gain = gains.get(before.tensors[index].name, np.ones(1))
            np.testing.assert_allclose(new[index] * gain, old[index], rtol=1e-3, atol=1e-3)


def test_what_was_seen_is_known_of_the_equalized_graph_too():
    graph = graphs.load(fire()[1])
    seen = activations.observe(graph, EQUALIZED, SAMPLES)
    known = seen.divided(equalize.equalize(graph, activations.reach(graph, seen), 0.75))
    again = activations.observe(graph, EQUALIZED, SAMPLES)
    for index in again.extremes.low:
        for one, other in zip(known.extremes.limits(index), again.extremes.limits(index), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    for index, histogram in again.histograms.items():
        np.testing.assert_allclose(known.histograms[index].high, histogram.high, rtol=1e-4, atol=1e-4)
        moved = np.abs(known.histograms[index].counts - histogram.counts).sum()  # rounding at the edges of bins
        assert moved <= 0.02 * histogram.counts.sum()


def test_full_strength_brings_all_channels_of_a_scale_to_one_range():
    graph, _gains = equalized(fire()[1], strength=1.0)
    reach = reach_of(graph)
    for values in reach.values():
        assert values.max() <= 1.01
    squeeze = reach[graph.operators[0].outputs[0]]
    assert squeeze[squeeze > 0].min() > 0.98


def test_inputs_outputs_and_clipped_channels_keep_their_scale():
    net = Net(MAP)
    relu6 = net.conv(0, 4, fusedActivationFunction=3)
    graph = graphs.load(net.done(net.conv(relu6, 4)))
    assert equalize.carried(graph) == []
    assert equalized(graphs.dump(graph))[1] == {}


def test_a_channel_that_something_else_reads_keeps_its_scale():
    net = Net(MAP)
    shared = net.conv(0, 4, fusedActivationFunction=RELU)
    squashed = net.add("LOGISTIC", [shared], MAP)
    model = net.done(net.conv(shared, 4), squashed)
    assert equalized(model)[1] == {}


def test_a_kernel_that_two_layers_share_is_left_alone():
    net = Net(MAP)
    first = net.conv(0, 4, fusedActivationFunction=RELU)
    kernel, bias = net.graph.operators[0].inputs[1:]
    second = net.add("CONV_2D", [first, kernel, bias], MAP)
    assert equalized(net.done(second))[1] == {}


def test_grouped_convolutions_take_the_gains_of_their_own_channels():
    net = Net(MAP)
    first = net.conv(0, 8, fusedActivationFunction=RELU)
    model = net.done(net.conv(net.conv(first, 8, 3, groups=2, fusedActivationFunction=RELU), 4))
    graph, gains = equalized(model)
    assert gains
    for sample in SAMPLES[:3]:
        np.testing.assert_allclose(
            answers(graphs.dump(graph), sample)[0], answers(model, sample)[0], rtol=1e-4, atol=1e-4
        )


def scaled(model: bytes, spread: float) -> bytes:
    """The same function with the squeeze layer's and the sums' channels scaled over 1 : spread."""
    graph = graphs.load(model)
    random = np.random.default_rng(3)
    squeeze, *readers = graph.operators[:3]
    factors = np.exp(random.uniform(0, np.log(spread), 6)).astype(np.float32)
    kernel, bias = (graph.tensors[index] for index in squeeze.inputs[1:])
    kernel.data = kernel.data * factors[:, None, None, None]  # type: ignore[operator]
    bias.data = bias.data * factors  # type: ignore[operator]
    for reader in readers:
        tensor = graph.tensors[reader.inputs[1]]
        tensor.data = tensor.data / factors  # type: ignore[operator]
    return graphs.dump(graph)


def error(model: bytes, recipe: Recipe) -> float:
    """Root mean square error of the quantized model relative to the float model's answers."""
    found = quantize(model, recipe, SAMPLES).model
    pairs = [(answers(model, sample)[0], answers(found, sample)[0]) for sample in noise(*MAP, count=12, seed=9)]
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs) / sum((a**2).sum() for a, _ in pairs)))


def test_channels_spread_over_one_to_a_thousand_cost_nothing():
    model = fire()[1]
    wide = scaled(model, 1000.0)
    for sample in SAMPLES[:3]:
        np.testing.assert_allclose(answers(wide, sample)[0], answers(model, sample)[0], rtol=1e-3, atol=1e-4)
    assert error(wide, PLAIN) > 5 * error(model, PLAIN)  # without the technique they do
    assert error(wide, EQUALIZED) == pytest.approx(error(model, EQUALIZED), rel=0.1)
    assert error(wide, EQUALIZED) < error(wide, PLAIN) / 5


def test_dead_channels_stay_dead_and_harm_nothing():
    net, _model = fire()
    kernel, bias = (net.graph.tensors[index] for index in net.graph.operators[0].inputs[1:])
    assert kernel.data is not None
    assert bias.data is not None
    kernel.data[2], bias.data[2] = 0, 0
    graph, gains = equalized(graphs.dump(net.graph))
    assert all(np.isfinite(gain).all() and (gain > 0).all() for gain in gains.values())
    assert gains[graph.tensors[graph.operators[0].outputs[0]].name][2] == 1
