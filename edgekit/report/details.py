"""One model in detail, as a section that opens: layer by layer, class by class, and what it mistakes for what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import msgspec

from edgekit.compare.classes import ClassAccuracy, Confusion
from edgekit.report.table import NOTHING, plain

_MOST_CLASSES = 12
NO_ROOFLINE = (
    "Not placed under a roofline: that takes the device's peak of multiplications and its memory bandwidth, "
    "which no record has."
)


class Layer(msgspec.Struct, frozen=True):
    """One operator: its share of the work, as far as somebody counted it.

    `instructions` are of an emulated core and may be a little below 0, for they are differences. `noise_db` is signal
    over the noise that this operator adds itself, from the audit in the file's card.
    """

    index: int
    kind: str
    output_shape: tuple[int, ...]
    output_bytes: int
    macs: int
    delegated: bool | None = None
    instructions: int | None = None
    noise_db: float | None = None


class Detail(msgspec.Struct, frozen=True):
    """All that is known of one file. `names` are its classes', `pictures` data addresses by an image's place."""

    title: str
    layers: tuple[Layer, ...] = ()
    classes: tuple[ClassAccuracy, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    names: tuple[str, ...] = ()
    pictures: dict[int, str] = {}


Grid = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def section(details: Sequence[Detail], grid: Grid) -> str:
    """The models, each closed until somebody opens it; nothing without any."""
    if not details:
        return ""
    models = "".join(_model(detail, grid) for detail in details)
    return f"""<section class="below" aria-labelledby="models"><h2 id="models">Model by model</h2>
<p class="soft">{escape(NO_ROOFLINE)}</p>{models}</section>"""


def _model(detail: Detail, grid: Grid) -> str:
    parts = [_layers(detail.layers, grid), _classes(detail, grid), _confusions(detail)]
    return f"<details><summary>{escape(plain(detail.title))}</summary>{''.join(parts)}</details>"


def _layers(layers: Sequence[Layer], grid: Grid) -> str:
    """A table whose bars are the picture: how much of the whole each layer is."""
    if not layers:
        return ""
    counted = any(layer.instructions is not None for layer in layers)
    audited = any(layer.noise_db is not None for layer in layers)
    headings = ["Layer", "Output", "MACs", "Memory, kB", "Delegated"]
    headings += ["Instructions"] * counted + ["Own signal to noise, dB"] * audited
    whole = {
        "macs": max(layer.macs for layer in layers),
        "bytes": max(layer.output_bytes for layer in layers),
        "instructions": max(layer.instructions or 0 for layer in layers),
    }
    rows = []
    for layer in layers:
        cells = [f"{layer.index} {escape(layer.kind)}", "x".join(map(str, layer.output_shape))]
        cells += [
            _bar(layer.macs / 1e6, whole["macs"] / 1e6, " M"),
            _bar(layer.output_bytes / 1e3, whole["bytes"] / 1e3),
        ]
        cells.append({True: "yes", False: "no", None: NOTHING}[layer.delegated])
        if counted:
            told = None if layer.instructions is None else layer.instructions / 1e6
            cells.append(_bar(told, whole["instructions"] / 1e6, " M"))
        if audited:
            cells.append(NOTHING if layer.noise_db is None else f"{layer.noise_db:.1f}")
        rows.append(cells)
    return grid(headings, rows)


def _bar(value: float | None, most: float, unit: str = "") -> str:
    """A figure with a bar of its share of the greatest."""
    if value is None:
        return NOTHING
    width = max(0.0, 6 * value / most) if most > 0 else 0.0
    return f'{value:.2f}{unit} <span class="bar" style="width:{width:.2f}rem"></span>'


def _name(detail: Detail, number: int) -> str:
    return escape(plain(detail.names[number] if number < len(detail.names) else f"class {number}"))


def _classes(detail: Detail, grid: Grid) -> str:
    """The classes that are known worst."""
    if not detail.classes:
        return '<p class="soft">Accuracy by class: no record of this file tells the class of each image.</p>'
    shown = detail.classes[:_MOST_CLASSES]
    rows = [
        [
            _name(detail, item.number),
            f"{100 * item.top1.value:.0f} ({100 * item.top1.low:.0f} to {100 * item.top1.high:.0f})",
            str(item.top1.of),
        ]
        for item in shown
    ]
    wholly = sum(item.top1.value == 1 for item in detail.classes)
    head = f"<p>{len(detail.classes)} classes have images, {wholly} of them are always named right. The worst:</p>"
    return head + grid(("Class", "Top-1, %", "Images"), rows)


def _confusions(detail: Detail) -> str:
    """What is taken for what, with an image where the folder is at hand."""
    if not detail.confusions:
        return ""
    items = "".join(
        f"<li>{_picture(detail, item)}{_name(detail, item.truth)} taken for {_name(detail, item.answer)}"
        f"{f', {item.count} times' if item.count > 1 else ''}</li>"
        for item in detail.confusions
    )
    return f'<p>Worst confusions:</p><ul class="confusions">{items}</ul>'


def _picture(detail: Detail, item: Confusion) -> str:
    found = detail.pictures.get(item.image)
    return f'<img src="{escape(found)}" alt="{_name(detail, item.truth)}" width="96" height="96">' if found else ""
