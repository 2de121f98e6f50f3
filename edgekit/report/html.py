"""A comparison as one HTML file that needs nothing else: no network, no script; for screen, phone and paper."""

from __future__ import annotations

from html import escape

from edgekit.compare import Comparison
from edgekit.errors import DataError, MissingError
from edgekit.report import chart, page
from edgekit.report.table import EXPLANATION, Cell, Column, Layout, lay_out

TITLE = "edgekit comparison"
WIDE_IN, NARROW_IN = (7.6, 4.4), (3.9, 4.2)


def render(comparison: Comparison, title: str = TITLE) -> str:
    """The page. Without matplotlib it has no chart and says how to get one."""
    layout = lay_out(comparison, fold=True)
    body = _BODY.format(
        chart=_chart(comparison),
        caption=escape(layout.caption),
        head="".join(_heading(column) for column in layout.columns),
        rows="\n".join(_row(layout, row) for row in layout.rows),
        explanation=escape(EXPLANATION),
        notes=_notes(layout),
    )
    return page.render(title, _STYLE, body, "light dark")


def _chart(comparison: Comparison) -> str:
    """Two drawings, for wide and for narrow pages: one that shrank would be too small to read."""
    try:
        wide, narrow = chart.svg(comparison, *WIDE_IN), chart.svg(comparison, *NARROW_IN)
    except (MissingError, DataError) as error:
        return f'<p class="missing">{escape(str(error))}</p>'
    return f'<figure class="wide">{wide}</figure>\n<figure class="narrow">{narrow}</figure>'


def _heading(column: Column) -> str:
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return f'<th role="columnheader" scope="col"{_side(column)}>{escape(column.title)}{unit}</th>'


def _row(layout: Layout, cells: tuple[Cell, ...]) -> str:
    """The first cell heads the row; the others repeat their heading for narrow pages, where each row is a card."""
    first, *others = (
        f"{_opening(column, position)}{_words(cell)}{'</td>' if position else '</th>'}"
        for position, (column, cell) in enumerate(zip(layout.columns, cells, strict=True))
    )
    return f'<tr role="row">{first}{"".join(others)}</tr>'


def _opening(column: Column, position: int) -> str:
    if position == 0:
        return '<th role="rowheader" scope="row">'
    return f'<td role="cell" data-heading="{escape(column.heading)}"{_side(column)}>'


def _side(column: Column) -> str:
    return ' class="number"' if column.numeric else ""


def _words(cell: Cell) -> str:
    mark = f'<sup><a href="#note-{cell.mark}">{cell.mark}</a></sup>' if cell.mark else ""
    detail = f" <small>{escape(cell.detail)}</small>" if cell.detail else ""
    return f"<span>{escape(cell.text)}{mark}{detail}</span>"


def _notes(layout: Layout) -> str:
    """Footnotes under their numbers, then what keeps rows from being comparable."""
    footnotes = "".join(f'<li id="note-{i}">{escape(why)}</li>' for i, why in enumerate(layout.footnotes, 1))
    notes = "".join(f"<p>{escape(note)}</p>" for note in layout.notes)
    return (f"<ol>{footnotes}</ol>" if footnotes else "") + notes


_BODY = """{chart}
<div class="scroll" role="region" aria-label="Table" tabindex="0">
<table role="table">
<caption>{caption}</caption>
<thead role="rowgroup"><tr role="row">{head}</tr></thead>
<tbody role="rowgroup">
{rows}
</tbody>
</table>
</div>
<section class="notes">
<p>{explanation}</p>
{notes}
</section>"""

_STYLE = """
:root {
  --paper: #ffffff; --ink: #1b1f24; --soft: #59636e; --line: #d9dee4; --stripe: #f5f7f9; --link: #0a58ca;
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #00825f; --series-4: #a8508a; --series-5: #7a6a00;
  --series-6: #4b5563;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e6e9ed; --soft: #9aa5b1; --line: #31373e; --stripe: #1b1f24; --link: #78b0ff;
    --series-1: #56b4e9; --series-2: #ff9147; --series-3: #2fc79a; --series-4: #e08cc0; --series-5: #e5d44a;
    --series-6: #a7b0bb;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
figure { margin: 0 0 1.5rem; max-width: 46rem; }
figure svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
figure text { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.narrow { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr:nth-child(even) { background: var(--stripe); }
td:not(.number) { white-space: normal; min-width: 6rem; }
.number { text-align: right; }
.unit, small { display: block; font-weight: 400; font-size: .85em; color: var(--soft); }
sup { line-height: 0; }
a { color: var(--link); text-decoration: none; }
.notes { margin-top: 1rem; max-width: 46rem; font-size: .875rem; color: var(--soft); }
.notes p, .notes ol { margin: 0 0 .5rem; }
.notes ol { padding-left: 1.25rem; }
.missing { padding: .6rem .8rem; border: 1px solid var(--line); border-radius: .4rem; color: var(--soft); }
@media screen and (max-width: 46rem) {
  .wide { display: none; }
  .narrow { display: block; }
  table, caption, tbody { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr, tbody tr:nth-child(even) {
    display: grid; grid-template-columns: 1fr 1fr; column-gap: 1.5rem; margin-bottom: .75rem;
    padding: .25rem .75rem .5rem; background: var(--stripe); border: 1px solid var(--line); border-radius: .5rem;
  }
  tbody th, tbody td { padding: .3rem 0; white-space: normal; overflow-wrap: anywhere; }
  tbody th { grid-column: 1 / -1; border-bottom: 1px solid var(--line); margin-bottom: .25rem; }
  tbody td { display: flex; justify-content: space-between; gap: .75rem; text-align: right; }
  tbody td:not(.number) { grid-column: 1 / -1; }
  tbody td::before { content: attr(data-heading); flex: none; color: var(--soft); text-align: left; }
}
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  main { max-width: none; padding: 0; }
  table, .notes { font-size: 8.5pt; max-width: none; }
  th, td { padding: .25rem .5rem; }
  figure { max-width: 16cm; }
  tr, figure { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""
