"""CSV, read back with the standard library."""

from __future__ import annotations

import csv
import io

from edgekit.compare import Comparison
from edgekit.report import csv as csv_report


def read(comparison: Comparison) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_report.render(comparison))))


def test_values_are_raw_and_carry_units_in_their_headings(comparison: Comparison) -> None:
    row = read(comparison)[1]
    assert row["model"] == "squeezenet_v1_1"
    assert row["artifact"] == "squeezenet_v1_1-224-int8"
    assert (row["size_bytes"], row["top1"], row["top1_low"], row["images"]) == ("1363080", "0.6475", "0.599", "400")
    assert (row["latency_median_ms"], row["energy_j"], row["energy_source"]) == ("3.5", "0.0123", "RAPL")


def test_what_was_not_measured_is_empty_beside_its_reason(comparison: Comparison) -> None:
    row = read(comparison)[2]
    assert (row["top1"], row["energy_j"], row["energy_reason"]) == ("", "", "no RAPL counter")


def test_a_name_that_looks_like_a_formula_is_text(hostile: Comparison) -> None:
    (row,) = read(hostile)
    assert row["artifact"].startswith("'=x|<script>")
    assert "\x1b" not in row["artifact"]


def test_nothing_gives_the_headings_alone() -> None:
    assert csv_report.render(Comparison(())).startswith("model,artifact,artifact_sha256,recipe,weights,size_bytes,")
    assert read(Comparison(())) == []
