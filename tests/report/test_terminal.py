"""The terminal table, drawn into a string."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgekit.compare import Comparison
from edgekit.report import terminal


def draw(comparison: Comparison, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(terminal.render(comparison, width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_every_required_figure_is_there_whole(comparison: Comparison, width: int) -> None:
    drawn = draw(comparison, width)
    for figure in ("squeezenet_v1_1", "int8", "1.36", "64.75", "85.00", "94.25", "3.50", "7.95", "12.30", "RAPL"):
        assert figure in drawn.split("\n\n")[0], figure
    assert "no RAPL counter" in drawn
    assert max(map(len, drawn.splitlines())) <= width


def test_a_narrow_terminal_goes_without_the_spare_columns(comparison: Comparison) -> None:
    assert "KL" in draw(comparison, 120)
    assert "KL" not in draw(comparison, 80)


def test_hostile_names_reach_no_terminal(hostile: Comparison) -> None:
    drawn = draw(hostile, 200)
    assert "\x1b" not in drawn and "\u202e" not in drawn
    assert "[c](d)" in drawn  # and is no markup of rich
