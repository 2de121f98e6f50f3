"""Rows in, the generated part of docs/quantization-benchmark.md out; all statistics of this comparison are here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from edgekit import compare
from edgekit.artifact import atomic_write
from edgekit.errors import DataError, FileFormatError
from edgekit.report.markdown import escape
from quantization.results import FLOAT, Row
from quantization.tools import Declaration

BEGIN, END = "<!-- generated from benchmarks/quantization/results.jsonl: begin -->", "<!-- generated: end -->"
_COLUMNS = ("tool", "top-1 %", "top-5 %", "agrees %", "KL nats", "bytes", "seconds", "processor s", "peak MB")
_NONE, _FAILED = "-", "failed"

Rows = Mapping[tuple[str, str], Row]


def render(declaration: Declaration, rows: Rows) -> str:
    """Everything between the markers; DataError if rows of one model come from different float models or images."""
    models = [model for model in declaration.models if (model, FLOAT) in rows]
    names = [tool.name for tool in declaration.tools]
    for model in models:
        _check_equal(model, [rows[model, name] for name in (FLOAT, *names) if (model, name) in rows])
    if not models:
        return "No results yet.\n"
    parts = [_overview(models, names, rows), *(_model(model, names, rows) for model in models)]
    parts += [_failures(models, names, rows), _settings(declaration), _circumstances(rows.values())]
    return "\n".join(part for part in parts if part)


def replaced(page: str, text: str) -> str:
    """The page with `text` between its markers; FileFormatError if they are missing."""
    before, found, rest = page.partition(BEGIN)
    _old, also, after = rest.partition(END)
    if not (found and also):
        raise FileFormatError(f"the page lacks the lines {BEGIN!r} and {END!r}; put them where the table belongs")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def write(page: Path, text: str) -> None:
    """Renews the generated part of the page."""
    content = replaced(_read(page), text)
    with atomic_write(page) as file:
        file.write(content.encode())


def is_current(page: Path, text: str) -> bool:
    """Whether the page says what the results say."""
    content = _read(page)
    return content == replaced(content, text)


def _read(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise FileFormatError(f"cannot read {page}: {error.strerror}") from None


def _check_equal(model: str, rows: Sequence[Row]) -> None:
    for what in ("float_sha256", "images_sha256"):
        differing = [row.tool for row in rows if getattr(row, what) != getattr(rows[0], what)]
        if differing:
            kind = "float model" if what == "float_sha256" else "images"
            raise DataError(
                f"{model}: {', '.join(differing)} had other {kind} than {rows[0].tool}; measure them again: "
                f"run.py --models {model} --tools {','.join(differing)}"
            )


def _overview(models: Sequence[str], names: Sequence[str], rows: Rows) -> str:
    """Two tables of tools by models: agreement and divergence, the best of each model in bold."""
    head = "### Agreement with the float model, % of images that both call the same"
    other = "### Divergence from the float model, mean KL in nats"
    first = _matrix(models, names, rows, agreement, "{:.2f}", max)
    second = _matrix(models, names, rows, divergence, "{:.4f}", min)
    return "\n".join([head, "", first, other, "", second])


def agreement(row: Row) -> float | None:
    """Percent of images on which tool and float model name the same class."""
    found = compare.share(row.agrees)
    return None if found is None else 100 * found.value


def divergence(row: Row) -> float | None:
    """Mean KL(float || tool) per image."""
    return fmean(row.kl_nats) if row.kl_nats else None


def _matrix(
    models: Sequence[str],
    names: Sequence[str],
    rows: Rows,
    value: Callable[[Row], float | None],
    form: str,
    best: Callable[[Iterable[float]], float],
) -> str:
    lines = []
    for name in names:
        if not any((model, name) in rows for model in models):
            continue
        lines.append([name, *(_value(rows.get((model, name)), value, form) for model in models)])
    for column, model in enumerate(models, 1):
        given = [rows[model, name] for name in names if (model, name) in rows]
        known = [found for row in given if (found := value(row)) is not None]
        mark = form.format(best(known)) if known else None
        for line in lines:
            line[column] = f"**{line[column]}**" if line[column] == mark else line[column]
    return _table(("tool", *models), lines)


def _value(row: Row | None, value: Callable[[Row], float | None], form: str) -> str:
    if row is None:
        return _NONE
    found = value(row)
    return form.format(found) if found is not None else _FAILED if row.error else _NONE


def _model(model: str, names: Sequence[str], rows: Rows) -> str:
    found = [rows[model, name] for name in (FLOAT, *names) if (model, name) in rows]
    return f"### {model}\n\n{_table(_COLUMNS, map(_cells, found))}"


def _cells(row: Row) -> list[str]:
    if row.error:
        return [row.tool, _FAILED, *[_NONE] * (len(_COLUMNS) - 2)]
    shares = [compare.top_k(row.rank, 1), compare.top_k(row.rank, 5)]
    agreed, apart = agreement(row), divergence(row)
    return [
        row.tool,
        *(_NONE if share is None else f"{100 * share.value:.2f}" for share in shares),
        _NONE if agreed is None else f"{agreed:.2f}",
        _NONE if apart is None else f"{apart:.4f}",
        _NONE if row.size_bytes is None else f"{row.size_bytes:,}",
        _seconds(row.seconds, row.float_conversion_seconds),
        _seconds(row.cpu_seconds, row.float_conversion_cpu_seconds),
        _NONE if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:.0f}",
    ]


def _seconds(whole: float | None, float_alone: float | None) -> str:
    if whole is None:
        return _NONE
    return f"{whole:.1f}" if float_alone is None else f"{whole:.1f} ({float_alone:.1f})"


def _failures(models: Sequence[str], names: Sequence[str], rows: Rows) -> str:
    failed = [rows[model, name] for model in models for name in names if (model, name) in rows]
    lines = [f"- {row.tool} on {row.model}: {escape(row.error)}" for row in failed if row.error]
    return "\n".join(["### What failed", "", *lines, ""]) if lines else ""


def _settings(declaration: Declaration) -> str:
    lines = []
    for tool in declaration.tools:
        pins = "this checkout" if tool.environment is None else ", ".join(declaration.pins(tool))
        said = ", ".join(f"{name} = {value}" for name, value in tool.settings.items()) or _NONE
        lines.append([tool.name, tool.note, said, pins])
    return "### Tools and settings\n\n" + _table(("tool", "what is called", "settings", "versions"), lines, " :--- |")


def _circumstances(rows: Iterable[Row]) -> str:
    found = list(rows)
    days = sorted(row.started_utc[:10] for row in found)
    machines = ", ".join(dict.fromkeys(row.machine for row in found))
    judged = next(len(row.rank) for row in found if row.rank)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return f"Measured {when} on {machines}, {judged} images.{_other_forms(found)}\n"


def _other_forms(rows: Sequence[Row]) -> str:
    differences = [row.float_difference for row in rows if row.float_difference is not None]
    if not differences:
        return ""
    return f" Other forms of a float network differ from its .tflite by at most {max(differences):.1g}."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], aligned: str = " ---: |") -> str:
    lines = [columns, *rows]
    text = [f"| {' | '.join(cells)} |\n" for cells in lines]
    return "".join([text[0], f"| :--- |{aligned * (len(columns) - 1)}\n", *text[1:]])
