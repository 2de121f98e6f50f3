"""What TensorFlow Lite's benchmark_model prints, as numbers; pure functions on text.

The lines are those of its benchmark_model.cc and stats_calculator.h from 2.3 to 2.16. It keeps no raw samples; newer
versions add p5, median and p95 to the line of each phase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import FileFormatError
from edgekit.measurement import Delegation, Summary

TOOL = "benchmark_model"
_COUNT = re.compile(r"count=(\d+) ((?:\w+=\S+ ?)+)")
_TIMINGS = re.compile(r"Inference timings in us: Init: (\S+), First inference: (\S+), Warmup \(avg\): (\S+), Inf")
_REPLACING = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(TfLite(\w+?)Delegate\)")
_APPLIED = re.compile(r"xplicitly applied (\w+) delegate, and the model graph will be (completely|partially) executed")
_CREATED = re.compile(r"Created TensorFlow Lite (\w+) delegate")
_PEAK = re.compile(r"Overall peak memory footprint \(MB\) via periodic monitoring: ([\d.]+)")
PHASE = "Running benchmark for at least"


@dataclass(frozen=True)
class Log:
    """One run of the tool. `peak_bytes` is the whole process's; None where it was not asked or not told."""

    init_ns: int
    first_ns: int
    summary: Summary
    delegation: Delegation
    peak_bytes: int | None


def parse(text: str, operators: int) -> Log:
    """The numbers in a log of a model of so many operators; FileFormatError with its last line if it did not finish."""
    timings, phases = _TIMINGS.search(text), _COUNT.findall(text)
    if timings is None or not phases:
        last = (text.strip().splitlines() or ["nothing"])[-1].strip()
        raise FileFormatError(f"benchmark_model did not finish; the last that it said: {last}")
    peak = _PEAK.search(text)
    return Log(
        init_ns=_ns(timings[1]),
        first_ns=_ns(timings[2]),
        summary=_summary(*phases[-1]),
        delegation=_delegation(text, operators),
        peak_bytes=round(float(peak[1]) * 1e6) if peak else None,
    )


def _summary(count: str, rest: str) -> Summary:
    told = dict(pair.split("=", 1) for pair in rest.split())
    return Summary(
        runs=int(count),
        mean_ns=_ns(told["avg"]),
        min_ns=_ns(told["min"]),
        max_ns=_ns(told["max"]),
        tool=TOOL,
        median_ns=_ns(told["median"]) if "median" in told else None,
        p95_ns=_ns(told["p95"]) if "p95" in told else None,
        std_ns=_ns(told["std"]) if "std" in told else None,
    )


def _ns(microseconds: str) -> int:
    return round(float(microseconds) * 1000)


def _delegation(text: str, operators: int) -> Delegation:
    """Counted from what was replaced where the tool says so; "completely" is all; a delegate merely made may take none.

    Which operators were left the tool does not tell.
    """
    replaced = _REPLACING.findall(text)
    if replaced:
        return Delegation(replaced[0][2], int(replaced[0][1]), sum(int(taken) for taken, _, _ in replaced))
    applied = _APPLIED.search(text)
    if applied and applied[2] == "completely":
        return Delegation(applied[1], operators, operators)
    name = applied or _CREATED.search(text)
    if name:
        return Delegation(f"{name[1]}, share not told", 0, 0)
    return Delegation("none", operators, 0)
