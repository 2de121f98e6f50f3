"""The model of the int8 convolution kernel: what it rounds up, and that it is sane. test_lower.py counts."""

from __future__ import annotations

import pytest

from edgekit.quantize.kernel_cost import instructions


def test_few_channels_cost_more_than_their_products():
    assert instructions(64, 9, 3) == instructions(64, 9, 4)
    assert instructions(64, 9, 16) < 4 * instructions(64, 9, 4)
    assert instructions(64, 3, 12) < instructions(64, 9, 4)


def test_filters_are_rounded_up_to_a_tile():
    assert instructions(8, 9, 3) == instructions(16, 9, 3)
    assert instructions(17, 9, 3) == instructions(32, 9, 3) == 2 * instructions(16, 9, 3)


@pytest.mark.parametrize("channels", range(1, 40))
def test_more_channels_never_cost_less(channels):
    assert instructions(16, 9, channels) <= instructions(16, 9, channels + 1)
