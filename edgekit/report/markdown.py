"""A comparison as a GitHub-flavoured Markdown table."""

from __future__ import annotations

import re

from edgekit.compare import Comparison
from edgekit.report.table import EXPLANATION, Cell, Layout, lay_out, superscript


def render(comparison: Comparison) -> str:
    """The table, and below it what its columns mean; ends with a newline."""
    return f"{table(lay_out(comparison))}\n{EXPLANATION}\n"


def table(layout: Layout) -> str:
    """Caption, table, footnotes and notes; ends with a newline."""
    lines = [f"**{escape(layout.caption)}**", ""]
    lines.append(_line([escape(column.heading) for column in layout.columns]))
    lines.append(_line(["---:" if column.numeric else ":---" for column in layout.columns]))
    lines += [_line([_cell(cell) for cell in row]) for row in layout.rows]
    for number, why in enumerate(layout.footnotes, 1):
        lines += ["", f"{superscript(number)} {escape(why)}"]
    for note in layout.notes:
        lines += ["", escape(note)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    special = re.sub(r"([\\`*\[\]<>|~&#])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", special)  # inside a word it stands for itself


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return escape(cell.text) + superscript(cell.mark) + (f" ({escape(cell.detail)})" if cell.detail else "")
