"""A comparison as CSV: raw values in the units their headings name, empty where nothing was measured."""

from __future__ import annotations

import csv
import io

from edgekit.compare import Comparison
from edgekit.report.table import COLUMNS, Value, plain, value_at


def render(comparison: Comparison) -> str:
    """One line per row after the headings; shares are fractions 0 to 1. Notes have no place in CSV."""
    fields = {name: path for column in COLUMNS for name, path in column.values.items()}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_safe(value_at(row, path)) for path in fields.values()] for row in comparison.rows)
    return stream.getvalue()


def _safe(value: Value) -> Value:
    """Text as text: a spreadsheet would take what begins like a formula for one."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
