"""Activations that saturation does anyway: dropped without a change of any bit, and only then."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from float_graphs import RELU, Net
from int8_graphs import SCALE, assert_same_bits, finished, scales, stored

from edgekit.graph import Graph, constant
from edgekit.quantize import clamps

RELU6 = constant("ActivationFunctionType", "RELU6")
NONE = constant("ActivationFunctionType", "NONE")


def summed(kind: str, activation: int, scale: float, zero_point: int) -> Graph:
    net = Net((1, 6, 6, 8))
    net.add(kind, [0, net.conv(0, 8, 3)], (1, 6, 6, 8), fusedActivationFunction=activation)
    graph = stored(net)
    graph.tensors[graph.outputs[0]].quantization = scales([scale], zero_point)
    return graph


@pytest.mark.parametrize(
    ("kind", "activation", "scale", "zero_point", "dropped"),
    [
        *((kind, RELU, SCALE, -128, True) for kind in ("ADD", "MUL", "SUB")),
        ("ADD", RELU, SCALE, -127, False),
        ("ADD", RELU, SCALE, 0, False),
        ("ADD", RELU6, 6 / 255, -128, True),
        ("ADD", RELU6, 5 / 255, -128, True),
        ("ADD", RELU6, 6.1 / 255, -128, False),
        ("ADD", RELU6, 6 / 255, -100, False),
    ],
)
def test_an_activation_is_dropped_where_nothing_lies_beyond_it(kind, activation, scale, zero_point, dropped):
    graph = summed(kind, activation, scale, zero_point)
    before = finished(graph)
    clamps.drop_clamps(graph)
    after = finished(graph)
    assert graph.operators[-1].options.fusedActivationFunction == (NONE if dropped else activation)
    for delegate in (True, False):
        assert_same_bits(before, after, delegate=delegate)


def test_every_value_of_both_inputs_gives_the_same():
    net = Net((1, 256, 256, 1), (1, 256, 256, 1))
    net.add("ADD", [0, 1], (1, 256, 256, 1), fusedActivationFunction=RELU)
    graph = stored(net, zero_point=-128)
    for index, zero_point in zip(graph.inputs, (5, -20), strict=True):
        graph.tensors[index].quantization = scales([SCALE], zero_point)
    before = finished(graph)
    clamps.drop_clamps(graph)
    after = finished(graph)
    assert before != after
    values = np.array(list(itertools.product(range(-128, 128), repeat=2)), np.int8)
    assert (both(before, values) == both(after, values)).all()
    assert both(after, values).min() == -128


def both(model: bytes, values: np.ndarray) -> np.ndarray:
    from edgekit.runtime import Runner

    runner = Runner(model)
    for position in range(2):
        runner.set_input(values[:, position].copy(), position)
    runner.invoke()
    return runner.get_output()


def test_float_sums_and_convolutions_keep_theirs():
    net = Net((1, 6, 6, 8))
    net.add("ADD", [0, net.conv(0, 8, 3, fusedActivationFunction=RELU)], (1, 6, 6, 8), fusedActivationFunction=RELU)
    graph = net.graph
    clamps.drop_clamps(graph)
    assert [operator.options.fusedActivationFunction for operator in graph.operators] == [RELU, RELU]
    graph = stored(net, zero_point=-128)
    clamps.drop_clamps(graph)
    assert [operator.options.fusedActivationFunction for operator in graph.operators] == [RELU, NONE]
