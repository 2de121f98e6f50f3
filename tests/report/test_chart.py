"""The chart as an SVG document; skipped where matplotlib is not installed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

from edgekit.compare import Comparison
from edgekit.errors import DataError, MissingError
from edgekit.report import chart

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def matplotlib(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name:
        pytest.importorskip("matplotlib", reason="the chart needs matplotlib: pip install 'edgekit[report]'")


def test_each_judged_and_timed_row_is_a_point(comparison: Comparison) -> None:
    root = ElementTree.fromstring(chart.svg(comparison, 7, 4))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == [
        "squeezenet_v1_1 224 px, float32, 1 thread, Board, 4 cores",
        "squeezenet_v1_1 224 px, int8, 1 thread, Board, 4 cores",
    ]


def test_faster_is_further_left(comparison: Comparison) -> None:
    root = ElementTree.fromstring(chart.svg(comparison, 7, 4))
    points = [group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    float32, int8 = (float(next(point.iter(f"{SVG}use")).attrib["x"]) for point in points)
    assert int8 < float32


def test_colours_come_from_the_page(comparison: Comparison) -> None:
    drawing = chart.svg(comparison, 7, 4)
    assert not re.search(r"(fill|stroke): *#", drawing)
    assert {"--ink", "--line", "--paper", "--series-1", "--series-2"} <= set(re.findall(r"var\((--[\w-]+)\)", drawing))


def test_names_are_written_as_text(comparison: Comparison) -> None:
    root = ElementTree.fromstring(chart.svg(comparison, 7, 4))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"float32", "int8", "squeezenet_v1_1 224 px"} <= set(texts)


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison) -> None:
    assert chart.svg(comparison, 7, 4) == chart.svg(comparison, 7, 4)


def test_hostile_names_stay_text(hostile: Comparison) -> None:
    root = ElementTree.fromstring(chart.svg(hostile, 7, 4))
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_far_apart_latencies_get_a_logarithmic_axis(comparison: Comparison) -> None:
    first, second, _ = comparison.rows
    apart = Comparison((first, msgspec.structs.replace(second, latency_median_ms=500.0)))
    texts = [text.text for text in ElementTree.fromstring(chart.svg(apart, 7, 4)).iter(f"{SVG}text")]
    assert {"10", "100"} <= set(texts) and "0" not in texts


def test_many_places_still_fit(comparison: Comparison, recwarn: pytest.WarningsRecorder) -> None:
    first = comparison.rows[0]
    names = [f"A board with a very long name indeed, number {number} of its kind" for number in range(12)]
    crowd = Comparison(tuple(msgspec.structs.replace(first, device=name) for name in names))
    ElementTree.fromstring(chart.svg(crowd, 3.9, 4.2))
    assert [str(warning.message) for warning in recwarn] == []


def test_nothing_to_draw_is_said(comparison: Comparison) -> None:
    with pytest.raises(DataError, match="both an accuracy and a latency"):
        chart.svg(Comparison(comparison.rows[2:]), 7, 4)


def test_a_missing_matplotlib_says_which_extra_has_it(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"pip install 'edgekit\[report\]'"):
        chart.svg(comparison, 7, 4)
