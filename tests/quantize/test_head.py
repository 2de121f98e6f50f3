"""The end of a classifier: logits in integers, probabilities in float."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net, answers, noise

from edgekit import evaluate, quantize, recipe
from edgekit import graph as graphs
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
        ("int8", "probabilities"),
        ("int8_full", "logits"),
        ("int8_fast", "logits"),
        ("int16x8", "logits"),
    ],
)
def test_what_each_recipe_ends_in(name, kind):
    net, _logits, probabilities = classifier()
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find(name), SAMPLES).model
    graph = graphs.load(found)
    assert head.output_kind(graph) == kind
    assert ("SOFTMAX" in [operator.kind for operator in graph.operators]) == (kind == "probabilities")
    for sample in SAMPLES:
        answer = answers(found, sample)[0]
        powers = answer if kind == "probabilities" else np.exp(answer)
        np.testing.assert_allclose(powers / powers.sum(), answers(model, sample)[0], atol=0.02)


def test_the_softmax_of_the_logits_gives_the_probabilities_and_their_order():
    net, _logits, probabilities = classifier()
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find("int16x8"), SAMPLES).model
    for sample in SAMPLES:
        raised = np.exp(answers(found, sample)[0])
        np.testing.assert_allclose(raised / raised.sum(), answers(model, sample)[0], atol=0.01)


def test_a_softmax_that_stays_is_float():
    net, _logits, probabilities = classifier()
    plain = recipe.Recipe("plain", weights="int8", activations="int8", io="float32")
    graph = graphs.load(quantize.quantize(net.done(probabilities), plain, SAMPLES).model)
    assert [operator.kind for operator in graph.operators] == ["QUANTIZE", "CONV_2D", "MEAN", "DEQUANTIZE", "SOFTMAX"]


def test_a_fitted_head_averages_in_float_before_a_float_output():
    net, _logits, probabilities = classifier()
    fitted = recipe.Recipe("fitted", weights="int8", activations="int8", io="int8", float_output=True, fit_head=True)
    graph = graphs.load(quantize.quantize(net.done(probabilities), fitted, SAMPLES).model)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "DEQUANTIZE", "MEAN", "SOFTMAX"]
    assert (graph.tensors[graph.inputs[0]].dtype, graph.tensors[graph.outputs[0]].dtype) == ("int8", "float32")


def test_a_dense_layer_after_the_last_map_keeps_its_int8_weights_and_answers_in_float():
    net = Net((1, 4, 4, 3))
    pooled = net.add("MEAN", [net.conv(0, 8), net.constant([1, 2], "int32")], (1, 8))
    logits = net.add("FULLY_CONNECTED", [pooled, net.weights(CLASSES, 8), net.weights(CLASSES)], (1, CLASSES))
    model = net.done(net.add("SOFTMAX", [logits], (1, CLASSES), beta=1.0))
    found = quantize.quantize(model, recipe.find("int8_float_io"), SAMPLES).model
    graph = graphs.load(found)
    dense = next(operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED")
    assert [graph.tensors[index].dtype for index in dense.inputs] == ["float32", "int8", "float32"]
    for sample in SAMPLES:
        np.testing.assert_allclose(answers(found, sample)[0], answers(model, sample)[0], atol=0.02)


def test_a_map_before_the_pooling_is_no_part_of_the_head():
    net, logits, probabilities = classifier()
    net.done(probabilities)
    assert [net.graph.tensors[index].name for index in sorted(head.after_last_map(net.graph))] == [
        net.graph.tensors[logits].name
    ]


def test_small_logits_make_room_for_finer_steps_as_long_as_the_distribution_stays():
    random = np.random.default_rng(0)
    logits = [np.concatenate([random.uniform(-30, -10, 95), random.uniform(10, 20, 5)]) for _ in range(20)]
    low, high = head.fitted_range(logits, (-30.0, 20.0))
    assert high == 20.0
    assert -10 <= low <= 0
    even = [random.uniform(-2, 2, 10) for _ in range(20)]  # every class counts
    assert head.fitted_range(even, (-2.0, 2.0))[0] < -1.2


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


@pytest.mark.parametrize("name", ["int8_full", "int16x8"])
def test_a_softmax_with_a_temperature_stays_float_behind_integer_ends(name):
    net, _logits, probabilities = classifier(beta=2.0)
    model = net.done(probabilities)
    found = quantize.quantize(model, recipe.find(name), SAMPLES).model
    graph = graphs.load(found)
    kinds = [operator.kind for operator in graph.operators if operator.kind != "RESHAPE"]
    assert kinds == ["CONV_2D", "MEAN", "DEQUANTIZE", "SOFTMAX", "QUANTIZE"]
    assert head.output_kind(graph) == "logits" or graph.tensors[graph.outputs[0]].dtype == recipe.find(name).io
    for sample in SAMPLES:
        np.testing.assert_allclose(answers(found, sample)[0], answers(model, sample)[0], atol=0.03)


def test_of_several_outputs_none_is_dropped():
    net, logits, probabilities = classifier()
    graph = graphs.load(net.done(probabilities, logits))
    assert head.final_softmax(graph) is None
    head.drop_softmax(graph)
    assert len(graph.outputs) == 2


# What the card says of the output.


def test_probabilities_behind_a_change_of_shape_are_probabilities():
    net, _logits, probabilities = classifier()
    flat = net.add("RESHAPE", [probabilities, net.constant([CLASSES], "int32")], (CLASSES,))
    for name in ("float32", "int8"):
        made = quantize.quantize(net.done(flat), recipe.find(name), SAMPLES).model
        assert head.output_kind(graphs.load(made)) == "probabilities"


def test_the_first_of_several_outputs_is_what_the_card_speaks_of():
    net, logits, probabilities = classifier()
    for outputs, kind in (((probabilities, logits), "probabilities"), ((logits, probabilities), "logits")):
        made = quantize.quantize(net.done(*outputs), recipe.find("float32")).model
        assert head.output_kind(graphs.load(made)) == kind


@pytest.mark.parametrize("name", ["float32", "int8_fast", "int8"])
def test_a_sigmoid_gives_scores_and_no_logits(name):
    """A softmax of what a card calls logits is what eval judges; of scores it would flatten every difference."""
    net = Net((1, 4, 4, 3))
    mean = net.add("MEAN", [net.conv(0, CLASSES), net.constant([1, 2], "int32")], (1, CLASSES))
    model = net.done(net.add("LOGISTIC", [mean], (1, CLASSES)))
    made = quantize.quantize(model, recipe.find(name), SAMPLES).model
    kind = head.output_kind(graphs.load(made))
    assert kind == "scores"
    scores = answers(made, SAMPLES[0])[0].reshape(-1)
    np.testing.assert_allclose(evaluate.probabilities(scores, kind), scores / scores.sum(), atol=1e-6)
    assert evaluate.probabilities(np.zeros(4, np.float32), kind).sum() == pytest.approx(1)
