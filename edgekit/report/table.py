"""The columns of a comparison and the words in its cells: the one definition that every format shares.

Knows no format: what is bold, escaped or underlined is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from edgekit.compare import Comparison, Pair, Row, Share
from edgekit.measurement import Energy

CAPTION = "Accuracy, size, latency and energy per artifact"
_MOST_PAIRS = 6
NOTHING = "\N{EN DASH}"
EXPLANATION = (
    "Sizes in MB of a million bytes. Top-1 with its 95 % Wilson interval over the labelled images. "
    "Agrees: share of images on which the top class is the reference's; KL: mean divergence from the reference. "
    "p90: nearest rank; estimate: MLPerf's early stopping. Cold: loading and first inference. Delegated: share of "
    "operators that the delegate runs. Verdict: whether the machine kept still. Ratios: of medians taken in turns, "
    "with 95 % bootstrap interval. Energy: measured, per inference; net: less what the machine draws at rest. "
    "Modelled: energy from counts and a table per operation, not measured. "
    "Instructions: millions per inference, counted on an emulated core, which has no time."
)
_NOT_JUDGED = "not judged on labelled images"
_NO_REFERENCE = "not judged against a reference"
_NOT_TIMED = "not timed"
_NOT_ESTIMATED = "the protocol asks for no early-stopping estimate, or there are too few samples for one"
_NOT_MODELLED = "not modelled"
_NOT_COUNTED = "instructions are counted on emulated cores"
_NO_SAMPLES = "the tool that timed it keeps no samples; see the note"
_EMULATED = "an emulated core has no time and draws no power of its own"
_NOT_LOOKED_FOR = {_NOT_JUDGED, _NO_REFERENCE, _NOT_TIMED}

Value = str | int | float | None


class Cell(msgspec.Struct, frozen=True):
    """What a cell says: `detail` belongs in small print below, `mark` is the footnote that says why it is empty."""

    text: str
    detail: str = ""
    why_empty: str = ""
    mark: int | None = None


class Column(msgspec.Struct, frozen=True):
    """One column: `cell` words it for people, `values` names the fields of a Row that say the same to programs.

    The keys of `values` carry units; each value is the path of a field, "top1.low".
    `foldable` columns may move to the caption where all rows agree; `spare` ones may go where there is no room;
    `optional` ones are there only if some row has something in them. `judged` ones are of the record of the images,
    the others of that of the device.
    """

    title: str
    unit: str
    cell: Callable[[Row], Cell]
    values: Mapping[str, str]
    numeric: bool = True
    foldable: bool = False
    spare: bool = False
    optional: bool = False
    judged: bool = False

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


class Layout(msgspec.Struct, frozen=True):
    """A table ready to be drawn: `footnotes[i]` belongs to mark i + 1."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]


def lay_out(comparison: Comparison, *, fold: bool = False, spare: bool = True) -> Layout:
    """The comparison as cells.

    With `fold`, columns that say the same in every row move to the caption, and those that nobody asked for, because
    nothing was timed or judged, go; without `spare`, spare ones are left out.
    """
    columns = [column for column in COLUMNS if spare or not column.spare]
    columns = [column for column in columns if not (column.optional and _empty_in_all(column, comparison.rows))]
    columns = [column for column in columns if not (fold and _unasked(column, comparison.rows))]
    folded = [column for column in columns if fold and _same_in_all(column, comparison.rows)]
    kept = tuple(column for column in columns if column not in folded)
    footnotes: dict[str, int] = {}
    rows = tuple(tuple(_marked(column.cell(row), footnotes) for column in kept) for row in comparison.rows)
    constants = [_constant(column, comparison.rows) for column in folded]
    caption = CAPTION + (f" ({'; '.join(constants)})" if constants else "")
    notes = tuple(plain(note) for note in (*_pair_lines(comparison.pairs), *comparison.notes))
    return Layout(caption, kept, rows, tuple(plain(reason) for reason in footnotes), notes)


def _pair_lines(pairs: Sequence[Pair]) -> list[str]:
    """Every pair in words; of more than six, those with the session's first artifact."""
    firsts = {(pair.device, pair.threads): pair.artifact_name for pair in reversed(pairs)}
    shown = [pair for pair in pairs if len(pairs) <= _MOST_PAIRS or pair.artifact_name == firsts[_place(pair)]]
    return [_pair_line(pair) for pair in shown]


def _place(pair: Pair) -> tuple[str, int]:
    return pair.device, pair.threads


def _pair_line(pair: Pair) -> str:
    ratio = pair.latency_ratio
    interval = f"{ratio.low:.3g}\N{EN DASH}{ratio.high:.3g}"
    threads = f"{pair.threads} {'thread' if pair.threads == 1 else 'threads'}"
    return f"{pair.artifact_name} takes {ratio.value:.3g} ({interval}) times as long as {pair.other_name}, {threads}."


def plain(text: str) -> str:
    """Text from outside without control, format and other invisible characters, which could act on a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def superscript(mark: int | None) -> str:
    """A footnote's number in raised digits; nothing for no footnote."""
    return "" if mark is None else str(mark).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def value_at(row: Row, path: str) -> Value:
    """The field at `path`; None where any part of the path is."""
    found: Any = row
    for name in path.split("."):
        found = None if found is None else getattr(found, name)
    value: Value = found
    return value


def name_cell(row: Row) -> Cell:
    """The model, with its input size where the file is named in our way, else with the file's own name."""
    if row.model is None:
        return Cell(plain(row.artifact_name))
    named = re.fullmatch(rf"{re.escape(row.model)}-(\d+)-{re.escape(row.recipe or '')}", row.artifact_name)
    return Cell(plain(row.model), f"{named[1]} px" if named else plain(row.artifact_name))


def _same_in_all(column: Column, rows: Sequence[Row]) -> bool:
    """Whether every row that has something in this column has the same."""
    said = {cell.text for cell in map(column.cell, rows) if not cell.why_empty}
    return column.foldable and len(said) == 1


def _empty_in_all(column: Column, rows: Sequence[Row]) -> bool:
    return all(column.cell(row).why_empty for row in rows)


def _unasked(column: Column, rows: Sequence[Row]) -> bool:
    """Whether no row has anything in this column, for no other reason than that it was not looked for."""
    return bool(rows) and {column.cell(row).why_empty for row in rows} <= _NOT_LOOKED_FOR


def _constant(column: Column, rows: Sequence[Row]) -> str:
    said = next(cell.text for cell in map(column.cell, rows) if not cell.why_empty)
    return f"{column.title.lower()}: {said} {column.unit}".rstrip()


def _marked(cell: Cell, footnotes: dict[str, int]) -> Cell:
    if not cell.why_empty:
        return cell
    return msgspec.structs.replace(cell, mark=footnotes.setdefault(cell.why_empty, len(footnotes) + 1))


def _empty(why: str) -> Cell:
    return Cell(NOTHING, why_empty=why)


def _percent(share: Share | None, why_empty: str) -> Cell:
    return _empty(why_empty) if share is None else Cell(f"{100 * share.value:.2f}")


def _top1(row: Row) -> Cell:
    if row.top1 is None:
        return _empty(_NOT_JUDGED)
    interval = f"{100 * row.top1.low:.1f}\N{EN DASH}{100 * row.top1.high:.1f}"
    return Cell(f"{100 * row.top1.value:.2f}", interval)


def _number(value: float | None, why_empty: str) -> Cell:
    """Two decimals, and two digits for what is smaller than that."""
    if value is None:
        return _empty(why_empty)
    return Cell(f"{value:.2f}" if value >= 0.1 else f"{value:.2g}")


def _why_untimed(row: Row) -> str:
    if row.instructions is not None:
        return _EMULATED
    return _NOT_TIMED if row.device is None else _NO_SAMPLES


def _text(value: Value, why_empty: str) -> Cell:
    return _empty(why_empty) if value is None else Cell(plain(str(value)))


def _recipe(row: Row) -> Cell:
    """The recipe; an untrained file is marked, whose accuracy would mean nothing."""
    found = _text(row.recipe, "the file carries no card")
    return msgspec.structs.replace(found, detail="random weights") if row.weights == "random" else found


def _kl(row: Row) -> Cell:
    return _empty(_NO_REFERENCE) if row.kl_nats is None else Cell(f"{row.kl_nats:.4f}")


def _delegated(row: Row) -> Cell:
    return _empty(_NOT_TIMED) if row.delegated is None else Cell(f"{100 * row.delegated:.0f}")


def _cold(row: Row) -> Cell:
    if row.cold_ms is None:
        return _empty(_NOT_TIMED)
    return Cell(_number(row.cold_ms, "").text, f"{row.starts} starts" if row.starts and row.starts > 1 else "")


def _memory(row: Row) -> Cell:
    """The peak that was seen in resident memory; below it what was counted."""
    if row.device is None:
        return _empty(_NOT_TIMED)
    if row.peak_rss_bytes is None:
        return _empty("this system tells no peak of resident memory")
    arena = "" if row.arena_bytes is None else f"arena {_number(row.arena_bytes / 1e6, '').text}"
    return Cell(_number(row.peak_rss_bytes / 1e6, "").text, arena)


def _energy(row: Row) -> Cell:
    if row.energy is None:
        if row.instructions is not None:
            return _empty(_EMULATED)
        return _empty(row.energy_reason or (_NOT_TIMED if row.device is None else "not measured"))
    return Cell(_millijoules(row.energy.energy_j), plain(", ".join(_energy_details(row.energy))))


def _energy_details(energy: Energy) -> list[str]:
    """Net energy with how far off it may be, or at least how far it scatters; then the meter and what it sees."""
    details = []
    off_j = energy.scatter_j if energy.uncertainty_j is None else energy.uncertainty_j
    if energy.net_j is not None:
        off = "" if off_j is None else f" ± {_millijoules(off_j)}"
        details.append(f"net {_millijoules(energy.net_j)}{off}")
    if energy.too_short:
        details.append("too short")
    return [*details, energy.source, energy.scope]


def _millijoules(joules: float) -> str:
    return _number(joules * 1e3, "").text


def _modelled(row: Row) -> Cell:
    if row.modelled is None:
        return _empty(_NOT_MODELLED)
    return Cell(_millijoules(row.modelled.modelled_j), plain(row.modelled.table))


def _instructions(row: Row) -> Cell:
    """Millions, and how many of them are dot products; how far answers are off another machine's, if they are."""
    count = row.instructions
    if count is None:
        return _empty(_NOT_COUNTED)
    detail = f"{count.dot_products / 1e6:.1f} dot products"
    if count.differing:
        detail += f", outputs within {count.largest_difference:.1g} of {count.against}"
    return Cell(f"{count.instructions / 1e6:.1f}", plain(detail))


COLUMNS = (
    Column(
        "Model",
        "",
        name_cell,
        {"model": "model", "artifact": "artifact_name", "artifact_sha256": "artifact_sha256"},
        numeric=False,
    ),
    Column("Recipe", "", _recipe, {"recipe": "recipe", "weights": "weights"}, numeric=False),
    Column("Size", "MB", lambda row: _number(row.size_bytes / 1e6, ""), {"size_bytes": "size_bytes"}),
    Column(
        "Download",
        "MB",
        lambda row: _number(None if row.download_bytes is None else row.download_bytes / 1e6, "no manifest lists it"),
        {"download_bytes": "download_bytes"},
        spare=True,
        optional=True,
    ),
    Column("Top-1", "%", _top1, {"top1": "top1.value", "top1_low": "top1.low", "top1_high": "top1.high"}, judged=True),
    Column("Top-5", "%", lambda row: _percent(row.top5, _NOT_JUDGED), {"top5": "top5.value"}, judged=True),
    Column(
        "Agrees", "%", lambda row: _percent(row.agreement, _NO_REFERENCE), {"agreement": "agreement.value"}, judged=True
    ),
    Column("KL", "nats", _kl, {"kl_nats": "kl_nats"}, spare=True, judged=True),
    Column(
        "Images",
        "",
        lambda row: _text(row.top1.of if row.top1 else None, _NOT_JUDGED),
        {"images": "top1.of"},
        foldable=True,
        judged=True,
    ),
    Column(
        "Median",
        "ms",
        lambda row: _number(row.latency_median_ms, _why_untimed(row)),
        {"latency_median_ms": "latency_median_ms", "runs": "runs"},
    ),
    Column(
        "p90", "ms", lambda row: _number(row.latency_p90_ms, _why_untimed(row)), {"latency_p90_ms": "latency_p90_ms"}
    ),
    Column(
        "Estimate",
        "ms",
        lambda row: _number(row.latency_estimate_ms, _NOT_ESTIMATED),
        {"latency_estimate_ms": "latency_estimate_ms"},
        optional=True,
    ),
    Column("Cold", "ms", _cold, {"cold_ms": "cold_ms", "starts": "starts"}, spare=True, optional=True),
    Column(
        "Memory",
        "MB",
        _memory,
        {"peak_rss_bytes": "peak_rss_bytes", "arena_bytes": "arena_bytes", "weight_bytes": "weight_bytes"},
        spare=True,
        optional=True,
    ),
    Column("Threads", "", lambda row: _text(row.threads, _NOT_TIMED), {"threads": "threads"}, foldable=True),
    Column(
        "Device",
        "",
        lambda row: _text(row.device, _NOT_TIMED),
        {"device": "device", "protocol": "protocol"},
        numeric=False,
        foldable=True,
    ),
    Column(
        "Delegated",
        "%",
        _delegated,
        {"delegated": "delegated", "macs_delegated": "macs_delegated", "input_copy_ms": "input_copy_ms"},
        foldable=True,
        spare=True,
    ),
    Column(
        "Verdict",
        "",
        lambda row: _text(row.verdict, _NOT_TIMED if row.device is None else "not judged when it was timed"),
        {"verdict": "verdict", "session": "session"},
        numeric=False,
        foldable=True,
        optional=True,
    ),
    Column(
        "Energy",
        "mJ",
        _energy,
        {
            "energy_j": "energy.energy_j",
            "energy_source": "energy.source",
            "energy_scope": "energy.scope",
            "energy_reason": "energy_reason",
            "energy_net_j": "energy.net_j",
            "energy_uncertainty_j": "energy.uncertainty_j",
            "energy_scatter_j": "energy.scatter_j",
            "energy_idle_power_w": "energy.idle_power_w",
            "energy_idle_s": "energy.idle_s",
            "energy_seconds": "energy.seconds",
            "energy_updates": "energy.updates",
            "energy_missed": "energy.missed",
            "energy_sampler_ratio": "energy.sampler_ratio",
            "energy_too_short": "energy.too_short",
        },
    ),
    Column(
        "Modelled",
        "mJ",
        _modelled,
        {
            "modelled_j": "modelled.modelled_j",
            "modelled_macs": "modelled.macs",
            "modelled_sram_bytes": "modelled.sram_bytes",
            "modelled_dram_bytes": "modelled.dram_bytes",
            "modelled_table": "modelled.table",
        },
        optional=True,
    ),
    Column(
        "Instructions",
        "M",
        _instructions,
        {
            "instructions": "instructions.instructions",
            "instructions_simd": "instructions.simd",
            "instructions_dot_products": "instructions.dot_products",
            "instructions_differing": "instructions.differing",
        },
        optional=True,
    ),
)
