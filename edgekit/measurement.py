"""What was observed: raw samples and per-image outcomes, one JSON line each. Statistics are derived elsewhere.

A record names its artifact by hash. What was not measured is None beside a reason, never 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgekit.errors import FileFormatError, OutputError

SCHEMA = 1
_BLOCK_BYTES = 1 << 16


class Protocol(msgspec.Struct, frozen=True):
    """How long and how often: warm up for `warmup_s`, then at least `min_runs` and at least `min_seconds`."""

    name: str
    warmup_s: float
    min_runs: int
    min_seconds: float
    max_runs: int = 100_000
    seed: int = 0


class Session(msgspec.Struct, frozen=True):
    """What a device is asked to do with the models that it is given.

    `meter` says which meter to read, as `meters.open` has it; it is looked for on the device. `cores` are the
    processors to stay on, empty for all.
    """

    protocol: Protocol
    threads: int = 1
    meter: str = "none"
    cores: tuple[int, ...] = ()


class Fingerprint(msgspec.Struct, frozen=True):
    """The machine as it was; a field is None where the system does not tell."""

    board: str | None
    cpu: str | None
    cores: int
    arch: str
    os: str
    python: str
    runtime: str
    runtime_version: str
    governor: str | None = None
    frequency_khz: int | None = None
    temperature_c: float | None = None
    load_1min: float | None = None


class Delegation(msgspec.Struct, frozen=True):
    """How much of the graph a delegate runs; `left` names the operators it left, in graph order."""

    delegate: str
    operators: int
    taken: int
    left: tuple[str, ...] = ()


class Energy(msgspec.Struct, frozen=True):
    """Measured energy of one inference: `source` is the meter, `scope` what it sees (cpu, soc, rails, board, wall).

    energy_j: gross, all that was drawn while inferences ran, per inference
    net_j: less what the machine draws at rest in the same time; None with `idle_reason` where that is not known
    idle_power_w, idle_s: the power at rest, before the warm-up, and for how long it was measured
    scatter_j: standard error of `net_j`, or of `energy_j` without one, from how far the windows differ and how exactly
        updates fall on their edges
    uncertainty_j: the scatter and what the meter may be off, combined; None where nobody states the latter
    meter_uncertainty: that, as a share of the reading; `stated_by` is who states it
    seconds, windows, updates, missed: what the figures rest on; missed readings were due and did not come
    resolution_s: the time between two updates of the meter
    sampler_ratio: median latency with the meter at work over that without it, `unsampled_ns`, in alternation; None for
        a meter that does nothing between the edges of a window
    too_short: why the measurement is not long enough for its precision, and how long would be; None where it is
    """

    energy_j: float
    source: str
    scope: str
    net_j: float | None = None
    idle_power_w: float | None = None
    idle_s: float | None = None
    idle_reason: str | None = None
    scatter_j: float | None = None
    uncertainty_j: float | None = None
    meter_uncertainty: float | None = None
    stated_by: str | None = None
    seconds: float | None = None
    windows: int | None = None
    updates: int | None = None
    missed: int | None = None
    resolution_s: float | None = None
    sampler_ratio: float | None = None
    unsampled_ns: tuple[int, ...] = ()
    too_short: str | None = None


class Modelled(msgspec.Struct, frozen=True):
    """What a table of energies per operation says of one inference; nothing in it was measured.

    modelled_j: the sum of `arithmetic_j`, `sram_j` and `dram_j`
    macs, sram_bytes, dram_bytes: the counts
    table: whose energies, and for what silicon
    """

    modelled_j: float
    arithmetic_j: float
    sram_j: float
    dram_j: float
    macs: int
    sram_bytes: int
    dram_bytes: int
    table: str


class Measurement(msgspec.Struct, frozen=True, tag="measurement", tag_field="kind"):
    """One artifact timed on one device; `latency_ns` holds every counted inference in order.

    `peak_rss_bytes` is what loading and the first inference added to resident memory at its peak.
    """

    artifact_sha256: str
    artifact_name: str
    model: str | None
    recipe: str | None
    size_bytes: int
    device: str
    protocol: Protocol
    threads: int
    latency_ns: tuple[int, ...]
    load_ns: int
    first_ns: int
    delegation: Delegation
    fingerprint: Fingerprint
    started_utc: str
    energy: Energy | None = None
    energy_reason: str | None = None
    peak_rss_bytes: int | None = None
    modelled: Modelled | None = None
    schema: int = SCHEMA


class Quality(msgspec.Struct, frozen=True, tag="quality", tag_field="kind"):
    """One artifact judged on images, image by image in file order.

    `rank` is the position of the true class among the outputs, best first and 0-based (equal outputs stand in the
    order of their class numbers), or None where no label is known. `agrees` and `kl_nats` compare with the
    reference: whether both name the same class, and KL(reference || this) of the output distributions. Both are
    empty without a reference.
    """

    artifact_sha256: str
    artifact_name: str
    model: str | None
    recipe: str | None
    size_bytes: int
    images: int
    images_sha256: str
    rank: tuple[int | None, ...]
    started_utc: str
    skipped: tuple[str, ...] = ()
    reference_sha256: str | None = None
    agrees: tuple[bool, ...] = ()
    kl_nats: tuple[float, ...] = ()
    schema: int = SCHEMA


Record = Measurement | Quality


def append(path: Path, record: Record) -> None:
    """Adds one line and makes sure it is on disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            _drop_torn_line(file)
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot append to {path}: {error.strerror or error}") from error


def read(paths: Iterable[Path]) -> list[Record]:
    """Every record of the given files; what a crash left after the last newline is passed over."""
    records: list[Record] = []
    for path in paths:
        try:
            lines = path.read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
        records += [_decode(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return records


def _decode(path: Path, number: int, line: bytes) -> Record:
    try:
        record: Record = msgspec.json.decode(line, type=Record)
        return record
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{path}, line {number}: not a result of this edgekit ({error})") from None


def _drop_torn_line(file: BinaryIO) -> None:
    """Cuts off what a crash left after the last newline; such a tail never was a record."""
    end = whole = file.seek(0, os.SEEK_END)
    newline = -1
    while newline < 0 and whole > 0:
        start = max(0, whole - _BLOCK_BYTES)
        file.seek(start)
        newline = file.read(whole - start).rfind(b"\n")
        whole = start + newline + 1  # the block's start where it has no newline
    if whole < end:
        file.truncate(whole)
