"""A split value: the same function, half the step, and chosen only where it pays."""

from __future__ import annotations

import msgspec
import numpy as np
from float_graphs import RELU, Net, answers, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit.graph import Array, Graph
from edgekit.quantize import activations, quantize, ranges, split
from edgekit.quantize.ranges import Range
from edgekit.recipe import Recipe

MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=8)
PLAIN = Recipe("plain", weights="int8", activations="int8", io="float32", bias_correction=True)


def bottleneck(seed: int = 0) -> bytes:
    """A narrow layer whose values carry everything, two wide ones that read it, and a last one."""
    net = Net(MAP, seed=seed)
    squeeze = net.conv(0, 2, fusedActivationFunction=RELU)
    parts = [net.conv(squeeze, 8, size, fusedActivationFunction=RELU) for size in (1, 3)]
    return net.done(net.conv(net.add("CONCATENATION", parts, (1, 8, 8, 16), axis=3), 5))


def seen(graph: Graph) -> dict[int, Range]:
    return activations.fitted(graph, PLAIN, activations.observe(graph, PLAIN, SAMPLES))


def unit(highest: float) -> Array:
    return np.array([highest / (2 * split.HALF)])


def squeeze_of(graph: Graph) -> int:
    return graph.operators[0].outputs[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_the_function_stays_the_same_up_to_the_highest_value(seed: int, scale: float):
    model = bottleneck(seed)
    graph = graphs.load(model)
    index = squeeze_of(graph)
    for parameter in graph.operators[0].inputs[1:]:
        data = graph.tensors[parameter].data
        assert data is not None
        graph.tensors[parameter].data = data * np.float32(scale)
    model = graphs.dump(graph)
    split.split(graph, index, unit(max(seen(graph)[index][1], 1e-3)))
    for sample in SAMPLES:
        expected = answers(model, sample)[0]
        np.testing.assert_allclose(
            answers(graphs.dump(graph), sample)[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


def test_the_two_halves_give_the_value_back():
    graph = graphs.load(bottleneck())
    index = squeeze_of(graph)
    before = [each[index] for each in ranges.run(graphs.dump(graph), SAMPLES, [index])]
    step = unit(seen(graph)[index][1])
    split.split(graph, index, step)
    for old, each in zip(before, ranges.run(graphs.dump(graph), SAMPLES, [index]), strict=True):
        lower, upper = np.split(each[index], 2, axis=-1)
        np.testing.assert_allclose((lower + upper) * step, old, rtol=1e-4, atol=1e-5)
        assert not upper[lower < 5.999].any()


def error(graph: Graph, limits: dict[int, Range]) -> float:
    """Mean square of what rounding the squeezed value alone does to the output."""
    found = split._Noise(graph, limits, SAMPLES)
    return found.of([squeeze_of(graph)])


def test_a_split_value_has_a_quarter_of_the_noise():
    graph = graphs.load(bottleneck())
    limits = seen(graph)
    before = error(graph, limits)
    split.split(graph, squeeze_of(graph), unit(limits[squeeze_of(graph)][1]))
    limits[squeeze_of(graph)] = (0.0, split.HALF)
    assert error(graph, limits) < 0.4 * before


def outputs(recipe: Recipe, model: bytes) -> Array:
    made = quantize(model, recipe, SAMPLES).model
    return np.stack([answers(made, sample)[0] for sample in SAMPLES])


def crowded(model: bytes) -> bytes:
    """The same network with a squeezed channel so large that the other one gets few steps; nothing needs it."""
    graph = graphs.load(model)
    graph.tensors[graph.operators[0].bias].data = np.array([1.0, 20.0], np.float32)
    for reader in graph.operators[1:3]:
        data = graph.tensors[reader.inputs[1]].data
        assert data is not None
        graph.tensors[reader.inputs[1]].data = np.abs(data) * np.array([1.0, 0.0], np.float32)
    return graphs.dump(graph)


def test_a_recipe_that_splits_is_nearer_to_the_float_model():
    model = crowded(bottleneck())
    expected = np.stack([answers(model, sample)[0] for sample in SAMPLES])
    errors = [
        float(np.mean((outputs(each, model) - expected) ** 2))
        for each in (PLAIN, msgspec.structs.replace(PLAIN, split=1.0))
    ]
    assert errors[1] < 0.6 * errors[0]


def test_only_what_the_products_allow_is_chosen():
    graph = graphs.load(crowded(bottleneck()))
    limits, index = seen(graph), squeeze_of(graph)
    whole = sum(map(graph.macs, graph.operators))
    enough = split.added_macs(graph, index) / whole
    assert split.choose(graph, limits, SAMPLES, enough * 1.01) == [index]
    assert index not in split.choose(graph, limits, SAMPLES, enough * 0.99)


def test_values_that_others_than_convolutions_read_are_left():
    net = Net(MAP)
    shared = net.conv(0, 4, fusedActivationFunction=RELU)
    branch = net.conv(shared, 4, fusedActivationFunction=RELU)
    clipped = net.conv(net.add("ADD", [shared, branch], MAP), 4, fusedActivationFunction=3)
    graph = graphs.load(net.done(net.conv(clipped, 4)))
    assert split.candidates(graph) == []
