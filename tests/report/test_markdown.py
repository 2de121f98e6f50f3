"""Markdown, parsed back by a CommonMark parser with tables (it comes with rich)."""

from __future__ import annotations

from itertools import pairwise

from markdown_it import MarkdownIt

from edgekit.compare import Comparison
from edgekit.report import markdown
from edgekit.report.table import EXPLANATION


def cells(text: str) -> list[list[str]]:
    """The table's plain words, row by row, as a reader sees them."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif before.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def test_the_table_parses_and_says_the_same(comparison: Comparison) -> None:
    head, *rows = cells(markdown.render(comparison))
    assert head[:4] == ["Model", "Recipe", "Size, MB", "Top-1, %"]
    assert [row[0] for row in rows] == ["squeezenet_v1_1 (224 px)", "squeezenet_v1_1 (224 px)", "mystery"]
    assert rows[1][-1] == "12.30 (net 8.10 ± 0.20, RAPL, cpu)"
    assert all(len(row) == len(head) for row in rows)


def test_footnotes_and_notes_follow(comparison: Comparison) -> None:
    text = markdown.render(comparison)
    assert "\n¹ not judged against a reference\n" in text
    assert text.endswith(f"\n\nLatency was taken by different protocols.\n\n{EXPLANATION}\n")


def test_hostile_names_stay_words(hostile: Comparison) -> None:
    text = markdown.render(hostile)
    rows = cells(text)
    assert len(rows) == 2 and len(rows[1]) == len(rows[0])
    assert rows[1][0] == "=x|<script>alert(1)</script>*a* `b` [c](d) �[31m� &amp; {style}"
    types = {
        child.type for token in MarkdownIt("commonmark").enable("table").parse(text) for child in token.children or []
    }
    assert types <= {"text", "strong_open", "strong_close", "text_special", "softbreak"}


def test_underscores_inside_a_word_stay_and_others_are_escaped() -> None:
    assert markdown.escape("squeezenet_v1_1 _x_") == "squeezenet_v1_1 \\_x\\_"
