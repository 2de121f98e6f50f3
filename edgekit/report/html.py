"""A comparison as one HTML file that needs nothing else: the answer, a chooser, the picture and the table.

For screen, phone and paper; what moves is done by page.js on the rows that the page carries.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterable, Sequence
from html import escape

import msgspec

from edgekit.compare import Comparison, Row, Source
from edgekit.compare import answers as answering
from edgekit.compare.answers import Answer
from edgekit.compare.costs import COSTS, Cost
from edgekit.compare.family import BASES, INVALID, MEASURED, PUBLISHED, Beside, Known, Terms, besides
from edgekit.compare.forms import Form, differences, forms
from edgekit.errors import MissingError
from edgekit.report import page, plot, vega
from edgekit.report.payload import LIMITED, payload, place
from edgekit.report.table import EXPLANATION, NOTHING, Cell, Column, Layout, lay_out, plain

TITLE = "edgekit comparison"
_GLYPHS = dict(zip(plot.RECIPES, "■✚◆●▲▼▶◀|", strict=True))
Link = Callable[[Source], str]


def render(
    comparison: Comparison,
    title: str = TITLE,
    known: Known | None = None,
    link: Link | None = None,
    more: Sequence[str] = (),
) -> str:
    """The page. `known` has published accuracies; `link` gives the address of a record's line; `more` are sections.

    Without vl-convert it has no chart and says how to get one.
    """
    known = known or {}
    records = _Records(comparison.rows)
    layout = lay_out(comparison, fold=True)
    found = besides(comparison.rows, COSTS, known)
    body = "\n".join(
        [
            chooser(comparison.rows, known),
            answer(comparison.rows, found, known),
            picture(comparison.rows),
            _table(layout, comparison.rows, records),
            _forms(forms(comparison)),
            _standings(found),
            *more,
            _left_out(comparison.rows),
            _machines(comparison.rows),
            records.section(link),
            _notes(layout),
            f'<script type="application/json" id="data">{payload(comparison, known)}</script>',
        ]
    )
    return page.render(title, _resource("page.css"), body, "light dark", [*_vega(), _resource("page.js")])


def _resource(name: str) -> str:
    return importlib.resources.files("edgekit.report").joinpath(name).read_text("utf-8")


def _vega() -> list[str]:
    """Vega and the two charts for it, with an axis by logarithms and a plain one; nothing without vl-convert."""
    try:
        charts = {name: vega.compiled(plot.for_page(name == "log")) for name in ("log", "linear")}
        return [vega.script(), f"window.edgekitCharts={msgspec.json.encode(charts).decode()}"]
    except MissingError:
        return []


def answer(rows: Sequence[Row], found: Sequence[Beside], known: Known) -> str:
    """What the records come to, in sentences, and below them by cost and place."""
    told = answering.answers(found)
    sentences = [answering.sentence(of, told, basis) for of in answering.CHALLENGERS for basis in reversed(BASES)]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences if sentence)
    if not items:
        return ""
    caution = "".join(f"<p>{escape(words)}</p>" for words in cautions(rows, known))
    return f"""<section aria-labelledby="answer">
<h2 id="answer">Is SqueezeNet or SqueezeNext ever better than the MobileNet of the same cost?</h2>
<div class="lead"><ul>{items}</ul>{caution}</div>
<details><summary>With figures</summary>{_answers(told)}</details></section>"""


def _answers(told: Sequence[Answer]) -> str:
    """A line for each cost and place, a column for each family and kind of accuracy."""
    columns = list(dict.fromkeys((answer.family, answer.beside.terms.basis) for answer in told))
    lines: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for answer in told:
        terms = answer.beside.terms
        line = lines.setdefault((terms.cost.title, place_of(terms)), {})
        line[answer.family, terms.basis] = _standing_cell(answer.beside)
    headings = ("At equal", *(f"{answering.NAMES[of]}, {basis} accuracy" for of, basis in columns))
    cells = [
        [escape(plain(", ".join(filter(None, line)))), *(cells.get(column, NOTHING) for column in columns)]
        for line, cells in lines.items()
    ]
    return grid(headings, cells)


def place_of(terms: Terms) -> str:
    """Where a cost was taken; nothing for those of the file alone."""
    if terms.device is None:
        return ""
    counted = terms.cost.key == "instructions_m"
    return (
        terms.device if counted else f"{terms.device}, {terms.threads} {'thread' if terms.threads == 1 else 'threads'}"
    )


def _standing_cell(beside: Beside) -> str:
    """The model and where it stands, with a colour for what is certain."""
    mark = {"better": "better", "worse": "worse"}.get(beside.standing.word, "")
    said = escape(answering.words(beside))
    reserve = answering.reserve(beside)
    named = escape(plain(f"{plot.label(beside.row)}, {beside.row.recipe}{f'; {reserve}' if reserve else ''}"))
    return f'<span class="{mark}">{said}</span><small>{named}</small>' if mark else f"{said}<small>{named}</small>"


def cautions(rows: Sequence[Row], known: Known) -> list[str]:
    """What the reader must know of the images before believing measured accuracies across families."""
    gains = answering.favour(rows, known)
    if len(gains) < 2 or max(gains.values()) - min(gains.values()) < 2:
        return []
    named = ", ".join(f"{answering.NAMES.get(of, of)} {gain:+.1f}" for of, gain in gains.items())
    return [
        "The images that were judged here do not treat the families alike: beside its published accuracy on ImageNet's "
        f"validation images, a float network scores on them, in points: {named}. Some may have been trained on them. "
        "Between families, believe the published accuracy; within a family and between its forms, the measured one."
    ]


def chooser(rows: Sequence[Row], known: Known) -> str:
    """The limits, and where the script writes the models that keep them."""
    places = list(dict.fromkeys(place(row) for row in rows if row.device))
    options = "".join(f"<option>{escape(name)}</option>" for name in places)
    limits = "".join(_limit(cost) for cost in COSTS if cost.key in LIMITED)
    return f"""<section class="chooser" aria-labelledby="choose"><h2 id="choose">Which model for your device?</h2>
<noscript><p class="missing">The chooser and the chart need JavaScript; the tables below do not.</p></noscript>
<form class="controls limits"><label class="wide">Device<select id="device">{options}</select></label>{limits}
<label>Top-1, % at least<input id="least-top1" type="number" min="0" max="100" step="any" inputmode="decimal"></label>
{_bases(rows, known)}<button type="reset">Clear</button></form>
<p id="verdict" role="status"></p><ol id="ranking" class="ranking"></ol>
<details id="others" hidden><summary>The other <span id="others-count"></span>, and why</summary>
<ul id="losers" class="ranking"></ul></details></section>"""


def _limit(cost: Cost) -> str:
    heading = escape(f"{cost.title.removesuffix(', measured')}, {cost.unit} at most")
    return f'<label>{heading}<input id="most-{cost.key}" type="number" min="0" step="any" inputmode="decimal"></label>'


def _bases(rows: Sequence[Row], known: Known) -> str:
    """Which accuracy counts: the published one at first, where the images are no fair judge between families."""
    words = {MEASURED: "measured on the judged images", PUBLISHED: "published for the float network"}
    first = PUBLISHED if cautions(rows, known) else MEASURED
    boxes = "".join(
        f'<label><input type="radio" name="basis" value="{basis}"{" checked" if basis == first else ""}>'
        f"{words[basis]}</label>"
        for basis in BASES
        if basis == MEASURED or known
    )
    return f'<fieldset class="wide"><legend>Accuracy</legend>{boxes}</fieldset>'


def picture(rows: Sequence[Row]) -> str:
    """The filters and the place of the chart."""
    costs = "".join(
        f'<label><input type="radio" name="cost" value="{cost.key}">{escape(cost.title)}</label>'
        for cost in COSTS
        if any(cost.value(row) is not None for row in rows)
    )
    there = {plot.family_of(row) for row in rows}
    named = {row.recipe if row.recipe in plot.RECIPES else "other" for row in rows}
    families = "".join(_family_box(i, name) for i, name in enumerate(plot.FAMILIES, 1) if name in there)
    recipes = "".join(_recipe_box(name) for name in plot.RECIPES if name in named)
    return f"""<section aria-labelledby="fronts"><h2 id="fronts">Accuracy and what it costs</h2>
<form class="controls screen"><fieldset><legend>Cost</legend>{costs}</fieldset>
<fieldset><legend>Families</legend>{families}</fieldset><fieldset><legend>Recipes</legend>{recipes}</fieldset>
<fieldset><legend>Axis</legend><label><input type="checkbox" id="logarithmic" checked>logarithmic</label></fieldset>
</form>
<figure><figcaption id="chart-title"></figcaption>
<div id="chart" role="img" aria-labelledby="chart-title" aria-describedby="chart-says">{_no_chart()}</div>
<p id="chart-axis"></p><p id="chart-empty" class="missing" hidden>Nothing was measured of this here.</p></figure>
<p id="chart-says" class="soft">Coloured lines: the MobileNet families, recipe by recipe. Dotted: what nothing else
beats. Bars: 95 % intervals. Hollow: the machine did not keep still, see the verdict. Invalid timings are left
out and <a href="#left-out">listed</a>. Every point is a row of the table; a click leads there.</p>
<div id="tip" hidden></div></section>"""


def _no_chart() -> str:
    try:
        vega.available()
    except MissingError as error:
        return f'<p class="missing">{escape(str(error))}</p>'
    return ""


def _family_box(number: int, name: str) -> str:
    swatch = f'<span class="swatch" style="background:var(--family-{number})"></span>'
    words = escape(answering.NAMES.get(name, name))
    return f'<label><input type="checkbox" name="family" value="{name}" checked>{swatch}{words}</label>'


def _recipe_box(name: str) -> str:
    shape = f'<span class="shape" aria-hidden="true">{_GLYPHS[name]}</span>'
    return f'<label><input type="checkbox" name="recipe" value="{name}" checked>{shape}{name}</label>'


class _Records:
    """The lines that figures are from, each with an anchor."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._told: dict[tuple[str, int], tuple[int, Source, Row]] = {}
        for row in rows:
            for source in row.sources:
                if source.file:
                    number = len(self._told)
                    self._told.setdefault((source.file, source.line), (number, source, row))

    def anchor(self, row: Row, judged: bool) -> str:
        """Where the line of a figure is told: that of the accuracy, or that of all else."""
        kinds = [source for source in row.sources if (source.kind == "quality") == judged] or list(row.sources)
        found = self._told.get((kinds[0].file, kinds[0].line)) if kinds else None
        return f"#record-{found[0]}" if found else ""

    def section(self, link: Link | None) -> str:
        """A table of all lines."""
        if not self._told:
            return ""
        lines = "".join(_record(number, source, row, link) for number, source, row in self._told.values())
        headings = "".join(
            f'<th scope="col">{words}</th>' for words in ("Record", "Of", "Started", "SHA-256 of the file")
        )
        return f"""<section class="below" aria-labelledby="records"><h2 id="records">Records</h2><details>
<summary>The {len(self._told)} lines that every figure above is from</summary><div class="scroll">
<table class="records"><thead><tr>{headings}</tr></thead><tbody>{lines}</tbody></table></div></details></section>"""


def _record(number: int, source: Source, row: Row, link: Link | None) -> str:
    where = escape(f"{source.file}, line {source.line}")
    named = f'<a href="{escape(link(source))}">{where}</a>' if link else where
    of = escape(plain(f"{source.kind} of {row.artifact_name}"))
    said = f"<td>{named}</td><td>{of}</td><td>{escape(source.started_utc)}</td>"
    return f'<tr id="record-{number}">{said}<td>{escape(row.artifact_sha256[:16])}…</td></tr>'


def _table(layout: Layout, rows: Sequence[Row], records: _Records) -> str:
    head = "".join(_heading(column) for column in layout.columns)
    lines = zip(rows, layout.rows, strict=True)
    body = "\n".join(_row(layout, number, row, cells, records) for number, (row, cells) in enumerate(lines))
    return f"""<section class="below" aria-labelledby="rows"><h2 id="rows">Every figure</h2>
<form class="controls screen"><fieldset><label><input type="checkbox" id="every" checked>every device</label></fieldset>
<span id="rows-count" class="soft" role="status"></span></form>
<div class="scroll" role="region" aria-label="Table" tabindex="0">
<table role="table" class="cards"><caption>{escape(layout.caption)}</caption>
<thead role="rowgroup"><tr role="row">{head}</tr></thead>
<tbody role="rowgroup">
{body}
</tbody></table></div></section>"""


def _heading(column: Column) -> str:
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return f'<th role="columnheader" scope="col"{_side(column)}>{escape(column.title)}{unit}</th>'


def _row(layout: Layout, number: int, row: Row, cells: tuple[Cell, ...], records: _Records) -> str:
    """The first cell heads the row; the others repeat their heading for narrow pages, where each row is a card."""
    first, *others = (
        f"{_opening(column, position)}{_words(cell, records.anchor(row, column.judged) if position else '')}"
        f"{'</td>' if position else '</th>'}"
        for position, (column, cell) in enumerate(zip(layout.columns, cells, strict=True))
    )
    return f'<tr role="row" id="row-{number}">{first}{"".join(others)}</tr>'


def _opening(column: Column, position: int) -> str:
    if position == 0:
        return '<th role="rowheader" scope="row">'
    return f'<td role="cell" data-heading="{escape(column.heading)}"{_side(column)}>'


def _side(column: Column) -> str:
    return ' class="number"' if column.numeric else ""


def _words(cell: Cell, anchor: str = "") -> str:
    mark = f'<sup><a href="#note-{cell.mark}">{cell.mark}</a></sup>' if cell.mark else ""
    detail = f" <small>{escape(cell.detail)}</small>" if cell.detail else ""
    text = f'<a href="{anchor}">{escape(cell.text)}</a>' if anchor and not cell.mark else escape(cell.text)
    return f"<span>{text}{mark}{detail}</span>"


def grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table of HTML cells; the first of each row heads it."""
    head = "".join(f'<th role="columnheader" scope="col">{escape(words)}</th>' for words in headings)
    body = "".join(
        f'<tr role="row"><th role="rowheader" scope="row">{cells[0]}</th>'
        + "".join(
            f'<td role="cell" data-heading="{escape(words)}"><span>{cell}</span></td>'
            for words, cell in zip(headings[1:], cells[1:], strict=True)
        )
        + "</tr>"
        for cells in rows
    )
    return (
        '<div class="scroll"><table role="table" class="cards"><thead role="rowgroup">'
        f'<tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _forms(found: Sequence[Form]) -> str:
    """What each quantized form gains and costs."""
    if not found:
        return ""
    headings = ("Model", "Form", "Device", "Size", "Time or instructions", "Top-1, points", "Why")
    made = grid(headings, [_form(form) for form in found])
    return f"""<section class="below" aria-labelledby="forms"><h2 id="forms">Float against the quantized forms</h2>
<p class="soft">Of the float form of the same network at the same place; below 100 % is a gain. Intervals are 95 %.</p>
{made}</section>"""


def _form(form: Form) -> list[str]:
    return [escape(part) for part in form_words(form)]


def form_words(form: Form) -> list[str]:
    """Model, form, place, size, speed, accuracy and reason."""
    speed = NOTHING
    if form.speed is not None:
        span = "" if form.counted else f" ({100 * form.speed.low:.0f} to {100 * form.speed.high:.0f})"
        speed = f"{100 * form.speed.value:.0f} %{span}{' of instructions' if form.counted else ''}"
    top1 = NOTHING
    if form.top1 is not None:
        top1 = f"{100 * form.top1.value:+.2f} ({100 * form.top1.low:+.1f} to {100 * form.top1.high:+.1f})"
    named = [plot.label(form.row), plain(form.row.recipe or ""), place(form.row)]
    return [*named, f"{100 * form.size:.0f} %", speed, top1, plain(form.why)]


def _standings(found: Sequence[Beside]) -> str:
    """Every model beside every curve."""
    if not found:
        return ""
    headings = ("Model", "Beside", "At equal", "Accuracy", "Standing")
    made = grid(headings, [_standing(beside) for beside in found])
    return f"""<section class="below" aria-labelledby="beside"><h2 id="beside">Beside the MobileNets at equal terms</h2>
<p class="soft">Each family's best points make a curve, straight between neighbours over the logarithm of the cost, for
one recipe, place and kind of accuracy. Where the images are the same, differences are taken image by image.</p>
<details><summary>{len(found)} standings</summary>{made}</details></section>"""


def _standing(beside: Beside) -> list[str]:
    said, terms = escape(answering.words(beside)), beside.terms
    where = f" on {place_of(terms)}" if terms.device else ""
    mark = {"better": "better", "worse": "worse"}.get(beside.standing.word, "")
    cells = [
        f"{plot.label(beside.row)}, {beside.row.recipe}",
        f"{answering.NAMES[beside.family]}, {beside.points} of {max(beside.points, beside.published)} points",
    ]
    cells += [f"{terms.cost.title.lower()}{where}", terms.basis]
    return [*(escape(plain(cell)) for cell in cells), f'<span class="{mark}">{said}</span>' if mark else said]


def _left_out(rows: Sequence[Row]) -> str:
    """Timings that are not believed."""
    bad = [row for row in rows if row.verdict == INVALID]
    items = "".join(
        f"<li>{escape(plot.label(row))}, {escape(plain(row.recipe or ''))}, {escape(place(row))}: "
        f"{escape(plain('; '.join(row.verdict_reasons)))}</li>"
        for row in bad
    )
    said = f"<ul>{items}</ul>" if items else "<p>None.</p>"
    return f"""<section class="notes" aria-labelledby="left-out"><h2 id="left-out">Timings left out as invalid</h2>
{said}</section>"""


def _machines(rows: Sequence[Row]) -> str:
    """Fingerprints side by side: only what differs between the runs."""
    kinds: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if row.fingerprint is not None:
            machine = row.fingerprint
            kinds.setdefault((row.device, machine.runtime_version, machine.os, machine.governor, machine.cpu), row)
    runs = list(kinds.values())
    told = differences(runs)
    if len(runs) < 2 or not told:
        return ""
    made = grid(
        ("Field", *(f"{place(row)}, {row.sources[0].started_utc[:10]}" for row in runs)),
        [[escape(name), *(escape(plain(value)) for value in values)] for name, values in told],
    )
    heading = '<h2 id="machines">What differed between the machines</h2>'
    return f'<section class="below" aria-labelledby="machines">{heading}{made}</section>'


def _notes(layout: Layout) -> str:
    """Footnotes under their numbers, then what keeps rows from being comparable."""
    footnotes = "".join(f'<li id="note-{i}">{escape(why)}</li>' for i, why in enumerate(layout.footnotes, 1))
    notes = "".join(f"<p>{escape(note)}</p>" for note in layout.notes)
    listed = f"<ol>{footnotes}</ol>" if footnotes else ""
    return f'<section class="notes" aria-label="Notes"><p>{escape(EXPLANATION)}</p>{listed}{notes}</section>'
