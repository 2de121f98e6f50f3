"""The words in the cells and the layout that all formats share."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from edgekit.compare import Comparison, Pair, Ratio, Row
from edgekit.measurement import Instructions, Modelled
from edgekit.report import table
from edgekit.report.table import COLUMNS, NOTHING, lay_out, value_at


def modelled(comparison: Comparison) -> Row:
    """The row with everything, modelled energy and counted instructions included."""
    energy = Modelled(0.0005, 0.0001, 0.0001, 0.0003, 349_000_000, 80_000_000, 1_200_000, "45 nm")
    count = Instructions(
        "a", "net", None, None, 1, "Cortex-A76 (emulated)", "cortex-a76", "ai-edge-litert", "2.3.0",
        39_300_000, 27_000_000, 22_500_000, 0, 1000, 0, 0.0, "x86_64", "2026-01-01T10:00:00+00:00",
    )  # fmt: skip
    session = {"latency_estimate_ms": 8.1, "cold_ms": 40.0, "starts": 20, "input_copy_ms": 0.01, "session": "1a2b"}
    memory = {"arena_bytes": 1_600_000, "weight_bytes": 1_200_000, "peak_rss_bytes": 18_000_000}
    rest = {"macs_delegated": 0.99, "verdict": "valid"}
    return msgspec.structs.replace(comparison.rows[1], modelled=energy, instructions=count, **session, **memory, **rest)


def words(comparison: Comparison, heading: str) -> list[str]:
    """The texts of one column, with details in parentheses."""
    layout = lay_out(comparison)
    position = [column.heading for column in layout.columns].index(heading)
    cells = [cells[position] for cells in layout.rows]
    return [f"{cell.text} ({cell.detail})" if cell.detail else cell.text for cell in cells]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Model", ["squeezenet_v1_1 (224 px)", "squeezenet_v1_1 (224 px)", "mystery"]),
        ("Recipe", ["float32", "int8", NOTHING]),
        ("Size, MB", ["1.36", "1.36", "1.36"]),
        ("Top-1, %", ["64.75 (59.9–69.3)", "64.75 (59.9–69.3)", NOTHING]),  # noqa: RUF001
        ("Top-5, %", ["85.00", "85.00", NOTHING]),
        ("Agrees, %", [NOTHING, "94.25", NOTHING]),
        ("KL, nats", [NOTHING, "0.0123", NOTHING]),
        ("Images", ["400", "400", NOTHING]),
        ("Median, ms", ["7.43", "3.50", "7.43"]),
        ("p90, ms", ["7.95", "7.95", "7.95"]),
        ("Threads", ["1", "1", "1"]),
        ("Device", ["Board, 4 cores"] * 3),
        ("Delegated, %", ["95", "95", "95"]),
        ("Energy, mJ", [NOTHING, "12.30 (net 8.10 ± 0.20, RAPL, cpu)", NOTHING]),
    ],
)
def test_every_column_says_what_the_row_holds(comparison: Comparison, heading: str, expected: list[str]) -> None:
    assert words(comparison, heading) == expected


def test_an_empty_cell_has_a_footnote_and_equal_reasons_share_it(comparison: Comparison) -> None:
    layout = lay_out(comparison)
    empty = [cell for cells in layout.rows for cell in cells if cell.text == NOTHING]
    assert empty
    for cell in empty:
        assert cell.mark is not None and layout.footnotes[cell.mark - 1] == cell.why_empty
    assert len(layout.footnotes) == len(set(layout.footnotes))
    assert "no RAPL counter" in layout.footnotes


def test_an_artifact_that_was_not_timed_says_so() -> None:
    layout = lay_out(Comparison((Row("a" * 64, "x", None, None, 10),)))
    assert set(layout.footnotes) >= {"not timed", "not judged on labelled images"}


def test_what_all_rows_share_folds_into_the_caption(comparison: Comparison) -> None:
    layout = lay_out(comparison, fold=True)
    headings = {column.heading for column in layout.columns}
    assert headings.isdisjoint({"Threads", "Device", "Delegated, %", "Images"})
    assert layout.caption.endswith("(images: 400; threads: 1; device: Board, 4 cores; delegated: 95 %)")


def test_what_differs_stays_a_column(comparison: Comparison) -> None:
    first, *others = comparison.rows
    mixed = Comparison((msgspec.structs.replace(first, threads=4), *others))
    assert "Threads" in {column.heading for column in lay_out(mixed, fold=True).columns}


def test_spare_columns_can_go(comparison: Comparison) -> None:
    assert "KL, nats" not in {column.heading for column in lay_out(comparison, spare=False).columns}


@pytest.mark.parametrize(
    ("artifact", "model", "recipe", "expected"),
    [
        ("mobilenet_v1_050-160-int8", "mobilenet_v1_050", "int8", ("mobilenet_v1_050", "160 px")),
        ("renamed", "mobilenet_v1_050", "int8", ("mobilenet_v1_050", "renamed")),
        (
            "mobilenet_v1_050-160-float32",
            "mobilenet_v1_050",
            "int8",
            ("mobilenet_v1_050", "mobilenet_v1_050-160-float32"),
        ),
        ("foreign_file", None, None, ("foreign_file", "")),
        ("a-1-b", "a", "b\x1b", ("a", "a-1-b")),
    ],
)
def test_a_model_is_named_with_its_input_size(
    artifact: str, model: str, recipe: str, expected: tuple[str, str]
) -> None:
    cell = table.name_cell(Row("a" * 64, artifact, model, recipe, 10))
    assert (cell.text, cell.detail) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(154.236, "154.24"), (0.1, "0.10"), (0.0123, "0.012"), (None, NOTHING)]
)
def test_small_numbers_keep_two_digits(value: float | None, expected: str) -> None:
    assert table._number(value, "why").text == expected


def test_all_values_are_fields_of_a_row(comparison: Comparison) -> None:
    full = msgspec.structs.replace(modelled(comparison), download_bytes=1_100_000, weights="random")
    for column in COLUMNS:
        for name, path in column.values.items():
            assert (value_at(full, path) is None) == (name in ("energy_reason", "energy_too_short")), name


def test_measured_and_modelled_energy_never_share_a_column(comparison: Comparison) -> None:
    for column in COLUMNS:
        paths = [path for path in column.values.values() if "energy" in path or "modelled" in path]
        assert len({path.split(".")[0].removesuffix("_reason") for path in paths}) <= 1, column.title
    assert "Modelled" not in [column.title for column in lay_out(comparison).columns]
    some = msgspec.structs.replace(comparison, rows=(comparison.rows[0], modelled(comparison)))
    assert words(some, "Modelled, mJ") == [NOTHING, "0.50 (45 nm)"]
    assert words(some, "Energy, mJ")[0] == NOTHING


def test_an_energy_from_a_short_measurement_says_so(comparison: Comparison) -> None:
    row = comparison.rows[1]
    assert row.energy is not None
    energy = msgspec.structs.replace(row.energy, uncertainty_j=None, too_short="scatters by 9 %")
    cell = table._energy(msgspec.structs.replace(row, energy=energy))
    assert cell.detail == "net 8.10 ± 0.10, too short, RAPL, cpu"


def test_a_path_through_nothing_is_nothing(comparison: Comparison) -> None:
    assert value_at(comparison.rows[2], "top1.low") is None


def test_invisible_characters_are_shown_as_replaced() -> None:
    assert table.plain("a\x1b[31m\u202e\n ü") == "a�[31m�� ü"


def test_superscripts_have_as_many_digits_as_they_need() -> None:
    assert (table.superscript(None), table.superscript(7), table.superscript(120)) == ("", "⁷", "¹²⁰")


def pair(one: str, other: str, threads: int = 1) -> Pair:
    return Pair(one, other, "Board", threads, Ratio(1.5, 1.45, 1.6))


def test_pairs_of_one_session_are_told_in_words(comparison: Comparison) -> None:
    layout = lay_out(msgspec.structs.replace(comparison, pairs=(pair("a", "b"),)))
    assert layout.notes[0] == f"a takes 1.5 (1.45{NOTHING}1.6) times as long as b, 1 thread."


def test_of_many_pairs_only_those_with_the_first_are_shown(comparison: Comparison) -> None:
    names = "abcde"
    every = [pair(one, other, threads) for threads in (1, 2) for one, other in itertools.combinations(names, 2)]
    notes = lay_out(msgspec.structs.replace(comparison, pairs=tuple(every), notes=())).notes
    assert len(notes) == 8 and all(note.startswith("a takes") for note in notes)


def test_what_a_session_adds_has_columns_only_where_it_is(comparison: Comparison) -> None:
    headings = {column.title for column in lay_out(comparison).columns}
    assert not headings & {"Cold", "Memory", "Verdict", "Estimate"}
    full = msgspec.structs.replace(comparison, rows=(modelled(comparison),))
    assert words(full, "Cold, ms") == ["40.00 (20 starts)"]
    assert words(full, "Memory, MB") == ["18.00 (arena 1.60)"]
    assert (words(full, "Verdict"), words(full, "Estimate, ms")) == (["valid"], ["8.10"])
