"""An audit in pictures: one of the whole model, one for each layer, and a page that shows them all.

Drawn by matplotlib, which is imported when a picture is asked for.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from edgekit.artifact import atomic_write
from edgekit.compare import wilson
from edgekit.fidelity import LARGEST_DB, Audit, Counts, Histogram, Layer, short_names
from edgekit.report import page, plotting
from edgekit.report.table import plain

PAGE = "index.html"
_INK, _SOFT, _LINE, _PAPER = "#1b1f24", "#59636e", "#d9dee4", "#ffffff"
_OWN, _TOTAL, _WORST, _BAND = "#0072b2", "#d55e00", "#b3261e", "#e8f1f8"
_WIDTH_IN, _LAYER_HEIGHT_IN, _ROW_IN = 9.0, 2.9, 0.21
_LONGEST_NAME = 44
_PLACE = {"left": 0.065, "right": 0.985, "bottom": 0.17, "top": 0.77, "wspace": 0.13}


def explain(audit: Audit, histograms: Mapping[str, Histogram], folder: Path, title: str = "Layer by layer") -> Path:
    """Writes the pictures (SVG) and the page that shows them into `folder`; returns the page's path.

    MissingError without matplotlib, OutputError where nothing can be written.
    """
    names = [_cut(plain(name)) for name in short_names([layer.name for layer in audit.layers])]
    pictures = [("00-all-layers.svg", title, overview(audit, title))]
    for number, (layer, name) in enumerate(zip(audit.layers, names, strict=True), 1):
        if layer.name in histograms:
            file = f"{number:02}-{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.svg"
            pictures.append((file, name, draw_layer(layer, histograms[layer.name], name)))
    for file, _name, drawing in pictures:
        _write(folder / file, drawing)
    _write(folder / PAGE, _page(audit, pictures, title))
    return folder / PAGE


def overview(audit: Audit, title: str = "Layer by layer") -> str:
    """The whole model as an SVG document: bars of each layer's own noise, a line of all noise up to it."""
    rows = len(audit.layers)
    return _svg(lambda figure: _draw_overview(figure, audit, title), (_WIDTH_IN, 1.5 + _ROW_IN * rows), "constrained")


def draw_layer(layer: Layer, histogram: Histogram, name: str) -> str:
    """One layer as an SVG document: what it holds within which range, and by how much it is off."""
    return _svg(lambda figure: _draw_layer(figure, layer, histogram, name), (_WIDTH_IN, _LAYER_HEIGHT_IN))


def _matplotlib(module: str) -> Any:
    return plotting.load(module, "the pictures need")


def _svg(draw: Callable[[Any], None], size_in: tuple[float, float], layout: str | None = None) -> str:
    matplotlib = _matplotlib("matplotlib")
    style = {"svg.fonttype": "none", "svg.hashsalt": "edgekit", "font.size": 9, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure = _matplotlib("matplotlib.figure").Figure(figsize=size_in, layout=layout, facecolor=_PAPER)
        draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", facecolor=_PAPER, metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "\N{HORIZONTAL ELLIPSIS}" + name[1 - _LONGEST_NAME :]


def _plain_axes(axes: Any) -> None:
    axes.tick_params(colors=_INK, length=0)
    axes.grid(color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_overview(figure: Any, audit: Audit, title: str) -> None:
    names = [_cut(plain(name)) for name in short_names([layer.name for layer in audit.layers])]
    places = range(len(audit.layers))
    own = [None if _is_exact(layer.own_sqnr_db) else layer.own_sqnr_db for layer in audit.layers]
    total = [min(layer.sqnr_db, _most(audit)) for layer in audit.layers]
    worst = set(audit.worst)
    axes = figure.add_subplot()
    colours = [_WORST if layer.name in worst else _OWN for layer in audit.layers]
    axes.barh(places, [value or 0.0 for value in own], 0.62, color=colours, alpha=0.85)
    axes.plot(total, places, "o-", color=_TOTAL, linewidth=1.2, markersize=3.5, markeredgecolor=_PAPER)
    for place, layer in zip(places, audit.layers, strict=True):
        _label_bar(axes, place, layer, layer.name in worst)
    axes.set_yticks(places, names)
    axes.set_ylim(len(audit.layers) - 0.4, -0.6)
    axes.set_xlim(min(0.0, *total, *(value for value in own if value is not None)), _most(audit) * 1.12)
    axes.set_xlabel("signal to noise, dB (more is better)", color=_INK)
    _plain_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_ticks_position("both")
    axes.tick_params(labeltop=True)
    _draw_legend(figure, axes, title)


def _most(audit: Audit) -> float:
    """The largest figure that is not simply exact."""
    values = [value for layer in audit.layers for value in (layer.own_sqnr_db, layer.sqnr_db) if not _is_exact(value)]
    return max([value for value in values if value is not None], default=10.0)


def _is_exact(value: float | None) -> bool:
    return value is None or value >= LARGEST_DB


def _label_bar(axes: Any, place: int, layer: Layer, worst: bool) -> None:
    text = "not separable" if layer.own_sqnr_db is None else "exact" if _is_exact(layer.own_sqnr_db) else ""
    where = 0.0
    if worst and layer.own_sqnr_db is not None:
        text, where = f"{layer.own_sqnr_db:.1f}", max(layer.own_sqnr_db, 0.0)
    look = {"color": _WORST if worst else _SOFT, "weight": "bold" if worst else "normal", "fontsize": 8}
    axes.annotate(text, (where, place), (4, 0), textcoords="offset points", va="center", **look)


def _draw_legend(figure: Any, axes: Any, title: str) -> None:
    handles = [
        axes.barh([0], [0], color=_OWN, alpha=0.85, label="the layer's own noise"),
        axes.barh([0], [0], color=_WORST, alpha=0.85, label="the same, worst layers"),
        axes.plot([], [], "o-", color=_TOTAL, linewidth=1.2, markersize=3.5, label="all noise up to here")[0],
    ]
    figure.suptitle(plain(title), x=0.01, ha="left", color=_INK, fontsize=12, weight="bold")
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, labelcolor=_INK)


def _draw_layer(figure: Any, layer: Layer, histogram: Histogram, name: str) -> None:
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.25, 1), **_PLACE})
    _draw_values(left, layer, histogram)
    _draw_errors(right, histogram)
    for axes in (left, right):
        _plain_axes(axes)
    figure.text(0.01, 0.92, f"{name} \N{MIDDLE DOT} {plain(layer.kind)}", color=_INK, fontsize=11, weight="bold")
    figure.text(0.01, 0.835, _described(layer), color=_SOFT, fontsize=8.5)


def _draw_values(axes: Any, layer: Layer, histogram: Histogram) -> None:
    if histogram.range is not None:
        axes.axvspan(*histogram.range, color=_BAND, zorder=0)
        for end in histogram.range:
            axes.axvline(end, color=_OWN, linewidth=1, linestyle=(0, (4, 2)))
    _stairs(axes, histogram.values, _SOFT, filled=True)
    _logarithmic(axes, histogram.values)
    axes.set_xlabel("float value (shaded: what the tensor can hold)", color=_INK)
    axes.set_ylabel("how many", color=_INK)


def _draw_errors(axes: Any, histogram: Histogram) -> None:
    axes.axvspan(-0.5, 0.5, color=_BAND, zorder=0)
    if histogram.own_error is not None:
        _stairs(axes, histogram.own_error, _OWN, filled=True, label="the layer's own")
    _stairs(axes, histogram.error, _TOTAL, filled=False, label="with all before")
    _logarithmic(axes, histogram.error, *([histogram.own_error] if histogram.own_error else []))
    axes.set_xlabel("error in steps (shaded: rounding)", color=_INK)
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2, "borderaxespad": 0.2}
    axes.legend(frameon=False, fontsize=8, labelcolor=_INK, handlelength=1.4, columnspacing=1.2, **place)


def _logarithmic(axes: Any, *drawn: Counts) -> None:
    """Counts on a logarithmic axis, a tick for every second power of ten: 1, 100, 10k ..."""
    ticker = _matplotlib("matplotlib.ticker")
    axes.set_yscale("log")
    axes.set_ylim(0.7, 3.0 * max(1, *(max(counts.counts) for counts in drawn)))
    axes.yaxis.set_major_locator(ticker.LogLocator(100))
    axes.yaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))


def _stairs(axes: Any, counts: Counts, colour: str, *, filled: bool, label: str | None = None) -> None:
    width = (counts.high - counts.low) / len(counts.counts)
    edges = [counts.low + width * number for number in range(len(counts.counts) + 1)]
    look = {"alpha": 0.75} if filled else {"linewidth": 1.3}
    axes.stairs(counts.counts, edges, color=colour, fill=filled, label=label, **look)


def _described(layer: Layer) -> str:
    parts = [f"own {_decibels(layer.own_sqnr_db)}, in all {_decibels(layer.sqnr_db)}"]
    if layer.scale is not None:
        parts.append(f"{layer.dtype}, step {layer.scale:.4g}, zero point {layer.zero_point}")
        parts.append(f"clipped {_percent(layer.clipped)}")
    if layer.expected_scale is not None:
        parts.append(f"its readers expect steps of {layer.expected_scale:.4g}")
    return "; ".join(parts)


def _decibels(value: float | None) -> str:
    return "not separable" if value is None else "exact" if _is_exact(value) else f"{value:.1f} dB"


def _percent(share: float) -> str:
    return "none" if not share else "below 0.001 %" if share < 1e-5 else f"{100 * share:.3f} %"


def _page(audit: Audit, pictures: Sequence[tuple[str, str, str]], title: str) -> str:
    numbers = {name: number for number, (_file, name, _drawing) in enumerate(pictures)}
    shown = dict(zip((layer.name for layer in audit.layers), short_names([x.name for x in audit.layers]), strict=True))
    worst = [_cut(plain(shown[name])) for name in audit.worst]
    links = [
        f'<a href="#layer-{numbers[name]}">{escape(name)}</a>' if name in numbers else escape(name) for name in worst
    ]
    body = _BODY.format(
        summary=escape(_summary(audit)),
        worst=", ".join(links) or "none",
        figures="\n".join(_figure(number, *picture) for number, picture in enumerate(pictures)),
    )
    return page.render(plain(title), _STYLE, body)


def _summary(audit: Audit) -> str:
    low, high = wilson(audit.agreement.hits, audit.agreement.of)
    found = f"{audit.matched} of {audit.operators} quantized operators were found in the float model."
    same = f"{audit.agreement.hits / audit.agreement.of:.1%} of the time ({low:.1%} to {high:.1%})"
    return (
        f"{found} On {audit.samples} images both models name the same first class {same}; mean KL(float || quantized) "
        f"is {audit.kl_nats:.4g} nats. Own noise is what a layer adds to the very inputs that it got, on "
        f"{audit.own_samples} of the images, as are the histograms; their end bins hold all that lies beyond."
    )


def _figure(number: int, _file: str, name: str, drawing: str) -> str:
    content = base64.b64encode(drawing.encode()).decode()
    source = f"data:image/svg+xml;base64,{content}"
    return f'<figure id="layer-{number}"><img src="{source}" alt="{escape(name)}"></figure>'


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


_BODY = """<p>{summary}</p>
<p>Most noise of their own: {worst}.</p>
{figures}"""

_STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: #ffffff; color: #1b1f24; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
p { max-width: 46rem; }
a { color: #0a58ca; text-decoration: none; }
figure { margin: 0; padding: 1rem 0; border-bottom: 1px solid #d9dee4; overflow-x: auto; }
img { display: block; width: 100%; min-width: 40rem; height: auto; }
@media print { figure { break-inside: avoid; border: none; } }
"""
