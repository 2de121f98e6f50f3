"""The end of a classifier: logits in integers, probabilities in float."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net, answers, noise

from edgekit import graph as graphs
from edgekit import quantize, recipe
from edgekit.quantize import head

SAMPLES = noise(1, 4, 4, 3, count=6)
CLASSES = 5


def classifier(beta: float = 1.0) -> tuple[Net, int, int]:
    """A net with its logits and probabilities."""
    net = Net((1, 4, 4, 3))
    logits = net.add("MEAN", [net.conv(0, CLASSES), net.constant([1, 2], "int32")], (1, CLASSES))
    return net, logits, net.add("SOFTMAX", [logits], (1, CLASSES), beta=beta)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("float32", "probabilities"),
        ("float16", "probabilities"),
        ("int8_weights", "probabilities"),
        ("int8_float_io", "probabilities"),
        ("int8", "logits"),
        ("int16x8", "logits"),
    ],
)
def test_what_each_recipe_ends_in(name, kind):
    net, logits, probabilities = classifier()
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find(name), SAMPLES)
    graph = graphs.load(found)
    assert head.output_kind(graph) == kind
    assert ("SOFTMAX" in [operator.kind for operator in graph.operators]) == (kind == "probabilities")
    expected = net.done(probabilities if kind == "probabilities" else logits)
    for sample in SAMPLES:
        np.testing.assert_allclose(answers(found, sample)[0], answers(expected, sample)[0], atol=0.05)


def test_the_softmax_of_the_logits_gives_the_probabilities_and_their_order():
    net, _logits, probabilities = classifier()
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find("int16x8"), SAMPLES)
    for sample in SAMPLES:
        raised = np.exp(answers(found, sample)[0])
        np.testing.assert_allclose(raised / raised.sum(), answers(model, sample)[0], atol=0.01)


def test_a_softmax_that_stays_is_float():
    net, _logits, probabilities = classifier()
    graph = graphs.load(quantize.quantize(net.done(probabilities), recipe.find("int8_float_io"), SAMPLES))
    assert [operator.kind for operator in graph.operators] == ["QUANTIZE", "CONV_2D", "MEAN", "DEQUANTIZE", "SOFTMAX"]


def test_logits_at_the_end_are_left_as_they_are():
    net = Net((1, 4, 4, 3))
    net.add("MEAN", [net.conv(0, CLASSES), net.constant([1, 2], "int32")], (1, CLASSES))
    graph = graphs.load(net.done())
    head.drop_softmax(graph)
    assert (len(graph.operators), head.output_kind(graph)) == (2, "logits")


def test_a_softmax_that_something_else_reads_stays():
    net, _logits, probabilities = classifier()
    graph = graphs.load(net.done(probabilities))
    graph.operators.append(graphs.Operator("NEG", [graph.outputs[0]], [0]))
    head.drop_softmax(graph)
    assert "SOFTMAX" in [operator.kind for operator in graph.operators]


@pytest.mark.parametrize("name", ["int8", "int16x8"])
def test_a_softmax_with_a_temperature_stays_float_behind_integer_ends(name):
    net, _logits, probabilities = classifier(beta=2.0)
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find(name), SAMPLES)
    graph = graphs.load(found)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "MEAN", "DEQUANTIZE", "SOFTMAX", "QUANTIZE"]
    assert head.output_kind(graph) == "logits" or graph.tensors[graph.outputs[0]].dtype == recipe.find(name).io
    for sample in SAMPLES:
        np.testing.assert_allclose(answers(found, sample)[0], answers(model, sample)[0], atol=0.03)


def test_of_several_outputs_none_is_dropped():
    net, logits, probabilities = classifier()
    graph = graphs.load(net.done(probabilities, logits))
    assert head.final_softmax(graph) is None
    head.drop_softmax(graph)
    assert len(graph.outputs) == 2
