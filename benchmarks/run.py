"""Measures on this machine what campaign.toml names, by protocol.toml, and appends it to results/<device>/.

Usage: python benchmarks/run.py [--artifacts build/zoo] [--results benchmarks/results]
What is measured already, same file, threads and protocol, is passed over: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from edgekit import artifact, compare, measurement
from edgekit.devices import Device
from edgekit.devices.local import Local
from edgekit.errors import EdgekitError, FileFormatError, MissingError, ModelCrashError
from edgekit.measurement import Measurement, Protocol, Session

HERE = Path(__file__).parent
_Declaration = TypeVar("_Declaration")
_Key = tuple[str, int, Protocol]


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every model with every recipe on every number of threads."""

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    threads: tuple[int, ...]

    def groups(self, cores: int) -> Iterator[tuple[int, list[str]]]:
        """Thread count and file names of what is measured together."""
        for model in self.models:
            for threads in self.threads:
                if threads <= cores:
                    yield threads, [f"{model}-{recipe}.tflite" for recipe in self.recipes]


def main(arguments: Sequence[str] | None = None, device: Device | None = None) -> int:
    """Runs the campaign; the exit code is that of the first problem, after everything else was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--artifacts", type=Path, default=Path("build/zoo"), help="folder with the .tflite files")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the results are kept")
    options = parser.parse_args(arguments)
    problems: list[EdgekitError] = []
    try:
        problems += _run(options.artifacts, options.results, device or Local())
    except EdgekitError as error:
        problems.append(error)
    for problem in problems:
        print(f"benchmarks/run.py: {problem}", file=sys.stderr)
    return problems[0].exit_code if problems else 0


def _run(artifacts: Path, results: Path, device: Device) -> Iterator[EdgekitError]:
    """Measures group by group and yields what could not be."""
    campaign, protocol = _declared("campaign.toml", Campaign), _declared("protocol.toml", Protocol)
    path = results / slug(device.name) / "measurements.jsonl"
    done = _done(path)
    for threads, names in campaign.groups(device.fingerprint().cores):
        paths = [artifacts / name for name in names if (artifacts / name).exists()]
        yield from _measure(device, paths, protocol, threads, done, path)
    yield from _absent(artifacts, campaign)


def _done(path: Path) -> set[_Key]:
    """What the results hold already."""
    records = measurement.read([path]) if path.exists() else []
    timed = [record for record in records if isinstance(record, Measurement)]
    return {(record.artifact_sha256, record.threads, record.protocol) for record in timed}


def _measure(
    device: Device, paths: Sequence[Path], protocol: Protocol, threads: int, done: set[_Key], results: Path
) -> Iterator[EdgekitError]:
    """Measures together what of `paths` is not done and stores it, or yields what stood in the way."""
    try:
        due = [found for found in map(artifact.read, paths) if (found.sha256, threads, protocol) not in done]
        records = device.run(due, Session(protocol, threads, meter="auto")) if due else []
    except (FileFormatError, ModelCrashError) as error:
        yield error
        return
    for record in records:
        measurement.append(results, record)
        median_ms = compare.median(record.latency_ns) / 1e6
        print(f"{record.artifact_name}, {threads} {'thread' if threads == 1 else 'threads'}: {median_ms:.2f} ms")


def _absent(artifacts: Path, campaign: Campaign) -> Iterator[MissingError]:
    """One problem for all the files that the folder lacks."""
    names = [f"{model}-{recipe}.tflite" for model in campaign.models for recipe in campaign.recipes]
    absent = [name for name in names if not (artifacts / name).exists()]
    if absent:
        remedy = "run export/build.py, or name their folder with --artifacts"
        yield MissingError(f"not in {artifacts}: {', '.join(absent)}; {remedy}")


def _declared(name: str, kind: type[_Declaration]) -> _Declaration:
    path = HERE / name
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise FileFormatError(f"{path}: {error}") from None


def slug(name: str) -> str:
    """A device's name as a folder: "Raspberry Pi 5" is raspberry-pi-5."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
