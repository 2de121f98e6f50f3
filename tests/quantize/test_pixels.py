"""Pixels folded into channels: the same bits whatever the geometry, and only where it pays."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, VALID, Net, answers, noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from int8_graphs import assert_same_bits, finished, kinds, outputs, stored

from edgekit import graph as graphs
from edgekit.graph import Graph, constant
from edgekit.quantize import pixels
from edgekit.quantize.pixels import Plan

SAME = constant("Padding", "SAME")


def convolution(
    net: Net,
    filters: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: int = VALID,
    *,
    data: int = 0,
    **options: object,
) -> int:
    """A convolution of a tensor (the input) with everything as told; `fits` says whether it has an output."""
    batch, *size, channels = net.graph.tensors[data].shape
    if padding == VALID:
        out = [(number - reach) // stride + 1 for number, reach, stride in zip(size, kernel, strides, strict=True)]
    else:
        out = [-(-number // stride) for number, stride in zip(size, strides, strict=True)]
    inputs = [data, net.weights(filters, *kernel, channels), net.weights(filters)]
    return net.add(
        "CONV_2D", inputs, (batch, *out, filters), padding=padding, strideH=strides[0], strideW=strides[1], **options
    )


def fits(size: tuple[int, ...], kernel: tuple[int, int], padding: int = VALID) -> bool:
    return padding == SAME or all(number >= reach for number, reach in zip(size, kernel, strict=True))


def pool(net: Net, data: int, window: int, stride: int, padding: int = VALID) -> int:
    batch, *size, channels = net.graph.tensors[data].shape
    reach = 1 if padding == SAME else window
    out = [(number - reach) // stride + 1 for number in size]
    options = {"filterHeight": window, "filterWidth": window, "strideH": stride, "strideW": stride, "padding": padding}
    return net.add("MAX_POOL_2D", [data], (batch, *out, channels), **options)


def folded(graph: Graph, plan: Plan) -> bool:
    """Folds the first convolution by a plan, and whether that is one for it."""
    found = next(made for operator in graph.operators if (made := pixels.understood(graph, operator)))
    if plan in pixels.plans(found):
        pixels.fold(graph, found, plan)
        return True
    return False


geometry = {
    "size": st.tuples(st.integers(1, 11), st.integers(1, 19)),
    "channels": st.sampled_from([1, 2, 3, 3, 3, 4, 5, 16]),
    "filters": st.sampled_from([1, 4, 8, 17]),
    "kernel": st.tuples(st.integers(1, 4), st.integers(1, 7)),
    "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "padding": st.sampled_from([VALID, SAME]),
    "plan": st.builds(Plan, st.integers(1, 6), st.booleans()),
}
common = {"batch": st.sampled_from([1, 1, 2]), "zero_point": st.sampled_from([-128, 0, 9])}


@settings(max_examples=250)
@given(**geometry, **common, activation=st.sampled_from([0, RELU]), delegate=st.booleans())
def test_every_plan_gives_the_same_bits(
    size, channels, filters, kernel, strides, padding, plan, batch, zero_point, activation, delegate
):
    assume(fits(size, kernel, padding))
    net = Net((batch, *size, channels))
    convolution(net, filters, kernel, strides, padding, fusedActivationFunction=activation)
    graph = stored(net, zero_point)
    before = finished(graph)
    assume(folded(graph, plan))
    after = finished(graph)
    assert_same_bits(before, after, delegate=delegate)
    assert graphs.load(after).tensors[0].shape == (batch, *size, channels)


@settings(max_examples=60)
@given(**geometry)
def test_a_float_convolution_gives_the_same_but_for_rounding(size, channels, filters, kernel, strides, padding, plan):
    assume(fits(size, kernel, padding))
    net = Net((1, *size, channels))
    convolution(net, filters, kernel, strides, padding)
    graph = graphs.load(net.done())
    assume(folded(graph, plan))
    (sample,) = noise(1, *size, channels, count=1)
    (before,), (after,) = answers(net.done(), sample), answers(finished(graph), sample)
    assert abs(before - after).max() <= 1e-5 * max(1, abs(before).max())


amounts = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=100)
@given(**geometry, rows=amounts, columns=amounts, delegate=st.booleans())
def test_padding_by_an_operator_is_taken_over(
    size, channels, filters, kernel, strides, padding, plan, rows, columns, delegate
):
    net = Net((1, *size, channels))
    padded = tuple(number + sum(pair) for number, pair in zip(size, (rows, columns), strict=True))
    assume(fits(padded, kernel))
    added = net.constant([[0, 0], list(rows), list(columns), [0, 0]], "int32")
    convolution(net, filters, kernel, strides, data=net.add("PAD", [0, added], (1, *padded, channels)))
    graph = stored(net)
    before = finished(graph)
    assume(folded(graph, plan))
    assert kinds(graph).count("PAD") <= max(plan.period, 1)
    assert all(len(graph.tensors[step.outputs[0]].shape) == 3 for step in graph.operators if step.kind == "PAD")
    assert_same_bits(before, finished(graph), delegate=delegate)


@settings(max_examples=100)
@given(
    size=st.tuples(st.integers(5, 12), st.integers(5, 20)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 2),
    plan=geometry["plan"],
    window=st.integers(1, 3),
    step=st.integers(1, 3),
    padding=st.sampled_from([VALID, SAME]),
    seen=st.booleans(),
)
def test_columns_too_many_never_reach_a_pool_or_an_output(size, kernel, stride, plan, window, step, padding, seen):
    assume(fits(size, (kernel, kernel)))
    net = Net((1, *size, 3))
    made = convolution(net, 4, (kernel, kernel), (stride, stride))
    assume(fits(net.graph.tensors[made].shape[1:3], (window, window), padding))
    pooled = pool(net, made, window, step, padding)
    net.graph.outputs = [pooled, made] if seen else [pooled]
    graph = stored(net)
    before = finished(graph)
    assume(folded(graph, plan))
    assert_same_bits(before, finished(graph), delegate=True)


def test_the_graphs_compared_here_answer_with_many_values():
    net = Net((1, 16, 16, 3))
    convolution(net, 8, (3, 3), (2, 2), fusedActivationFunction=RELU)
    (found,) = outputs(finished(stored(net)), np.zeros((1, 16, 16, 3), np.int8) + 100, delegate=True)
    assert len(np.unique(found)) > 5
    sample = np.random.default_rng(0).integers(-128, 128, (1, 16, 16, 3)).astype(np.int8)
    (found,) = outputs(finished(stored(net)), sample, delegate=True)
    assert len(np.unique(found)) > 50


def test_maps_are_joined_by_no_more_than_the_delegate_can():
    net = Net((1, 12, 32, 3))
    convolution(net, 8, (3, 3), (1, 1))
    graph = stored(net)
    found = pixels.understood(graph, graph.operators[0])
    assert found is not None
    assert max(plan.period for plan in pixels.plans(found) if not plan.together) == 5


def test_a_pool_that_overlooks_a_column_too_many_reads_it_uncut():
    net = Net((1, 32, 32, 3))
    pool(net, convolution(net, 64, (3, 3), (2, 2)), 3, 2)  # 15 columns, folded 16
    graph = stored(net)
    pixels.fold_pixels(graph)
    assert kinds(graph)[-3:] == ["CONCATENATION", "RESHAPE", "MAX_POOL_2D"]
    assert graph.tensors[graph.operators[-1].inputs[0]].shape == (1, 15, 16, 64)


FIRST_LAYERS = {
    "SqueezeNet v1.1": (224, 64, 3, VALID, Plan(2, together=False)),
    "SqueezeNet v1.0": (227, 96, 7, VALID, Plan(4, together=False)),
    "SqueezeNext-23v5": (227, 64, 5, VALID, Plan(3, together=False)),
    "MobileNet v1 0.25": (128, 8, 3, SAME, Plan(2, together=True)),
    "MobileNet v2": (224, 32, 3, SAME, Plan(1, together=True)),
}


@pytest.mark.parametrize("name", FIRST_LAYERS)
def test_first_layers_are_folded_as_their_filters_ask(name):
    size, filters, kernel, padding, plan = FIRST_LAYERS[name]
    net = Net((1, size, size, 3))
    convolution(net, filters, (kernel, kernel), (2, 2), padding)
    graph = stored(net)
    found = pixels.understood(graph, graph.operators[0])
    assert found is not None
    assert min(pixels.plans(found), key=found.cost) == plan
    pixels.fold_pixels(graph)
    assert kinds(graph).count("CONV_2D") == (1 if plan.together else plan.period)


def test_an_unknown_batch_becomes_the_one_that_was_folded_for():
    net = Net((1, 32, 32, 3))
    convolution(net, 64, (7, 7), (2, 2))
    graph = stored(net)
    for tensor in graph.tensors:
        if tensor.data is None:
            tensor.shape_signature = (-1, *tensor.shape[1:])
    before = finished(graph)
    pixels.fold_pixels(graph)
    after = finished(graph)
    assert not any(tensor.shape_signature for tensor in graphs.load(after).tensors)
    assert_same_bits(before, after, delegate=True)


def left_alone(net: Net, **stored_as: int) -> bool:
    graph = stored(net, **stored_as)
    before = list(graph.operators)
    pixels.fold_pixels(graph)
    return graph.operators == before


def test_layers_of_many_channels_are_left_alone():
    net = Net((1, 13, 13, 64))
    net.conv(0, 256, 3)
    assert left_alone(net)


def test_a_layer_that_hardly_counts_is_left_alone():
    net = Net((1, 32, 32, 3))
    first = convolution(net, 8, (3, 3), (2, 2))
    assert not left_alone(net)
    net.graph.outputs = []
    net.conv(net.conv(first, 512, 1), 512, 3)
    assert left_alone(net)


@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"dilationWFactor": 2}])
def test_grouped_and_dilated_convolutions_are_left_alone(options):
    net = Net((1, 32, 32, 4))
    net.conv(0, 64, 5, **options)
    assert left_alone(net) == bool(options)


@pytest.mark.parametrize("amounts", [[[1, 0], [0, 0], [1, 1], [0, 0]], [[0, 0], [0, 0], [1, 1], [0, 1]]])
def test_padding_of_batch_or_channels_is_not_taken_over(amounts):
    net = Net((1, 16, 16, 3))
    shape = tuple(size + sum(pair) for size, pair in zip((1, 16, 16, 3), amounts, strict=True))
    convolution(net, 64, (5, 5), (1, 1), data=net.add("PAD", [0, net.constant(amounts, "int32")], shape))
    graph = stored(net)
    before = finished(graph)
    assert folded(graph, Plan(5, together=False))
    assert kinds(graph)[0] == "PAD"
    assert_same_bits(before, finished(graph), delegate=True)


def test_a_dilation_of_rows_alone_is_kept():
    net = Net((1, 16, 16, 3))
    inputs = [0, net.weights(8, 3, 3, 3), net.weights(8)]
    net.add("CONV_2D", inputs, (1, 12, 14, 8), padding=VALID, dilationHFactor=2, dilationWFactor=1)
    graph = stored(net)
    before = finished(graph)
    assert folded(graph, Plan(3, together=False))
    assert_same_bits(before, finished(graph), delegate=True)


def test_float_and_dynamic_range_convolutions_are_left_alone():
    net = Net((1, 32, 32, 3))
    convolution(net, 64, (7, 7), (2, 2))
    graph = graphs.load(net.done())
    pixels.fold_pixels(graph)
    assert kinds(graph) == ["CONV_2D"]
    graph = stored(net)
    for index in (*graph.inputs, *graph.outputs):
        graph.tensors[index].dtype, graph.tensors[index].quantization = "float32", None
    pixels.fold_pixels(graph)
    assert kinds(graph) == ["CONV_2D"]


def test_padding_that_others_read_stays():
    net = Net((1, 16, 16, 3))
    pad = net.add("PAD", [0, net.constant([[0, 0], [3, 3], [3, 3], [0, 0]], "int32")], (1, 22, 22, 3))
    made = convolution(net, 8, (7, 7), (2, 2), data=pad)
    net.graph.outputs = [made, pool(net, pad, 2, 2)]
    graph = stored(net)
    before = finished(graph)
    assert folded(graph, Plan(4, together=False))
    assert kinds(graph)[0] == "PAD"
    assert_same_bits(before, finished(graph), delegate=True)


def test_a_second_reader_of_a_folded_map_gets_it_whole():
    net = Net((1, 16, 17, 3))
    made = convolution(net, 8, (3, 3), (1, 1), SAME)
    net.conv(made, 8, 3)
    graph = stored(net)
    before = finished(graph)
    assert folded(graph, Plan(3, together=False))
    assert "SLICE" in kinds(graph)
    assert_same_bits(before, finished(graph), delegate=True)
