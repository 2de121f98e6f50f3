"""Activation ranges, and every input that cannot be quantized."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, Net, answers, noise

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.errors import DataError, FileFormatError
from edgekit.quantize import ranges

INT8 = recipe.find("int8_fast")
MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=4)


def two_layers() -> tuple[Net, bytes]:
    net = Net(MAP)
    net.conv(net.conv(0, 6, 3, fusedActivationFunction=RELU), 4)
    return net, net.done()


def test_ranges_are_the_smallest_and_largest_values_over_all_samples():
    net, model = two_layers()
    inner, outer = (operator.outputs[0] for operator in net.graph.operators)
    observed = ranges.observe(net.graph, model, SAMPLES).whole(net.graph)
    assert set(observed) == {0, inner, outer}
    assert observed[0] == (min(map(np.min, SAMPLES)), max(map(np.max, SAMPLES)))
    every = [answers(net.done(inner, outer), sample) for sample in SAMPLES]
    for position, index in enumerate((inner, outer)):
        values = np.array([answer[position] for answer in every])
        np.testing.assert_allclose(observed[index], (values.min(), values.max()), rtol=1e-6)


def test_progress_counts_the_samples():
    net, model = two_layers()
    seen: list[tuple[int, int]] = []
    ranges.observe(net.graph, model, SAMPLES, lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_sample_may_come_without_its_batch():
    net, model = two_layers()
    alike = [ranges.observe(net.graph, model, each) for each in ([sample[0] for sample in SAMPLES], SAMPLES)]
    assert alike[0].whole(net.graph) == alike[1].whole(net.graph)


def test_no_samples():
    with pytest.raises(DataError, match="no calibration samples"):
        quantize.quantize(two_layers()[1], INT8)


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (1, 4, 8, 8), (2, 8, 8, 4), (256,)])
def test_samples_of_another_shape(shape):
    with pytest.raises(DataError, match=r"input0.*\(1, 8, 8, 4\)"):
        quantize.quantize(two_layers()[1], INT8, [np.zeros(shape, np.float32)])


def test_samples_for_one_input_of_two():
    net = Net((1, 4), (1, 4))
    net.add("ADD", [0, 1], (1, 4))
    with pytest.raises(DataError, match="2 inputs; a sample gives 1"):
        quantize.quantize(net.done(), INT8, noise(1, 4))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_holds_no_number(bad):
    broken = SAMPLES[1].copy()
    broken[0, 3, 3, 1] = bad
    with pytest.raises(DataError, match="a calibration sample holds infinite or undefined values for 'input0'"):
        quantize.quantize(two_layers()[1], INT8, [SAMPLES[0], broken])


def test_a_network_that_overflows():
    net = Net((1, 4))
    net.add("EXP", [net.add("MUL", [0, net.constant([1e4])], (1, 4))], (1, 4))
    with pytest.raises(DataError, match=r"the float model itself gives infinite or undefined values, first at 'exp"):
        quantize.quantize(net.done(), INT8, noise(1, 4))


@pytest.mark.parametrize("name", [one.name for one in recipe.RECIPES])
@pytest.mark.parametrize("position", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_hold_no_number(name, position, bad):
    net, _model = two_layers()
    weights = net.graph.tensors[net.graph.operators[0].inputs[position]]
    assert weights.data is not None
    weights.data.flat[0] = bad
    with pytest.raises(DataError, match=f"the weights '{weights.name}' hold infinite or undefined values"):
        quantize.quantize(graphs.dump(net.graph), recipe.find(name), SAMPLES)


def test_weights_beyond_float16():
    net = Net((1, 4))
    net.add("FULLY_CONNECTED", [0, net.constant([[1e5, 0, 0, 0]]), -1], (1, 1))
    with pytest.raises(DataError, match="beyond float16's 65504"):
        quantize.quantize(net.done(), recipe.find("float16"))


@pytest.mark.parametrize("first", ["int8", "int8_float_io", "int16x8", "int8_weights", "float16"])
@pytest.mark.parametrize("second", ["float32", "int8", "int8_weights", "float16"])
def test_a_model_that_is_quantized_already(first, second):
    once = quantize.quantize(two_layers()[1], recipe.find(first), SAMPLES).model
    with pytest.raises(FileFormatError, match=r"quantized already.*give its float form"):
        quantize.quantize(once, recipe.find(second), SAMPLES)


def test_float32_can_be_repeated():
    model = two_layers()[1]
    once = quantize.quantize(model, recipe.find("float32")).model
    assert quantize.quantize(once, recipe.find("float32")).model == once
    assert answers(once, SAMPLES[0])[0].tolist() == answers(model, SAMPLES[0])[0].tolist()


@pytest.mark.parametrize("name", ["float32", "int8", "int8_weights", "float16"])
def test_an_input_without_a_fixed_size(name):
    net, _model = two_layers()
    net.graph.tensors[0].shape_signature = (1, -1, -1, 4)
    with pytest.raises(FileFormatError, match=r"'input0' has no fixed size \(1, -1, -1, 4\).*keras\.Input"):
        quantize.quantize(graphs.dump(net.graph), recipe.find(name), SAMPLES)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("name", ["int8", "int8_float_io", "int16x8"])
def test_constant_samples_work(name, value):
    model = two_layers()[1]
    sample = np.full(MAP, value, np.float32)
    found = quantize.quantize(model, recipe.find(name), [sample]).model
    expected = answers(model, sample)[0]
    for delegate in (True, False):
        answer = answers(found, sample, delegate=delegate)[0]
        assert np.abs(answer - expected).max() <= 0.02 * max(float(np.abs(expected).max()), 1e-6)


@pytest.mark.parametrize("dead", ["a channel", "the kernel", "the whole map"])
@pytest.mark.parametrize("name", ["int8", "int8_float_io", "int16x8", "int8_weights", "float16"])
def test_dead_channels_and_layers_work(name, dead):
    net, _model = two_layers()
    kernel, bias = (net.graph.tensors[index].data for index in net.graph.operators[0].inputs[1:])
    assert kernel is not None
    assert bias is not None
    if dead == "the whole map":
        bias[:] = -100.0  # under a RELU
    else:
        kernel[0 if dead == "a channel" else slice(None)] = 0
    model = graphs.dump(net.graph)
    found = quantize.quantize(model, recipe.find(name), SAMPLES).model
    for sample in SAMPLES:
        expected = answers(model, sample)[0]
        for delegate in (True, False):
            answer = answers(found, sample, delegate=delegate)[0]
            assert np.abs(answer - expected).max() <= 0.03 * float(np.abs(expected).max())


def test_a_layer_that_is_nearly_dead_works():
    net, _model = two_layers()
    bias = net.graph.tensors[net.graph.operators[0].inputs[2]].data
    assert bias is not None
    reached = ranges.observe(net.graph, graphs.dump(net.graph), SAMPLES).high[net.graph.operators[0].outputs[0]].max()
    bias -= reached - 1e-4  # one value in all samples is above 0, and hardly so
    model = graphs.dump(net.graph)
    found = quantize.quantize(model, INT8, SAMPLES).model
    for sample in SAMPLES:
        np.testing.assert_allclose(answers(found, sample)[0], answers(model, sample)[0], atol=0.02)


def test_numbers_that_are_no_floats_have_no_range_where_they_are_joined():
    net, _model = two_layers()
    data = net.graph.operators[-1].outputs[0]
    shape = net.add("SHAPE", [data], (4,))
    joined = net.add("CONCATENATION", [shape, shape], (8,), axis=0)
    for index in (shape, joined):
        net.graph.tensors[index].dtype = "int32"
    observed = ranges.observe(net.graph, net.done(data, joined), SAMPLES)
    assert not {shape, joined} & {*observed.low}
