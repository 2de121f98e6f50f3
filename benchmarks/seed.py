"""The seed papers' tables with ours beside them, each cell published, computed, or measured here.

Published cells stand in seed.toml with their source. Computed ones are counts of the networks as this project builds
them; measured ones are of records and lead to them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgekit import models
from edgekit.compare import Row, Share, Source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
Link = Callable[[Source], str]


class Cell(NamedTuple):
    """Words, and where the record is that they are from."""

    words: str
    link: str = ""


class Table(NamedTuple):
    """One of the papers' tables; the first cell of a row names it."""

    title: str
    source: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


NONE = Cell("\N{EN DASH}")


def tables(results: Path, rows: Sequence[Row], link: Link) -> list[Table]:
    """Tables 1 to 3 of SqueezeNet and 8 and 9 of MobileNet; ours are of `rows`."""
    content = tomllib.loads((HERE / "seed.toml").read_text("utf-8"))
    timed_last = sorted(rows, key=lambda row: row.macs is not None)
    judged = {row.artifact_name: row for row in timed_last if row.top1 is not None}
    return [
        _pruning(content["table1"], results / "layers.json"),
        _sized(content["table2"], judged, link, "size of our file, MB (measured)", _file_size),
        _sized(content["table3"], judged, link, "float32 parameters, MB (computed)", _computed_size),
        _costs(content["table8"], judged, link),
        _costs(content["table9"], judged, link),
    ]


def _pruning(table: dict[str, Any], path: Path) -> Table:
    """Parameters of each layer; ours are counted in the authors' own file."""
    found = msgspec.json.decode(path.read_bytes()) if path.exists() else {"layers": []}
    ours = {layer["name"]: layer for layer in found["layers"]}
    lines = [*table["layers"], _total("before", "after", table["layers"])]
    ours["total"] = _total("parameters", "left", list(ours.values()))
    link = "results/layers.json"
    rows = tuple(
        (
            Cell(line["name"]),
            _count(line["before"]),
            Cell(f"{ours[line['name']]['parameters']:,}", link) if line["name"] in ours else NONE,
            _count(line["after"]),
            Cell(f"{ours[line['name']]['left']:,}", link) if line["name"] in ours else NONE,
        )
        for line in lines
    )
    headings = ("layer", "before (published)", "before (measured)", "after (published)", "after, not zero (measured)")
    return Table(table["title"], table["source"], headings, rows)


def _total(one: str, other: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "total", one: sum(line[one] for line in lines), other: sum(line[other] for line in lines)}


def _count(value: int) -> Cell:
    return Cell(f"{value:,}")


def _sized(table: dict[str, Any], judged: dict[str, Row], link: Link, size: str, ours: Callable[..., Cell]) -> Table:
    """Size and accuracy, published and ours."""
    accuracies = [f"top-{k}, % ({how})" for how in ("published", "measured") for k in (1, 5)]
    headings = ("network", "MB (published)", size, *accuracies)
    rows = tuple(
        (
            Cell(line["name"]),
            _figure(line.get("size_mb")),
            ours(line, judged, link),
            _figure(line.get("top1")),
            _figure(line.get("top5")),
            *_measured(line, judged, link),
        )
        for line in table["rows"]
    )
    return Table(table["title"], table["source"], headings, rows)


def _file_size(line: dict[str, Any], judged: dict[str, Row], link: Link) -> Cell:
    row = judged.get(line.get("ours", ""))
    if row is None:
        return NONE
    packed = "" if row.download_bytes is None else f", {row.download_bytes / 1e6:.2f} packed"
    return Cell(f"{row.size_bytes / 1e6:.2f}{packed}", _judged_at(row, link))


def _computed_size(line: dict[str, Any], *_: object) -> Cell:
    params = models.find(line["model"]).params
    return NONE if params is None else Cell(f"{4 * params / 1e6:.2f}")


def _measured(line: dict[str, Any], judged: dict[str, Row], link: Link) -> Iterator[Cell]:
    row = judged.get(line.get("ours", ""))
    for share in (row.top1, row.top5) if row else (None, None):
        yield NONE if row is None or share is None else Cell(_share(share), _judged_at(row, link))


def _share(share: Share) -> str:
    return f"{100 * share.value:.2f} ({100 * share.low:.1f} to {100 * share.high:.1f}), n = {share.of}"


def _judged_at(row: Row, link: Link) -> str:
    return next((link(source) for source in row.sources if source.kind == "quality"), "")


def _costs(table: dict[str, Any], judged: dict[str, Row], link: Link) -> Table:
    """Accuracy, multiplications and parameters, published and ours."""
    counts = [f"M {what} ({how})" for what in ("MACs", "parameters") for how in ("published", "computed")]
    headings = ("network", "top-1, % (published)", "top-1, % (measured)", *counts)
    rows = tuple(
        (
            Cell(line["name"]),
            _figure(line.get("top1")),
            next(_measured(line, judged, link)),
            _figure(line.get("macs_m")),
            _millions(_macs(line, judged)),
            _figure(line.get("params_m")),
            _millions(models.find(line["model"]).params, 2),
        )
        for line in table["rows"]
    )
    return Table(table["title"], table["source"], headings, rows)


def _macs(line: dict[str, Any], judged: dict[str, Row]) -> int | None:
    """At the network's own size; at another as counted in the file that was timed."""
    spec = models.find(line["model"])
    if line.get("input_size") in (None, spec.input_size):
        return spec.macs
    row = judged.get(line.get("ours", ""))
    return None if row is None else row.macs


def _figure(value: float | None) -> Cell:
    return NONE if value is None else Cell(f"{value:g}")


def _millions(value: int | None, digits: int = 0) -> Cell:
    return NONE if value is None else Cell(f"{value / 1e6:.{digits}f}")
