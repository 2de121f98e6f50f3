"""A comparison as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.compare import Comparison
from edgekit.report.table import Cell, Layout, lay_out, superscript

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

WIDE = 100
MOST_ROWS = 100  # a terminal is no place to look through more
_MOST_NOTES = 100


def render(comparison: Comparison, width: int = WIDE) -> Table:
    """The table, made for `width` columns: what all rows share is in the caption, what has no room is left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = msgspec.structs.replace(comparison, rows=comparison.rows[:MOST_ROWS])
    layout = lay_out(shown, fold=True, spare=width >= WIDE)
    hidden = len(comparison.rows) - len(shown.rows)
    table = Table(
        title=Text(layout.caption),
        title_justify="left",
        title_style="bold",
        caption=Text(_below(layout, hidden)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0) if width < WIDE else (0, 1),
        show_edge=False,
        pad_edge=False,
    )
    for column in layout.columns:
        heading = Text(f"{column.title}\n{column.unit}")
        side: Literal["left", "right"] = "right" if column.numeric else "left"
        table.add_column(heading, justify=side, no_wrap=column.numeric, overflow="fold")
    for row in layout.rows:
        table.add_row(*[_text(cell) for cell in row])
    return table


def _text(cell: Cell) -> Text:
    from rich.text import Text

    text = Text(cell.text + superscript(cell.mark))
    for part in cell.detail.split(", ") if cell.detail else ():
        text.append(f"\n{part}", style="dim")
    return text


def _below(layout: Layout, hidden: int) -> str:
    more = [f"{hidden} rows more; --csv and --html have them all."] if hidden else []
    footnotes = [f"{superscript(number)} {why}" for number, why in enumerate(layout.footnotes, 1)]
    return "\n".join([*more, *footnotes, *layout.notes[:_MOST_NOTES], *_unsaid(layout)])


def _unsaid(layout: Layout) -> list[str]:
    more = len(layout.notes) - _MOST_NOTES
    return [f"{more} notes more; --markdown and --html have them all."] if more > 0 else []
