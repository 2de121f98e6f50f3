"""Transposes that nothing needs go, the others stay, and no answer changes."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net

from edgekit import graph as graphs
from edgekit.interop import moves
from edgekit.runtime import Runner


def head(order=(0, 3, 1, 2), axes=(2, 3), keep=True, reshape=True, shape=(1, 6, 6, 3)):
    """A convolution, a transpose, a mean, perhaps a reshape, then a matrix."""
    net = Net(shape)
    channels = 5
    data = net.conv(0, channels, 3)
    height, width = net.graph.tensors[data].shape[1:3]
    sizes = (1, height, width, channels)
    moved = tuple(sizes[axis] for axis in order)
    last = net.add("TRANSPOSE", [data, net.constant(order, "int32")], moved)
    left = tuple(1 if axis in axes else size for axis, size in enumerate(moved))
    if not keep:
        left = tuple(size for axis, size in enumerate(moved) if axis not in axes)
    last = net.add("MEAN", [last, net.constant(axes, "int32")], left, keepDims=keep)
    count = int(np.prod(left))
    if reshape:
        last = net.add("RESHAPE", [last, net.constant([1, count], "int32")], (1, count))
        net.add("FULLY_CONNECTED", [last, net.weights(4, count)], (1, 4))
    return net.done()


def kinds(tflite):
    return [operator.kind for operator in graphs.load(tflite).operators]


def assert_same(before, after):
    sample = np.random.default_rng(0).normal(size=Runner(before).input.shape).astype(np.float32)
    np.testing.assert_allclose(Runner(after).run(sample), Runner(before).run(sample), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", [True, False])
def test_a_channels_first_head_loses_its_transpose(keep):
    before = head(keep=keep)
    after = moves.drop_needless(before)
    assert kinds(after) == [kind for kind in kinds(before) if kind != "TRANSPOSE"]
    assert_same(before, after)


@pytest.mark.parametrize(
    "given",
    [
        {"axes": (3,)},  # two axes are left, in another order
        {"axes": (1,)},
        {"reshape": False},  # the order of axes can be seen
        {"order": (0, 2, 1, 3), "axes": (1,)},
    ],
)
def test_a_transpose_that_is_needed_stays(given):
    before = head(**given)
    assert moves.drop_needless(before) == before


def test_without_any_nothing_changes():
    net = Net((1, 6, 6, 3))
    net.conv(0, 4, 3)
    before = net.done()
    assert moves.drop_needless(before) is before
