"""How far tries of the same measurement lie apart, and what the verdicts say of each.

Usage: python benchmarks/repeatability.py MODEL.tflite [--tries 5] [--protocol standard] [--threads 1]
Writes results/repeatability.json. Exit code 1 if the tries differ by more than 5 % and every verdict is valid.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.progress import track

from edgekit import artifact, bench, compare, validity
from edgekit.artifact import atomic_write
from edgekit.devices.local import Local
from edgekit.measurement import Measurement, Session, Verdict

RESULTS = Path(__file__).parent / "results" / "repeatability.json"
LIMIT = 0.05


class Try(msgspec.Struct, frozen=True):
    """One measurement: its median, how well the median is known, and its verdict."""

    median_ms: float
    precision: float | None
    verdict: Verdict


class Repeatability(msgspec.Struct, frozen=True):
    """All tries; `spread` is the greatest median over the least, less 1."""

    model: str
    sha256: str
    device: str
    protocol: str
    threads: int
    spread: float
    tries: tuple[Try, ...]


def main() -> int:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--protocol", default="standard")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found = repeat(options.model, Session(bench.find_protocol(options.protocol), options.threads), options.tries)
    with atomic_write(RESULTS) as file:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    for number, one in enumerate(found.tries, 1):
        reasons = "; ".join(one.verdict.reasons)
        print(f"try {number}: {one.median_ms:.3f} ms, {one.verdict.word}{': ' if reasons else ''}{reasons}")
    print(f"spread: {found.spread:.1%} (limit: {LIMIT:.0%}, or the verdicts say why not)")
    unexplained = found.spread > LIMIT and all(one.verdict.word == validity.VALID for one in found.tries)
    return 1 if unexplained else 0


def repeat(model: Path, session: Session, tries: int) -> Repeatability:
    """The same session so many times, each in a process of its own."""
    device, read = Local(), artifact.read(model)
    records = [device.run([read], session)[0] for _ in track(range(tries), "repeatability")]
    medians_ms = [compare.median(record.latency_ns) / 1e6 for record in records]
    return Repeatability(
        model=read.name,
        sha256=read.sha256,
        device=device.name,
        protocol=session.protocol.name,
        threads=session.threads,
        spread=max(medians_ms) / min(medians_ms) - 1,
        tries=tuple(map(_try, records)),
    )


def _try(record: Measurement) -> Try:
    assert record.verdict is not None
    return Try(compare.median(record.latency_ns) / 1e6, validity.median_precision(record), record.verdict)


if __name__ == "__main__":
    sys.exit(main())
