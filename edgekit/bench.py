"""Times inferences: artifacts, a protocol and a meter in, raw measurements out.

Knows no board and prints nothing: where it runs is said by its caller, in `device` and `fingerprint`.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgekit import energy, feeds, footprint, meters, runtime, sampling, validity
from edgekit.artifact import Artifact, check_content, read_model
from edgekit.errors import FileFormatError, QualityError, UnknownNameError, UsageError
from edgekit.feeds import Feed
from edgekit.measurement import Fingerprint, Measurement, Probe, Protocol, State, WarmUp, utc_now
from edgekit.meters import Meter
from edgekit.runtime import Runner

QUICK = Protocol("quick", warmup_s=0.3, min_runs=50, min_seconds=1.0, warmup_most_s=3.0)
STANDARD = Protocol("standard", warmup_s=1.0, min_runs=200, min_seconds=5.0)
MLPERF = Protocol(  # the least samples and time of MLPerf Inference's single stream, and its 90th percentile
    "mlperf-single-stream",
    warmup_s=1.0,
    min_runs=1024,
    min_seconds=60.0,
    max_runs=1_000_000,
    rounds=30,
    percentile=0.9,
)
SUSTAINED = Protocol(  # half an hour: what a case without a fan lets a board do for good
    "sustained", warmup_s=0.3, min_runs=180, min_seconds=1800.0, max_runs=10_000_000, warmup_most_s=0.3, rounds=180
)
COLD = Protocol("cold", warmup_s=0.0, min_runs=10, min_seconds=0.0, warmup_most_s=0.0, rounds=1, starts=20)
PROTOCOLS = (QUICK, STANDARD, MLPERF, SUSTAINED, COLD)
NO_METER = meters.NO_METER
BARE_PART = 4  # beside a sampling meter, a quarter of the time goes to the same inferences without it
BARE_MOST = 10_000
COPIES = 5  # of the input at the start of every slice, where it stays the same throughout
SETTLED = 0.02  # a warm-up whose last stretch changed by less is over, whatever chance says
SETTLED_P = 0.05  # and so is one whose change may well be chance

Progress = Callable[[float], None]
Watch = Callable[[int], State]  # the machine's state, given what the clock said when the session began


def find_protocol(name: str) -> Protocol:
    """The preset called `name`; UnknownNameError suggests the nearest ones."""
    for preset in PROTOCOLS:
        if preset.name == name:
            return preset
    raise UnknownNameError.among("protocol", name, (preset.name for preset in PROTOCOLS))


def runtime_version() -> tuple[str, str]:
    """The package that does the inferences here and its version; MissingError if there is none."""
    return runtime.version()


class ColdStart(msgspec.Struct, frozen=True):
    """How a model begins; `peak_rss_bytes` is what that added to resident memory at its peak, None if not told."""

    load_ns: int
    first_ns: int
    peak_rss_bytes: int | None


def cold_start(artifact: Artifact, threads: int = 1, seed: int = 0, inputs: str = "random") -> ColdStart:
    """Loads the model and runs it once.

    In a fresh process this touches the runtime for the first time as well, which is what an application pays; so the
    figures of several models compare only if each had a process of its own, or none had. Errors: see `measure_many`.
    """
    return _start(artifact, threads, seed, inputs)[2]


def check_delegation(measurements: Sequence[Measurement]) -> None:
    """Raises QualityError, naming what was left, unless a delegate took every operator of every model."""
    for measurement in measurements:
        left = measurement.delegation.left
        if left or measurement.delegation.taken < measurement.delegation.operators:
            took = f"{measurement.delegation.taken} of {measurement.delegation.operators} operators"
            raise QualityError(f"{measurement.artifact_name}: the delegate took {took} and left {', '.join(left)}")


def measure(
    artifact: Artifact,
    *,
    protocol: Protocol,
    device: str,
    fingerprint: Fingerprint,
    threads: int = 1,
    meter: Meter | str = NO_METER,
    progress: Progress | None = None,
) -> Measurement:
    """One artifact by itself; see `measure_many`."""
    return measure_many(
        [artifact],
        protocol=protocol,
        device=device,
        fingerprint=fingerprint,
        threads=threads,
        meter=meter,
        progress=progress,
    )[0]


def measure_many(
    artifacts: Sequence[Artifact],
    *,
    protocol: Protocol,
    device: str,
    fingerprint: Fingerprint,
    threads: int = 1,
    meter: Meter | str = NO_METER,
    starts: Sequence[Sequence[ColdStart]] = (),
    progress: Progress | None = None,
    watch: Watch | None = None,
    inputs: str = "random",
) -> list[Measurement]:
    """Several artifacts in slices, A B A B, so that a machine that drifts does so for all of them alike.

    `meter` is the meter to read over the same runs, or why there is none; a slow one makes the session as long as one
    of its windows takes. `starts` are each artifact's cold starts where the caller has seen them, each in a process of
    its own; else one is taken here, one artifact after the other.
    `progress` is called with the done share, 0 to 1, between slices, never inside one, and so is `watch`; with
    `watch`, the fixed work of `validity.probe` is done before the first slice and after the last.
    `inputs` is as in Session. One input stays where it is, and is copied a few times at the start of every slice to
    time that; of several, one is copied before each inference, outside its time but within a meter's window.
    Raises FileFormatError or ChecksumError for a file that cannot be run or is not the one that was read before.
    """
    if threads < 1 or protocol.max_runs < 1 or protocol.rounds < 1:
        asked = f"{threads} threads, at most {protocol.max_runs} runs and {protocol.rounds} rounds"
        raise UsageError(f"asked for {asked}; all must be 1 or more")
    paced = msgspec.structs.replace(protocol, min_seconds=max(protocol.min_seconds, energy.shortest_s(meter)))
    rounds = _rounds(paced, meter)
    tick = _ticker(progress, steps=len(artifacts) * (1 + rounds))
    idle = energy.measure_idle(meter)
    lanes = [_lane(artifact, protocol, threads, inputs, energy.Account(meter, idle)) for artifact in artifacts]
    for lane, seen in zip(lanes, starts, strict=False):
        lane.starts = list(seen)
    for lane in lanes:
        lane.warmup = _warm_up(lane, protocol)
        tick()
    probes = [validity.probe()] if watch else []
    look = _looker(watch)
    before = look()
    for round_number in range(1, rounds + 1):
        for lane in lanes:
            _measure_slice(lane, paced, round_number, rounds, alone=len(lanes) == 1)
            lane.states += look()
            tick()
    after = look()
    probes += [validity.probe()] if watch else []
    session = os.urandom(16).hex()
    found = [_measurement(lane, protocol, device, fingerprint, threads) for lane in lanes]
    return [
        msgspec.structs.replace(
            record,
            session=session,
            inputs=inputs,
            states=(*before, *lane.states, *after),
            probe=Probe(*probes) if probes else None,
        )
        for record, lane in zip(found, lanes, strict=True)
    ]


@dataclass
class _Lane:
    """One artifact on its way through a session."""

    artifact: Artifact
    runner: Runner
    feed: Feed
    starts: list[ColdStart]
    started_utc: str
    account: energy.Account
    samples_ns: list[int] = field(default_factory=list)
    copies_ns: list[int] = field(default_factory=list)
    slices: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    warmup: WarmUp | None = None
    elapsed_ns: int = 0


def _rounds(protocol: Protocol, meter: Meter | str) -> int:
    """How many slices: fewer for a slow meter, whose window would be refused or all edges."""
    if isinstance(meter, str):
        return protocol.rounds
    return max(1, min(protocol.rounds, int(protocol.min_seconds / energy.shortest_s(meter))))


def _looker(watch: Watch | None) -> Callable[[], list[State]]:
    """What looks at the machine, as a list of one state or of none."""
    since_ns = time.perf_counter_ns()
    return lambda: [watch(since_ns)] if watch else []


def _lane(artifact: Artifact, protocol: Protocol, threads: int, inputs: str, account: energy.Account) -> _Lane:
    started_utc = utc_now()
    runner, feed, start = _start(artifact, threads, protocol.seed, inputs)
    return _Lane(artifact, runner, feed, [start], started_utc, account)


def _start(artifact: Artifact, threads: int, seed: int, inputs: str) -> tuple[Runner, Feed, ColdStart]:
    """The model in the runtime, its inputs filled and its first inference done."""
    runtime.version()  # the import of the runtime is not part of loading a model
    added_bytes = _peak_memory()
    start_ns = time.perf_counter_ns()
    content = read_model(artifact.path)
    runner = _runner(artifact, content, threads)
    load_ns = time.perf_counter_ns() - start_ns
    check_content(artifact, content)
    feed = feeds.feed(artifact, runner, inputs, seed)
    _fill(runner, feed, 0)
    first_ns = _first_inference(artifact, runner)
    return runner, feed, ColdStart(load_ns, first_ns, added_bytes())


def _fill(runner: Runner, feed: Feed, number: int) -> None:
    """Copies one of the inputs, in turns, into the runtime."""
    for position, values in enumerate(feed[number % len(feed)]):
        runner.set_input(values, position)


def _runner(artifact: Artifact, content: bytes, threads: int) -> Runner:
    try:
        return Runner(content, threads)
    except FileFormatError as error:
        raise type(error)(f"{artifact.path}: {error}") from None


def _first_inference(artifact: Artifact, runner: Runner) -> int:
    start_ns = time.perf_counter_ns()
    try:
        runner.invoke()
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(f"{artifact.path}: the runtime loads this model but cannot run it ({error})") from None
    return time.perf_counter_ns() - start_ns


def _warm_up(lane: _Lane, protocol: Protocol) -> WarmUp:
    """Runs in stretches of `warmup_s` until one of them does not drift, or the limit is reached."""
    start_s = time.perf_counter()
    limit_s = start_s + max(protocol.warmup_s, protocol.warmup_most_s)
    runs, stable = 0, protocol.warmup_s <= 0
    while not stable and (runs == 0 or time.perf_counter() < limit_s):
        stretch = _stretch(lane.runner, time.perf_counter() + protocol.warmup_s, limit_s)
        runs += len(stretch)
        stable = _settled(stretch)
    return WarmUp(runs, time.perf_counter() - start_s, stable)


def _stretch(runner: Runner, end_s: float, limit_s: float) -> list[int]:
    """Inferences until `end_s`, and on to as many as show a drift, but none that begins after `limit_s`."""
    samples_ns: list[int] = []
    while (now_s := time.perf_counter()) < end_s or (len(samples_ns) < sampling.DRIFT_LEAST and now_s < limit_s):
        start_ns = time.perf_counter_ns()
        runner.invoke()
        samples_ns.append(time.perf_counter_ns() - start_ns)
    return samples_ns


def _settled(samples_ns: Sequence[int]) -> bool:
    """Too few samples show nothing, so they are no sign of a machine that has settled."""
    found = sampling.drift(samples_ns)
    return found is not None and (abs(found.change) <= SETTLED or found.p_value >= SETTLED_P)


def _measure_slice(lane: _Lane, protocol: Protocol, round_number: int, rounds: int, *, alone: bool) -> None:
    """Brings the lane to this round's share of the runs and seconds that the protocol asks for."""
    share = round_number / rounds
    at_least = math.ceil(min(protocol.min_runs, protocol.max_runs) * share)
    at_most = max(at_least, int(protocol.max_runs * share))
    lane.copies_ns += _time_copies(lane)
    if not alone:
        lane.runner.invoke()  # uncounted: the other models have taken the caches
    bare = protocol.min_seconds / rounds / BARE_PART if lane.account.sampling else 0.0
    if round_number % 2:  # now before the window, now after it, so that a drift cancels
        _measure_bare(lane, bare)
    lane.account.open()
    done, start_ns = len(lane.samples_ns), time.perf_counter_ns()
    stop_ns = start_ns + int(protocol.min_seconds * 1e9 * share) - lane.elapsed_ns
    samples_ns = _timed(lane, at_least - done, at_most - done, stop_ns)
    lane.elapsed_ns += time.perf_counter_ns() - start_ns
    lane.account.close(samples_ns)
    lane.samples_ns += samples_ns
    lane.slices.append(len(samples_ns))
    if round_number % 2 == 0:
        _measure_bare(lane, bare)


def _measure_bare(lane: _Lane, seconds: float) -> None:
    """The same inferences with the meter at rest: what a sampling meter costs shows against these."""
    if seconds > 0:
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        lane.account.bare(_timed(lane, 1, BARE_MOST, stop_ns))


def _time_copies(lane: _Lane) -> list[int]:
    """Copies the one input a few times; several inputs are timed where they are copied, before each inference."""
    copies_ns: list[int] = []
    for _ in range(COPIES if len(lane.feed) == 1 else 0):
        start_ns = time.perf_counter_ns()
        _fill(lane.runner, lane.feed, 0)
        copies_ns.append(time.perf_counter_ns() - start_ns)
    return copies_ns


def _timed(lane: _Lane, at_least: int, at_most: int, stop_ns: int) -> list[int]:
    if len(lane.feed) == 1:
        return _time_runs(lane.runner.invoke, at_least, at_most, stop_ns)
    return _time_fed_runs(lane, at_least, at_most, stop_ns)


def _time_runs(invoke: Callable[[], None], at_least: int, at_most: int, stop_ns: int) -> list[int]:
    """Times inferences until `stop_ns` on the clock and `at_least` of them, or `at_most`.

    The loop is as bare as Python allows: nothing is between the clock and the call.
    """
    samples_ns: list[int] = []
    clock_ns = time.perf_counter_ns
    for done in range(1, at_most + 1):
        start_ns = clock_ns()
        invoke()
        end_ns = clock_ns()
        samples_ns.append(end_ns - start_ns)
        if end_ns >= stop_ns and done >= at_least:
            break
    return samples_ns


def _time_fed_runs(lane: _Lane, at_least: int, at_most: int, stop_ns: int) -> list[int]:
    """As `_time_runs`, with the next input copied before each inference and timed by itself."""
    samples_ns: list[int] = []
    clock_ns, invoke = time.perf_counter_ns, lane.runner.invoke
    for done in range(1, at_most + 1):
        before_ns = clock_ns()
        _fill(lane.runner, lane.feed, len(lane.copies_ns))
        start_ns = clock_ns()
        invoke()
        end_ns = clock_ns()
        lane.copies_ns.append(start_ns - before_ns)
        samples_ns.append(end_ns - start_ns)
        if end_ns >= stop_ns and done >= at_least:
            break
    return samples_ns


def _measurement(lane: _Lane, protocol: Protocol, device: str, fingerprint: Fingerprint, threads: int) -> Measurement:
    artifact, card, first = lane.artifact, lane.artifact.card, lane.starts[0]
    memory, delegation = footprint.count(read_model(artifact.path), lane.runner)
    peaks = [start.peak_rss_bytes for start in lane.starts if start.peak_rss_bytes is not None]
    several = len(lane.starts) > 1
    return Measurement(
        artifact_sha256=artifact.sha256,
        artifact_name=artifact.name,
        model=card.model if card else None,
        recipe=card.recipe.name if card else None,
        size_bytes=artifact.size_bytes,
        device=device,
        protocol=protocol,
        threads=threads,
        latency_ns=tuple(lane.samples_ns),
        load_ns=first.load_ns,
        first_ns=first.first_ns,
        delegation=delegation,
        fingerprint=fingerprint,
        started_utc=lane.started_utc,
        energy=lane.account.energy(),
        energy_reason=lane.account.reason,
        peak_rss_bytes=round(statistics.median(peaks)) if peaks else None,
        slices=tuple(lane.slices),
        input_ns=tuple(lane.copies_ns),
        loads_ns=tuple(start.load_ns for start in lane.starts) if several else (),
        firsts_ns=tuple(start.first_ns for start in lane.starts) if several else (),
        warmup=lane.warmup,
        memory=memory,
    )


def _ticker(progress: Progress | None, steps: int) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done / steps)

    return tick


def _peak_memory(proc: Path = Path("/proc/self")) -> Callable[[], int | None]:
    """A function that tells by how many bytes resident memory rose, at its peak, since now.

    It tells None where the system keeps no peak that can be set back (proc(5): 5 to clear_refs, VmHWM in status).
    The difference and not the whole, for the whole is mostly Python and whatever else this process has loaded.
    """
    try:
        (proc / "clear_refs").write_text("5")
        before = _peak_rss_bytes(proc)
    except OSError:
        return lambda: None
    return lambda: _peak_rss_bytes(proc) - before


def _peak_rss_bytes(proc: Path) -> int:
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
    return int(fields["VmHWM"].removesuffix("kB")) * 1024
