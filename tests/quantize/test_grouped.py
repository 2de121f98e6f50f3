"""Grouped convolutions in int8: right, wholly delegated, and with groups merged where a tile would be half empty."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, Net, noise, steps_off
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_graphs import assert_same_bits, finished, kinds, stored

from edgekit import graph as graphs
from edgekit import quantize
from edgekit.quantize import grouped
from edgekit.recipe import Recipe
from edgekit.runtime import Runner

PLAIN = Recipe("plain", weights="int8", activations="int8", io="int8")


def groups_of(model: bytes) -> list[int]:
    graph = graphs.load(model)
    return [grouped.groups(graph, operator) for operator in graph.operators if operator.kind == "CONV_2D"]


@settings(max_examples=100)
@given(
    count=st.sampled_from([1, 2, 3, 4, 6, 8]),
    filters=st.integers(1, 9),
    channels=st.integers(1, 9),
    size=st.integers(1, 3),
    stride=st.integers(1, 2),
    data=st.data(),
    delegate=st.booleans(),
)
def test_merged_groups_give_the_same_bits(count, filters, channels, size, stride, data, delegate):
    together = data.draw(st.sampled_from([number for number in range(1, count + 1) if count % number == 0]))
    net = Net((1, 7, 6, count * channels))
    options = {"strideH": stride, "strideW": stride, "fusedActivationFunction": RELU}
    net.conv(0, count * filters, size, groups=count, **options)
    graph = stored(net)
    before = finished(graph)
    kernel = graph.tensors[graph.operators[0].inputs[1]]
    assert kernel.data is not None
    kernel.data = grouped.merged(kernel.data, count, together)
    kernel.shape = kernel.data.shape
    after = finished(graph)
    assert groups_of(after) == [count // together]
    assert_same_bits(before, after, delegate=delegate)


# SqueezeNext's grouped layers, and those of networks with many small groups.
@pytest.mark.parametrize(
    ("count", "kernel", "together"),
    [
        (2, (16, 3, 1, 4), 2),
        (2, (16, 1, 3, 8), 2),
        (2, (16, 1, 1, 16), 2),
        (2, (32, 1, 1, 32), 1),
        (2, (32, 3, 1, 8), 1),
        (2, (128, 1, 3, 64), 1),
        (32, (128, 3, 3, 4), 4),
        (32, (512, 3, 3, 16), 1),
        (3, (24, 3, 3, 8), 1),
        (1, (64, 3, 3, 64), 1),
    ],
)
def test_groups_are_merged_until_they_fill_a_tile(count, kernel, together):
    assert grouped.cheapest(count, kernel) == together


def test_only_narrow_groups_of_a_network_are_merged():
    net = Net((1, 8, 8, 16))
    narrow = net.conv(0, 16, 3, groups=2)
    wide = net.conv(narrow, 64, 3, groups=2)
    net.conv(wide, 16, 1)
    graph = stored(net)
    before = finished(graph)
    grouped.merge_groups(graph)
    after = finished(graph)
    assert groups_of(before) == [2, 2, 1]
    assert groups_of(after) == [1, 2, 1]
    assert_same_bits(before, after, delegate=True)


def test_groups_in_float_stay():
    net = Net((1, 8, 8, 16))
    net.conv(0, 16, 3, groups=2)
    graph = graphs.load(net.done())
    grouped.merge_groups(graph)
    assert groups_of(finished(graph)) == [2]


def grouped_chain(net: Net) -> int:
    """The grouped part of a SqueezeNext block."""
    narrow = net.conv(net.conv(0, 32, 1, groups=2, fusedActivationFunction=RELU), 16, 1)
    return net.conv(net.conv(narrow, 32, 3, groups=2, fusedActivationFunction=RELU), 32, 3, groups=2)


def depthwise(net: Net, multiplier: int, dilation: int) -> int:
    kernel, bias = net.weights(1, 3, 3, 32 * multiplier), net.weights(32 * multiplier)
    shape = (1, 12, 12, 32 * multiplier)
    options = {"depthMultiplier": multiplier, "dilationHFactor": dilation, "dilationWFactor": dilation}
    return net.add("DEPTHWISE_CONV_2D", [0, kernel, bias], shape, **options)


UNUSUAL = {
    "in groups": grouped_chain,
    "of 2 outputs per channel": lambda net: depthwise(net, 2, 1),
    "depthwise, dilated": lambda net: depthwise(net, 1, 2),
    "dilated": lambda net: net.conv(0, 16, 3, dilationHFactor=2, dilationWFactor=2),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_convolutions_quantize_wholly_and_within_a_step(name):
    net = Net((1, 12, 12, 32))
    UNUSUAL[name](net)
    samples = noise(1, 12, 12, 32)
    model = quantize.quantize(net.done(), PLAIN, samples).model
    assert set(kinds(graphs.load(model))) <= {"CONV_2D", "DEPTHWISE_CONV_2D"}
    assert not Runner(model).delegation().left
    for sample in samples:
        for _kind, steps in steps_off(model, sample):
            assert steps <= 1.01
        whole = [Runner(model, delegate=delegate).run(_stored(model, sample)) for delegate in (True, False)]
        assert abs(whole[0].astype(int) - whole[1]).max() <= 2


def _stored(model: bytes, sample: np.ndarray) -> np.ndarray:
    return Runner(model).input.quantize(sample)
