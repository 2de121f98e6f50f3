"""Normalisation at a network's front moves into the InputSpec, and the answers stay."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit import images
from edgekit.interop import normalisation
from edgekit.runtime import Runner
from edgekit.spec import square

SIZE = 8
SPEC = square(SIZE, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
values = st.lists(st.floats(-3, 3, width=32).filter(lambda value: abs(value) > 0.05), min_size=3, max_size=3)


def network(steps):
    """Elementwise operators with a constant each, then a convolution."""
    net = Net((1, SIZE, SIZE, 3))
    last = 0
    for kind, constant in steps:
        last = net.add(kind, [last, net.constant(np.asarray(constant, np.float32), "float32")], (1, SIZE, SIZE, 3))
    net.conv(last, 4, 3)
    return net.done()


def answer(tflite, spec, pixels):
    return Runner(tflite).run(images.normalise(pixels, spec))


def kinds(tflite):
    return [operator.kind for operator in graphs.load(tflite).operators]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ADD", "SUB", "MUL", "DIV"]), values), min_size=1, max_size=4))
def test_any_chain_is_absorbed_or_left_alone(steps):
    steps = [(kind, np.abs(constant) if kind in ("MUL", "DIV") else constant) for kind, constant in steps]
    before = network(steps)
    after, spec = normalisation.absorb(before, SPEC)
    assert kinds(after) == ["CONV_2D"]
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    wanted, found = answer(before, SPEC, pixels), answer(after, spec, pixels)
    assert np.abs(wanted - found).max() <= 1e-4 * max(1, np.abs(wanted).max())


def test_torchvisions_numbers_come_out_as_they_are_written():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    after, spec = normalisation.absorb(network([("SUB", mean), ("DIV", std)]), square(SIZE, std=(255.0,) * 3))
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53), rel=1e-6)
    assert spec.std == pytest.approx((58.395, 57.12, 57.375), rel=1e-6)
    assert kinds(after) == ["CONV_2D"]


@pytest.mark.parametrize(
    "steps",
    [
        [("MUL", (-1.0, 1.0, 1.0))],
        [("DIV", (0.0, 1.0, 1.0))],
        [("MUL", (0.0, 1.0, 1.0))],
        [("ADD", np.ones((1, SIZE, SIZE, 3)))],
        [("ADD", np.ones((1, SIZE, 1, 1)))],
    ],
    ids=["negative", "by-zero", "zero", "a map", "rows"],
)
def test_what_is_no_normalisation_stays(steps):
    before = network(steps)
    assert normalisation.absorb(before, SPEC) == (before, SPEC)


def test_nothing_to_absorb():
    before = network([])
    assert normalisation.absorb(before, SPEC) == (before, SPEC)


def test_an_input_that_is_read_twice_stays():
    net = Net((1, SIZE, SIZE, 3))
    shifted = net.add("ADD", [0, net.constant(np.ones(3, np.float32), "float32")], (1, SIZE, SIZE, 3))
    net.add("ADD", [0, shifted], (1, SIZE, SIZE, 3))
    before = net.done()
    assert normalisation.absorb(before, SPEC) == (before, SPEC)
