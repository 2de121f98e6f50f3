"""Accuracy over a cost as a Vega-Lite specification: one for the page, which moves, and one for paper, which does not.

Points are rows, lines the families' curves and what nothing beats; hollow is what was timed on an unsteady machine.
"""

from __future__ import annotations

import math
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
_TALL = 0.62
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
    chart = _chart(logarithmic, colours, "var(--ink)")
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
    chart = _chart(True, COLOURS, _INK, _legends(points))
    for layer in chart["layer"]:
        layer["encoding"]["x"] = {**layer["encoding"]["x"], "scale": {"type": "log", "nice": False, "padding": _BESIDE}}
        tall = {"zero": False, "nice": False, "padding": _ABOVE}
        layer["encoding"]["y"] = {**layer["encoding"]["y"], "scale": tall}
    chart["layer"][2:2] = _names(points, best, width)
    data: Spec = {"points": points, "curves": curves, "front": best}
    cost, basis = terms[0].cost, terms[0].basis
    place = f" on {terms[0].device}" if cost.at_place and terms[0].device else ""
    encoding = chart["layer"][-1]["encoding"]
    encoding["x"]["axis"]["title"] = plain(f"{cost.heading}{place} (less is better)")
    encoding["y"]["axis"]["title"] = f"top-1, %, {basis} (more is better)"
    config = {**_config(_INK, _SOFT, _LINE), "background": _PAPER, "font": FONT, "padding": 8}
    return {**chart, "width": width, "height": round(width * _TALL), "datasets": data, "config": config}


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


def _chart(
    logarithmic: bool,
    colours: Sequence[str],
    ink: str,
    legends: tuple[Spec | None, Spec | None] = (None, None),
) -> Spec:
    """The layers, from what lies below to what lies above; the last one has the axes."""
    kind: Spec = {"type": "log", "nice": False, "padding": 24} if logarithmic else {"zero": True, "nice": True}
    x: Spec = {"field": "cost", "type": "quantitative", "scale": kind, "axis": {"title": None, "format": "~g"}}
    y: Spec = {
        "field": "top1",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 12},
        "axis": {"title": None},
    }
    colour = {"field": "family", "scale": {"domain": list(FAMILIES), "range": list(colours)}, "legend": legends[0]}
    shape = {"field": "recipe", "scale": {"domain": list(RECIPES), "range": [*SHAPES, "stroke"]}, "legend": legends[1]}
    filled = {"condition": {"test": "datum.hollow", "value": 0}, "value": 1}
    look = {"color": colour, "fill": {**colour, "legend": None}, "fillOpacity": filled, "shape": shape}
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
                "encoding": {**near, **look, "tooltip": {"field": "tip"}},
            },
        ],
    }


def _limit() -> Spec:
    """A line where the reader's limit is."""
    rule = {"type": "rule", "stroke": "var(--warn)", "strokeWidth": 1.5, "strokeDash": [6, 4]}
    x = {"field": "cost", "type": "quantitative", "axis": {"title": None, "format": "~g"}}
    return {"mark": rule, "data": {"name": "limit"}, "encoding": {"x": x}}


def _names(points: Sequence[Value], best: Sequence[Value], width: int) -> list[Spec]:
    """Names beside points, as far as there is room: of who stands beside the MobileNets, then of what nothing beats.

    The latter are named to the left and above, for there no line runs.
    """
    strangers = [value for value in points if value["family"] not in BASELINES]
    order: list[tuple[Value, Sequence[str]]] = []
    order += [(value, ("right", "below", "above", "left")) for value in sorted(strangers, key=lambda v: -v["top1"])]
    order += [(value, ("left", "above")) for value in reversed(best) if value not in strangers]
    taken = [_box(value, points, width) for value in points]
    named: dict[str, list[Value]] = {side: [] for side in _SIDES}
    for value, sides in order:
        for side in sides:
            box = _box(value, points, width, side)
            if box[0] >= 0 and box[2] <= width and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                named[side].append(value)
                break
    return [_texts(side, values) for side, values in named.items() if values]


_SIDES = {"left": ("right", -8, -9), "right": ("left", 9, 1), "below": ("center", 0, 15), "above": ("center", 0, -13)}
"""Where a name stands: how the text is aligned to the point, and how far it is moved to the right and down."""
_LETTER = 5.6  # the width of a letter
_BESIDE, _ABOVE = 95, 24  # what is free beside the outermost points, and above and below them


_Box = tuple[float, float, float, float]


def _box(value: Value, points: Sequence[Value], width: int, side: str = "") -> _Box:
    """About where a name would stand, in units of the drawing from its lower left; the point itself for no side."""
    costs = [math.log(other["cost"]) for other in points]
    shares = [share for other in points for share in (other["low"], other["high"])]
    across = (math.log(value["cost"]) - min(costs)) / (max(costs) - min(costs) or 1)
    up = (value["top1"] - min(shares)) / (max(shares) - min(shares) or 1)
    x, y = _BESIDE + across * (width - 2 * _BESIDE), _ABOVE + up * (_TALL * width - 2 * _ABOVE)
    if not side:
        return x - 5, y - 5, x + 5, y + 5
    align, right, down = _SIDES[side]
    letters = _LETTER * len(value["name"])
    left = x + right - {"left": 0.0, "center": letters / 2, "right": letters}[align]
    return left, y - down - 6, left + letters, y - down + 6


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _texts(side: str, values: Sequence[Value]) -> Spec:
    align, right, down = _SIDES[side]
    near = {"x": {"field": "cost", "type": "quantitative"}, "y": {"field": "top1", "type": "quantitative"}}
    mark = {"type": "text", "align": align, "baseline": "middle", "fontSize": 10, "dx": right, "dy": down}
    return {"mark": mark, "data": {"values": list(values)}, "encoding": {**near, "text": {"field": "name"}}}


def _legends(points: Sequence[Value]) -> tuple[Spec, Spec | None]:
    """Legends of what there is more than one of; a page has none, for its filters show the same."""
    families = [name for name in FAMILIES if any(value["family"] == name for value in points)]
    recipes = [name for name in RECIPES if any(value["recipe"] == name for value in points)]
    plain: Spec = {"symbolStrokeWidth": 2, "symbolSize": 80}
    return (
        {**plain, "title": "family", "values": families, "symbolType": "circle"},
        {**plain, "title": "recipe", "values": recipes, "symbolStrokeColor": _SOFT} if len(recipes) > 1 else None,
    )


def _config(ink: str, soft: str, line: str) -> Spec:
    axis = {"labelColor": soft, "titleColor": ink, "gridColor": line, "domain": False, "tickColor": line}
    axis |= {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelOverlap": True}
    legend = {"labelColor": ink, "titleColor": soft, "titleFontWeight": "normal", "labelFontSize": 11}
    return {"axis": axis, "legend": legend, "view": {"stroke": None}, "text": {"color": ink}, "background": None}
