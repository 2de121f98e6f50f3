"""What was observed: raw samples and per-image outcomes, one JSON line each. Statistics are derived elsewhere.

A record names its artifact by hash. What was not measured is None beside a reason, never 0. Each line has the number
of its schema and says which edgekit wrote it, so that an older one can name what reads it.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from edgekit import __version__
from edgekit.errors import FileFormatError, OutputError

SCHEMA = 2
_BLOCK_BYTES = 1 << 16


class Protocol(msgspec.Struct, frozen=True):
    """How long and how often: warm up, then at least `min_runs` and at least `min_seconds` in so many `rounds`.

    The warm-up goes on in stretches of `warmup_s` until one shows no drift, `warmup_most_s` at most.
    `starts` are processes of their own in which the model is loaded and run once. `percentile`, 0 to 1, is one that is
    to be told by MLPerf's early-stopping estimate besides.
    """

    name: str
    warmup_s: float
    min_runs: int
    min_seconds: float
    max_runs: int = 100_000
    seed: int = 0
    warmup_most_s: float = 10.0
    rounds: int = 10
    starts: int = 1
    percentile: float | None = None


class Session(msgspec.Struct, frozen=True):
    """What a device is asked to do with the models that it is given.

    `meter` says which meter to read, as `meters.open` has it; it is looked for on the device. `cores` are the
    processors to stay on, empty for all. `inputs` is what the models see: "random" (seeded noise), "golden" (the
    file's own known image) or "images:FOLDER", a folder on the device.
    """

    protocol: Protocol
    threads: int = 1
    meter: str = "none"
    cores: tuple[int, ...] = ()
    inputs: str = "random"


class Fingerprint(msgspec.Struct, frozen=True):
    """The machine as it was; a field is None where the system does not tell.

    features: what the processor has of 8-bit dot products, as the kernel names it; records of schema 1 do not tell
    """

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
    soc: str | None = None
    frequency_max_khz: int | None = None
    throttled: int | None = None
    power_source: str | None = None
    swap_used_bytes: int | None = None
    pinned: tuple[int, ...] = ()
    features: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True, gc=False):
    """The machine at one moment of a session; a field is None where the system does not tell.

    at_s: seconds since the session began, by the monotonic clock
    clock_offset_ns: the wall clock less the monotonic one; it changes when the wall clock is set
    slept_ns: how long the machine has been suspended since it started
    frequency_khz, frequency_limit_khz: of the fastest frequency domain that the session may use; the limit is what
        the system allows at the moment
    throttled: the Raspberry Pi's get_throttled bits: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft
        temperature limit; 16 to 19 the same, at some time since the start
    throttle_count: how often the processor has throttled since the start, as x86 counts it
    power_source: "mains" or "battery"
    busy_s, stolen_s: processor time that all processes have had, and that a hypervisor gave to others
    own_s: processor time of this process, which is part of `busy_s`
    thermal_status: Android's, 0 (none) to 6 (shutdown); from 1 on the phone slows itself down
    thermal_headroom: heat as a share of that at which Android throttles severely
    foreground: whether the app that measures was on the screen at every moment since the state before
    power_save: whether Android's battery saver is on
    """

    at_s: float
    clock_offset_ns: int
    slept_ns: int | None = None
    frequency_khz: int | None = None
    frequency_limit_khz: int | None = None
    governor: str | None = None
    temperature_c: float | None = None
    throttled: int | None = None
    throttle_count: int | None = None
    power_source: str | None = None
    load_1min: float | None = None
    swap_used_bytes: int | None = None
    busy_s: float | None = None
    stolen_s: float | None = None
    own_s: float | None = None
    thermal_status: int | None = None
    thermal_headroom: float | None = None
    foreground: bool | None = None
    power_save: bool | None = None


class Probe(msgspec.Struct, frozen=True):
    """The same fixed work before and after the session, nanoseconds of each go."""

    before_ns: tuple[int, ...]
    after_ns: tuple[int, ...]


class WarmUp(msgspec.Struct, frozen=True):
    """How long the warm-up took; `stable` is whether its last stretch showed no drift, else the limit ended it."""

    runs: int
    seconds: float
    stable: bool


class Memory(msgspec.Struct, frozen=True):
    """What a model needs: constants of the file, and activations alive at once.

    `arena_bytes` is None where it is not known; `arena_method` says how it was found, or why not.
    """

    weight_bytes: int | None
    arena_bytes: int | None
    arena_method: str


class Verdict(msgspec.Struct, frozen=True):
    """Whether a measurement may be believed: "valid", "suspect" or "invalid", why, and what else a reader may want."""

    word: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Delegation(msgspec.Struct, frozen=True):
    """How much of the graph a delegate runs; `left` names the operators it left, in graph order.

    `macs` and `macs_taken` are None where the file's graph cannot be read here.
    """

    delegate: str
    operators: int
    taken: int
    left: tuple[str, ...] = ()
    macs: int | None = None
    macs_taken: int | None = None


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


class Summary(msgspec.Struct, frozen=True):
    """What a tool that keeps no raw samples tells of its runs; None where its version does not tell."""

    runs: int
    mean_ns: int
    min_ns: int
    max_ns: int
    tool: str
    median_ns: int | None = None
    p95_ns: int | None = None
    std_ns: int | None = None


class Measurement(msgspec.Struct, frozen=True, tag="measurement", tag_field="kind"):
    """One artifact timed on one device; `latency_ns` holds every counted inference in order.

    peak_rss_bytes: what loading and the first inference added to resident memory at its peak
    session: the same for all that was measured interleaved
    meter: which one was asked for, as in Session; what was read stands in `energy`
    slices: how many inferences each slice of the session has; their sum is that of `latency_ns`
    input_ns: copies of the input into the runtime, timed apart from the inferences
    loads_ns, firsts_ns: all cold starts, where there was more than one; `load_ns` and `first_ns` are the first
    states: the machine before the first slice, after each slice of this artifact, and at the end
    summary: stands in for the latencies where the tool that took them keeps none; then `latency_ns` is empty
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
    session: str | None = None
    slices: tuple[int, ...] = ()
    inputs: str = "random"
    meter: str = "auto"
    input_ns: tuple[int, ...] = ()
    loads_ns: tuple[int, ...] = ()
    firsts_ns: tuple[int, ...] = ()
    warmup: WarmUp | None = None
    memory: Memory | None = None
    states: tuple[State, ...] = ()
    probe: Probe | None = None
    verdict: Verdict | None = None
    summary: Summary | None = None
    schema: int = SCHEMA
    written_by: str | None = __version__


class OperatorCount(msgspec.Struct, frozen=True):
    """What one operator adds to the count of the network up to it; a difference, so it may be a little below 0.

    `output` is its tensor. Operators that the runtime fuses with the next one show up there.
    """

    operator: str
    output: str
    instructions: int
    simd: int
    dot_products: int


class Instructions(msgspec.Struct, frozen=True, tag="instructions", tag_field="kind"):
    """Instructions of one inference on one thread of an emulated core; a count, which says nothing of time.

    simd, dot_products, i8mm: how many of them are SIMD or floating point, SDOT or UDOT, and 8-bit matrix products
    operators: prefix by prefix, where asked for
    outputs, differing: values that were compared with those of `against` for the same inputs, and how many differ
    largest_difference: between two of them, in steps of an integer output, else in its own unit
    """

    artifact_sha256: str
    artifact_name: str
    model: str | None
    recipe: str | None
    size_bytes: int
    device: str
    core: str
    runtime: str
    runtime_version: str
    instructions: int
    simd: int
    dot_products: int
    i8mm: int
    outputs: int
    differing: int
    largest_difference: float
    against: str
    started_utc: str
    operators: tuple[OperatorCount, ...] = ()
    schema: int = SCHEMA
    written_by: str | None = __version__


class Quality(msgspec.Struct, frozen=True, tag="quality", tag_field="kind"):
    """One artifact judged on images, image by image in file order.

    `rank` is the position of the true class among the outputs, best first and 0-based (equal outputs stand in the
    order of their class numbers), or None where no label is known. `agrees` and `kl_nats` compare with the
    reference: whether both name the same class, and KL(reference || this) of the output distributions. Both are
    empty without a reference. `truth` and `answer` are the numbers of the true class and of the one that was named;
    records of schema 1 have neither.
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
    truth: tuple[int | None, ...] = ()
    answer: tuple[int, ...] = ()
    schema: int = SCHEMA
    written_by: str | None = __version__


Record = Measurement | Quality | Instructions
_AnyRecord = TypeVar("_AnyRecord", Measurement, Quality, Instructions, Record)


class Stored(msgspec.Struct, frozen=True):
    """A record with the line that it was read from, counted from 1."""

    record: Record
    file: str
    line: int


class Flaw(msgspec.Struct, frozen=True):
    """A line that is no record, and why."""

    file: str
    line: int
    reason: str


def utc_now() -> str:
    """The time as every record has it: UTC, to the second, in ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def append(path: Path, *records: Record) -> None:
    """Adds a line for each, in one write, and makes sure they are on disk; OutputError says why they are not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab+") as file:
            _drop_torn_line(file)
            file.write(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"cannot append to {path}: {error.strerror or error}") from error


def read(paths: Iterable[Path]) -> list[Record]:
    """Every record of the given files; what a crash left after the last newline is passed over."""
    flaws: list[Flaw] = []
    records = [stored.record for stored in scan(paths, flaws)]
    for flaw in flaws:
        if flaw.reason != TORN:
            raise FileFormatError(f"{flaw.file}, line {flaw.line}: {flaw.reason}")
    return records


def scan(paths: Iterable[Path], flaws: list[Flaw]) -> Iterator[Stored]:
    """Every record of the given files with its line, one after another; what is none is added to `flaws`.

    Records of an older schema come as those of today. FileFormatError for one of a newer schema, which nobody here
    understands, and for a file that cannot be read.
    """
    for path in paths:
        yield from _scan(path, flaws)


def check(flaws: list[Flaw], most: int = 3) -> None:
    """FileFormatError that counts and names the lines, unless there are none."""
    if flaws:
        named = "; ".join(f"{flaw.file}, line {flaw.line}: {flaw.reason}" for flaw in flaws[:most])
        more = f"; and {len(flaws) - most} more" if len(flaws) > most else ""
        lines = "1 line is" if len(flaws) == 1 else f"{len(flaws)} lines are"
        raise FileFormatError(f"{lines} no result and can be skipped with --lenient: {named}{more}")


TORN = "torn: a crash left it without its end"


def _scan(path: Path, flaws: list[Flaw]) -> Iterator[Stored]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                found = _decode(path, number, line) if line.strip() else None
                if isinstance(found, Flaw):
                    flaws.append(found)
                elif found is not None:
                    yield Stored(found, str(path), number)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None


def _decode(path: Path, number: int, line: bytes) -> Record | Flaw:
    if not line.endswith(b"\n"):
        return Flaw(str(path), number, TORN)
    try:
        return current(_DECODER.decode(line), path, number)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse_newer(line, path, number)
        return Flaw(str(path), number, f"not a result of this edgekit ({error})")


_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class _Version(msgspec.Struct, frozen=True):
    """What every schema keeps, by which a line says what can read it."""

    schema: int = 1
    written_by: str | None = None


def _refuse_newer(line: bytes, path: Path, number: int) -> None:
    """FileFormatError for a line that only a newer edgekit could read."""
    try:
        version = msgspec.json.decode(line, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    _check_schema(version, path, number)


def _check_schema(found: Record | _Version, path: Path, number: int) -> None:
    if found.schema > SCHEMA:
        wanted = f"edgekit=={found.written_by}" if found.written_by else "--upgrade edgekit"
        newer = f"schema {found.schema} is newer than {SCHEMA}; to read it: pip install '{wanted}'"
        raise FileFormatError(f"{path}, line {number}: {newer}")


def current(record: _AnyRecord, path: Path, number: int) -> _AnyRecord:
    """The record in today's schema, read from a line of a file; FileFormatError if it is of a newer one.

    Schema 1 did not say which edgekit wrote it, nor classes, nor features.
    """
    if record.schema == SCHEMA:
        return record
    _check_schema(record, path, number)
    return msgspec.structs.replace(record, schema=SCHEMA, written_by=None)


def _sync_folder(folder: Path) -> None:
    """Makes sure that a new file's name is on disk as well, where a system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
