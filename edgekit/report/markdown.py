"""A comparison as a GitHub-flavoured Markdown table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgekit.compare import Comparison
from edgekit.report.table import EXPLANATION, Cell, Layout, lay_out, superscript


def render(comparison: Comparison) -> str:
    """The table, and below it what its columns mean; ends with a newline."""
    return f"{table(lay_out(comparison))}\n{EXPLANATION}\n"


def table(layout: Layout, links: Sequence[str] = ()) -> str:
    """Caption, table, footnotes and notes; ends with a newline. `links` lead from each row to its record."""
    lines = [f"**{escape(layout.caption)}**", ""]
    lines.append(_line([escape(column.heading) for column in layout.columns]))
    lines.append(_line(["---:" if column.numeric else ":---" for column in layout.columns]))
    for row, link in zip(layout.rows, links or [""] * len(layout.rows), strict=True):
        first, *others = [_cell(cell) for cell in row]
        lines.append(_line([f"[{first}]({link})" if link else first, *others]))
    for number, why in enumerate(layout.footnotes, 1):
        lines += ["", f"{superscript(number)} {escape(why)}"]
    for note in layout.notes:
        lines += ["", escape(note)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    special = re.sub(r"([\\`*\[\]<>|~&#])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", special)  # inside a word it stands for itself


def grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table of cells that are Markdown already; ends with a newline."""
    return "".join(_line(list(cells)) + "\n" for cells in (headings, ["---"] * len(headings), *rows))


def linked(text: str, link: str = "") -> str:
    """Text that leads somewhere, if it does."""
    return f"[{escape(text)}]({link})" if link else escape(text)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return escape(cell.text) + superscript(cell.mark) + (f" ({escape(cell.detail)})" if cell.detail else "")
