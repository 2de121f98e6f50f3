"""What a campaign asks for, as campaign.toml declares it, and which of that the stored results lack.

Runs nothing and knows no device.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from edgekit import artifact, bench
from edgekit.artifact import Artifact
from edgekit.errors import EdgekitError, FileFormatError, MissingError, UnknownNameError, UsageError
from edgekit.measurement import Instructions, Measurement, Protocol, Record, Session

# what must not be measured twice on one device: the file, the threads, and but for counts how it is measured
Key = tuple[str, int, tuple[Protocol, tuple[int, ...], str, str] | None]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device, written as `devices.find` has it; `meter` and `threads` are the campaign's where they are None.

    `cores` are the processors to stay on, empty for all. `folder` holds its results; without it, that is made of the
    device's name. `benchmark_model` is the tool for a phone's processor.
    """

    where: str
    folder: str | None = None
    meter: str | None = None
    threads: tuple[int, ...] | None = None
    cores: tuple[int, ...] = ()
    benchmark_model: str | None = None

    @property
    def label(self) -> str:
        """How the user tells it from the others."""
        return self.folder or self.where

    @property
    def machine(self) -> str:
        """What it shares with entries that cannot run at the same time; emulated cores are this machine at work."""
        return "local" if self.where.startswith("emulated:") else self.where


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every model with every recipe, and every list of files, on every device with each number of threads.

    The recipes of a model, and the files of a list, are measured interleaved. `protocol` is a preset's name, or all
    of its numbers.
    """

    devices: tuple[Entry, ...]
    protocol: str | Protocol
    threads: tuple[int, ...]
    meter: str = "auto"
    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    files: tuple[tuple[str, ...], ...] = ()

    def groups(self) -> Iterator[list[str]]:
        """File names of what is measured together."""
        for model in self.models:
            yield [f"{model}-{recipe}.tflite" for recipe in self.recipes]
        yield from map(list, self.files)

    def sessions(self, entry: Entry, cores: int) -> list[Session]:
        """One for each number of threads that the device has cores for."""
        protocol = bench.find_protocol(self.protocol) if isinstance(self.protocol, str) else self.protocol
        meter = self.meter if entry.meter is None else entry.meter
        asked = self.threads if entry.threads is None else entry.threads
        room = len(entry.cores) or cores
        return [Session(protocol, threads, meter, entry.cores) for threads in asked if threads <= room]


class Task(msgspec.Struct, frozen=True):
    """Artifacts to measure in one session, interleaved."""

    session: Session
    artifacts: tuple[Artifact, ...]
    counts: bool = False

    def key(self, artifact: Artifact) -> Key:
        """What the result for one of them is known by."""
        asked = self.session
        way = None if self.counts else (asked.protocol, tuple(sorted(asked.cores)), asked.inputs, asked.meter)
        return artifact.sha256, asked.threads, way


def key(record: Record) -> Key | None:
    """What a stored result is known by; None for one that no campaign takes."""
    if isinstance(record, Measurement):
        way = record.protocol, tuple(sorted(record.fingerprint.pinned)), record.inputs, record.meter
        return record.artifact_sha256, record.threads, way
    return (record.artifact_sha256, 1, None) if isinstance(record, Instructions) else None


def tasks(groups: Sequence[Sequence[Artifact]], sessions: Sequence[Session], counts: bool) -> list[Task]:
    """All that is asked of a device, group by group; two files with the same content are one.

    Counts are asked file by file, for they need no interleaving, and what is stored at once cannot be lost.
    """
    known: set[Key] = set()
    found = []
    for together in [[file] for group in groups for file in group] if counts else groups:
        for session in sessions:
            whole = Task(session, tuple(together), counts)
            found.append(without(whole, known))
            known.update(map(whole.key, whole.artifacts))
    return [task for task in found if task.artifacts]


def without(task: Task, known: Collection[Key]) -> Task:
    """The task less what is known already, and with each content only once."""
    fresh = {task.key(artifact): artifact for artifact in reversed(task.artifacts) if task.key(artifact) not in known}
    return msgspec.structs.replace(task, artifacts=tuple(reversed(fresh.values())))


def read(path: Path) -> Campaign:
    """The declaration at `path`; FileFormatError or UsageError says what does not hold together in it."""
    try:
        content = path.read_bytes()
        campaign = msgspec.toml.decode(content, type=Campaign)
        protocol = msgspec.toml.decode(content)["protocol"]
    except (OSError, msgspec.DecodeError) as error:
        raise FileFormatError(f"{path}: {error}") from None
    foreign = set(protocol) - set(Protocol.__struct_fields__) if isinstance(protocol, dict) else set()
    if foreign:
        raise FileFormatError(f"{path}: a protocol has no {', '.join(sorted(foreign))}")
    if isinstance(campaign.protocol, str):
        bench.find_protocol(campaign.protocol)
    labels = [entry.label for entry in campaign.devices]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UsageError(f"{path} names {', '.join(twice)} twice; give each a folder of its own: folder = ...")
    return campaign


def chosen(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries called so, by `where` or folder, all without names; UnknownNameError for one that is not there."""
    known = {name for entry in entries for name in (entry.where, entry.label)}
    for name in names:
        if name not in known:
            raise UnknownNameError.among("device of the campaign", name, sorted(known))
    return [entry for entry in entries if not names or entry.where in names or entry.label in names]


def load(campaign: Campaign, folder: Path, only: Sequence[str] = ()) -> tuple[list[list[Artifact]], list[EdgekitError]]:
    """The groups as they lie in `folder`, of the files whose names fit a pattern of `only`; and what is wrong there.

    UsageError if no file fits.
    """
    wanted = [[name for name in group if _fits(name, only)] for group in campaign.groups()]
    if only and not any(wanted):
        raise UsageError(f"no file of the campaign is called {' or '.join(only)}; --only takes names and patterns")
    problems: list[EdgekitError] = []
    groups = [[found for name in names if (found := _read(folder / name, problems))] for names in wanted]
    absent = [name for names in wanted for name in names if not (folder / name).exists()]
    if absent:
        remedy = "run export/build.py, or name their folder with --artifacts"
        problems.append(MissingError(f"not in {folder}: {', '.join(absent)}; {remedy}"))
    return groups, problems


def _read(path: Path, problems: list[EdgekitError]) -> Artifact | None:
    try:
        return artifact.read(path) if path.exists() else None
    except FileFormatError as error:
        problems.append(error)
        return None


def _fits(name: str, patterns: Sequence[str]) -> bool:
    stem = Path(name).name.removesuffix(".tflite")
    return not patterns or any(fnmatch.fnmatchcase(stem, pattern.removesuffix(".tflite")) for pattern in patterns)
