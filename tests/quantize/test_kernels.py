"""Kernels and biases as integers: half a step of error, and no wrap-around."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net, answers, noise, real
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.graph import Graph, Operator, Quantization, Tensor
from edgekit.quantize import integer, kernels

AXES = {"CONV_2D": 0, "TRANSPOSE_CONV": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": None}
kernels_of_any_size = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=4),
    elements=st.floats(-1e6, 1e6, width=32),
)


@pytest.mark.parametrize(("kind", "axis"), AXES.items())
def test_which_axis_has_a_scale_per_slice(kind, axis):
    assert kernels.channel_axis(Operator(kind, [], [])) == axis


@given(kernels_of_any_size, st.sampled_from([0, 3, None]))
def test_a_kernel_is_rounded_to_the_nearest_step(kernel, axis):
    found = kernels.kernel_tensor(
        Tensor("kernel", kernel.shape, "float32", kernel), kernels.nearest(kernel, np.zeros(0), axis), axis
    )
    assert found.data is not None
    assert found.quantization is not None
    assert (found.data.dtype, found.data.shape) == (np.dtype("int8"), kernel.shape)
    assert np.abs(found.data.astype(int)).max() <= 127  # symmetric: -128 would have no opposite
    assert len(found.quantization.scale) == (1 if axis is None else kernel.shape[axis])
    assert (found.quantization.zero_point == 0).all()
    step = _per_element(found.quantization, kernel.shape, axis)
    assert (np.abs(real(found, found.data) - kernel) <= 0.5001 * step).all()


def _per_element(quantization: Quantization, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    column = [1] * len(shape)
    column[axis or 0] = -1
    return np.broadcast_to(quantization.scale.reshape(column if axis is not None else 1), shape)


@given(kernels_of_any_size, st.sampled_from([0, 3]))
def test_a_channel_uses_the_whole_range_whatever_its_neighbours_do(kernel, axis):
    spread = np.moveaxis(kernel, axis, 0)
    scales = kernels.channel_scales(kernel, axis)
    for channel, scale in zip(spread, scales, strict=True):
        largest = float(np.abs(channel).max())
        assert scale == pytest.approx((largest if largest > 1e-20 else 1.0) / 127)


@pytest.mark.parametrize("tiny", [0.0, 1e-42, 1e-38, 1e-25])
def test_a_dead_channel_gets_an_ordinary_scale_and_zeros(tiny):
    kernel = np.ones((2, 1, 1, 3), np.float32)
    kernel[0] = tiny
    scales = kernels.channel_scales(kernel, 0)
    assert scales.tolist() == pytest.approx([1 / 127, 1 / 127])
    assert (kernels.round_kernel(kernel, scales, 0)[0] == 0).all()


def test_a_floor_lifts_its_own_channel_or_the_whole_dense_kernel():
    kernel = np.ones((2, 3), np.float32)
    floor = np.array([0.0, 0.5])
    assert kernels.channel_scales(kernel, 0, floor).tolist() == pytest.approx([1 / 127, 0.5])
    assert kernels.channel_scales(kernel, None, floor).tolist() == pytest.approx([0.5])


def test_grouped_convolutions_are_recognised():
    net = Net((1, 4, 4, 6))
    net.conv(0, 6)
    net.conv(0, 6, groups=2)
    net.add("DEPTHWISE_CONV_2D", [0, net.weights(1, 3, 3, 6), net.weights(6)], (1, 4, 4, 6))
    assert [kernels.is_grouped(net.graph, operator) for operator in net.graph.operators] == [False, True, False]


def _dense_or_conv(kind: str, weight: float, bias: list[float]) -> Graph:
    """Two outputs from two inputs."""
    net = Net((1, 1, 1, 2) if kind == "CONV_2D" else (1, 2))
    shape = (2, 1, 1, 2) if kind == "CONV_2D" else (2, 2)
    kernel = np.array([[weight, -weight], [1.0, -0.5]], np.float32).reshape(shape)
    out = (1, 1, 1, 2) if kind == "CONV_2D" else (1, 2)
    net.add(kind, [0, net.constant(kernel), net.constant(bias)], out)
    net.done()
    return net.graph


@settings(max_examples=200)
@given(
    kind=st.sampled_from(["CONV_2D", "FULLY_CONNECTED"]),
    weight=st.floats(1e-12, 1e3),
    bias=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2),
    span=st.floats(1e-9, 1e3),
    activation=st.sampled_from(["int8", "int16"]),
)
def test_a_bias_never_wraps_around(kind, weight, bias, span, activation):
    graph = _dense_or_conv(kind, weight, bias)
    (operator,) = graph.operators
    reach = 2 * max(map(abs, bias)) + 1
    ranges = {graph.inputs[0]: (-span, span), graph.outputs[0]: (-reach, reach)}
    integer.quantize_graph(graph, ranges, activation)
    stored = graph.tensors[operator.bias]
    assert stored.data is not None
    assert stored.quantization is not None
    assert stored.dtype == {"int8": "int32", "int16": "int64"}[activation]
    assert np.abs(stored.data).max() <= {"int8": 2**30, "int16": 2**46}[activation] * 1.000001
    slack = 1e-6 * np.abs(bias)  # float32 scales
    assert (np.abs(stored.data * stored.quantization.scale - bias) <= stored.quantization.scale * 0.5 + slack).all()


@pytest.mark.parametrize("delegate", [True, False])
def test_a_large_bias_beside_tiny_weights_comes_out(delegate):
    net = Net((1, 1, 1, 2))
    kernel = net.constant(np.array([[1e-9, -1e-9], [1.0, -0.5]]).reshape(2, 1, 1, 2))
    net.add("CONV_2D", [0, kernel, net.constant([50.0, -2.0])], (1, 1, 1, 2))
    model, samples = net.done(), noise(1, 1, 1, 2, count=20)
    found = quantize.quantize(model, recipe.find("int8_fast"), samples).model
    for sample in samples:
        (expected,), (answer,) = answers(model, sample), answers(found, sample, delegate=delegate)
        np.testing.assert_allclose(answer, expected, atol=60 / 255)


def test_biases_have_the_scale_of_input_times_kernel():
    graph = _dense_or_conv("CONV_2D", 0.7, [0.1, -0.2])
    ranges = {graph.inputs[0]: (-1.0, 1.0), graph.outputs[0]: (-2.0, 2.0)}
    integer.quantize_graph(graph, ranges, "int8")
    data, kernel, bias = (graph.tensors[index].quantization for index in graph.operators[0].inputs)
    assert data is not None
    assert kernel is not None
    assert bias is not None
    np.testing.assert_allclose(bias.scale, data.scale * kernel.scale, rtol=1e-6)
    assert (kernel.axis, bias.axis) == (0, 0)


def test_int8_weights_leave_activations_and_biases_float():
    net = Net((1, 8, 8, 4))
    grouped = net.conv(net.conv(0, 8, 3), 8, 3, groups=2)
    shape = net.constant([1, 16, 16, 4], "int32")
    net.add("TRANSPOSE_CONV", [shape, net.weights(4, 3, 3, 8), grouped], (1, 16, 16, 4), strideH=2, strideW=2)
    graph = graphs.load(quantize.quantize(net.done(), recipe.find("int8_weights")).model)
    assert [graph.tensors[operator.inputs[1]].dtype for operator in graph.operators] == ["int8", "float32", "float32"]
    assert {graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)} == {"float32"}
    assert graph.tensors[graph.operators[0].bias].dtype == "float32"
    assert "int32" not in {graph.tensors[operator.outputs[0]].dtype for operator in graph.operators}
