"""The specification of the chart: what is drawn, how it is named, and that vl-convert can draw it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

from edgekit.compare import Comparison, Row
from edgekit.compare.costs import LATENCY, MODELLED
from edgekit.compare.family import Terms
from edgekit.errors import DataError, MissingError
from edgekit.report import plot, vega

TERMS = [Terms(LATENCY, recipe, "Board, 4 cores", 1, "measured") for recipe in ("float32", "int8")]


def rows(comparison: Comparison, **fields: object) -> list[Row]:
    return [msgspec.structs.replace(row, **fields) for row in comparison.rows]


def test_points_are_rows_and_suspect_ones_hollow(comparison: Comparison) -> None:
    spec = plot.for_paper(rows(comparison, verdict="suspect"), TERMS, {})
    points = spec["datasets"]["points"]
    assert [point["name"] for point in points] == ["squeezenet_v1_1 224 px"] * 2
    assert all(point["hollow"] and point["low"] < point["top1"] < point["high"] for point in points)
    assert not any(point["hollow"] for point in plot.for_paper(rows(comparison), TERMS, {})["datasets"]["points"])


def test_what_is_invalid_or_unknown_is_not_drawn(comparison: Comparison) -> None:
    with pytest.raises(DataError, match="no row has both this cost and an accuracy"):
        plot.for_paper(rows(comparison, verdict="invalid"), TERMS, {})
    with pytest.raises(DataError):
        plot.for_paper(rows(comparison), [Terms(MODELLED, "int8", "Board, 4 cores", 1, "measured")], {})


def test_the_axes_say_what_where_and_which_accuracy(comparison: Comparison) -> None:
    spec = plot.for_paper(rows(comparison), TERMS, {})
    titles = [spec["layer"][-1]["encoding"][axis]["axis"]["title"] for axis in "xy"]
    assert titles == ["Latency, ms on Board, 4 cores (less is better)", "top-1, %, measured (more is better)"]


def test_names_do_not_lie_on_each_other(comparison: Comparison) -> None:
    spec = plot.for_paper(rows(comparison), TERMS, {})
    named = [layer["data"]["values"] for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert 1 <= sum(map(len, named)) <= 2


@pytest.fixture
def drawing(comparison: Comparison) -> str:
    pytest.importorskip("vl_convert", reason="the chart needs vl-convert: pip install 'edgekit[report]'")
    return vega.svg(plot.for_paper(rows(comparison), TERMS, {}))


def test_it_is_drawn_the_same_each_time(comparison: Comparison, drawing: str) -> None:
    root = ElementTree.fromstring(drawing)
    texts = "".join(root.itertext())
    assert "squeezenet" in texts and "float32" in texts and "int8" in texts
    assert vega.svg(plot.for_paper(rows(comparison), TERMS, {})) == drawing


def test_hostile_names_are_text(hostile: Comparison) -> None:
    pytest.importorskip("vl_convert", reason="the chart needs vl-convert: pip install 'edgekit[report]'")
    row = hostile.rows[0]
    terms = [Terms(LATENCY, row.recipe, row.device, row.threads, "measured")]
    root = ElementTree.fromstring(vega.svg(plot.for_paper(hostile.rows, terms, {})))
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}


def test_the_page_chart_takes_its_colours_from_the_page() -> None:
    pytest.importorskip("vl_convert", reason="the chart needs vl-convert: pip install 'edgekit[report]'")
    for logarithmic in (True, False):
        made = msgspec.json.encode(vega.compiled(plot.for_page(logarithmic))).decode()
        assert {"points", "curves", "front", "limit"} <= {item["name"] for item in msgspec.json.decode(made)["data"]}
        assert "var(--family-1)" in made and "#0072b2" not in made


def test_a_missing_vl_convert_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(MissingError, match=r"pip install 'edgekit\[report\]'"):
        vega.script()
