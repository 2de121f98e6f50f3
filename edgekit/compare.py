"""Records in, one row per artifact and place out; all statistics of the project are here and in `sampling.py`.

Plain Python on records: a comparison is made wherever the result files are, without numpy or a runtime.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from edgekit import sampling
from edgekit.errors import DataError
from edgekit.measurement import Energy, Instructions, Measurement, Modelled, Protocol, Quality, Record

_SECONDS = len("2026-01-01T00:00:00")  # as much of a UTC time as every writer gives
_FEWEST_ROUNDS = 5
SAMPLER_LIMIT = 1.02  # a meter that slows inference by more than this, for certain, is noted
_Kind = TypeVar("_Kind", Measurement, Quality, Instructions)


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


class Row(msgspec.Struct, frozen=True):
    """One artifact at one place; what was not measured is None. Fractions are 0 to 1.

    `latency_estimate_ms` is MLPerf's early-stopping estimate of the percentile that the protocol asks for. `cold_ms` is
    the median of loading and the first inference over `starts` processes. `verdict` is what `validity.judge` found
    when it was measured. `energy_reason` says why there is no energy. `instructions` are there on emulated
    cores alone, where nothing is timed. `device` and all that is timed are None for an
    artifact that was only judged on images, `top1` and what follows it for one that was only timed.
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
    verdict: str | None = None
    verdict_reasons: tuple[str, ...] = ()
    session: str | None = None
    energy: Energy | None = None
    energy_reason: str | None = None
    modelled: Modelled | None = None
    instructions: Instructions | None = None


class Comparison(msgspec.Struct, frozen=True):
    """Rows in the order in which their artifacts first appeared; `notes` tell what keeps rows from being comparable.

    `pairs` has every two artifacts of one session.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


def compare(records: Iterable[Record]) -> Comparison:
    """Joins measurements and qualities by artifact.

    One row per artifact, device and thread count. Of several records of one kind for the same row the latest counts,
    by the time it was started; at the same time the one further down.
    """
    measurements: dict[tuple[str, str, int], Measurement] = {}
    counts: dict[tuple[str, str], Instructions] = {}
    qualities: dict[str, Quality] = {}
    for record in records:
        if isinstance(record, Measurement):
            key = (record.artifact_sha256, record.device, record.threads)
            measurements[key] = _later(measurements.get(key), record)
        elif isinstance(record, Instructions):
            place = (record.artifact_sha256, record.device)
            counts[place] = _later(counts.get(place), record)
        else:
            qualities[record.artifact_sha256] = _later(qualities.get(record.artifact_sha256), record)
    timed = {*(sha256 for sha256, _, _ in measurements), *(sha256 for sha256, _ in counts)}
    rows = [_row(measurement, qualities.get(sha256)) for (sha256, _, _), measurement in measurements.items()]
    rows += [_counted(count, qualities.get(sha256)) for (sha256, _), count in counts.items()]
    rows += [_row(None, quality) for sha256, quality in qualities.items() if sha256 not in timed]
    timed_here = list(measurements.values())
    notes = _notes(timed_here, list(qualities.values()))
    return Comparison(tuple(rows), tuple(notes), tuple(pairs(timed_here)))


def pairs(measurements: Sequence[Measurement]) -> list[Pair]:
    """Every two of the measurements that come from one session."""
    return [
        Pair(one.artifact_name, other.artifact_name, one.device, one.threads, session_ratio(one, other))
        for one, other in itertools.combinations(measurements, 2)
        if one.session is not None and one.session == other.session
    ]


def session_ratio(one: Measurement, other: Measurement) -> Ratio:
    """The ratio of two artifacts' medians, with an interval from drawing the session's rounds, pairs of slices.

    A session of fewer rounds than 5 says too little of how they differ: then single latencies are drawn.
    """
    above, below = slices(one), slices(other)
    if len(above) != len(below) or len(above) < _FEWEST_ROUNDS:
        return latency_ratio(one.latency_ns, other.latency_ns)
    low, high = sampling.ratio_interval(above, below)
    value = median(one.latency_ns) / median(other.latency_ns)
    return Ratio(value, min(low, value), max(high, value))


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
    return statistics.median(values)


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


def _later(former: _Kind | None, record: _Kind) -> _Kind:
    if former is None or record.started_utc[:_SECONDS] >= former.started_utc[:_SECONDS]:
        return record
    return former


def _counted(count: Instructions, quality: Quality | None) -> Row:
    return msgspec.structs.replace(_row(count, quality), device=count.device, threads=1, instructions=count)


def _row(measurement: Measurement | Instructions | None, quality: Quality | None) -> Row:
    record = measurement or quality
    assert record is not None
    row = Row(record.artifact_sha256, record.artifact_name, record.model, record.recipe, record.size_bytes)
    if quality is not None:
        row = msgspec.structs.replace(
            row,
            top1=top_k(quality.rank, 1),
            top5=top_k(quality.rank, 5),
            agreement=share(quality.agrees),
            kl_nats=statistics.fmean(quality.kl_nats) if quality.kl_nats else None,
        )
    if isinstance(measurement, Measurement):
        delegation = measurement.delegation
        row = msgspec.structs.replace(
            row,
            device=measurement.device,
            threads=measurement.threads,
            protocol=measurement.protocol.name,
            runs=measurement.summary.runs if measurement.summary else len(measurement.latency_ns),
            latency_median_ms=_median_ms(measurement),
            latency_p90_ms=p90(measurement.latency_ns) / 1e6 if measurement.latency_ns else None,
            latency_estimate_ms=_estimate_ms(measurement),
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
            verdict=measurement.verdict.word if measurement.verdict else None,
            verdict_reasons=measurement.verdict.reasons if measurement.verdict else (),
            session=measurement.session,
            energy=measurement.energy,
            energy_reason=measurement.energy_reason,
            modelled=measurement.modelled,
        )
    return row


def _estimate_ms(measurement: Measurement) -> float | None:
    percentile = measurement.protocol.percentile
    estimate = sampling.early_stopping(measurement.latency_ns, percentile) if percentile else None
    return None if estimate is None else estimate / 1e6


def _cold_ms(measurement: Measurement) -> float:
    loads_ns = measurement.loads_ns or (measurement.load_ns,)
    firsts_ns = measurement.firsts_ns or (measurement.first_ns,)
    return median([load + first for load, first in zip(loads_ns, firsts_ns, strict=True)]) / 1e6


def _median_ms(measurement: Measurement) -> float | None:
    """From the raw samples, or what the tool said where it keeps none; its mean is no median."""
    if measurement.summary is None or measurement.latency_ns:
        return median(measurement.latency_ns) / 1e6
    return None if measurement.summary.median_ns is None else measurement.summary.median_ns / 1e6


def _notes(measurements: list[Measurement], qualities: list[Quality]) -> list[str]:
    """What a reader must know before comparing two rows."""
    sets = [(f"{quality.images} images (sha256 {quality.images_sha256[:8]})", quality) for quality in qualities]
    protocols = [(_protocol_words(measurement.protocol), measurement) for measurement in measurements]
    runtimes = [(f"{m.fingerprint.runtime} {m.fingerprint.runtime_version}", m) for m in measurements]
    inputs = [(m.inputs, m) for m in measurements]
    meters = [(f"{m.energy.source}, {m.energy.scope}", m) for m in measurements if m.energy]
    notes = [
        _mixed("Accuracy was taken on different images, compare only rows of the same set", sets),
        _mixed("Latency was taken by different protocols", protocols),
        _mixed("Latency was taken with different runtimes", runtimes),
        _mixed("Latency was taken on different inputs", inputs),
        _mixed("Energy was taken by meters that do not see the same, compare only rows of one meter", meters),
    ]
    notes += [_verdict_words(measurement) for measurement in measurements]
    notes += [note for measurement in measurements for note in _energy_notes(measurement)]
    notes += [_summarised(measurement) for measurement in measurements]
    notes += [_skipped(quality) for quality in qualities]
    return [note for note in notes if note]


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


def _mixed(what: str, kinds: Sequence[tuple[str, Record]]) -> str:
    """The note that says which artifacts are of which kind; nothing where all are of one."""
    names: dict[str, dict[str, None]] = {}  # a set that keeps its order
    for kind, record in kinds:
        names.setdefault(kind, {})[record.artifact_name] = None
    if len(names) < 2:
        return ""
    return f"{what}. " + "; ".join(f"{kind}: {_some(list(members))}" for kind, members in names.items()) + "."


def _some(names: list[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _protocol_words(protocol: Protocol) -> str:
    return f"{protocol.name} (at least {protocol.min_runs} runs and {protocol.min_seconds:g} s)"


def _skipped(quality: Quality) -> str:
    if not quality.skipped:
        return ""
    return f"{quality.artifact_name}: unreadable and left out of the images: {len(quality.skipped)}."
