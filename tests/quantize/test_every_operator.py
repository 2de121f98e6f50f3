"""Every operator that the tables list, in every recipe: it runs, and errs no more than its scales allow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from float_graphs import RELU, VALID, Net, answers, noise, steps_off

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.graph import NO_TENSOR, Array, Graph, constant
from edgekit.quantize import operators
from edgekit.recipe import Recipe
from edgekit.runtime import Runner

MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=6)
HALVE = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2}
RELU6 = 3
PLAIN = {
    "int8": Recipe("int8", weights="int8", activations="int8", io="int8"),
    "int8_float_io": Recipe("int8_float_io", weights="int8", activations="int8", io="float32"),
    "int16x8": Recipe("int16x8", weights="int8", activations="int16", io="int16"),
}
# How many steps of its output's scale an integer kernel may be off: rounding, and fixed-point multipliers or tables.
STEPS = {"int8": 1.01, "int8_float_io": 1.01, "int16x8": 2.5}

Build = Callable[[Net], int]
# name: (what is added to a net with one input, how much an error at the input can grow)
CASES: dict[str, tuple[Build, float | None]] = {
    "ABS": (lambda net: net.add("ABS", [0], MAP), 1.0),
    "ADD with RELU": (lambda net: net.add("ADD", [0, 0], MAP, fusedActivationFunction=RELU), 2.0),
    "ADD a constant": (lambda net: net.add("ADD", [0, net.weights(4, spread=1.0)], MAP), 1.0),
    "AVERAGE_POOL_2D": (lambda net: net.add("AVERAGE_POOL_2D", [0], (1, 4, 4, 4), **HALVE), 1.0),
    "CONCATENATION": (
        lambda net: net.add("CONCATENATION", [0, net.add("RELU", [0], MAP)], (1, 8, 8, 8), axis=3),
        1.0,
    ),
    "CONCATENATION with a constant": (
        lambda net: net.add("CONCATENATION", [0, net.constant(np.full((1, 8, 8, 2), 9.0))], (1, 8, 8, 6), axis=3),
        1.0,
    ),
    "CONV_2D": (lambda net: net.conv(0, 6, 3), None),
    "CONV_2D 1x1 with RELU6": (lambda net: net.conv(0, 6, fusedActivationFunction=RELU6), None),
    "CONV_2D with stride": (lambda net: net.conv(0, 6, 3, strideH=2, strideW=2), None),
    "CONV_2D with dilation": (lambda net: net.conv(0, 6, 3, dilationHFactor=2, dilationWFactor=2), None),
    "CONV_2D in groups": (lambda net: net.conv(0, 6, 3, groups=2), None),
    "DEPTHWISE_CONV_2D": (lambda net: _depthwise(net, 4, MAP), None),
    "DEPTHWISE_CONV_2D with stride": (lambda net: _depthwise(net, 4, (1, 4, 4, 4), strideH=2, strideW=2), None),
    "DEPTHWISE_CONV_2D with dilation": (
        lambda net: _depthwise(net, 4, MAP, dilationHFactor=2, dilationWFactor=2),
        None,
    ),
    "DEPTHWISE_CONV_2D with multiplier": (lambda net: _depthwise(net, 8, (1, 8, 8, 8), depthMultiplier=2), None),
    "DEPTH_TO_SPACE": (lambda net: net.add("DEPTH_TO_SPACE", [0], (1, 16, 16, 1), blockSize=2), 1.0),
    "EXPAND_DIMS": (lambda net: net.add("EXPAND_DIMS", [0, net.constant(0, "int32")], (1, *MAP)), 1.0),
    "FULLY_CONNECTED": (lambda net: _dense(net, net.weights(10)), None),
    "FULLY_CONNECTED without bias": (lambda net: _dense(net, NO_TENSOR), None),
    "FULLY_CONNECTED without a place for a bias": (lambda net: _dense(net), None),
    "GATHER": (lambda net: net.add("GATHER", [0, net.constant([3, 0], "int32")], (1, 8, 8, 2), axis=3), 1.0),
    "HARD_SWISH": (lambda net: net.add("HARD_SWISH", [0], MAP), 1.5),
    "LEAKY_RELU": (lambda net: net.add("LEAKY_RELU", [0], MAP, alpha=0.1), 1.0),
    "LOGISTIC": (lambda net: net.add("LOGISTIC", [0], MAP), 0.25),
    "MAX_POOL_2D": (lambda net: net.add("MAX_POOL_2D", [0], (1, 4, 4, 4), **HALVE), 1.0),
    "MAXIMUM": (lambda net: net.add("MAXIMUM", [0, net.add("RELU", [0], MAP)], MAP), 1.0),
    "MAXIMUM with constants": (lambda net: net.add("MAXIMUM", [0, net.constant([-1e4, -0.5, 0.0, 0.7])], MAP), 1.0),
    "MEAN": (lambda net: net.add("MEAN", [0, net.constant([1, 2], "int32")], (1, 4)), 1.0),
    "MINIMUM": (lambda net: net.add("MINIMUM", [net.add("TANH", [0], MAP), 0], MAP), 1.0),
    "MINIMUM with constants": (lambda net: net.add("MINIMUM", [0, net.constant([1e4, 0.5, 0.0, -0.7])], MAP), 1.0),
    "MIRROR_PAD": (lambda net: net.add("MIRROR_PAD", [0, _margins(net)], (1, 10, 11, 4)), 1.0),
    "MUL by a constant": (lambda net: net.add("MUL", [0, net.constant([0.5, 2.0, -1.0, 0.1])], MAP), 2.0),
    "PACK": (lambda net: net.add("PACK", [0, 0], (2, *MAP), valuesCount=2, axis=0), 1.0),
    "PAD": (lambda net: net.add("PAD", [0, _margins(net)], (1, 10, 11, 4)), 1.0),
    "PADV2": (lambda net: net.add("PADV2", [0, _margins(net), net.constant(-5.0)], (1, 10, 11, 4)), 1.0),
    "PRELU": (lambda net: net.add("PRELU", [0, net.constant(np.full((1, 1, 4), 0.2))], MAP), 1.0),
    "RELU": (lambda net: net.add("RELU", [0], MAP), 1.0),
    "RELU6": (lambda net: net.add("RELU6", [0], MAP), 1.0),
    "RESHAPE": (lambda net: _flat(net, 0), 1.0),
    "RESIZE_BILINEAR": (lambda net: _resized(net, "RESIZE_BILINEAR"), 1.0),
    "RESIZE_NEAREST_NEIGHBOR": (lambda net: _resized(net, "RESIZE_NEAREST_NEIGHBOR"), 1.0),
    "SLICE": (
        lambda net: net.add(
            "SLICE", [0, net.constant([0, 1, 1, 0], "int32"), net.constant([1, 4, 4, 4], "int32")], (1, 4, 4, 4)
        ),
        1.0,
    ),
    "SOFTMAX in the middle": (lambda net: _flat(net, net.add("SOFTMAX", [0], MAP)), 0.5),
    "SPACE_TO_DEPTH": (lambda net: net.add("SPACE_TO_DEPTH", [0], (1, 4, 4, 16), blockSize=2), 1.0),
    "SPLIT": (
        lambda net: net.add("SPLIT", [net.constant(3, "int32"), 0], (1, 8, 8, 2), (1, 8, 8, 2), numSplits=2),
        1.0,
    ),
    "RSQRT": (lambda net: net.add("RSQRT", [_above_zero(net)], MAP), 4.0),
    "SQUARED_DIFFERENCE": (lambda net: _squared_difference(net, net.constant([0.5, -1.0, 0.0, 2.0])), 10.0),
    "SQUARED_DIFFERENCE of values that hardly differ": (
        lambda net: _squared_difference(net, net.add("ADD", [0, net.constant(np.full(4, 0.02))], MAP)),
        2.0,
    ),
    "SQUEEZE": (lambda net: net.add("SQUEEZE", [0], (8, 8, 4), squeezeDims=[0]), 1.0),
    "STRIDED_SLICE": (
        lambda net: net.add(
            "STRIDED_SLICE",
            [0, *(net.constant(four, "int32") for four in ([0, 0, 0, 0], [1, 8, 8, 4], [1, 2, 2, 1]))],
            (1, 4, 4, 4),
        ),
        1.0,
    ),
    "SUB": (lambda net: net.add("SUB", [net.weights(1, 8, 8, 4, spread=1.0), 0], MAP), 1.0),
    "SUM": (lambda net: net.add("SUM", [0, net.constant([1], "int32")], (1, 8, 4)), 8.0),
    "TANH": (lambda net: net.add("TANH", [0], MAP), 1.0),
    "TILE": (lambda net: net.add("TILE", [0, net.constant([1, 2, 1, 1], "int32")], (1, 16, 8, 4)), 1.0),
    "TRANSPOSE": (lambda net: net.add("TRANSPOSE", [0, net.constant([0, 3, 1, 2], "int32")], (1, 4, 8, 8)), 1.0),
    "TRANSPOSE_CONV": (lambda net: _transposed(net, net.weights(6)), None),
    "TRANSPOSE_CONV without bias": (lambda net: _transposed(net), None),
    "UNPACK": (lambda net: net.add("UNPACK", [0], *[(1, 8, 8)] * 4, num=4, axis=3), 1.0),
}
NOT_DELEGATED = {  # by XNNPACK in int8; everything else of the list is
    "ABS", "AVERAGE_POOL_2D", "EXPAND_DIMS", "GATHER", "HARD_SWISH", "MAXIMUM", "MINIMUM", "MIRROR_PAD", "PACK",
    "PADV2", "PRELU", "RELU", "RELU6", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE", "SQUEEZE",
    "STRIDED_SLICE", "TILE", "UNPACK",
}  # fmt: skip


def _above_zero(net: Net) -> int:
    """Values from 0.5 to 1.5, where one over a square root grows no more than what it is taken of."""
    return net.add("ADD", [net.add("LOGISTIC", [0], MAP), net.constant(np.full(4, 0.5))], MAP)


def _squared_difference(net: Net, other: int) -> int:
    return net.add("SQUARED_DIFFERENCE", [0, other], MAP)


def _depthwise(net: Net, channels: int, shape: tuple[int, ...], **options: object) -> int:
    return net.add("DEPTHWISE_CONV_2D", [0, net.weights(1, 3, 3, channels), net.weights(channels)], shape, **options)


def _flat(net: Net, data: int) -> int:
    return net.add("RESHAPE", [data, net.constant([1, 256], "int32")], (1, 256))


def _dense(net: Net, *bias: int) -> int:
    return net.add("FULLY_CONNECTED", [_flat(net, 0), net.weights(10, 256, spread=0.05), *bias], (1, 10))


def _transposed(net: Net, *bias: int) -> int:
    shape = net.constant([1, 16, 16, 6], "int32")
    kernel = net.weights(6, 3, 3, 4)
    return net.add("TRANSPOSE_CONV", [shape, kernel, 0, *bias], (1, 16, 16, 6), strideH=2, strideW=2)


def _margins(net: Net) -> int:
    return net.constant([[0, 0], [1, 1], [1, 2], [0, 0]], "int32")


def _resized(net: Net, kind: str) -> int:
    return net.add(kind, [0, net.constant([16, 16], "int32")], (1, 16, 16, 4), halfPixelCenters=True)


def built(name: str) -> bytes:
    net = Net(MAP)
    CASES[name][0](net)
    return net.done(*net.graph.operators[-1].outputs)


def test_the_list_has_every_operator_of_the_tables():
    kinds = {operator.kind for name in CASES for operator in graphs.load(built(name)).operators}
    assert kinds == operators.SAME_SCALE | operators.RESCALING | set(operators.FIXED_OUTPUT)


def _kernel(graph: Graph) -> Array | None:
    """The float kernel with its output channels first and all that one of them adds up beside it."""
    for operator in graph.operators:
        data = graph.tensors[operator.inputs[1]].data if operator.has_weights else None
        if data is not None:
            channels = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
            return np.moveaxis(data, channels, 0).reshape(data.shape[channels], -1)
    return None


def _tolerance(name: str, model: bytes, found: Graph, recipe_name: str) -> float:
    """What the scales in the integer graph allow between it and the float model, for inputs within their range."""
    kernel, grow = _kernel(graphs.load(model)), CASES[name][1]
    taps = 1 if kernel is None else kernel.shape[1]
    gain = float(np.abs(kernel).sum(axis=1).max()) if kernel is not None else grow
    assert gain is not None
    largest = float(np.abs(SAMPLES).max())
    ends = [tensor for tensor in found.tensors if tensor.quantization is not None and tensor.data is None]
    constants = [tensor for tensor in found.tensors if tensor.quantization is not None and tensor.data is not None]
    at_input, at_output = _step(ends[0]), max(map(_step, ends[1:]))
    of_weights = max((_step(tensor) for tensor in constants if tensor.dtype != "int32"), default=0.0)
    weights = taps * max(largest + at_input, 1.0) * of_weights / 2
    return gain * at_input / 2 + weights + STEPS[recipe_name] * at_output + 1e-4 * at_output


def _step(tensor: graphs.Tensor) -> float:
    assert tensor.quantization is not None
    return float(tensor.quantization.scale.max())


@pytest.mark.parametrize("recipe_name", ["int8", "int8_float_io", "int16x8"])
@pytest.mark.parametrize("name", CASES)
def test_integer_arithmetic_errs_no_more_than_its_scales_allow(name, recipe_name):
    model = built(name)
    found = quantize.quantize(model, PLAIN[recipe_name], SAMPLES).model
    graph = graphs.load(found)
    tolerance = _tolerance(name, model, graph, recipe_name)
    for delegate in (True, False):
        for sample in SAMPLES:
            for expected, answer in zip(
                answers(model, sample, delegate=delegate), answers(found, sample, delegate=delegate), strict=True
            ):
                assert np.abs(expected - answer).max() <= tolerance
        for kind, steps in steps_off(found, SAMPLES[0], delegate=delegate):
            assert steps <= STEPS[recipe_name], kind


@pytest.mark.parametrize(
    ("recipe_name", "dtype"), [("int8", "int8"), ("int8_float_io", "float32"), ("int16x8", "int16")]
)
@pytest.mark.parametrize("name", CASES)
def test_ends_have_the_type_that_the_recipe_names_and_nothing_inside_is_float(name, recipe_name, dtype):
    runner = Runner(quantize.quantize(built(name), PLAIN[recipe_name], SAMPLES).model)
    assert {str(info.dtype) for info in (*runner.inputs, *runner.outputs)} == {dtype}
    assert dtype == "float32" or all(info.scale > 0 for info in (*runner.inputs, *runner.outputs))
    graph = graphs.load(quantize.quantize(built(name), PLAIN[recipe_name], SAMPLES).model)
    islands = operators._NO_INT16
    if not (recipe_name == "int16x8" and islands & set(name.split())):
        float_tensors = [index for index, tensor in enumerate(graph.tensors) if tensor.dtype == "float32"]
        assert set(float_tensors) == ({*graph.inputs, *graph.outputs} if dtype == "float32" else set())


@pytest.mark.parametrize("name", CASES)
def test_what_the_delegate_takes_in_int8(name):
    left = Runner(quantize.quantize(built(name), PLAIN["int8"], SAMPLES).model).delegation().left
    kinds = {operator.kind for operator in graphs.load(built(name)).operators}
    assert set(left) == kinds & NOT_DELEGATED


@pytest.mark.parametrize("name", [name for name, (_build, grow) in CASES.items() if grow is None])
def test_int8_weights_err_no_more_than_their_steps_and_the_inputs_allow(name):
    model = built(name)
    found = quantize.quantize(model, recipe.find("int8_weights")).model
    kernel, graph = _kernel(graphs.load(model)), graphs.load(found)
    assert kernel is not None
    steps = [_step(tensor) for tensor in graph.tensors if tensor.quantization is not None]
    assert bool(steps) == ("groups" not in name and "TRANSPOSE_CONV" not in name)
    largest = float(np.abs(SAMPLES).max())
    of_input = largest / 127 if steps else 0.0  # the kernel makes its input int8 by itself
    tolerance = np.abs(kernel).sum(axis=1).max() * of_input / 2 + kernel.shape[1] * largest * sum(steps) / 2
    for delegate in (True, False):
        for sample in SAMPLES:
            (expected,), (answer,) = answers(model, sample), answers(found, sample, delegate=delegate)
            assert np.abs(expected - answer).max() <= tolerance * 1.05 + 1e-5


@pytest.mark.parametrize("name", CASES)
def test_float16_errs_no_more_than_its_eleven_bits(name):
    model = built(name)
    found = quantize.quantize(model, recipe.find("float16")).model
    kernel, largest = _kernel(graphs.load(model)), float(np.abs(SAMPLES).max())
    sums = np.abs(kernel).sum(axis=1).max() if kernel is not None else 2.0
    tolerance = max(sums * largest, 16.0) * 2.0**-11
    for delegate in (True, False):
        for sample in SAMPLES[:2]:
            for expected, answer in zip(answers(model, sample), answers(found, sample, delegate=delegate), strict=True):
                assert np.abs(expected - answer).max() <= tolerance
    graph = graphs.load(found)
    constants = [tensor for tensor in graph.tensors if tensor.data is not None]
    assert {tensor.dtype for tensor in constants if tensor.elements > 1} <= {"float16", "int32"}
    assert {tensor.dtype for tensor in constants if tensor.elements == 1} <= {"float32", "int32"}


@pytest.mark.parametrize("activation", ["int8", "int16"])
def test_an_operator_in_the_tables_has_one_rule(activation):
    assert not operators.SAME_SCALE & operators.RESCALING
    assert not set(operators.FIXED_OUTPUT) & (operators.SAME_SCALE | operators.RESCALING)
    listed = operators.SAME_SCALE | operators.RESCALING | set(operators.FIXED_OUTPUT)
    assert set(operators._VERSIONS[activation]) - {"DEQUANTIZE", "QUANTIZE"} <= listed
    assert listed >= operators._NO_INT16
    assert not operators._NO_INT16 & set(operators._VERSIONS["int16"])
    for kind in listed:
        assert constant("BuiltinOperator", kind) >= 0


def test_versions_never_go_down():
    net = Net(MAP)
    net.conv(0, 4)
    net.done()
    (operator,) = net.graph.operators
    operator.version = 8
    assert operators.integer_version(operator, "int8", grouped=True) == 8
    operator.version = 1
    assert operators.integer_version(operator, "int8", grouped=False) == 3
    assert operators.integer_version(operator, "int8", grouped=True) == 6
    assert operators.hybrid_version(operator) == 5
    assert constant("Padding", "VALID") == VALID
