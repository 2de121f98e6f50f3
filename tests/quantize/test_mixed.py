"""Single operators in int16 or float within an int8 graph: by name, and by search."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from float_graphs import RELU, Net, answers, noise, steps_off

from edgekit import graph as graphs
from edgekit import quantize
from edgekit.errors import UnknownNameError, UsageError
from edgekit.graph import Graph
from edgekit.recipe import Recipe
from edgekit.runtime import Runner

MAP = (1, 8, 8, 4)
SAMPLES = noise(*MAP, count=6)
HALVE = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2}
INT8 = Recipe("int8", weights="int8", activations="int8", io="int8")
FLOAT_IO = Recipe("int8_float_io", weights="int8", activations="int8", io="float32")
GPTQ = msgspec.structs.replace(INT8, rounding="gptq", bias_correction=True, ranges="mse")


def kept(net: Net, by: Recipe = INT8, *, in_int16: tuple[int, ...] = (), in_float: tuple[int, ...] = ()) -> Graph:
    """The integer graph, after it was found to run and to err by no more than rounding, operator by operator."""
    model, tensors = net.done(*net.graph.outputs), net.graph.tensors
    names = [tuple(tensors[index].name for index in indices) for indices in (in_int16, in_float)]
    recipe = msgspec.structs.replace(by, keep_int16=names[0], keep_float=names[1])
    found = quantize.quantize(model, recipe, SAMPLES).model
    for delegate in (True, False):
        for sample in SAMPLES:
            for kind, off in steps_off(found, sample, delegate=delegate):
                assert off <= (2.5 if kind == "LOGISTIC" else 1.01), kind  # its int16 kernel reads a table
            for expected, answer in zip(answers(model, sample), answers(found, sample, delegate=delegate), strict=True):
                assert np.abs(expected - answer).max() <= 0.05 * np.ptp(expected)
    return graphs.load(found)


def types(graph: Graph) -> list[tuple[str, str, str]]:
    """Kind, type of the first input and type of the output, operator by operator."""
    tensors = graph.tensors
    return [
        (operator.kind, tensors[operator.data if operator.has_weights else operator.inputs[0]].dtype,
         tensors[operator.outputs[0]].dtype)
        for operator in graph.operators
    ]  # fmt: skip


def chain(operators: int = 3) -> tuple[Net, list[int]]:
    net, made = Net(MAP), [0]
    for _number in range(operators):
        made.append(net.conv(made[-1], 4, 3, fusedActivationFunction=RELU))
    return net, made[1:]


@pytest.mark.parametrize("by", [INT8, FLOAT_IO, GPTQ], ids=["int8", "float_io", "gptq"])
def test_an_operator_in_int16_stands_between_two_conversions(by):
    net, made = chain()
    graph = kept(net, by, in_int16=(made[1],))
    inner = [
        ("CONV_2D", "int8", "int8"), ("QUANTIZE", "int8", "int16"), ("CONV_2D", "int16", "int16"),
        ("QUANTIZE", "int16", "int8"), ("CONV_2D", "int8", "int8"),
    ]  # fmt: skip
    assert [found for found in types(graph) if "float32" not in found] == inner
    biases = {graph.tensors[each.bias].dtype for each in graph.operators if each.kind == "CONV_2D"}
    assert biases == {"int32", "int64"}


def test_neighbours_in_int16_meet_without_a_conversion():
    net, made = chain()
    graph = kept(net, in_int16=(made[0], made[1]))
    assert types(graph)[1:4] == [
        ("CONV_2D", "int16", "int16"), ("CONV_2D", "int16", "int16"), ("QUANTIZE", "int16", "int8")
    ]  # fmt: skip


def test_the_ends_keep_the_type_of_the_recipe():
    net, made = chain()
    graph = kept(net, in_int16=tuple(made))
    assert [graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)] == ["int8", "int8"]
    assert [kind for kind, _read, _written in types(graph)] == ["QUANTIZE", *["CONV_2D"] * 3, "QUANTIZE"]


def test_an_input_and_an_output_in_float_meet_int16_directly():
    net, made = chain(1)
    graph = kept(net, FLOAT_IO, in_int16=(made[0],))
    assert types(graph) == [
        ("QUANTIZE", "float32", "int16"), ("CONV_2D", "int16", "int16"), ("DEQUANTIZE", "int16", "float32")
    ]  # fmt: skip


def test_a_tensor_read_in_three_types_is_converted_once_for_each():
    net, (first,) = chain(1)
    readers = [net.conv(first, 4) for _each in range(6)]
    net.done(*readers)
    graph = kept(net, in_int16=(readers[0], readers[1]), in_float=(readers[2], readers[3]))
    conversions = sorted(found for found in types(graph) if found[0] != "CONV_2D")
    assert conversions[:2] == [("DEQUANTIZE", "int8", "float32"), ("QUANTIZE", "float32", "int8")]
    assert conversions.count(("QUANTIZE", "int8", "int16")) == 1


def test_int16_and_float_meet_without_a_detour_through_int8():
    net, made = chain()
    graph = kept(net, in_int16=(made[0],), in_float=(made[1],))
    assert types(graph)[:4] == [
        ("QUANTIZE", "int8", "int16"), ("CONV_2D", "int16", "int16"), ("DEQUANTIZE", "int16", "float32"),
        ("CONV_2D", "float32", "float32"),
    ]  # fmt: skip


def test_joints_pools_and_sums_in_int16():
    net, (first,) = chain(1)
    second = net.conv(first, 4)
    total = net.add("ADD", [first, second], MAP)
    joined = net.add("CONCATENATION", [total, second], (1, 8, 8, 8), axis=3)
    pooled = net.add("MAX_POOL_2D", [joined], (1, 4, 4, 8), **HALVE)
    last = net.conv(pooled, 4)
    graph = kept(net, in_int16=(second, total, joined, pooled, last))
    assert {found[1:] for found in types(graph) if found[0] in ("ADD", "CONCATENATION", "MAX_POOL_2D")} == {
        ("int16", "int16")
    }


def test_a_fixed_scale_in_int16():
    net, (first,) = chain(1)
    gate = net.add("LOGISTIC", [first], MAP)
    net.add("CONCATENATION", [gate, first], (1, 8, 8, 8), axis=3)
    assert ("LOGISTIC", "int16", "int16") in types(kept(net, in_int16=(gate,)))


def test_int16_reaches_outliers_that_the_recipe_gives_up():
    net, made = chain()
    clipped = msgspec.structs.replace(INT8, ranges="percentile", percentile=90.0)
    recipe = msgspec.structs.replace(clipped, keep_int16=(net.graph.tensors[made[0]].name,))
    model = net.done()
    graph, plain = (graphs.load(quantize.quantize(model, by, SAMPLES).model) for by in (recipe, clipped))
    (wide,) = (graph.tensors[each.outputs[0]] for each in graph.operators[1:2])
    narrow = plain.tensors[plain.operators[0].outputs[0]]
    assert wide.quantization is not None
    assert narrow.quantization is not None
    assert wide.quantization.scale[0] * 32767 > 1.3 * narrow.quantization.scale[0] * 255


def test_an_operator_kept_in_float_keeps_its_weights():
    net, made = chain()
    expected = net.graph.tensors[net.graph.operators[1].inputs[1]].data
    for by in (INT8, GPTQ):
        graph = kept(net, by, in_float=(made[1],))
        (conv,) = (
            each for each in graph.operators if graph.tensors[each.outputs[0]].dtype == "float32" and each.bias > 0
        )
        assert np.array_equal(graph.tensors[conv.inputs[1]].data, expected)


@pytest.mark.parametrize("field", ["keep_float", "keep_int16"])
def test_an_unknown_name_is_refused_with_the_nearest(field):
    net, made = chain()
    name = net.graph.tensors[made[1]].name
    recipe = msgspec.structs.replace(INT8, **{field: (f"{name}x",)})
    with pytest.raises(UnknownNameError, match=f"did you mean .*{name}"):
        quantize.quantize(net.done(), recipe, SAMPLES)


def test_what_contradicts_itself_or_has_no_int16_kernel_is_refused():
    net, made = chain()
    name = net.graph.tensors[made[1]].name
    model = net.done()
    with pytest.raises(UsageError, match="both name"):
        quantize.quantize(model, msgspec.structs.replace(INT8, keep_float=(name,), keep_int16=(name,)), SAMPLES)
    swish = net.graph.tensors[net.add("HARD_SWISH", [made[2]], MAP)].name
    with pytest.raises(UsageError, match="HARD_SWISH, which has no int16 kernel"):
        quantize.quantize(net.done(), msgspec.structs.replace(INT8, keep_int16=(swish,)), SAMPLES)
    assert Runner(quantize.quantize(net.done(), msgspec.structs.replace(INT8, keep_float=(swish,)), SAMPLES).model)
