"""All rewrites of a finished int8 graph together: the same bits, wholly delegated, and fewer instructions on Arm."""

from __future__ import annotations

import pytest
from float_graphs import RELU, VALID, Net
from int8_graphs import assert_same_bits, finished, kinds, stored

from edgekit import artifact as artifacts
from edgekit import bench
from edgekit.devices.emulated import Emulated
from edgekit.graph import Graph
from edgekit.measurement import Session
from edgekit.quantize.kernel_cost import instructions
from edgekit.quantize.lower import lower


def network() -> Graph:
    """What SqueezeNext begins with: a large first kernel, a pool, a grouped block with a shortcut."""
    net = Net((1, 63, 63, 3))
    kernel, bias = net.weights(64, 7, 7, 3), net.weights(64)
    options = {"strideH": 2, "strideW": 2, "padding": VALID, "fusedActivationFunction": RELU}
    first = net.add("CONV_2D", [0, kernel, bias], (1, 29, 29, 64), **options)
    window = {"filterHeight": 3, "filterWidth": 3, "strideH": 2, "strideW": 2, "padding": VALID}
    pooled = net.add("MAX_POOL_2D", [first], (1, 14, 14, 64), **window)
    shortcut = net.conv(pooled, 32, fusedActivationFunction=RELU)
    block = net.conv(pooled, 16, groups=2, fusedActivationFunction=RELU)
    block = net.conv(net.conv(block, 16, 3, groups=2, fusedActivationFunction=RELU), 32, fusedActivationFunction=RELU)
    net.add("ADD", [shortcut, block], (1, 14, 14, 32), fusedActivationFunction=RELU)
    return stored(net, zero_point=-128)


def test_a_network_answers_the_same_to_the_last_bit():
    graph = network()
    before = finished(graph)
    operators = len(graph.operators)
    lower(graph)
    after = finished(graph)
    assert kinds(graph).count("CONV_2D") == 8
    assert len(graph.operators) > operators
    for delegate in (True, False):
        assert_same_bits(before, after, delegate=delegate)


def test_lowering_twice_is_lowering_once():
    graph = network()
    lower(graph)
    once = finished(graph)
    lower(graph)
    assert finished(graph) == once


@pytest.fixture(scope="module")
def count(emulation, tmp_path_factory):
    """`count(model, core)`: the instructions of one inference."""
    path = tmp_path_factory.mktemp("counted") / "model.tflite"

    def count(model: bytes, core: str) -> int:
        path.write_bytes(model)
        (found,) = Emulated(core, emulation).count([artifacts.read(path)], Session(bench.QUICK))
        return found.instructions

    return count


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize(("core", "share"), [("cortex-a76", 0.7), ("cortex-a72", 0.6)])
def test_a_network_takes_fewer_instructions(count, core, share):
    graph = network()
    before = count(finished(graph), core)
    lower(graph)
    assert count(finished(graph), core) <= share * before


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "filters", "kernel"), [(3, 64, 3), (3, 96, 7), (12, 64, 3), (24, 32, 5), (64, 24, 3)]
)
def test_the_cost_of_a_convolution_is_right_to_a_twentieth(count, channels, filters, kernel):
    net = Net((1, 40, 40, channels))
    net.conv(0, filters, kernel, fusedActivationFunction=RELU)
    expected = 1600 * instructions(filters, kernel**2, channels)
    assert count(finished(stored(net)), "cortex-a76") == pytest.approx(expected, rel=0.05)
