"""Measures what campaign.toml names, on every device that it names, and appends it to results/<device>/.

Usage: python benchmarks/run.py [--device local] [--only 'mobilenet*'] [--dry-run]
What is measured already, same file, threads and protocol on that device, is passed over: a run that was stopped, by
Ctrl-C or anything worse, goes on where it was. Devices run side by side; one that fails stops no other.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import campaign as campaigns
import lanes
from lanes import Counted, Failed, Find, Named, News, Shared, Stored
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgekit import compare, devices
from edgekit.errors import EdgekitError
from edgekit.measurement import Instructions, Measurement, Record

HERE = Path(__file__).parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Standing:
    """How far a device is; `asked` is None until it has said what it is."""

    asked: int | None = None
    due: tuple[tuple[str, int], ...] = ()
    measured: int = 0
    problems: list[EdgekitError] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None, find: Find = devices.find) -> int:
    """Runs the campaign; the exit code is that of the first problem, after everything else was measured.

    128 and the signal's number if one stopped it.
    """
    options = _options(arguments)
    try:
        campaign = campaigns.read(options.campaign)
        entries = campaigns.chosen(campaign.devices, options.device)
        groups, problems = campaigns.load(campaign, options.artifacts, options.only)
    except EdgekitError as error:
        _complain(error)
        return error.exit_code
    order = lanes.Order(campaign, groups, options.results, find, options.dry_run)
    standings = {entry.label: Standing() for entry in entries}
    with _signals() as caught:
        started = lanes.start(entries, order)  # before the bars, which have a thread
        with _bars(list(standings)) as bars:
            lanes.follow(started, lambda news: _take(news, standings, bars), lambda: bool(caught))
    if options.dry_run:
        _list(standings)
    else:
        _summarize(standings, caught)
    for problem in problems:
        _complain(problem)
    for label, standing in standings.items():
        for problem in standing.problems:
            _complain(problem, label)
        problems += standing.problems
    if caught:
        return 128 + caught[0]
    return problems[0].exit_code if problems else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--campaign", type=Path, default=HERE / "campaign.toml", help="what to measure")
    parser.add_argument("--artifacts", type=Path, default=Path("build/zoo"), help="folder with the .tflite files")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the results are kept")
    parser.add_argument("--device", action="append", default=[], help="only this one; may be given more than once")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only files so called; * and ?")
    parser.add_argument("--dry-run", action="store_true", help="ask the devices what they are and list what is due")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that came, instead of what they do otherwise."""
    caught: list[int] = []
    former = {number: signal.signal(number, lambda found, _: caught.append(found)) for number in SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Bars:
    """One bar for each device, on a terminal."""

    def __init__(self, progress: Progress, labels: Sequence[str]) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {label: progress.add_task(label, total=None) for label in labels}

    def show(self, label: str, standing: Standing, share: float = 0.0) -> None:
        """Moves a bar; `share` is what the present session has done, in results."""
        asked = standing.asked or 0
        done = asked - len(standing.due) + standing.measured + share
        self._progress.update(self._tasks[label], completed=done, total=asked)


@contextlib.contextmanager
def _bars(labels: Sequence[str]) -> Iterator[Bars]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(progress, labels)


def _take(news: News, standings: dict[str, Standing], bars: Bars) -> None:
    """Notes what a lane says, and shows it."""
    standing = standings[news.label]
    share = 0.0
    match news:
        case Counted(_, asked, due):
            standing.asked, standing.due = asked, due
        case Shared(_, results):
            share = results
        case Stored(label, record):
            standing.measured += 1
            print(f"{label}: {_words(record)}", flush=True)
        case Failed(_, error):
            standing.problems.append(error)
        case Named():
            return
    bars.show(news.label, standing, share)


def _words(record: Record) -> str:
    if isinstance(record, Instructions):
        return f"{record.artifact_name}: {record.instructions / 1e6:.2f} M instructions"
    assert isinstance(record, Measurement)
    threads = f"{record.threads} {'thread' if record.threads == 1 else 'threads'}"
    if not record.latency_ns:
        return f"{record.artifact_name}, {threads}: measured"
    return f"{record.artifact_name}, {threads}: {compare.median(record.latency_ns) / 1e6:.2f} ms"


def _list(standings: dict[str, Standing]) -> None:
    """What would be measured."""
    for label, standing in standings.items():
        print(f"{label}: {len(standing.due)} of {standing.asked or 0} due")
        for name, threads in standing.due:
            print(f"  {name}, {threads} {'thread' if threads == 1 else 'threads'}")


def _summarize(standings: dict[str, Standing], caught: Sequence[int]) -> None:
    """What is done, what is left and why."""
    table = Table("device", "asked", "done before", "measured now", "left", "why")
    for label, standing in standings.items():
        reasons = [f"stopped by {signal.Signals(caught[0]).name}"] if caught else []
        reasons += [str(problem) for problem in standing.problems]
        if standing.asked is None:
            table.add_row(label, "?", "?", "0", "?", reasons[0] if reasons else "")
            continue
        left = len(standing.due) - standing.measured
        counts = (standing.asked, standing.asked - len(standing.due), standing.measured, left)
        table.add_row(label, *map(str, counts), "; ".join(reasons) if left else "")
    console = Console()
    console.width = console.width if console.is_terminal else 160
    console.print(table, markup=False)
    if caught:
        print("What is measured is kept; the same command goes on from here.")


def _complain(error: EdgekitError, label: str | None = None) -> None:
    print(f"benchmarks/run.py: {f'{label}: ' if label else ''}{error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
