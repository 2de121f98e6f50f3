"""Accuracy against latency as an SVG that takes its colours and its type from the page it stands in.

Drawn by matplotlib, which is imported when a chart is asked for.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import msgspec

from edgekit.compare import Comparison, Row
from edgekit.errors import DataError
from edgekit.report import plotting
from edgekit.report.table import name_cell, plain

# Colours that nothing else in the drawing has; each is replaced by the CSS variable beside it.
_INK, _FAINT, _PAPER = "#010203", "#010204", "#010205"
_SERIES = ("#010301", "#010302", "#010303", "#010304", "#010305", "#010306")
_VARIABLES = {_INK: "ink", _FAINT: "line", _PAPER: "paper"} | {c: f"series-{i}" for i, c in enumerate(_SERIES, 1)}
_MARKERS = "osD^vPX*"
_BESIDE = ((9, 0, "left"), (-9, 0, "right"), (0, 12, "center"), (0, -13, "center"))  # points, by preference
_POINT_SIZE = 8
_MOST_LABELS = 40
_LETTER_PT = 6.2  # the mean width of a letter of 10 points


class Point(msgspec.Struct, frozen=True):
    """One row in the chart; top-1 and its interval in percent."""

    label: str
    recipe: str
    place: str
    latency_ms: float
    top1: float
    low: float
    high: float


def svg(comparison: Comparison, width_in: float, height_in: float) -> str:
    """The chart as an <svg> element.

    A point is a row: its colour is the recipe, its shape the device and threads, its bar the 95 % interval of top-1.
    Raises MissingError without matplotlib, and DataError if no row has both accuracy and latency.
    """
    points = _points(comparison)
    if not points:
        raise DataError("no chart: no artifact has both an accuracy and a latency")
    matplotlib = _matplotlib("matplotlib")
    style = {"svg.fonttype": "none", "svg.hashsalt": f"edgekit {width_in}", "font.size": 10, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure = _matplotlib("matplotlib.figure").Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.add_subplot()
        _draw_legend(figure, axes, points)
        _draw_axes(axes, points)
        for number, point in enumerate(points):
            _draw_point(axes, point, f"point-{number}", _series(points, point))
        figure.draw_without_rendering()  # only now do places on the paper mean something
        _draw_labels(axes, points)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(stream.getvalue(), points)


def _matplotlib(module: str) -> Any:
    return plotting.load(module, "the chart needs")


def _points(comparison: Comparison) -> list[Point]:
    return [
        Point(
            _label(row),
            plain(row.recipe or "no recipe"),
            plain(f"{row.threads} {'thread' if row.threads == 1 else 'threads'}, {row.device}"),
            row.latency_median_ms,
            *(100 * share for share in (row.top1.value, row.top1.low, row.top1.high)),
        )
        for row in comparison.rows
        if row.top1 is not None and row.latency_median_ms is not None
    ]


def _label(row: Row) -> str:
    cell = name_cell(row)
    return f"{cell.text} {cell.detail}" if cell.detail.endswith(" px") else cell.text


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _series(points: Sequence[Point], point: Point) -> tuple[str, str]:
    """Colour and marker; when there are more kinds than colours or shapes they begin again."""
    recipes, places = _distinct(p.recipe for p in points), _distinct(p.place for p in points)
    colour = _SERIES[recipes.index(point.recipe) % len(_SERIES)]
    return colour, _MARKERS[places.index(point.place) % len(_MARKERS)]


def _draw_axes(axes: Any, points: Sequence[Point]) -> None:
    fastest, slowest = min(p.latency_ms for p in points), max(p.latency_ms for p in points)
    if slowest > 8 * fastest:
        ticker = _matplotlib("matplotlib.ticker")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlim(fastest / 1.6, slowest * 1.6)
    else:
        axes.set_xlim(0, slowest * 1.25)
    axes.set_xlabel("median latency, ms (less is better)", color=_INK)
    axes.set_ylabel("top-1, % (more is better)", color=_INK)
    axes.tick_params(colors=_INK, length=0)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_point(axes: Any, point: Point, gid: str, series: tuple[str, str]) -> None:
    colour, marker = series
    axes.plot([point.latency_ms] * 2, [point.low, point.high], color=colour, linewidth=1.5, alpha=0.35)
    outline = {"markeredgecolor": _PAPER, "markeredgewidth": 1.2, "markersize": _POINT_SIZE}
    axes.plot([point.latency_ms], [point.top1], marker, color=colour, gid=gid, **outline)


def _draw_legend(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Names the colours and the shapes where there is more than one of them, and makes the paper that much taller."""
    recipes, places = _distinct(p.recipe for p in points), _distinct(p.place for p in points)
    styles = [(name, "o", _SERIES[i % len(_SERIES)]) for i, name in enumerate(recipes) if len(recipes) > 1]
    styles += [(name, _MARKERS[i % len(_MARKERS)], _INK) for i, name in enumerate(places) if len(places) > 1]
    if not styles:
        return
    width_in, height_in = figure.get_size_inches()
    letters = int(width_in * 72 / _LETTER_PT) - 6  # that fit into a line beside one marker
    styles = [(_cut(name, letters), marker, colour) for name, marker, colour in styles]
    columns = max(1, (letters + 6) // (max(len(name) for name, _, _ in styles) + 6))
    figure.set_size_inches(width_in, height_in + 0.22 * math.ceil(len(styles) / columns))
    handles = [axes.plot([], [], marker, color=colour, label=name)[0] for name, marker, colour in styles]
    look = {"frameon": False, "labelcolor": _INK, "handletextpad": 0.2, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, **look)


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _draw_labels(axes: Any, points: Sequence[Point]) -> None:
    """Writes each point's name beside it, best first; one that finds no free place goes without."""
    box = _matplotlib("matplotlib.transforms").Bbox
    centres = [axes.transData.transform((point.latency_ms, point.top1)) for point in points]
    taken = [box.from_bounds(x - 6, y - 6, 12, 12) for x, y in centres]
    for point in sorted(points, key=lambda point: point.top1, reverse=True)[:_MOST_LABELS]:
        for beside in _BESIDE:
            label = _write(axes, point, beside)
            place = label.get_window_extent()
            if _within(axes.get_window_extent(), place) and not any(place.overlaps(other) for other in taken):
                taken.append(place)
                break
            label.remove()


def _write(axes: Any, point: Point, beside: tuple[int, int, str]) -> Any:
    where, offset, side = (point.latency_ms, point.top1), beside[:2], beside[2]
    return axes.annotate(
        point.label, where, offset, textcoords="offset points", ha=side, va="center", color=_INK, fontsize=9
    )


def _within(frame: Any, place: Any) -> bool:
    return bool(frame.x0 <= place.x0 and place.x1 <= frame.x1 and frame.y0 <= place.y0 and place.y1 <= frame.y1)


def _for_page(drawing: str, points: Sequence[Point]) -> str:
    """The <svg> element alone, scalable, with the page's colours and type, and a tooltip on each point."""
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', _opening, drawing, count=1)
    drawing = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawing, flags=re.DOTALL)  # the style would reach the page
    drawing = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", drawing)
    drawing = re.sub(r"font-family: [^;\"]*; ?", "", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{variable})")
    for number, point in enumerate(points):
        tooltip = escape(f"{point.label}, {point.recipe}, {point.place}")
        drawing = drawing.replace(f'<g id="point-{number}">', f"<g><title>{tooltip}</title>", 1)
    return _without_idle_ids(drawing).strip()


def _without_idle_ids(drawing: str) -> str:
    """Drops the ids that nothing refers to, which would occur again in the next chart of a page."""
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', drawing))
    return re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", drawing)


def _opening(found: re.Match[str]) -> str:
    return (
        f'<svg viewBox="{found[1]}" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'role="img" aria-label="Top-1 accuracy against median latency; the table has the numbers">'
    )
