"""Accuracy over a cost as a Vega-Lite specification: one for the page, which moves, and one for paper, which does not.

Points are rows, lines the families' curves and what nothing beats; hollow is what was timed on an unsteady machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.compare import Row
from edgekit.compare import family as families
from edgekit.compare.family import BASELINES, SUSPECT, Known, Terms
from edgekit.compare.pareto import front
from edgekit.errors import DataError
from edgekit.report.table import name_cell, plain
from edgekit.report.vega import FONT, Spec

FAMILIES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "squeezenet", "squeezenext", "other")
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#a8508a", "#6b7280")  # Okabe and Ito's, told apart by most eyes
RECIPES = ("float32", "float16", "int8_weights", "int8", "int8_full", "int8_fast", "int8_float_io", "int16x8", "other")
SHAPES = ("square", "cross", "diamond", "circle", "triangle-up", "triangle-down", "triangle-right", "triangle-left")
_INK, _SOFT, _LINE, _PAPER = "#1b1f24", "#59636e", "#d9dee4", "#ffffff"
Value = dict[str, Any]


def label(row: Row) -> str:
    """The network and its input size, as a point is called."""
    cell = name_cell(row)
    return f"{cell.text} {cell.detail}" if cell.detail.endswith(" px") else cell.text


def family_of(row: Row) -> str:
    """The family as the colours know it."""
    found = families.family(row)
    return found if found in FAMILIES else "other"


def for_page(logarithmic: bool) -> Spec:
    """A chart without data: the page fills `points`, `curves`, `front` and `limit`, and colours it by its style."""
    colours = [f"var(--family-{number})" for number in range(1, len(FAMILIES) + 1)]
    chart = _chart(logarithmic, colours, "var(--paper)", "var(--ink)")
    chart["layer"].append(_limit())
    names: Spec = {"points": [], "curves": [], "front": [], "limit": []}
    size: Spec = {"width": "container", "height": 380, "autosize": {"type": "fit", "contains": "padding"}}
    return {**chart, **size, "datasets": names, "config": _config("var(--ink)", "var(--soft)", "var(--line)")}


def for_paper(rows: Sequence[Row], terms: Sequence[Terms], known: Known, width: int = 560) -> Spec:
    """A drawing with all points of these terms, which differ in the recipe alone; DataError without a point."""
    points = [value for term in terms for value in _values(rows, term, known)]
    if not points:
        raise DataError("no picture: no row has both this cost and an accuracy")
    curves = [value for term in terms for value in _curves(rows, term, known)]
    best = front(points, lambda value: value["cost"], lambda value: value["top1"])
    chart = _chart(True, COLOURS, _PAPER, _INK)
    chart["layer"][2:2] = [_names(best)]
    data: Spec = {"points": points, "curves": curves, "front": best}
    _legends(chart, points)
    cost, basis = terms[0].cost, terms[0].basis
    place = f" on {terms[0].device}" if cost.at_place and terms[0].device else ""
    encoding = chart["layer"][-1]["encoding"]
    encoding["x"]["axis"]["title"] = plain(f"{cost.heading}{place} (less is better)")
    encoding["y"]["axis"]["title"] = f"top-1, %, {basis} (more is better)"
    config = {**_config(_INK, _SOFT, _LINE), "background": _PAPER, "font": FONT, "padding": 8}
    return {**chart, "width": width, "height": round(width * 0.62), "datasets": data, "config": config}


def _values(rows: Sequence[Row], terms: Terms, known: Known) -> list[Value]:
    found = []
    for row in families.on_terms(rows, terms):
        point = families.point(row, terms, known)
        if point is not None:
            span = point.accuracy
            value = {"name": label(row), "family": family_of(row), "recipe": row.recipe or "other", "cost": point.cost}
            value |= {"top1": 100 * span.value, "low": 100 * span.low, "high": 100 * span.high}
            found.append({**value, "hollow": terms.cost.at_place and row.verdict == SUSPECT})
    return found


def _curves(rows: Sequence[Row], terms: Terms, known: Known) -> list[Value]:
    found = []
    for name in BASELINES:
        line = families.curve(rows, name, terms, known)
        values = [{"family": name, "cost": point.cost, "top1": 100 * point.accuracy.value} for point in line]
        found += [{**value, "line": f"{name} {terms.recipe}"} for value in values]
    return found


def _chart(logarithmic: bool, colours: Sequence[str], paper: str, ink: str) -> Spec:
    """The layers, from what lies below to what lies above; the last one has the axes."""
    kind: Spec = {"type": "log", "nice": False, "padding": 24} if logarithmic else {"zero": True, "nice": True}
    x: Spec = {"field": "cost", "type": "quantitative", "scale": kind, "axis": {"title": None, "format": "~g"}}
    y: Spec = {
        "field": "top1",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 12},
        "axis": {"title": None},
    }
    colour = {"field": "family", "scale": {"domain": list(FAMILIES), "range": list(colours)}, "legend": None}
    shape = {"field": "recipe", "scale": {"domain": list(RECIPES), "range": [*SHAPES, "stroke"]}, "legend": None}
    fill = {"condition": {"test": "datum.hollow", "value": paper}, **colour}
    near = {"x": x, "y": y}
    curves = {"mark": {"type": "line", "opacity": 0.55, "strokeWidth": 2}, "data": {"name": "curves"}}
    steps = {"type": "line", "interpolate": "step-after", "stroke": ink, "opacity": 0.45, "strokeDash": [3, 3]}
    bars = {"mark": {"type": "rule", "opacity": 0.35}, "data": {"name": "points"}}
    points = {"type": "point", "size": 80, "opacity": 1, "strokeWidth": 1.8, "cursor": "pointer"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "layer": [
            {**curves, "encoding": {**near, "color": colour, "detail": {"field": "line"}}},
            {"mark": steps, "data": {"name": "front"}, "encoding": near},
            {**bars, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}},
            {
                "mark": points,
                "data": {"name": "points"},
                "encoding": {**near, "stroke": colour, "fill": fill, "shape": shape, "tooltip": {"field": "tip"}},
            },
        ],
    }


def _limit() -> Spec:
    """A line where the reader's limit is."""
    rule = {"type": "rule", "stroke": "var(--warn)", "strokeWidth": 1.5, "strokeDash": [6, 4]}
    x = {"field": "cost", "type": "quantitative", "axis": {"title": None, "format": "~g"}}
    return {"mark": rule, "data": {"name": "limit"}, "encoding": {"x": x}}


def _names(best: Sequence[Value]) -> Spec:
    """What nothing beats is called by name, in a place where no line runs: up and to the left."""
    mark = {"type": "text", "align": "right", "dx": -8, "dy": -9, "fontSize": 10}
    near = {"x": {"field": "cost", "type": "quantitative"}, "y": {"field": "top1", "type": "quantitative"}}
    return {"mark": mark, "data": {"values": list(best)}, "encoding": {**near, "text": {"field": "name"}}}


def _legends(chart: Spec, points: Sequence[Value]) -> None:
    """Legends of what is there, of which a page has none: its filters show the same."""
    there = {
        field: [name for name in names if any(value[field] == name for value in points)] for field, names in _NAMES
    }
    encoding = chart["layer"][-1]["encoding"]
    for channel, field in (("stroke", "family"), ("shape", "recipe")):
        legend: Spec = {"title": field, "values": there[field], "symbolStrokeWidth": 2}
        legend |= {"symbolStrokeColor": _SOFT} if channel == "shape" else {"symbolType": "circle"}
        encoding[channel] = {**encoding[channel], "legend": legend}
    encoding["fill"] = {**encoding["fill"], "legend": None}


_NAMES = (("family", FAMILIES), ("recipe", RECIPES))


def _config(ink: str, soft: str, line: str) -> Spec:
    axis = {"labelColor": soft, "titleColor": ink, "gridColor": line, "domain": False, "tickColor": line}
    axis |= {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelOverlap": True}
    legend = {"labelColor": ink, "titleColor": soft, "titleFontWeight": "normal", "labelFontSize": 11}
    return {"axis": axis, "legend": legend, "view": {"stroke": None}, "text": {"color": ink}, "background": None}
