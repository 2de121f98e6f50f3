"""Carries a campaign out: a process for each machine, so that one that hangs, dies or is unplugged stops no other.

A lane measures and stores; it tells what it does over a pipe, and ends when the process that started it ends, however
that ended. Prints nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import platform
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import campaign as campaigns
from campaign import Campaign, Entry, Key, Task

from edgekit import isolate, measurement
from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.devices import Device
from edgekit.devices.emulated import Emulated
from edgekit.errors import EdgekitError, FileFormatError, ModelCrashError, OutputError, UsageError
from edgekit.measurement import Record

RESULTS = "measurements.jsonl"
LOCK = ".lock"
PATIENCE_S = 5.0  # for a lock whose holder was killed a moment ago
STOP_S = 10.0  # what a lane may take to end what it runs elsewhere
GLANCE_S = 0.2  # how often a signal is looked for
Find = Callable[[str, Path | None], Device | Emulated]


@dataclass(frozen=True)
class Order:
    """What all lanes know; `groups` are the artifacts that are measured together."""

    campaign: Campaign
    groups: Sequence[Sequence[Artifact]]
    results: Path
    find: Find
    dry: bool = False


@dataclass(frozen=True)
class Named:
    """Where a device's results go; the lane waits to hear whether it may go on."""

    label: str
    folder: Path


@dataclass(frozen=True)
class Counted:
    """How many results are asked of a device, and what is still due: names and thread counts."""

    label: str
    asked: int
    due: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Shared:
    """The share of its present session that a device has done, as a number of results."""

    label: str
    results: float


@dataclass(frozen=True)
class Stored:
    """A result that is on disk."""

    label: str
    record: Record


@dataclass(frozen=True)
class Failed:
    """What a device could not do."""

    label: str
    error: EdgekitError


News = Named | Counted | Shared | Stored | Failed


@dataclass
class Lane:
    """A running process, what it serves, and which of that it spoke of last."""

    process: Any  # contexts have a Process class of their own each
    labels: list[str]
    present: str

    def ended(self, tell: Callable[[News], None]) -> None:
        """Tells what is left undone if the process did not end by itself."""
        self.process.join()
        code = self.process.exitcode
        if code:
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            error = ModelCrashError(f"the process that measures died ({cause}); run it again")
            for label in self.labels[self.labels.index(self.present) :]:
                tell(Failed(label, error))


def start(entries: Sequence[Entry], order: Order) -> dict[Connection, Lane]:
    """A process for each machine, by the link to it; `follow` must have it. Forks, so no thread should be running."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    lanes: dict[Connection, Lane] = {}
    for machine in dict.fromkeys(entry.machine for entry in entries):
        served = [entry for entry in entries if entry.machine == machine]
        labels = [entry.label for entry in served]
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve_all, args=(theirs, served, order))
        process.start()
        theirs.close()
        lanes[ours] = Lane(process, labels, labels[0])
    return lanes


def follow(lanes: dict[Connection, Lane], tell: Callable[[News], None], stopped: Callable[[], bool]) -> None:
    """Passes on what the lanes say until they end; if `stopped`, or on any error here, ends them."""
    folders: dict[Path, str] = {}
    try:
        while lanes and not stopped():
            for link in wait(list(lanes), GLANCE_S):
                assert isinstance(link, Connection)
                news = _received(link)
                if news is None:
                    lanes.pop(link).ended(tell)
                    continue
                lanes[link].present = news.label
                tell(news)
                if isinstance(news, Named):
                    _admit(news, link, folders, tell)
    finally:
        _stop(lanes, tell)


def _received(link: Connection) -> News | None:
    """What a lane says; None once it has ended."""
    try:
        news: News = link.recv()
        return news
    except (EOFError, OSError):
        return None


def _admit(news: Named, link: Connection, folders: dict[Path, str], tell: Callable[[News], None]) -> None:
    """Lets a device go on, unless another one stores in its folder."""
    other = folders.setdefault(news.folder, news.label)
    with contextlib.suppress(BrokenPipeError):  # it has died meanwhile
        link.send(other == news.label)
    if other != news.label:
        remedy = "give one of them another folder in the campaign: folder = ..."
        tell(Failed(news.label, UsageError(f"it would store in {news.folder}, as {other} does; {remedy}")))


def _stop(lanes: dict[Connection, Lane], tell: Callable[[News], None]) -> None:
    """Ends the lanes, gently first; what they have stored until then is still told."""
    for lane in lanes.values():
        lane.process.terminate()
    try:
        _hear_out(dict(lanes), tell)
    finally:
        for lane in lanes.values():
            lane.process.kill()
            lane.process.join()


def _hear_out(lanes: dict[Connection, Lane], tell: Callable[[News], None]) -> None:
    end = time.monotonic() + STOP_S
    while lanes and time.monotonic() < end:
        for link in wait(list(lanes), GLANCE_S):
            assert isinstance(link, Connection)
            news = _received(link)
            if news is None:
                lanes.pop(link).process.join(max(0.0, end - time.monotonic()))
            elif isinstance(news, Stored):
                tell(news)


def _serve_all(link: Connection, entries: Sequence[Entry], order: Order) -> None:
    """A lane: one device after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the one that started this decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    isolate.die_with_parent()
    with contextlib.suppress(BrokenPipeError, EOFError):  # nobody is there to hear
        for entry in entries:
            _serve_safely(link, entry, order)


def _serve_safely(link: Connection, entry: Entry, order: Order) -> None:
    """What goes wrong with one device is told, and the next one has its turn."""
    try:
        _serve(link, entry, order)
    except EdgekitError as error:
        link.send(Failed(entry.label, error))
    except (BrokenPipeError, EOFError):
        raise
    except Exception as error:
        traceback.print_exc()
        link.send(Failed(entry.label, EdgekitError(f"{type(error).__name__}: {error}")))


def _serve(link: Connection, entry: Entry, order: Order) -> None:
    """Measures all that is due on one device; EdgekitError if the device or the disk fails."""
    device = order.find(entry.where, Path(entry.benchmark_model) if entry.benchmark_model else None)
    folder = order.results / slug(entry.folder or device.name)
    link.send(Named(entry.label, folder))
    if not link.recv():
        return
    cores = 1 if isinstance(device, Emulated) else device.fingerprint().cores
    sessions = order.campaign.sessions(entry, cores)
    asked = campaigns.tasks(order.groups, sessions, counts=isinstance(device, Emulated))
    with contextlib.nullcontext() if order.dry else held(folder):
        known = stored(folder / RESULTS)
        due = [task for task in (campaigns.without(task, known) for task in asked) if task.artifacts]
        names = tuple((artifact.name, task.session.threads) for task in due for artifact in task.artifacts)
        link.send(Counted(entry.label, sum(len(task.artifacts) for task in asked), names))
        for task in [] if order.dry else due:
            _measure(link, entry, device, task, folder / RESULTS)


def _measure(link: Connection, entry: Entry, device: Device | Emulated, task: Task, path: Path) -> None:
    """One session, stored as a whole; if a file spoils it, each file by itself."""
    size = len(task.artifacts)
    try:
        records = _records(device, task, lambda share: link.send(Shared(entry.label, share * size)))
    except (FileFormatError, ModelCrashError) as error:
        if size == 1:
            link.send(Failed(entry.label, error))
        else:
            for artifact in task.artifacts:
                _measure(link, entry, device, Task(task.session, (artifact,), task.counts), path)
        return
    measurement.append(path, *records)
    for record in records:
        link.send(Stored(entry.label, record))


def _records(device: Device | Emulated, task: Task, progress: Progress) -> Sequence[Record]:
    if isinstance(device, Emulated):
        return device.count(task.artifacts, task.session, progress)
    return device.run(task.artifacts, task.session, progress)


def stored(path: Path) -> set[Key]:
    """What the results hold already; FileFormatError names a line that is none of ours."""
    records = measurement.read([path]) if path.exists() else []
    return {known for known in map(campaigns.key, records) if known is not None}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """One campaign at a time on a folder of results; OutputError says who has it.

    The system lets go of the lock when its holder has ended, however it ended, so a stale one cannot be left.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"cannot store results in {folder}: {error.strerror}") from None
    try:
        _lock(handle, folder)
        with contextlib.suppress(OSError):  # a full disk; the lock holds without a name as well
            os.ftruncate(handle, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            os.pwrite(handle, f"process {os.getppid()} on {platform.node()} since {since}".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                holder = os.pread(handle, 500, 0).decode(errors="replace").strip() or "another process"
                message = f"another campaign stores in {folder}: {holder}; wait for its end, or stop it"
                raise OutputError(message) from None
        except OSError as error:
            raise OutputError(f"cannot lock {folder / LOCK}: {error.strerror}; keep results on a local disk") from None
        time.sleep(0.1)


def slug(name: str) -> str:
    """A device's name as a folder: "Raspberry Pi 5" is raspberry-pi-5."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
