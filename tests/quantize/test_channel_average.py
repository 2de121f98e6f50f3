"""Averages over channels as 1x1 convolutions: the same numbers, or left alone."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, VALID, Net, answers, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_graphs import kinds

from edgekit import graph as graphs
from edgekit.graph import Graph, constant
from edgekit.quantize.channel_average import average_by_convolution

SAME = constant("Padding", "SAME")


def average(
    net: Net,
    window: int = 5,
    before: int | None = None,
    arithmetic: tuple[tuple[str, object], ...] = (("MUL", 1e-2), ("ADD", 1.0)),
    **options: object,
) -> list[int]:
    """The operators that Keras makes of an average over channels, of the input; the tensors that they write."""
    batch, height, width, channels = net.graph.tensors[0].shape
    before = window // 2 if before is None else before
    columns = (batch, height * width, channels, 1)
    made = [net.add("RESHAPE", [0, net.constant(columns, "int32")], columns, newShape=list(columns))]
    amounts = net.constant([[0, 0], [0, 0], [before, window - 1 - before], [0, 0]], "int32")
    made.append(net.add("PAD", [made[-1], amounts], (batch, height * width, channels + window - 1, 1)))
    pool = {"filterHeight": 1, "filterWidth": window, "strideH": 1, "strideW": 1, "padding": VALID} | options
    made.append(net.add("AVERAGE_POOL_2D", [made[-1]], columns, **pool))
    for kind, value in arithmetic:
        made.append(net.add(kind, [made[-1], net.constant(value)], columns))
    shape = (batch, height, width, channels)
    made.append(net.add("RESHAPE", [made[-1], net.constant(shape, "int32")], shape, newShape=list(shape)))
    return made


def replaced(model: bytes) -> tuple[bytes, Graph]:
    graph = graphs.load(model)
    average_by_convolution(graph)
    graph.drop_unused()
    return graphs.dump(graph), graph


@settings(max_examples=80)
@given(
    shape=st.tuples(st.sampled_from([1, 2]), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20)),
    window=st.integers(1, 6),
    data=st.data(),
    arithmetic=st.lists(
        st.tuples(st.sampled_from(["MUL", "ADD"]), st.floats(-2, 2, width=32, allow_subnormal=False)), max_size=4
    ),
    delegate=st.booleans(),
)
def test_any_window_and_any_arithmetic_give_the_same_numbers(shape, window, data, arithmetic, delegate):
    net = Net(shape)
    average(net, window, data.draw(st.integers(0, window - 1)), tuple(arithmetic))
    model = net.done()
    found, graph = replaced(model)
    assert kinds(graph) == ["CONV_2D"]
    (sample,) = noise(*shape, count=1)
    (before,), (after,) = (answers(content, sample, delegate=delegate) for content in (model, found))
    assert before.shape == after.shape
    assert abs(before - after).max() <= 1e-5 * max(1, abs(before).max())


def test_the_average_of_one_neighbour_on_either_side():
    net = Net((1, 1, 1, 4))
    average(net, 3, arithmetic=())
    (found,) = answers(replaced(net.done())[0], np.array([3, 6, 12, 0], np.float32).reshape(1, 1, 1, 4))
    assert found.reshape(-1).tolist() == pytest.approx([3, 7, 6, 4])


def test_what_comes_before_and_after_stays():
    net = Net((1, 6, 6, 8))
    last = average(net)[-1]
    net.conv(last, 4)
    model = net.done()
    found, graph = replaced(model)
    assert kinds(graph) == ["CONV_2D", "CONV_2D"]
    (sample,) = noise(1, 6, 6, 8, count=1)
    assert answers(found, sample)[0] == pytest.approx(answers(model, sample)[0], abs=1e-5)


def test_two_averages_are_both_replaced():
    net = Net((1, 6, 6, 8))
    ends = average(net)[-1], average(net, 3, arithmetic=())[-1]
    _found, graph = replaced(net.done(*ends))
    assert kinds(graph) == ["CONV_2D", "CONV_2D"]
    assert [graph.tensors[index].shape for index in graph.outputs] == [(1, 6, 6, 8)] * 2


@pytest.mark.parametrize("step", range(5))
def test_an_average_whose_middle_is_an_output_stays(step):
    net = Net((1, 6, 6, 8))
    made = average(net)
    model = net.done(made[step], made[-1])
    assert "AVERAGE_POOL_2D" in kinds(replaced(model)[1])


@pytest.mark.parametrize("step", range(5))
def test_an_average_whose_middle_has_another_reader_stays(step):
    net = Net((1, 6, 6, 8))
    made = average(net)
    seen = net.add("RELU", [made[step]], net.graph.tensors[made[step]].shape)
    assert "AVERAGE_POOL_2D" in kinds(replaced(net.done(seen, made[-1]))[1])


@pytest.mark.parametrize(
    "options",
    [{"padding": SAME}, {"fusedActivationFunction": RELU}, {"strideW": 2}, {"filterHeight": 2}],
)
def test_other_pools_stay(options):
    net = Net((1, 6, 6, 8))
    average(net, **options)
    assert "AVERAGE_POOL_2D" in kinds(_rewritten(net))


@pytest.mark.parametrize(
    "arithmetic", [(("MUL", np.ones((1, 36, 8, 1))),), (("SUB", 1.0),)], ids=["not one number", "a difference"]
)
def test_other_arithmetic_stays(arithmetic):
    net = Net((1, 6, 6, 8))
    average(net, arithmetic=arithmetic)
    assert "AVERAGE_POOL_2D" in kinds(_rewritten(net))


def test_an_activation_in_the_arithmetic_stays():
    net = Net((1, 6, 6, 8))
    average(net)
    net.graph.operators[-2].options.fusedActivationFunction = RELU
    assert "AVERAGE_POOL_2D" in kinds(_rewritten(net))


@pytest.mark.parametrize("amounts", [[[0, 0], [1, 0], [2, 2], [0, 0]], [[0, 0], [0, 0], [2, 1], [0, 0]]])
def test_other_padding_stays(amounts):
    net = Net((1, 6, 6, 8))
    average(net)
    net.graph.tensors[net.graph.operators[1].inputs[1]].data = np.array(amounts, np.int32)
    assert "AVERAGE_POOL_2D" in kinds(_rewritten(net))


def test_an_average_that_ends_in_another_shape_stays():
    net = Net((1, 6, 6, 8))
    average(net)
    net.graph.tensors[net.graph.operators[-1].outputs[0]].shape = (1, 36, 8)
    assert "AVERAGE_POOL_2D" in kinds(_rewritten(net))


def test_an_ordinary_average_pool_stays():
    net = Net((1, 6, 6, 8))
    options = {"filterHeight": 6, "filterWidth": 6, "strideH": 1, "strideW": 1, "padding": VALID}
    net.add("AVERAGE_POOL_2D", [0], (1, 1, 1, 8), **options)
    assert kinds(_rewritten(net)) == ["AVERAGE_POOL_2D"]


def _rewritten(net: Net) -> Graph:
    """Without a look at whether the runtime could run it."""
    average_by_convolution(net.graph)
    return net.graph


@pytest.mark.export
def test_what_the_converter_makes_of_local_response_normalisation_is_replaced():
    from edgekit import convert
    from edgekit.models import layers

    convert.import_keras()
    import keras

    image = keras.Input((8, 8, 12), name="image")
    model = convert.to_float_tflite(keras.Model(image, layers.local_response_norm(image)))
    found, graph = replaced(model)
    assert not {"AVERAGE_POOL_2D", "PAD", "RESHAPE", "ADD"} & set(kinds(graph))
    (sample,) = noise(1, 8, 8, 12, count=1)
    assert answers(found, 30 * sample)[0] == pytest.approx(answers(model, 30 * sample)[0], rel=1e-5, abs=1e-6)
