"""What a quantized form gains and costs beside the float one of the same network, at the same place."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgekit.compare import Comparison, Ratio, Row
from edgekit.compare.family import INVALID, MEASURED, accuracy
from edgekit.compare.paired import Difference, difference
from edgekit.sampling import Z95

FLOAT = "float32"
_DOT = ("asimddp", "dotprod", "i8mm", "avx_vnni", "avx512_vnni")


class Form(msgspec.Struct, frozen=True):
    """`row` beside `floating`: ratios are of this form to the float one, below 1 is a gain.

    `speed` is of latencies, or of instructions on an emulated core (`counted`); None where neither may be compared.
    `why` says why it is slower, if it is, or why nothing is said of its speed.
    """

    row: Row
    floating: Row
    size: float
    speed: Ratio | None
    counted: bool
    top1: Difference | None
    why: str


def forms(comparison: Comparison) -> list[Form]:
    """Every quantized row that has a float one of the same network, input size, device and threads."""
    floats = {_network(row): row for row in comparison.rows if row.recipe == FLOAT}
    told = {(pair.artifact_name, pair.other_name, pair.device, pair.threads): pair for pair in comparison.pairs}
    found = []
    for row in comparison.rows:
        floating = floats.get(_network(row))
        if floating is None or row.recipe == FLOAT or row.model is None:
            continue
        pair = told.get((floating.artifact_name, row.artifact_name, row.device or "", row.threads or 1))
        inverse = pair.latency_ratio if pair and floating.session == row.session else None
        found.append(_form(row, floating, inverse))
    return found


def _network(row: Row) -> tuple[str | None, int | None, str | None, int | None]:
    return row.model, row.input_size, row.device, row.threads


def _form(row: Row, floating: Row, inverse: Ratio | None) -> Form:
    one, other = accuracy(row, MEASURED, {}), accuracy(floating, MEASURED, {})
    speed = _speed(row, floating, inverse)
    return Form(
        row,
        floating,
        row.size_bytes / floating.size_bytes,
        speed,
        row.instructions is not None,
        difference(one, other) if one and other else None,
        _why(row, floating, speed),
    )


def _speed(row: Row, floating: Row, inverse: Ratio | None) -> Ratio | None:
    if row.instructions and floating.instructions:
        ratio = row.instructions.instructions / floating.instructions.instructions
        return Ratio(ratio, ratio, ratio)
    if INVALID in (row.verdict, floating.verdict):
        return None
    if inverse is not None:
        return Ratio(1 / inverse.value, 1 / inverse.high, 1 / inverse.low)
    if row.latency_median_ms is None or floating.latency_median_ms is None:
        return None
    ratio = row.latency_median_ms / floating.latency_median_ms
    off = 1 + Z95 * ((row.latency_error or 0.0) ** 2 + (floating.latency_error or 0.0) ** 2) ** 0.5
    return Ratio(ratio, ratio / off, ratio * off)


def _why(row: Row, floating: Row, speed: Ratio | None) -> str:
    if speed is None:
        invalid = [one.artifact_name for one in (row, floating) if one.verdict == INVALID]
        return f"the timing is invalid of {' and '.join(invalid)}" if invalid else "not timed"
    if row.instructions is not None:
        return _why_counted(row)
    if speed.low <= 1 <= speed.high:
        return "no significant difference in speed"
    if speed.value < 1:
        return ""
    return f"slower: {_why_slower(row)}"


def _why_counted(row: Row) -> str:
    count = row.instructions
    assert count is not None
    if count.dot_products:
        return f"{count.dot_products / count.instructions:.0%} of its instructions are dot products"
    return "this core has no 8-bit dot products, so int8 multiplies in 16 bits"


def _why_slower(row: Row) -> str:
    """Eight-bit products need an instruction of their own to be faster than float ones."""
    machine = row.fingerprint
    if machine is None:
        return "the record does not tell the processor"
    has = [feature for feature in machine.features if feature in _DOT]
    if has:
        return f"although the processor has {', '.join(has)}"
    lacking = "VNNI" if machine.arch.startswith(("x86", "amd64", "AMD64")) else "dot-product instructions"
    if machine.features:
        return f"the processor has no {lacking}, so int8 multiplies in 16 bits"
    return f"without {lacking} int8 multiplies in 16 bits; this record does not tell whether the processor has them"


def differences(rows: Sequence[Row]) -> list[tuple[str, tuple[str, ...]]]:
    """The fields of the fingerprints that are not the same in all rows, with what each row has."""
    machines = [msgspec.to_builtins(row.fingerprint) if row.fingerprint else {} for row in rows]
    names = dict.fromkeys(name for machine in machines for name in machine)
    told = [(name, tuple(_said(machine.get(name)) for machine in machines)) for name in names]
    return [(name, values) for name, values in told if len(set(values)) > 1]


def _said(value: object) -> str:
    return "not told" if value is None or value == [] else str(value)
