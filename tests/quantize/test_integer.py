"""Where integer and float meet: islands, ends, shared tensors; and whole small networks in integers."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import NO_TENSOR, RELU, Net, answers, noise, steps_off

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.graph import Array, Graph, constant
from edgekit.recipe import Recipe
from edgekit.runtime import Runner

MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=6)
INT8 = Recipe("int8", weights="int8", activations="int8", io="int8")
FLOAT_IO = Recipe("int8_float_io", weights="int8", activations="int8", io="float32")
INT16 = Recipe("int16x8", weights="int8", activations="int16", io="int16")


def normalised(net: Net, data: int, channels: int = 4) -> int:
    """An operator without an integer kernel."""
    shape = (1, 8, 8, channels)
    return net.add("LOCAL_RESPONSE_NORMALIZATION", [data], shape, radius=1, bias=1.0, alpha=0.1, beta=0.5)


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


def quantized(net: Net, *outputs: int, by: Recipe = INT8) -> tuple[bytes, bytes, Graph]:
    """The float model, the integer one, and the integer one's graph."""
    model = net.done(*outputs)
    found = quantize.quantize(model, by, SAMPLES).model
    return model, found, graphs.load(found)


def close(model: bytes, found: bytes, steps: float, samples: list[Array] = SAMPLES) -> None:
    """Every output is within so many steps of the float model, with the delegate and without; no operator is off."""
    for delegate in (True, False):
        runner = Runner(found, delegate=delegate)
        for sample in samples:
            pairs = zip(answers(model, sample), answers(found, sample, delegate=delegate), runner.outputs, strict=True)
            for expected, answer, info in pairs:
                step = info.scale or float(np.ptp(expected)) / 255
                assert np.abs(expected - answer).max() <= steps * step
        for kind, off in steps_off(found, samples[0], delegate=delegate):
            assert off <= 1.01, kind


def test_an_island_is_bridged_by_one_conversion_each_way():
    net = Net(MAP)
    net.conv(normalised(net, net.conv(0, 4)), 4)
    model, found, graph = quantized(net)
    assert kinds(graph) == ["CONV_2D", "DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE", "CONV_2D"]
    close(model, found, 6)


def test_islands_that_read_the_same_tensor_share_its_conversion():
    net = Net(MAP)
    shared = net.conv(0, 4)
    parts = [normalised(net, shared), normalised(net, shared), net.conv(shared, 4)]
    net.add("CONCATENATION", parts, (1, 8, 8, 12), axis=3)
    model, found, graph = quantized(net)
    assert kinds(graph).count("DEQUANTIZE") == 1
    assert kinds(graph).count("QUANTIZE") == 2
    close(model, found, 6)


def test_islands_in_a_row_stay_float_between_them():
    net = Net(MAP)
    net.conv(normalised(net, normalised(net, net.conv(0, 4))), 4)
    model, found, graph = quantized(net)
    assert kinds(graph) == [
        "CONV_2D", "DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION", "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE", "CONV_2D"
    ]  # fmt: skip
    close(model, found, 6)


def test_an_island_feeds_float_and_integer_readers():
    net = Net(MAP)
    first = normalised(net, 0)
    net.add("ADD", [normalised(net, first), net.conv(first, 4)], MAP)
    model, found, graph = quantized(net)
    second = graph.operators[kinds(graph).index("LOCAL_RESPONSE_NORMALIZATION") :]
    assert [operator.kind for operator in second].count("LOCAL_RESPONSE_NORMALIZATION") == 2
    assert kinds(graph).count("QUANTIZE") == 2
    assert kinds(graph).count("DEQUANTIZE") == 1  # of the model's own input
    close(model, found, 6)


def test_a_model_of_islands_alone_is_converted_at_its_ends_only():
    net = Net(MAP)
    normalised(net, normalised(net, 0))
    model, found, graph = quantized(net)
    assert kinds(graph) == ["DEQUANTIZE", *["LOCAL_RESPONSE_NORMALIZATION"] * 2, "QUANTIZE"]
    close(model, found, 2)
    assert kinds(quantized(net, by=FLOAT_IO)[2]) == ["LOCAL_RESPONSE_NORMALIZATION"] * 2


def test_float_ends_reach_islands_without_a_detour_through_integers():
    net = Net(MAP)
    normalised(net, net.conv(normalised(net, 0), 4))
    model, found, graph = quantized(net, by=FLOAT_IO)
    assert kinds(graph) == [
        "LOCAL_RESPONSE_NORMALIZATION", "QUANTIZE", "CONV_2D", "DEQUANTIZE", "LOCAL_RESPONSE_NORMALIZATION"
    ]  # fmt: skip
    close(model, found, 6)


def test_a_constant_shared_by_an_island_and_an_integer_operator_stays_float_for_the_island():
    net = Net(MAP)
    shared = net.constant(np.full(MAP, 0.3))
    net.add("ADD", [net.add("DIV", [0, shared], MAP), shared], MAP)
    model, found, graph = quantized(net)
    divided = next(operator for operator in graph.operators if operator.kind == "DIV")
    added = next(operator for operator in graph.operators if operator.kind == "ADD")
    kept, rounded = graph.tensors[divided.inputs[1]], graph.tensors[added.inputs[1]]
    assert (kept.dtype, rounded.dtype) == ("float32", "int8")
    assert kept.data is not None
    assert (kept.data == np.float32(0.3)).all()
    close(model, found, 6)


def test_a_constant_shared_by_two_operators_gets_the_scale_that_each_needs():
    net = Net(MAP)
    shared = net.constant(np.full((1, 8, 8, 4), 2.0))
    joined = net.add("CONCATENATION", [0, shared], (1, 8, 8, 8), axis=3)
    wide = net.add("MUL", [joined, net.constant(np.full(8, 20.0))], (1, 8, 8, 8))
    added = net.add("ADD", [0, shared], MAP)
    net.add("CONCATENATION", [wide, added], (1, 8, 8, 12), axis=3)
    model, found, graph = quantized(net)
    copies = [tensor for tensor in graph.tensors if tensor.name == net.graph.tensors[shared].name]
    scales = {float(tensor.quantization.scale[0]) for tensor in copies if tensor.quantization is not None}
    assert len(copies) == len(scales) == 2
    close(model, found, 3)


def test_kernel_and_bias_shared_by_two_convolutions():
    net = Net(MAP)
    kernel, bias = net.weights(4, 1, 1, 4), net.weights(4)
    once = net.add("CONV_2D", [0, kernel, bias], MAP)
    ten = net.add("MUL", [once, net.constant([10.0])], MAP)
    net.add("CONV_2D", [ten, kernel, bias], MAP)
    model, found, _graph = quantized(net)
    close(model, found, 8)


def test_a_tensor_with_several_readers_keeps_one_scale_for_all():
    net = Net(MAP)
    shared = net.conv(0, 4)
    parts = [net.add("RELU", [shared], MAP), net.conv(shared, 4), net.add("ADD", [shared, 0], MAP)]
    net.add("CONCATENATION", [*parts, shared], (1, 8, 8, 16), axis=3)
    model, found, graph = quantized(net)
    assert "QUANTIZE" not in kinds(graph)
    close(model, found, 6)


@pytest.mark.parametrize("by", [INT8, FLOAT_IO, INT16], ids=lambda by: by.name)
def test_an_activation_that_is_also_an_output(by):
    net = Net(MAP)
    inner = net.conv(0, 4, fusedActivationFunction=RELU)
    model, found, graph = quantized(net, inner, net.conv(inner, 4), by=by)
    assert {graph.tensors[index].dtype for index in graph.outputs} == {by.io}
    for sample in SAMPLES:
        for expected, answer in zip(answers(model, sample), answers(found, sample), strict=True):
            assert np.abs(expected - answer).max() <= 0.02 * np.ptp(expected)
    assert kinds(graph).count("DEQUANTIZE") == (2 if by is FLOAT_IO else 0)


@pytest.mark.parametrize("by", [INT8, FLOAT_IO], ids=lambda by: by.name)
def test_an_output_that_an_island_also_reads(by):
    net = Net(MAP)
    inner = net.conv(0, 4)
    model, found, graph = quantized(net, inner, normalised(net, inner), by=by)
    assert kinds(graph).count("DEQUANTIZE") == 1
    close(model, found, 6)


@pytest.mark.parametrize("by", [INT8, FLOAT_IO, INT16], ids=lambda by: by.name)
def test_a_model_with_two_inputs(by):
    net = Net(MAP, (1, 8, 8, 2))
    net.add("CONCATENATION", [net.conv(0, 4), net.conv(1, 4)], (1, 8, 8, 8), axis=3)
    model = net.done()
    samples = [(one, 10 * other) for one, other in zip(SAMPLES, noise(1, 8, 8, 2, count=6, seed=3), strict=True)]
    found = quantize.quantize(model, by, samples).model
    runners = [Runner(model), Runner(found)]
    assert {str(info.dtype) for info in runners[1].inputs} == {by.io}
    if by.io == "int8":
        assert runners[1].inputs[1].scale > 5 * runners[1].inputs[0].scale
    for sample in samples:
        for runner in runners:
            for position, values in enumerate(sample):
                runner.set_input(runner.inputs[position].quantize(values), position)
            runner.invoke()
        expected, answer = (runner.output.dequantize(runner.get_output()) for runner in runners)
        assert np.abs(expected - answer).max() <= 0.02 * np.ptp(expected)


@pytest.mark.parametrize("by", [INT8, FLOAT_IO, INT16, recipe.find("float16")], ids=lambda by: by.name)
def test_signatures_name_the_tensors_that_a_caller_feeds_and_reads(by):
    net = Net(MAP)
    inner = net.conv(0, 4)
    flat = net.add("MEAN", [net.conv(inner, 10), net.constant([1, 2], "int32")], (1, 10))
    net.done(net.add("SOFTMAX", [flat], (1, 10)), inner)
    graph = graphs.load(quantize.quantize(net.sign("scores", "map"), by, SAMPLES).model)
    (signature,) = graph.signatures
    assert [entry.tensorIndex for entry in signature.inputs] == graph.inputs
    assert [(entry.name, entry.tensorIndex) for entry in signature.outputs] == [
        (b"scores", graph.outputs[0]),
        (b"map", graph.outputs[1]),
    ]


def test_the_logits_take_over_the_name_of_the_probabilities():
    net = Net(MAP)
    flat = net.add("MEAN", [net.conv(0, 10), net.constant([1, 2], "int32")], (1, 10))
    net.done(net.add("SOFTMAX", [flat], (1, 10)))
    found = quantize.quantize(net.sign("scores"), INT8, SAMPLES).model
    graph = graphs.load(found)
    (signature,) = graph.signatures
    assert [(entry.name, entry.tensorIndex) for entry in signature.outputs] == [(b"scores", graph.outputs[0])]
    assert kinds(graph) == ["CONV_2D", "MEAN"]


def test_a_fixed_output_is_rescaled_where_it_meets_wider_values():
    net = Net(MAP)
    joined = [net.add("LOGISTIC", [0], MAP), net.add("RELU", [0], MAP)]
    net.add("CONCATENATION", joined, (1, 8, 8, 8), axis=3)
    model, found, graph = quantized(net)
    assert kinds(graph) == ["LOGISTIC", "QUANTIZE", "RELU", "CONCATENATION"]
    close(model, found, 2)


def test_a_dense_layer_with_computed_weights_stays_float():
    net = Net((1, 4))
    kernel = net.add("RESHAPE", [net.add("TILE", [0, net.constant([1, 3], "int32")], (1, 12)), _shape(net)], (3, 4))
    net.add("FULLY_CONNECTED", [0, kernel, NO_TENSOR], (1, 3))
    samples = noise(1, 4, count=10)
    model = net.done()
    found = quantize.quantize(model, INT8, samples).model
    assert kinds(graphs.load(found)).count("DEQUANTIZE") == 2
    close(model, found, 12, samples)


def _shape(net: Net) -> int:
    return net.constant([3, 4], "int32")


@pytest.mark.parametrize("lowest", [-np.inf, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("by", [INT8, INT16], ids=lambda by: by.name)
def test_the_lowest_padding_of_a_max_pooling_costs_no_range(by, lowest):
    net = Net(MAP)
    margins = net.constant([[0, 0], [0, 1], [0, 1], [0, 0]], "int32")
    padded = net.add("PADV2", [net.conv(0, 4), margins, net.constant(lowest)], (1, 9, 9, 4))
    size = {"filterHeight": 3, "filterWidth": 3, "strideH": 3, "strideW": 3, "padding": 1}
    net.conv(net.add("MAX_POOL_2D", [padded], (1, 3, 3, 4), **size), 4)
    model, found, graph = quantized(net, by=by)
    assert kinds(graph) == ["CONV_2D", "PADV2", "MAX_POOL_2D", "CONV_2D"]
    for sample in SAMPLES:
        (expected,), (answer,) = answers(model, sample), answers(found, sample)
        assert np.abs(expected - answer).max() <= 0.03 * np.ptp(expected)


def test_what_asks_for_a_shape_needs_no_float_copy():
    net = Net(MAP)
    inner = net.conv(0, 4)
    shape = net.add("SHAPE", [inner], (4,))
    net.graph.tensors[shape].dtype = "int32"
    net.add("RESHAPE", [net.conv(inner, 4), shape], MAP)
    model, found, graph = quantized(net)
    assert kinds(graph) == ["CONV_2D", "SHAPE", "CONV_2D", "RESHAPE"]
    close(model, found, 6)


def test_an_unknown_batch_counts_as_one():
    net = Net(MAP)
    net.conv(net.conv(0, 4), 4)
    for index in (0, *(operator.outputs[0] for operator in net.graph.operators)):
        net.graph.tensors[index].shape_signature = (-1, *net.graph.tensors[index].shape[1:])
    model, found, graph = quantized(net)
    assert graph.tensors[graph.inputs[0]].shape_signature == (-1, 8, 8, 4)
    close(model, found, 6)


def _fire_network(net: Net) -> int:
    """Fire module, depthwise and residual blocks, pooling, dense head: the layers of our architectures."""
    stem = net.conv(0, 8, 3, strideH=2, strideW=2, fusedActivationFunction=RELU)
    squeezed = net.conv(stem, 4, fusedActivationFunction=RELU)
    branches = [net.conv(squeezed, 8, size, fusedActivationFunction=RELU) for size in (1, 3)]
    joined = net.add("CONCATENATION", branches, (1, 16, 16, 16), axis=3)
    pooled = net.add("MAX_POOL_2D", [joined], (1, 8, 8, 16), filterHeight=2, filterWidth=2, strideH=2, strideW=2)
    kernel, bias = net.weights(1, 3, 3, 16), net.weights(16)
    deep = net.add("DEPTHWISE_CONV_2D", [pooled, kernel, bias], (1, 8, 8, 16), fusedActivationFunction=3)
    grouped = net.conv(deep, 16, 3, groups=2)
    summed = net.add("ADD", [grouped, pooled], (1, 8, 8, 16), fusedActivationFunction=RELU)
    flat = net.add("MEAN", [summed, net.constant([1, 2], "int32")], (1, 16))
    return net.add("FULLY_CONNECTED", [flat, net.weights(10, 16), net.weights(10)], (1, 10))


def test_a_network_of_all_our_layers_is_fully_integer_and_fully_delegated():
    net = Net((1, 32, 32, 3))
    probabilities = net.add("SOFTMAX", [_fire_network(net)], (1, 10))
    samples = noise(1, 32, 32, 3, count=8)
    found = quantize.quantize(net.done(probabilities), INT8, samples).model
    graph = graphs.load(found)
    assert {tensor.dtype for tensor in graph.tensors} == {"int8", "int32"}
    delegation = Runner(found).delegation()
    assert (delegation.taken, delegation.left) == (len(graph.operators), ())
    for delegate in (True, False):
        for sample in samples:
            for kind, off in steps_off(found, sample, delegate=delegate):
                assert off <= 1.01, kind


@pytest.mark.parametrize(("by", "share"), [(INT8, 0.05), (FLOAT_IO, 0.05), (INT16, 0.01)], ids=["int8", "io", "int16"])
def test_a_network_of_all_our_layers_stays_near_its_float_form(by, share):
    net = Net((1, 32, 32, 3))
    model = net.done(_fire_network(net))
    samples = noise(1, 32, 32, 3, count=8)
    found = quantize.quantize(model, by, samples).model
    for sample in samples:
        (expected,), (answer,) = answers(model, sample), answers(found, sample)
        assert np.abs(expected - answer).max() <= share * np.ptp(expected)
        assert np.argmax(expected) == np.argmax(answer)


def test_float_and_integer_ends_differ_only_in_their_ends():
    net = Net((1, 32, 32, 3))
    model, samples = net.done(_fire_network(net)), noise(1, 32, 32, 3, count=8)
    integer, float_ends = (quantize.quantize(model, by, samples).model for by in (INT8, FLOAT_IO))
    for sample in samples:
        np.testing.assert_allclose(answers(integer, sample)[0], answers(float_ends, sample)[0], rtol=1e-6)


def test_int16_uses_64_bit_biases_and_symmetric_scales():
    net = Net((1, 32, 32, 3))
    found = quantize.quantize(net.done(_fire_network(net)), INT16, noise(1, 32, 32, 3)).model
    graph = graphs.load(found)
    for operator in graph.operators:
        if operator.has_weights:
            assert graph.tensors[operator.inputs[1]].dtype == "int8"
            assert graph.tensors[operator.bias].dtype == "int64"
    for tensor in graph.tensors:
        if tensor.quantization is not None:
            assert (tensor.quantization.zero_point == 0).all()


@pytest.mark.parametrize("by", recipe.RECIPES, ids=lambda by: by.name)
def test_an_input_of_pixels(by):
    """A uint8 input with a CAST behind it: samples are float32 all the same."""
    net = Net(MAP)
    net.graph.tensors[0].dtype = "uint8"
    table = graphs.new_options("CastOptions", inDataType=constant("TensorType", "UINT8"))
    real = net.graph.add_tensor(graphs.Tensor("real", MAP, "float32"))
    net.graph.operators.append(graphs.Operator("CAST", [0], [real], table, constant("BuiltinOptions", "CastOptions")))
    model = net.done(net.conv(real, 5, 3))
    samples = [np.random.default_rng(seed).integers(0, 256, MAP).astype(np.float32) for seed in range(6)]
    found = quantize.quantize(model, by, samples).model
    for sample in samples:
        (expected,), (answer,) = answers(model, sample), answers(found, sample)
        assert np.abs(answer - expected).max() <= 0.05 * np.ptp(expected)


def test_layers_of_one_name_or_none_are_told_apart():
    """Gains are kept by name, and whoever loads the float model again must find the same."""
    for names in (lambda _number: "", lambda _number: "same", lambda number: f"t{number % 3}"):
        net = Net(MAP)
        data = net.conv(net.conv(net.conv(0, 8, 3, fusedActivationFunction=RELU), 8, 3), 8, 3)
        net.done(data)
        for number, tensor in enumerate(net.graph.tensors):
            tensor.name = names(number)
        model = graphs.dump(net.graph)
        made = quantize.quantize(model, recipe.find("int8_float_io"), SAMPLES)
        again = graphs.load(model)
        again.name_apart()
        known = [tensor.name for tensor in again.tensors if tensor.data is None]
        assert len(set(known)) == len(known) == 4
        assert "" not in known
        assert len(made.gains) == 2
        assert set(made.gains) <= set(known)


def test_a_kernel_that_refuses_negative_inputs_stays_float_where_the_scale_reaches_below_zero():
    """One stray value would stop the inference; the shared scale of the concatenation brings them in."""
    for widened, kind in ((False, "int8"), (True, "float32")):
        net = Net(MAP)
        positive = net.add("ADD", [net.add("LOGISTIC", [0], MAP), net.constant([0.5] * 4)], MAP)
        wide = (1, 8, 8, 8)
        joined = net.add("CONCATENATION", [positive, 0], wide, axis=3) if widened else positive
        _model, _found, graph = quantized(net, net.add("RSQRT", [positive], MAP), joined, by=INT8)
        (operator,) = [each for each in graph.operators if each.kind == "RSQRT"]
        assert graph.tensors[operator.inputs[0]].dtype == kind
