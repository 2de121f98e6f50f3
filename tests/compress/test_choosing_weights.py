"""Gradients are those of the answer, and codes are chosen for the bits and the loss that they cost."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import RELU, Net, noise

from edgekit import graph as graphs
from edgekit.compress import gradients, pruning, ratedistortion, sharing
from edgekit.compress.ratedistortion import Problem
from edgekit.errors import UsageError
from edgekit.graph import Array, Graph
from edgekit.runtime import Runner

GENERATOR = np.random.default_rng(3)


def classifier() -> Graph:
    """Every operator whose gradient is known, in a network of a few hundred weights."""
    net = Net((1, 8, 8, 4), seed=2)
    start = net.graph.inputs[0]
    first = net.conv(start, 6, 3, strideH=2, strideW=2, fusedActivationFunction=RELU)
    depth = net.add(
        "DEPTHWISE_CONV_2D",
        [first, net.weights(1, 3, 3, 6), net.weights(6)],
        (1, 4, 4, 6),
        fusedActivationFunction=RELU,
    )
    left, right = net.conv(depth, 4, fusedActivationFunction=RELU), net.conv(depth, 4, 3)
    both = net.add("CONCATENATION", [left, right], (1, 4, 4, 8), axis=3)
    summed = net.add("ADD", [both, net.conv(both, 8)], (1, 4, 4, 8))
    window = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2}
    pooled = net.add("MAX_POOL_2D", [summed], (1, 2, 2, 8), **window)
    mean = net.add("MEAN", [pooled, net.constant([1, 2], "int32")], (1, 8))
    net.add("FULLY_CONNECTED", [mean, net.weights(5, 8), net.weights(5)], (1, 5))
    net.done()
    return net.graph


def logits(graph: Graph, samples: list[Array]) -> list[Array]:
    runner = Runner(graphs.dump(graph))
    return [runner.run(sample).reshape(-1).astype(np.float64) for sample in samples]


def divergence(before: Array, after: Array) -> float:
    p, q = (np.exp(each - each.max()) / np.exp(each - each.max()).sum() for each in (before, after))
    return float((p * np.log(p / q)).sum())


def test_curvature_predicts_the_divergence_that_errors_cause() -> None:
    graph, samples = classifier(), noise(1, 8, 8, 4, count=100)
    found = gradients.curvatures(graph, samples)
    assert found is not None
    before = logits(graph, samples)
    for operator in graph.operators:
        tensor = graph.tensors[operator.inputs[1]] if operator.has_weights else None
        if tensor is None or tensor.data is None:
            continue
        kept, measured = tensor.data, []
        scale = 0.02 * float(np.sqrt((kept.astype(np.float64) ** 2).mean()))
        for _ in range(60):
            tensor.data = kept + GENERATOR.normal(0, scale, kept.shape).astype(np.float32)
            measured.append(np.mean(list(map(divergence, before, logits(graph, samples)))))
        tensor.data = kept
        curvature = found[operator.inputs[1]]
        assert curvature.inputs is not None
        predicted = scale**2 * sum(np.trace(each) for each in curvature.inputs) / curvature.samples
        assert 0.5 < predicted / np.mean(measured) < 2, tensor.name


def test_an_unknown_operator_gives_no_gradients() -> None:
    net = Net((1, 4, 4, 3))
    net.add("ABS", [net.conv(net.graph.inputs[0], 4)], (1, 4, 4, 4))
    net.done()
    assert gradients.curvatures(net.graph, noise(1, 4, 4, 3)) is None


def problem(outputs: int = 24, width: int = 40) -> Problem:
    inputs = GENERATOR.normal(0, 1, (2000, width)) @ GENERATOR.normal(0, 0.4, (width, width))
    weights = GENERATOR.laplace(0, 0.1, (1, outputs, width))
    floor = np.abs(weights).max(2) / ratedistortion.LIMIT
    return Problem(weights, (inputs.T @ inputs)[None] / len(inputs), np.ones((1, outputs)), floor)


def test_a_higher_price_buys_fewer_bits_at_a_greater_loss() -> None:
    given = problem()
    found = [ratedistortion.choose(given, price) for price in (1e-7, 1e-5, 1e-3)]
    assert found[0].bits > found[1].bits > found[2].bits
    assert found[0].loss_nats < found[1].loss_nats < found[2].loss_nats
    assert all(np.abs(each.codes).max() <= ratedistortion.LIMIT for each in found)


def test_choosing_by_price_beats_rounding_to_as_coarse_steps() -> None:
    given = problem()
    found = ratedistortion.choose(given, 1e-4)

    def plain(step: float) -> tuple[float, float]:
        codes = np.rint(given.weights / step)
        counts = np.unique(codes, return_counts=True)[1]
        missed = codes * step - given.weights
        loss = ((missed @ given.curvature) * missed).sum()
        return float((counts * -np.log2(counts / codes.size)).sum()), float(loss)

    steps = found.steps.mean() * np.geomspace(0.1, 3, 200)
    alike = min((plain(step) for step in steps), key=lambda pair: abs(pair[0] - found.bits))
    assert alike[0] == pytest.approx(found.bits, rel=0.05)
    assert found.loss_nats < 0.7 * alike[1]


def test_steps_lie_on_a_grid_and_leave_room_for_every_weight() -> None:
    given = problem()
    found = ratedistortion.choose(given, 1e-6)
    exponents = np.log2(found.steps) * 4
    assert np.allclose(exponents, np.rint(exponents), atol=1e-4)
    assert (found.steps >= given.floor * (1 - 1e-6)).all()


def test_surgery_loses_less_than_magnitude() -> None:
    given = problem()
    weights, curvature = given.weights[0], given.curvature[0]

    def loss(pruned: Array) -> float:
        missed = pruned - weights
        return float(((missed @ curvature) * missed).sum())

    plain, careful = pruning.by_magnitude(weights, 0.6), pruning.by_surgery(weights, curvature, 0.6)
    assert (plain == 0).mean() == pytest.approx(0.6, abs=0.01)
    assert (careful == 0).mean() == pytest.approx(0.6, abs=0.03)
    assert loss(careful) < 0.6 * loss(plain)
    with pytest.raises(UsageError, match="share of zeros"):
        pruning.by_magnitude(weights, 1.5)


def test_sparsity_goes_where_it_costs_least() -> None:
    steps = (0.0, 0.5, 0.9)
    found = pruning.layer_sparsities(
        {"minds": (0, 5, 50), "minds not": (0, 0.1, 0.3)}, steps, {"minds": 100, "minds not": 100}, 0.45
    )
    assert found == {"minds": 0.0, "minds not": 0.9}


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_a_codebook_keeps_zero_and_comes_near(start: sharing.Start) -> None:
    values = np.where(GENERATOR.random(5000) < 0.5, 0, GENERATOR.normal(0, 1, 5000))
    book = sharing.codebook(values, 32, start)
    assert len(book) == 32 and (np.diff(book) >= 0).all() and 0 in book
    made = sharing.shared(values, book)
    assert ((made == 0) == (values == 0)).mean() > 0.9
    assert ((made - values) ** 2).mean() < 0.01


def test_feedback_and_importance_lose_less() -> None:
    given = problem()
    weights, curvature = given.weights[0], given.curvature[0]

    def loss(made: Array) -> float:
        return float((((made - weights) @ curvature) * (made - weights)).sum())

    book = sharing.codebook(weights.reshape(-1), 16)
    spread = np.where(np.arange(len(curvature)) % 4, 0.001, 1.0)  # some inputs matter, others do not
    importance = np.broadcast_to(spread, weights.shape).reshape(-1)
    book = sharing.codebook(weights.reshape(-1), 16, "density")
    weighed = sharing.codebook(weights.reshape(-1), 16, "density", importance)
    plain = loss(sharing.shared(weights, book))
    assert loss(sharing.shared_with_feedback(weights, book, curvature)) < 0.6 * plain
    errors = [importance @ (sharing.shared(weights, each) - weights).reshape(-1) ** 2 for each in (book, weighed)]
    assert errors[1] < 0.9 * errors[0]
    with pytest.raises(UsageError, match="at least 2"):
        sharing.codebook(weights.reshape(-1), 1)
