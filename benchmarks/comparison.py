"""Measures the comparison itself: 10,000 records, a page of 500 models in Chromium, and the report.

Usage: python benchmarks/comparison.py [--keep FOLDER]
Prints each figure beside its limit and writes them to results/comparison.json. The records are constructed like those
of the standard protocol's shortest: 200 latencies in 10 slices, a state for each, on 500 files, 5 devices and 2 thread
counts, and an accuracy on 400 images for each file.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import browser
import msgspec
import report

from edgekit import compare, models
from edgekit.artifact import atomic_write
from edgekit.errors import EdgekitError
from edgekit.measurement import (
    Delegation,
    Fingerprint,
    Measurement,
    Memory,
    Protocol,
    Quality,
    Record,
    State,
    Verdict,
    append,
    scan,
)
from edgekit.report import html

HERE = Path(__file__).parent
OUTPUT = HERE / "results" / "comparison.json"
FILES, PLACES, THREADS, IMAGES, ROUNDS = 500, 5, (1, 2), 400, 10
FRAMEWORKS = ("numpy", "ai_edge_litert", "tensorflow", "keras", "matplotlib", "vl_convert")
TRIES = 5
_MEASURED = """
import resource, sys, time
start = time.perf_counter()
from edgekit import cli
code = cli.run(sys.argv[1:])
seconds = time.perf_counter() - start
loaded = [name for name in {frameworks} if name in sys.modules]
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:  # ru_maxrss would be that of the process which started this one
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(seconds, used.ru_utime + used.ru_stime, peak_kib * 1024 / 1e6, code, ",".join(loaded), file=sys.stderr)
"""


class Figure(msgspec.Struct, frozen=True):
    """One figure beside what it is to reach."""

    what: str
    value: float
    unit: str
    limit: float | None


def main() -> int:
    """Measures and writes; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="leave the records and the page in this folder")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = list(_figures(options.keep or Path(folder)))
    except EdgekitError as error:
        print(f"benchmarks/comparison.py: {error}", file=sys.stderr)
        return error.exit_code
    for figure in figures:
        limit = "" if figure.limit is None else f" (limit {figure.limit:g})"
        print(f"{figure.what}: {figure.value:.3g} {figure.unit}{limit}")
    print(f"load average before and after: {os.getloadavg()[2]:.1f}, {os.getloadavg()[0]:.1f}")
    with atomic_write(OUTPUT) as file:
        file.write(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return 0


def _figures(folder: Path) -> Iterator[Figure]:
    folder.mkdir(parents=True, exist_ok=True)
    records = folder / "records.jsonl"
    if not records.exists():
        append(records, *_records())
    yield Figure("records", sum(1 for _ in scan([records], [])), "lines", None)
    yield Figure("records, all together", records.stat().st_size / 1e6, "MB", None)
    yield from _compared(records, folder)
    yield from _opened(records, folder / "page.html")
    yield _reported()


def _records() -> list[Record]:
    generator = random.Random(1)
    names = [name for name, told in models.published().items() if told.top1 is not None]
    made: list[Record] = []
    for number in range(FILES):
        model, px = names[number % len(names)]
        recipe = ("int8", "float32", "int8_fast")[number % 3]
        ours = (f"{number:064x}", f"{model}-{px}-{recipe}", model, recipe, generator.randrange(400_000, 9_000_000))
        made += [_timed(ours, place, threads, generator) for place in range(PLACES) for threads in THREADS]
        rank = tuple(0 if generator.random() < 0.65 else 4 for _ in range(IMAGES))
        made.append(Quality(*ours, IMAGES, "1" * 64, rank, "2026-01-01T00:00:00Z"))
    # as many again of the same runs, which is what a results file that is appended to looks like
    return [*made, *made[: 10_000 - len(made)]]


def _timed(ours: tuple[str, str, str, str, int], place: int, threads: int, generator: random.Random) -> Measurement:
    machine = Fingerprint(f"Board {place}", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0")
    middle = generator.uniform(1e6, 8e7)
    latencies = tuple(round(middle * generator.lognormvariate(0, 0.03)) for _ in range(200))
    states = tuple(
        State(
            float(i),
            0,
            0,
            2_400_000,
            2_400_000,
            "performance",
            50.0 + i,
            0,
            None,
            "mains",
            0.5,
            0,
            i * 1.0,
            0.0,
            i * 1.0,
        )
        for i in range(ROUNDS + 2)
    )
    return Measurement(
        *ours,
        device=f"Board {place}",
        protocol=Protocol("standard", 1.0, 200, 5.0),
        threads=threads,
        latency_ns=latencies,
        load_ns=3_000_000,
        first_ns=9_000_000,
        delegation=Delegation("XNNPACK", 40, 40, (), 300_000_000, 300_000_000),
        fingerprint=machine,
        started_utc="2026-01-01T00:00:00Z",
        energy_reason="no meter",
        peak_rss_bytes=generator.randrange(10_000_000, 60_000_000),
        session=f"{ours[0]}-{place}-{threads}",
        slices=(20,) * ROUNDS,
        memory=Memory(1_000_000, 2_000_000, "counted"),
        states=states,
        verdict=Verdict("valid"),
    )


def _compared(records: Path, folder: Path) -> Iterator[Figure]:
    """The command in a process of its own; the quickest of a few, for what disturbs only adds."""
    script = _MEASURED.format(frameworks=FRAMEWORKS)
    command = [sys.executable, "-c", script, "compare", str(records), "--csv", str(folder / "rows.csv")]
    told = []
    for _ in range(TRIES):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told.append(done.stderr.splitlines()[-1].split(" "))
    yield Figure("edgekit compare, wall clock", min(float(line[0]) for line in told), "s", 2.0)
    yield Figure("edgekit compare, processor time", min(float(line[1]) for line in told), "s", None)
    yield Figure("edgekit compare, resident memory at its peak", max(float(line[2]) for line in told), "MB", 200.0)
    yield Figure("frameworks imported", len([name for name in told[0][4].split(",") if name]), "", 0)


def _opened(records: Path, path: Path) -> Iterator[Figure]:
    """One device's 500 models as a page: how long until its chart is drawn, and what a click on a filter takes."""
    found = compare.compare(scan([records], []))
    some = compare.of_device(found, "Board 0")
    rows = tuple(row for row in some.rows if row.threads == 1)
    known = {name: told.top1 for name, told in models.published().items() if told.top1 is not None}
    path.write_text(html.render(msgspec.structs.replace(some, rows=rows), known=known), "utf-8")
    yield Figure("page, models", len(rows), "", None)
    yield Figure("page, size", path.stat().st_size / 1e6, "MB", 5.0)
    with browser.started() as page:
        page.look()
        opened = [page.open(path) for _ in range(TRIES)]
        yield Figure("page, from opening to the chart", min(opened) / 1e3, "s", 1.0)
        click = "document.querySelector('input[name=family]').click(); edgekitPage.update_ms"
        clicks = [float(page.run(click)) for _ in range(2 * TRIES)]
        yield Figure("page, a filter, median", statistics.median(clicks), "ms", 100.0)
        yield Figure("page, a filter, slowest", max(clicks), "ms", 100.0)
        yield Figure("page, complaints", len(page.complaints), "", 0)


def _reported() -> Figure:
    start = time.perf_counter()
    report.files(report.HERE / "results", report.HERE / "REPORT.md")
    return Figure("report, regenerated", time.perf_counter() - start, "s", 20.0)


if __name__ == "__main__":
    sys.exit(main())
