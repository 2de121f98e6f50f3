"""Padding fused into convolutions: the same result to the last bit, or left alone."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, VALID, Net, answers, noise
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.errors import FileFormatError
from edgekit.graph import Graph, constant
from edgekit.quantize import simplify

SAME = constant("Padding", "SAME")


def same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The amounts before and after, by TensorFlow's documented rule."""
    reach = (kernel - 1) * dilation + 1
    total = max(kernel_overhang(size, reach, stride), 0)
    return total // 2, total - total // 2


def kernel_overhang(size: int, reach: int, stride: int) -> int:
    return reach - stride if size % stride == 0 else reach - size % stride


def padded_conv(
    kind: str, size: tuple[int, int], kernel: int, stride: int, dilation: int, amounts: list[list[int]]
) -> Net:
    """PAD, then a VALID convolution of 3 channels with everything else as told."""
    net = Net((1, *size, 3))
    padded = [number + sum(pair) for number, pair in zip(size, amounts[1:3], strict=True)]
    reach = (kernel - 1) * dilation + 1
    assume(all(number >= reach for number in padded))
    out = [(number - reach) // stride + 1 for number in padded]
    pad = net.add("PAD", [0, net.constant(amounts, "int32")], (1, *padded, 3))
    shape = (4, kernel, kernel, 3) if kind == "CONV_2D" else (1, kernel, kernel, 3)
    filters = 4 if kind == "CONV_2D" else 3
    net.add(
        kind,
        [pad, net.weights(*shape), net.weights(filters)],
        (1, *out, filters),
        padding=VALID,
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        fusedActivationFunction=RELU,
    )
    return net


def fused(model: bytes) -> tuple[bytes, Graph]:
    graph = graphs.load(model)
    simplify.fuse_padding(graph)
    graph.drop_unused()
    return graphs.dump(graph), graph


geometry = {
    "kind": st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D"]),
    "size": st.tuples(st.integers(3, 13), st.integers(3, 13)),
    "kernel": st.sampled_from([1, 2, 3, 5]),
    "stride": st.sampled_from([1, 2, 3]),
    "dilation": st.sampled_from([1, 2]),
}


@settings(max_examples=150)
@given(**geometry, delegate=st.booleans())
def test_padding_as_same_has_it_is_fused_and_changes_no_bit(kind, size, kernel, stride, dilation, delegate):
    assume(stride == 1 or dilation == 1)  # no kernel has both
    amounts = [[0, 0], *(list(same(number, kernel, stride, dilation)) for number in size), [0, 0]]
    net = padded_conv(kind, size, kernel, stride, dilation, amounts)
    model = net.done()
    found, graph = fused(model)
    assert [operator.kind for operator in graph.operators] == [kind]
    assert graph.operators[0].options.padding == SAME
    (sample,) = noise(1, *size, 3, count=1)
    before, after = answers(model, sample, delegate=delegate)[0], answers(found, sample, delegate=delegate)[0]
    assert before.shape == after.shape
    assert (before == after).all()


amounts_of_any_kind = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=150)
@given(**geometry, rows=amounts_of_any_kind, columns=amounts_of_any_kind)
def test_padding_that_same_would_not_add_is_left_alone(kind, size, kernel, stride, dilation, rows, columns):
    wanted = [same(number, kernel, stride, dilation) for number in size]
    assume([rows, columns] != wanted)
    net = padded_conv(kind, size, kernel, stride, dilation, [[0, 0], list(rows), list(columns), [0, 0]])
    found, graph = fused(net.done())
    assert [operator.kind for operator in graph.operators] == ["PAD", kind]
    assert graph.operators[1].options.padding == VALID
    assert found == graphs.dump(graphs.load(found))


@pytest.mark.parametrize("amounts", [[[1, 0], [0, 1], [0, 1], [0, 0]], [[0, 0], [0, 1], [0, 1], [0, 1]]])
def test_padding_of_batch_or_channels_is_left_alone(amounts):
    net = Net((1, 8, 8, 3))
    shape = tuple(number + sum(pair) for number, pair in zip((1, 8, 8, 3), amounts, strict=True))
    pad = net.add("PAD", [0, net.constant(amounts, "int32")], shape)
    kernel = net.weights(4, 3, 3, shape[3])
    net.add("CONV_2D", [pad, kernel, net.weights(4)], (shape[0], 4, 4, 4), padding=VALID, strideH=2, strideW=2)
    assert [operator.kind for operator in fused(net.done())[1].operators] == ["PAD", "CONV_2D"]


def _readers(net: Net, pad: int, *strides: int) -> list[int]:
    return [
        net.add(
            "CONV_2D",
            [pad, net.weights(4, 3, 3, 3), net.weights(4)],
            (1, 8 // stride, 8 // stride, 4),
            padding=VALID,
            strideH=stride,
            strideW=stride,
        )
        for stride in strides
    ]


def _padded(net: Net, amounts: list[int]) -> int:
    rows = net.constant([[0, 0], amounts, amounts, [0, 0]], "int32")
    return net.add("PAD", [0, rows], (1, 8 + sum(amounts), 8 + sum(amounts), 3))


def test_padding_with_two_readers_is_fused_when_it_suits_both():
    net = Net((1, 8, 8, 3))
    model = net.done(*_readers(net, _padded(net, [1, 1]), 1, 1))
    found, graph = fused(model)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "CONV_2D"]
    (sample,) = noise(1, 8, 8, 3, count=1)
    for before, after in zip(answers(model, sample), answers(found, sample), strict=True):
        assert (before == after).all()


def test_padding_with_two_readers_stays_when_it_suits_one():
    net = Net((1, 8, 8, 3))
    pad = _padded(net, [1, 1])
    (conv,) = _readers(net, pad, 1)
    pooled = net.add("MAX_POOL_2D", [pad], (1, 8, 8, 3), filterHeight=3, filterWidth=3, strideH=1, strideW=1, padding=1)
    assert [operator.kind for operator in fused(net.done(conv, pooled))[1].operators] == [
        "PAD", "CONV_2D", "MAX_POOL_2D"
    ]  # fmt: skip


def test_padding_that_is_an_output_stays():
    net = Net((1, 8, 8, 3))
    pad = _padded(net, [1, 1])
    (conv,) = _readers(net, pad, 1)
    assert "PAD" in [operator.kind for operator in fused(net.done(conv, pad))[1].operators]


def test_padding_before_a_convolution_that_pads_by_itself_stays():
    net = Net((1, 8, 8, 3))
    net.conv(_padded(net, [1, 1]), 4, 3)
    model = net.done()
    found, graph = fused(model)
    assert [operator.kind for operator in graph.operators] == ["PAD", "CONV_2D"]
    (sample,) = noise(1, 8, 8, 3, count=1)
    assert (np.asarray(answers(model, sample)) == np.asarray(answers(found, sample))).all()


def test_padding_whose_amounts_are_computed_stays():
    net = Net((1, 8, 8, 3))
    amounts = net.constant([0, 0, 1, 1, 1, 1, 0, 0], "int32")
    shaped = net.add("RESHAPE", [amounts, net.constant([4, 2], "int32")], (4, 2))
    net.graph.tensors[shaped].dtype = "int32"
    pad = net.add("PAD", [0, shaped], (1, 10, 10, 3))
    _readers(net, pad, 1)
    assert [operator.kind for operator in fused(net.done())[1].operators] == ["RESHAPE", "PAD", "CONV_2D"]


# Tensors that hold nothing.


def _with_empty(net: Net, data: int) -> int:
    first, size = (net.constant(four, "int32") for four in ([0] * 4, [1, 0, 8, 4]))
    return net.add("SLICE", [data, first, size], (1, 0, 8, 4))


@pytest.mark.parametrize("name", ["float32", "int8", "int8_fast"])
def test_an_empty_part_of_a_concatenation_is_left_out(name):
    net = Net((1, 8, 8, 3))
    data = net.conv(0, 4, 3)
    joined = net.add("CONCATENATION", [data, _with_empty(net, data)], (1, 8, 8, 4), axis=1)
    model = net.done(net.conv(joined, 5, 3))
    samples = noise(1, 8, 8, 3, count=6)
    made = quantize.quantize(model, recipe.find(name), samples).model
    assert "SLICE" not in [operator.kind for operator in graphs.load(made).operators]
    for sample in samples:
        (expected,), (answer,) = answers(model, sample), answers(made, sample)
        assert np.abs(answer - expected).max() <= 0.05 * np.ptp(expected)


def test_an_empty_tensor_that_is_computed_with_is_named():
    net = Net((1, 8, 8, 3))
    empty = _with_empty(net, net.conv(0, 4, 3))
    net.add("RELU", [empty], (1, 0, 8, 4))
    with pytest.raises(FileFormatError, match=r"'slice\d+' holds no values: its shape is \(1, 0, 8, 4\)"):
        quantize.quantize(net.done(), recipe.find("float32"))


def padded_maximum(value: float, activation: int | None) -> Net:
    """A convolution, padding with a value, a maximum over windows, as PyTorch pads its pools."""
    net = Net((1, 7, 7, 3))
    data = net.conv(0, 4, 3, fusedActivationFunction=RELU) if activation else net.conv(0, 4, 3)
    height, width = net.graph.tensors[data].shape[1:3]
    amounts = net.constant([[0, 0], [1, 1], [1, 1], [0, 0]], "int32")
    pad = net.add("PADV2", [data, amounts, net.constant(value)], (1, height + 2, width + 2, 4))
    sizes = {"filterHeight": 3, "filterWidth": 3, "strideH": 2, "strideW": 2, "padding": VALID}
    net.add("MAX_POOL_2D", [pad], (1, (height - 1) // 2 + 1, (width - 1) // 2 + 1, 4), **sizes)
    return net


@pytest.mark.parametrize("value", [float("-inf"), float(np.finfo(np.float32).min), -1.0])
def test_maxima_of_what_is_never_negative_pad_with_zeros(value: float) -> None:
    content = padded_maximum(value, RELU).done()
    graph = graphs.load(content)
    simplify.pad_with_zeros(graph)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "PAD", "MAX_POOL_2D"]
    (sample,) = noise(1, 7, 7, 3, count=1)
    np.testing.assert_array_equal(answers(graphs.dump(graph), sample), answers(content, sample))


@pytest.mark.parametrize(("value", "activation"), [(float("-inf"), None), (0.0, RELU), (3.0, RELU)])
def test_other_paddings_stay(value: float, activation: int | None) -> None:
    graph = graphs.load(padded_maximum(value, activation).done())
    simplify.pad_with_zeros(graph)
    assert "PADV2" in [operator.kind for operator in graph.operators]


@pytest.mark.parametrize("kind", ["RESHAPE", "SQUEEZE"])
def test_a_mean_gives_a_matrix_by_itself(kind: str) -> None:
    net = Net((1, 5, 5, 3))
    mean = net.add("MEAN", [0, net.constant([1, 2], "int32")], (1, 1, 1, 3), keepDims=True)
    flat = [mean, net.constant([1, 3], "int32")] if kind == "RESHAPE" else [mean]
    last = net.add(kind, flat, (1, 3), **({} if kind == "RESHAPE" else {"squeezeDims": [1, 2]}))
    net.add("FULLY_CONNECTED", [last, net.weights(4, 3)], (1, 4))
    content = net.done()
    graph = graphs.load(content)
    simplify.flatten_means(graph)
    assert [operator.kind for operator in graph.operators] == ["MEAN", "FULLY_CONNECTED"]
    (sample,) = noise(1, 5, 5, 3, count=1)
    np.testing.assert_array_equal(answers(graphs.dump(graph), sample), answers(content, sample))


def test_a_mean_that_others_read_as_a_map_stays() -> None:
    net = Net((1, 5, 5, 3))
    mean = net.add("MEAN", [0, net.constant([1, 2], "int32")], (1, 1, 1, 3), keepDims=True)
    net.add("MUL", [0, mean], (1, 5, 5, 3))
    net.add("RESHAPE", [mean, net.constant([1, 3], "int32")], (1, 3))
    graph = graphs.load(net.done())
    simplify.flatten_means(graph)
    assert [operator.kind for operator in graph.operators] == ["MEAN", "MUL", "RESHAPE"]


def test_clamps_to_one_become_what_has_integer_kernels() -> None:
    net = Net((1, 5, 5, 3))
    clamped = net.add("RELU_0_TO_1", [net.conv(0, 4, 3)], (1, 5, 5, 4))
    net.conv(clamped, 2)
    content = net.done()
    graph = graphs.load(content)
    simplify.split_unit_clamps(graph)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "RELU", "MINIMUM", "CONV_2D"]
    samples = noise(1, 5, 5, 3)
    for sample in samples:
        np.testing.assert_array_equal(answers(graphs.dump(graph), sample), answers(content, sample))
    made = graphs.load(quantize.quantize(content, recipe.find("int8_fast"), samples).model)
    computed = [made.tensors[index].dtype for operator in made.operators for index in operator.outputs]
    assert "float32" not in computed
