"""Records in, one row per artifact and place out; all statistics of the project are here and in `sampling.py`.

Plain Python on records: a comparison is made wherever the result files are, without numpy or a runtime. What the rows
answer is in the files beside: `baseline`, `pareto`, `choose`, `forms`, `regress`, on the terms of `costs` and `paired`.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from edgekit import sampling
from edgekit.compare.paired import Outcomes, outcomes
from edgekit.errors import DataError
from edgekit.measurement import (
    Energy,
    Fingerprint,
    Instructions,
    Measurement,
    Modelled,
    Protocol,
    Quality,
    Record,
    Stored,
)

_SECONDS = len("2026-01-01T00:00:00")  # as much of a UTC time as every writer gives
_SIZE = re.compile(r"-(\d+)-[^-]*$")  # of the input, in a file's name
_FEWEST_ROUNDS = 5
_MOST_PAIRS = 200  # a ratio's interval takes some hundredth of a second
SAMPLER_LIMIT = 1.02  # a meter that slows inference by more than this, for certain, is noted


class Share(msgspec.Struct, frozen=True):
    """`hits` of `of`, as a fraction 0 to 1, with its 95 % Wilson interval."""

    value: float
    low: float
    high: float
    of: int


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of two medians with its bootstrap interval."""

    value: float
    low: float
    high: float


class Pair(msgspec.Struct, frozen=True):
    """Two artifacts that were timed in turns, in one session: how much longer the one takes than the other."""

    artifact_name: str
    other_name: str
    device: str
    threads: int
    latency_ratio: Ratio


class Source(msgspec.Struct, frozen=True):
    """The line that a figure is from: `kind` of the record, its file, its line from 1, and when it was started."""

    kind: str
    file: str
    line: int
    started_utc: str


class Listed(msgspec.Struct, frozen=True):
    """What a manifest says of a file beside its hash; `weights` is "random" for an untrained network."""

    sha256: str
    name: str
    weights: str = ""
    input_size: int | None = None
    download_bytes: int | None = None


class Row(msgspec.Struct, frozen=True):
    """One artifact at one place; what was not measured is None. Fractions are 0 to 1.

    `latency_estimate_ms` is MLPerf's early-stopping estimate of the percentile that the protocol asks for. `cold_ms` is
    the median of loading and the first inference over `starts` processes. `verdict` is what `validity.judge` found
    when it was measured. `energy_reason` says why there is no energy. `instructions` are there on emulated
    cores alone, where nothing is timed. `device` and all that is timed are None for an
    artifact that was only judged on images, `top1` and what follows it for one that was only timed. `latency_error` is
    the standard error of the median's logarithm, from how its slices differ. `download_bytes` and `weights` are a
    manifest's words. `sources` are the lines that the row is made of.
    """

    artifact_sha256: str
    artifact_name: str
    model: str | None
    recipe: str | None
    size_bytes: int
    top1: Share | None = None
    top5: Share | None = None
    agreement: Share | None = None
    kl_nats: float | None = None
    device: str | None = None
    threads: int | None = None
    protocol: str | None = None
    runs: int | None = None
    latency_median_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_estimate_ms: float | None = None
    cold_ms: float | None = None
    starts: int | None = None
    input_copy_ms: float | None = None
    arena_bytes: int | None = None
    weight_bytes: int | None = None
    peak_rss_bytes: int | None = None
    delegated: float | None = None
    macs_delegated: float | None = None
    macs: int | None = None
    verdict: str | None = None
    verdict_reasons: tuple[str, ...] = ()
    session: str | None = None
    energy: Energy | None = None
    energy_reason: str | None = None
    modelled: Modelled | None = None
    instructions: Instructions | None = None
    input_size: int | None = None
    latency_error: float | None = None
    outcomes: Outcomes | None = None
    fingerprint: Fingerprint | None = None
    download_bytes: int | None = None
    weights: str | None = None
    sources: tuple[Source, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Rows in the order in which their artifacts first appeared; `notes` tell what keeps rows from being comparable.

    `pairs` has every two artifacts of one session.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


def compare(records: Iterable[Record | Stored], manifest: Iterable[Listed] | None = None) -> Comparison:
    """Joins measurements and qualities by artifact.

    One row per artifact, device and thread count. Of several records of one kind for the same row the latest counts,
    by the time it was started; at the same time the one further down. With a manifest, artifacts that it does not list
    are noted. Records are taken one by one and only what the table needs is kept, so that they may be many.
    """
    latest: dict[_Key, _Told] = {}
    repeated: dict[str, int] = {}
    for item in records:
        record = item.record if isinstance(item, Stored) else item
        key = _key(record)
        former = latest.get(key)
        if former is not None:
            repeated[record.artifact_name] = repeated.get(record.artifact_name, 0) + 1
        if former is None or record.started_utc[:_SECONDS] >= former.row.sources[0].started_utc[:_SECONDS]:
            latest[key] = _told(item)
    listed = None if manifest is None else {entry.sha256: entry for entry in manifest}
    judged = {told.row.artifact_sha256: told for told in latest.values() if told.kind == "quality"}
    timed = [told for kind in ("measurement", "instructions") for told in latest.values() if told.kind == kind]
    placed = {told.row.artifact_sha256 for told in timed}
    rows = [_joined(told.row, judged.get(told.row.artifact_sha256)) for told in timed]
    rows += [told.row for sha256, told in judged.items() if sha256 not in placed]
    if listed is not None:
        rows = [_with_listed(row, listed.get(row.artifact_sha256)) for row in rows]
    measured = [told for told in timed if told.kind == "measurement"]
    found, too_many = _pairs(measured)
    notes = [*too_many, *_notes(measured, list(judged.values())), *_repeated(repeated), *_unlisted(rows, listed)]
    return Comparison(tuple(rows), tuple(notes), tuple(found))


def of_device(comparison: Comparison, device: str) -> Comparison:
    """The rows of one device, and the pairs; the notes stay, which name their artifacts."""
    rows = tuple(row for row in comparison.rows if row.device == device)
    pairs = tuple(pair for pair in comparison.pairs if pair.device == device)
    return Comparison(rows, comparison.notes, pairs)


_Key = tuple[str, str, str, int]


class _Told(msgspec.Struct, frozen=True):
    """What is kept of one record: its row, the slices where pairs may need them, and what the notes ask."""

    kind: str
    row: Row
    blocks: tuple[tuple[int, ...], ...] = ()
    kinds: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


def _key(record: Record) -> _Key:
    """What makes two records those of the same run."""
    if isinstance(record, Measurement):
        return "measurement", record.artifact_sha256, record.device, record.threads
    if isinstance(record, Instructions):
        return "instructions", record.artifact_sha256, record.device, 1
    return "quality", record.artifact_sha256, "", 0


def _told(item: Record | Stored) -> _Told:
    record = item.record if isinstance(item, Stored) else item
    file, line = (item.file, item.line) if isinstance(item, Stored) else ("", 0)
    if isinstance(record, Measurement):
        source = Source("measurement", file, line, record.started_utc)
        row, kept = _timed(record, source), _kept(record)
        return _Told(source.kind, row, kept, _kinds(record), _measurement_notes(record))
    if isinstance(record, Instructions):
        source = Source("instructions", file, line, record.started_utc)
        return _Told(source.kind, _counted(record, source))
    source = Source("quality", file, line, record.started_utc)
    kinds = {"images": f"{record.images} images (sha256 {record.images_sha256[:8]})"}
    return _Told(source.kind, _judged(record, source), (), kinds, _skipped(record))


def _kept(record: Measurement) -> tuple[tuple[int, ...], ...]:
    """The slices of what was measured in turns, or the samples as one where the slices are not told."""
    if record.session is None:
        return ()
    return tuple(slices(record)) or (record.latency_ns,)


def _pairs(measured: Sequence[_Told]) -> tuple[list[Pair], list[str]]:
    """Every two of one session, unless they are too many to be of use."""
    sessions: dict[str, list[_Told]] = {}
    for told in measured:
        if told.row.session is not None:
            sessions.setdefault(told.row.session, []).append(told)
    together = [two for members in sessions.values() for two in itertools.combinations(members, 2)]
    if len(together) > _MOST_PAIRS:
        return [], [f"{len(together)} pairs were measured in turns; their ratios are told for {_MOST_PAIRS} or fewer."]
    return [_pair(one, other) for one, other in together], []


def _pair(one: _Told, other: _Told) -> Pair:
    ratio = _ratio(one.blocks, other.blocks)
    return Pair(one.row.artifact_name, other.row.artifact_name, one.row.device or "", one.row.threads or 1, ratio)


def _ratio(above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> Ratio:
    """As `session_ratio`, from the slices; single latencies are drawn where there are too few."""
    all_above, all_below = list(itertools.chain(*above)), list(itertools.chain(*below))
    if len(above) != len(below) or len(above) < _FEWEST_ROUNDS:
        return latency_ratio(all_above, all_below)
    low, high = sampling.ratio_interval(above, below)
    value = median(all_above) / median(all_below)
    return Ratio(value, min(low, value), max(high, value))


def session_ratio(one: Measurement, other: Measurement) -> Ratio:
    """The ratio of two artifacts' medians, with an interval from drawing the session's rounds, pairs of slices.

    A session of fewer rounds than 5 says too little of how they differ: then single latencies are drawn.
    """
    return _ratio(slices(one) or [one.latency_ns], slices(other) or [other.latency_ns])


def slices(measurement: Measurement) -> list[tuple[int, ...]]:
    """The latencies slice by slice; nothing where the record does not tell its slices."""
    if sum(measurement.slices) != len(measurement.latency_ns):
        return []
    ends = list(itertools.accumulate(measurement.slices))
    return [measurement.latency_ns[end - size : end] for end, size in zip(ends, measurement.slices, strict=True)]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two. DataError without values."""
    if not values:
        raise DataError("asked for the median of no values; a record without samples cannot be compared")
    return _middle(sorted(values))


def _middle(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def p90(values: Sequence[float]) -> float:
    """The 90th percentile by nearest rank: the smallest value that 90 % of all values do not exceed.

    It is always one that was observed, as in MLPerf's single stream. DataError without values.
    """
    if not values:
        raise DataError("asked for the 90th percentile of no values; a record without samples cannot be compared")
    return sorted(values)[(9 * len(values) + 9) // 10 - 1]  # ceil(0.9 n) in whole numbers


def wilson(hits: int, of: int, z: float = sampling.Z95) -> tuple[float, float]:
    """Wilson's score interval of the fraction `hits` / `of` (Wilson 1927), 95 % by default.

    It stays inside 0 to 1 and is not empty at 0 or all hits, where the textbook interval is. Without any trial it is
    all of 0 to 1.
    """
    if of == 0:
        return 0.0, 1.0
    rate = hits / of
    middle = rate + z * z / (2 * of)
    half = z * math.sqrt(rate * (1 - rate) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    low = 0.0 if hits == 0 else (middle - half) / scale  # exactly, where rounding would leave a crumb
    high = 1.0 if hits == of else (middle + half) / scale
    return low, high


def share(outcomes: Sequence[bool]) -> Share | None:
    """How many are true; None of nothing."""
    if not outcomes:
        return None
    hits, of = sum(outcomes), len(outcomes)
    return Share(hits / of, *wilson(hits, of), of)


def top_k(rank: Sequence[int | None], k: int) -> Share | None:
    """The images whose true class is among the first `k`, of those whose class is known."""
    return share([position < k for position in rank if position is not None])


def latency_ratio(
    numerator_ns: Sequence[int], denominator_ns: Sequence[int], resamples: int = 2000, seed: int = 0
) -> Ratio:
    """The ratio of two medians with a 95 % percentile-bootstrap interval (Efron 1979); the same for the same seed.

    The samples are taken as independent: where a machine drifts slowly, interleave, or the interval is too narrow.
    DataError without samples.
    """
    value = median(numerator_ns) / median(denominator_ns)
    generator = random.Random(seed)
    above, below = sorted(numerator_ns), sorted(denominator_ns)
    ratios = sorted(_resampled_median(above, generator) / _resampled_median(below, generator) for _ in range(resamples))
    return Ratio(value, ratios[int(0.025 * resamples)], ratios[math.ceil(0.975 * resamples) - 1])


def _resampled_median(ordered: Sequence[int], generator: random.Random) -> float:
    """The median of one bootstrap resample, drawn in constant time.

    A resample is n uniform draws mapped through the ordered values, so its m-th smallest is the value at the m-th
    smallest of n uniforms, and that is Beta(m, n + 1 - m) distributed; no resample needs to be drawn and sorted.
    For an even n the next uniform is the least of the n - m that lie above.
    """
    n = len(ordered)
    m = (n + 1) // 2
    at = generator.betavariate(m, n + 1 - m)
    lower = ordered[min(int(n * at), n - 1)]
    if n % 2:
        return lower
    following = at + (1 - at) * (1 - generator.random() ** (1 / (n - m)))
    return (lower + ordered[min(int(n * following), n - 1)]) / 2


def _row(record: Record, source: Source, **fields: Any) -> Row:
    """A row of one record: what every record says of its artifact, and the fields."""
    size = _SIZE.search(record.artifact_name) if record.model else None
    named = (record.artifact_sha256, record.artifact_name, record.model, record.recipe, record.size_bytes)
    return Row(*named, input_size=int(size[1]) if size else None, sources=(source,), **fields)


def _joined(row: Row, judged: _Told | None) -> Row:
    """What was timed or counted, with what the images said of the same file."""
    if judged is None:
        return row
    found = judged.row
    return msgspec.structs.replace(
        row,
        top1=found.top1,
        top5=found.top5,
        agreement=found.agreement,
        kl_nats=found.kl_nats,
        outcomes=found.outcomes,
        sources=(*row.sources, *found.sources),
    )


def _with_listed(row: Row, entry: Listed | None) -> Row:
    if entry is None:
        return row
    size = row.input_size or entry.input_size
    return msgspec.structs.replace(
        row, input_size=size, download_bytes=entry.download_bytes, weights=entry.weights or None
    )


def _judged(quality: Quality, source: Source) -> Row:
    return _row(
        quality,
        source,
        top1=top_k(quality.rank, 1),
        top5=top_k(quality.rank, 5),
        agreement=share(quality.agrees),
        kl_nats=statistics.fmean(quality.kl_nats) if quality.kl_nats else None,
        outcomes=outcomes(quality.images_sha256, quality.rank) if quality.rank else None,
    )


def _counted(count: Instructions, source: Source) -> Row:
    return _row(count, source, device=count.device, threads=1, instructions=count)


def _timed(measurement: Measurement, source: Source) -> Row:
    delegation, ordered = measurement.delegation, sorted(measurement.latency_ns)
    return _row(
        measurement,
        source,
        device=measurement.device,
        threads=measurement.threads,
        protocol=measurement.protocol.name,
        runs=measurement.summary.runs if measurement.summary else len(measurement.latency_ns),
        latency_median_ms=_median_ms(measurement, ordered),
        latency_p90_ms=p90(ordered) / 1e6 if ordered else None,
        latency_estimate_ms=_estimate_ms(measurement),
        latency_error=_latency_error(measurement),
        cold_ms=_cold_ms(measurement),
        starts=max(1, len(measurement.loads_ns)),
        input_copy_ms=median(measurement.input_ns) / 1e6 if measurement.input_ns else None,
        arena_bytes=measurement.memory.arena_bytes if measurement.memory else None,
        weight_bytes=measurement.memory.weight_bytes if measurement.memory else None,
        peak_rss_bytes=measurement.peak_rss_bytes,
        delegated=delegation.taken / delegation.operators if delegation.operators else None,
        macs_delegated=delegation.macs_taken / delegation.macs
        if delegation.macs and delegation.macs_taken is not None
        else None,
        macs=delegation.macs,
        verdict=measurement.verdict.word if measurement.verdict else None,
        verdict_reasons=measurement.verdict.reasons if measurement.verdict else (),
        session=measurement.session,
        energy=measurement.energy,
        energy_reason=measurement.energy_reason,
        modelled=measurement.modelled,
        fingerprint=measurement.fingerprint,
    )


def _latency_error(measurement: Measurement) -> float | None:
    """How far the medians of the slices differ, as a standard error of the logarithm, with Student's factor to 1.96."""
    medians = [_middle(sorted(block)) for block in slices(measurement) if block]
    if len(medians) < 2 or min(medians) <= 0:
        return None
    logs = [math.log(middle) for middle in medians]
    mean = sum(logs) / len(logs)
    variance = sum((value - mean) ** 2 for value in logs) / (len(logs) - 1)
    return math.sqrt(variance / len(logs)) * sampling.student(len(logs) - 1) / sampling.Z95


def _estimate_ms(measurement: Measurement) -> float | None:
    percentile = measurement.protocol.percentile
    estimate = sampling.early_stopping(measurement.latency_ns, percentile) if percentile else None
    return None if estimate is None else estimate / 1e6


def _cold_ms(measurement: Measurement) -> float:
    loads_ns = measurement.loads_ns or (measurement.load_ns,)
    firsts_ns = measurement.firsts_ns or (measurement.first_ns,)
    return median([load + first for load, first in zip(loads_ns, firsts_ns, strict=True)]) / 1e6


def _median_ms(measurement: Measurement, ordered: Sequence[int]) -> float | None:
    """From the raw samples, or what the tool said where it keeps none; its mean is no median."""
    if measurement.summary is None or ordered:
        return median(ordered) / 1e6
    return None if measurement.summary.median_ns is None else measurement.summary.median_ns / 1e6


_MIXED = {
    "images": "Accuracy was taken on different images, compare only rows of the same set",
    "protocol": "Latency was taken by different protocols",
    "runtime": "Latency was taken with different runtimes",
    "inputs": "Latency was taken on different inputs",
    "meter": "Energy was taken by meters that do not see the same, compare only rows of one meter",
}


def _kinds(m: Measurement) -> dict[str, str]:
    """What two measurements must have in common to be comparable, in words."""
    found = {
        "protocol": _protocol_words(m.protocol),
        "runtime": f"{m.fingerprint.runtime} {m.fingerprint.runtime_version}",
        "inputs": m.inputs,
    }
    return {**found, "meter": f"{m.energy.source}, {m.energy.scope}"} if m.energy else found


def _notes(measured: Sequence[_Told], judged: Sequence[_Told]) -> list[str]:
    """What a reader must know before comparing two rows."""
    told = [*measured, *judged]
    notes = [
        _mixed(words, [(one.kinds[of], one.row) for one in told if of in one.kinds]) for of, words in _MIXED.items()
    ]
    notes += [note for one in told for note in one.notes]
    return [note for note in notes if note]


def _measurement_notes(measurement: Measurement) -> tuple[str, ...]:
    found = [_verdict_words(measurement), *_energy_notes(measurement), _summarised(measurement)]
    return tuple(note for note in found if note)


def _repeated(times: Mapping[str, int]) -> list[str]:
    if not times:
        return []
    count = sum(times.values())
    records = "1 earlier record of the same run was" if count == 1 else f"{count} earlier records of the same runs were"
    return [f"{records} set aside: {_some(list(times))}."]


def _unlisted(rows: Sequence[Row], listed: Mapping[str, Listed] | None) -> list[str]:
    """Names the artifacts that no line of the manifest has: other files than those that are published."""
    if listed is None:
        return []
    strangers = {f"{row.artifact_name} ({row.artifact_sha256[:8]})": None for row in rows if not _lists(listed, row)}
    return [f"The manifest lists no file with the hash of {_some(list(strangers))}."] if strangers else []


def _lists(listed: Mapping[str, Listed], row: Row) -> bool:
    return row.artifact_sha256 in listed


def _verdict_words(measurement: Measurement) -> str:
    verdict = measurement.verdict
    if verdict is None or not verdict.reasons:
        return ""
    threads = f"{measurement.threads} {'thread' if measurement.threads == 1 else 'threads'}"
    return f"{measurement.artifact_name}, {threads}: {verdict.word}: {'; '.join(verdict.reasons)}."


def _energy_notes(measurement: Measurement) -> list[str]:
    """What keeps a measured energy from being taken at its word."""
    energy = measurement.energy
    if energy is None:
        return []
    notes: list[str] = []
    if energy.too_short:
        notes.append(f"energy {energy.too_short}")
    if energy.idle_reason:
        notes.append(f"no energy at rest, so no net energy: {energy.idle_reason}")
    if energy.missed:
        notes.append(f"{energy.missed} readings of the meter are missing beside {energy.updates or 0}")
    if energy.unsampled_ns:
        ratio = latency_ratio(measurement.latency_ns, energy.unsampled_ns)
        if ratio.low > SAMPLER_LIMIT:
            notes.append(f"reading the meter makes inference {ratio.value - 1:.1%} slower")
    return [f"{measurement.artifact_name}: {note}." for note in notes]


def _summarised(measurement: Measurement) -> str:
    if measurement.summary is None:
        return ""
    told = measurement.summary
    return (
        f"{measurement.artifact_name}: {told.tool} keeps no samples; its mean of {told.runs} runs is"
        f" {told.mean_ns / 1e6:.2f} ms, the least {told.min_ns / 1e6:.2f} ms, the most {told.max_ns / 1e6:.2f} ms."
    )


def _mixed(what: str, kinds: Sequence[tuple[str, Row]]) -> str:
    """The note that says which artifacts are of which kind; nothing where all are of one."""
    names: dict[str, dict[str, None]] = {}  # a set that keeps its order
    for kind, row in kinds:
        names.setdefault(kind, {})[row.artifact_name] = None
    if len(names) < 2:
        return ""
    return f"{what}. " + "; ".join(f"{kind}: {_some(list(members))}" for kind, members in names.items()) + "."


def _some(names: list[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _protocol_words(protocol: Protocol) -> str:
    return f"{protocol.name} (at least {protocol.min_runs} runs and {protocol.min_seconds:g} s)"


def _skipped(quality: Quality) -> tuple[str, ...]:
    if not quality.skipped:
        return ()
    return (f"{quality.artifact_name}: unreadable and left out of the images: {len(quality.skipped)}.",)
