"""One scale per activation: what it must hold, who shares it, and how fine it may be."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Net
from hypothesis import given
from hypothesis import strategies as st

from edgekit.graph import Operator
from edgekit.quantize import operators
from edgekit.quantize.scales import Scale, choose_scales, scale_for, shared_scales, widened

TYPES = ("int8", "int16")
values = st.floats(-1e9, 1e9, width=32)


@given(values, values, st.sampled_from(TYPES))
def test_a_scale_covers_its_range_and_stores_zero_exactly(one, other, activation):
    limits = min(one, other), max(one, other)
    scale = scale_for(limits, activation)
    stored = np.iinfo(activation)
    assert stored.min <= scale.zero_point <= stored.max
    assert 0 < float(np.float32(scale.scale)) < np.inf
    for value in (*limits, 0.0):
        step = value / scale.scale + scale.zero_point
        assert stored.min - 0.51 <= step <= stored.max + 0.51  # the zero point is rounded to a whole step
    assert scale.covers(limits, activation)


@given(values, values)
def test_the_steps_of_int8_are_no_wider_than_the_range_needs(one, other):
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    if high - low > 1e-6:
        assert scale_for((low, high), "int8").scale == pytest.approx((high - low) / 255)
        assert scale_for((low, high), "int16").scale == pytest.approx(max(-low, high) / 32767)


@given(values, values)
def test_int16_is_symmetric(one, other):
    assert scale_for((min(one, other), max(one, other)), "int16").zero_point == 0


@pytest.mark.parametrize("activation", TYPES)
def test_an_activation_that_is_always_zero_gets_an_ordinary_scale(activation):
    assert scale_for((0.0, 0.0), activation) == scale_for((0.0, 1.0), activation)
    assert scale_for((0.0, 1e-30), activation) == scale_for((0.0, 1.0), activation)


def test_covers_stops_one_step_beyond_the_ends():
    scale = Scale(1 / 256, -128)  # 0 to 255 / 256
    assert scale.covers((0.0, 1.0), "int8")
    assert not scale.covers((0.0, 1.01), "int8")
    assert not scale.covers((-0.01, 0.5), "int8")


def chain(*kinds_and_tensors: tuple[str, list[int], list[int]]) -> list[Operator]:
    return [Operator(kind, inputs, outputs) for kind, inputs, outputs in kinds_and_tensors]


def ranges_of(count: int) -> dict[int, tuple[float, float]]:
    return {index: (-1.0 - index, 1.0 + index) for index in range(count)}


def groups(integer: list[Operator], count: int) -> set[frozenset[int]]:
    return {frozenset(group) for group in shared_scales(integer, ranges_of(count))}


def test_a_fire_module_shares_one_scale_across_its_branches_pool_and_reshape():
    integer = chain(
        ("CONV_2D", [0], [1]),
        ("CONV_2D", [1], [2]),
        ("CONV_2D", [1], [3]),
        ("CONCATENATION", [2, 3], [4]),
        ("MAX_POOL_2D", [4], [5]),
        ("RESHAPE", [5], [6]),
        ("CONV_2D", [6], [7]),
    )
    assert groups(integer, 8) == {frozenset(part) for part in ([0], [1], [2, 3, 4, 5, 6], [7])}


def test_two_concatenations_that_share_an_input_share_everything():
    integer = chain(("CONCATENATION", [0, 1], [3]), ("CONCATENATION", [1, 2], [4]))
    assert groups(integer, 5) == {frozenset(range(5))}


def test_a_group_is_joined_whatever_the_order_of_its_operators():
    integer = chain(("MAX_POOL_2D", [0], [1]), ("MAX_POOL_2D", [2], [3]), ("CONCATENATION", [1, 3], [4]))
    assert groups(integer, 5) == groups(integer[::-1], 5) == {frozenset(range(5))}


SOME_KINDS = ("ADD", "CONCATENATION", "CONV_2D", "LOGISTIC", "MAX_POOL_2D", "RELU", "RESHAPE")


@given(
    st.lists(st.tuples(st.sampled_from(SOME_KINDS), st.sets(st.integers(0, 11), min_size=1, max_size=3)), max_size=9)
)
def test_groups_are_the_connected_parts_and_nothing_else(edges):
    integer = [Operator(kind, sorted(inputs), [12 + number]) for number, (kind, inputs) in enumerate(edges)]
    count = 12 + len(edges)
    neighbours = {index: {index} for index in range(count)}
    for operator in integer:
        if operator.kind in operators.SAME_SCALE:
            for one in operator.inputs:
                neighbours[one] |= set(operator.outputs)
                neighbours[operator.outputs[0]].add(one)
    assert groups(integer, count) == {frozenset(_reached(index, neighbours)) for index in range(count)}


def _reached(start: int, neighbours: dict[int, set[int]]) -> set[int]:
    reached, pending = set(), [start]
    while pending:
        index = pending.pop()
        if index not in reached:
            reached.add(index)
            pending += neighbours[index]
    return reached


def test_a_group_has_the_union_of_its_ranges():
    chosen = choose_scales(chain(("CONCATENATION", [0, 1], [2])), {0: (0, 6), 1: (-2, 1), 2: (-2, 6)}, "int8")
    assert chosen[0] == chosen[1] == chosen[2] == scale_for((-2, 6), "int8")


def test_what_integer_operators_do_not_touch_gets_no_group():
    chosen = choose_scales([], {4: (0, 1)}, "int8")
    assert chosen == {4: scale_for((0, 1), "int8")}


def test_a_fixed_output_passes_through_what_only_moves_it():
    integer = chain(("LOGISTIC", [0], [1]), ("RESHAPE", [1], [2]))
    chosen = choose_scales(integer, {0: (-4, 4), 1: (0.02, 0.98), 2: (0.02, 0.98)}, "int8")
    assert chosen[1] == chosen[2] == Scale(1 / 256, -128)
    assert chosen[0] == scale_for((-4, 4), "int8")


def test_a_fixed_output_does_not_cut_off_what_it_is_joined_with():
    integer = chain(("LOGISTIC", [0], [1]), ("CONCATENATION", [1, 2], [3]))
    chosen = choose_scales(integer, {0: (-4, 4), 1: (0, 1), 2: (0, 9), 3: (0, 9)}, "int8")
    assert chosen[1] == chosen[2] == chosen[3] == scale_for((0, 9), "int8")


def test_two_fixed_outputs_that_differ_meet_on_a_scale_of_their_own():
    integer = chain(("LOGISTIC", [0], [1]), ("TANH", [0], [2]), ("CONCATENATION", [1, 2], [3]))
    chosen = choose_scales(integer, {0: (-4, 4), 1: (0, 1), 2: (-1, 1), 3: (-1, 1)}, "int8")
    assert chosen[3] == scale_for((-1, 1), "int8")


def _conv_graph(spread: float) -> tuple[Net, list[Operator]]:
    net = Net((1, 4, 4, 2))
    kernel = net.constant(np.full((1, 1, 1, 2), spread))
    net.add("CONV_2D", [0, kernel, net.weights(1)], (1, 4, 4, 1))
    net.done()
    return net, net.graph.operators


@pytest.mark.parametrize("activation", TYPES)
@given(span=st.floats(1e-6, 1e6), spread=st.floats(1e-6, 1e3), low=st.floats(-1e-3, 0), high=st.floats(0, 1e-3))
def test_no_output_is_finer_than_its_kernel_can_serve(activation, span, spread, low, high):
    net, integer = _conv_graph(spread)
    (output,) = integer[0].outputs
    before = {0: (0.0, span), output: (low, high)}
    after = widened(net.graph, integer, before, activation)
    product = scale_for((0.0, span), activation).scale * float(np.float32(spread)) / 127
    assert product / scale_for(after[output], activation).scale <= 128 * 1.001
    assert after[0] == before[0]
    assert after[output][0] <= low
    assert after[output][1] >= high or after[output][1] >= min(high, 0)


def test_ordinary_ranges_are_left_alone():
    net, integer = _conv_graph(0.3)
    before = {0: (-1.0, 3.0), integer[0].outputs[0]: (0.0, 2.5)}
    assert widened(net.graph, integer, before, "int8") == before
    assert widened(net.graph, integer, before, "int16") == before


def test_operators_that_only_move_values_widen_nothing():
    net = Net((1, 4))
    net.add("RESHAPE", [0, net.constant([4], "int32")], (4,))
    net.done()
    before = {0: (0.0, 100.0), 2: (0.0, 1e-9)}
    assert widened(net.graph, net.graph.operators, before, "int8") == before
