"""Times inferences: artifacts, a protocol and a meter in, raw measurements out.

Knows no board and prints nothing: where it runs is said by its caller, in `device` and `fingerprint`.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import energy, meters, runtime
from edgekit.artifact import Artifact, read_model
from edgekit.errors import ChecksumError, FileFormatError, UnknownNameError, UsageError
from edgekit.measurement import Fingerprint, Measurement, Protocol
from edgekit.meters import Meter
from edgekit.runtime import Runner

QUICK = Protocol("quick", warmup_s=0.3, min_runs=50, min_seconds=1.0)
STANDARD = Protocol("standard", warmup_s=1.0, min_runs=200, min_seconds=5.0)
PROTOCOLS = (QUICK, STANDARD)
NO_METER = meters.NO_METER
ROUNDS = 10  # slices per artifact: enough for drift to cancel, each long enough for a meter
BARE_PART = 4  # beside a sampling meter, a quarter of the time goes to the same inferences without it
BARE_MOST = 10_000

Progress = Callable[[float], None]


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


def cold_start(artifact: Artifact, threads: int = 1, seed: int = 0) -> ColdStart:
    """Loads the model and runs it once.

    In a fresh process this touches the runtime for the first time as well, which is what an application pays; so the
    figures of several models compare only if each had a process of its own, or none had. Errors: see `measure_many`.
    """
    return _start(artifact, threads, seed)[1]


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
    starts: Sequence[ColdStart] = (),
    progress: Progress | None = None,
) -> list[Measurement]:
    """Several artifacts in slices, A B A B, so that a machine that drifts does so for all of them alike.

    `meter` is the meter to read over the same runs, or why there is none; a slow one makes the session as long as one
    of its windows takes. `starts` are the artifacts' cold starts
    where the caller has seen them, each in a process of its own; else they are taken here, one after the other.
    `progress` is called with the done share, 0 to 1, between slices, never inside one.
    Every input holds the same seeded noise throughout.
    Raises FileFormatError or ChecksumError for a file that cannot be run or is not the one that was read before.
    """
    if threads < 1 or protocol.max_runs < 1:
        raise UsageError(f"asked for {threads} threads and at most {protocol.max_runs} runs; both must be 1 or more")
    paced = msgspec.structs.replace(protocol, min_seconds=max(protocol.min_seconds, energy.shortest_s(meter)))
    rounds = _rounds(paced, meter)
    tick = _ticker(progress, steps=len(artifacts) * (1 + rounds))
    idle = energy.measure_idle(meter)
    lanes = [_lane(artifact, protocol, threads, energy.Account(meter, idle)) for artifact in artifacts]
    for lane, start in zip(lanes, starts, strict=False):
        lane.start = start
    for lane in lanes:
        _warm_up(lane.runner, protocol.warmup_s)
        tick()
    for round_number in range(1, rounds + 1):
        for lane in lanes:
            _measure_slice(lane, paced, round_number, rounds, alone=len(lanes) == 1)
            tick()
    return [_measurement(lane, protocol, device, fingerprint, threads) for lane in lanes]


@dataclass
class _Lane:
    """One artifact on its way through a session; `samples_ns` is filled up to `runs`."""

    artifact: Artifact
    runner: Runner
    start: ColdStart
    started_utc: str
    samples_ns: list[int]
    account: energy.Account
    runs: int = 0
    elapsed_ns: int = 0


def _rounds(protocol: Protocol, meter: Meter | str) -> int:
    """How many slices: fewer for a slow meter, whose window would be refused or all edges."""
    if isinstance(meter, str):
        return ROUNDS
    return max(1, min(ROUNDS, int(protocol.min_seconds / energy.shortest_s(meter))))


def _lane(artifact: Artifact, protocol: Protocol, threads: int, account: energy.Account) -> _Lane:
    started_utc = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    runner, start = _start(artifact, threads, protocol.seed)
    return _Lane(artifact, runner, start, started_utc, [0] * protocol.max_runs, account)


def _start(artifact: Artifact, threads: int, seed: int) -> tuple[Runner, ColdStart]:
    """The model in the runtime, its inputs filled and its first inference done."""
    runtime.version()  # the import of the runtime is not part of loading a model
    added_bytes = _peak_memory()
    start_ns = time.perf_counter_ns()
    content = read_model(artifact.path)
    runner = _runner(artifact, content, threads)
    load_ns = time.perf_counter_ns() - start_ns
    _check_content(artifact, content)
    runner.resting_inputs(seed)
    first_ns = _first_inference(artifact, runner)
    return runner, ColdStart(load_ns, first_ns, added_bytes())


def _runner(artifact: Artifact, content: bytes, threads: int) -> Runner:
    try:
        return Runner(content, threads)
    except FileFormatError as error:
        raise type(error)(f"{artifact.path}: {error}") from None


def _check_content(artifact: Artifact, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != artifact.sha256:
        raise ChecksumError(
            f"{artifact.path} changed while it was waiting: sha256 {found[:12]}, {artifact.sha256[:12]} was expected"
        )


def _first_inference(artifact: Artifact, runner: Runner) -> int:
    start_ns = time.perf_counter_ns()
    try:
        runner.invoke()
    except (RuntimeError, ValueError) as error:
        raise FileFormatError(f"{artifact.path}: the runtime loads this model but cannot run it ({error})") from None
    return time.perf_counter_ns() - start_ns


def _warm_up(runner: Runner, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        runner.invoke()


def _measure_slice(lane: _Lane, protocol: Protocol, round_number: int, rounds: int, *, alone: bool) -> None:
    """Brings the lane to this round's share of the runs and seconds that the protocol asks for."""
    share = round_number / rounds
    at_least = math.ceil(min(protocol.min_runs, protocol.max_runs) * share)
    at_most = max(at_least, int(protocol.max_runs * share))
    if not alone:
        lane.runner.invoke()  # uncounted: the other models have taken the caches
    bare = protocol.min_seconds / rounds / BARE_PART if lane.account.sampling else 0.0
    if round_number % 2:  # now before the window, now after it, so that a drift cancels
        _measure_bare(lane, bare)
    lane.account.open()
    before, start_ns = lane.runs, time.perf_counter_ns()
    stop_ns = start_ns + int(protocol.min_seconds * 1e9 * share) - lane.elapsed_ns
    lane.runs = _time_runs(lane.runner.invoke, lane.samples_ns, lane.runs, at_least, at_most, stop_ns)
    lane.elapsed_ns += time.perf_counter_ns() - start_ns
    lane.account.close(lane.samples_ns[before : lane.runs])
    if round_number % 2 == 0:
        _measure_bare(lane, bare)


def _measure_bare(lane: _Lane, seconds: float) -> None:
    """The same inferences with the meter at rest: what a sampling meter costs shows against these."""
    if seconds > 0:
        samples_ns = [0] * BARE_MOST
        stop_ns = time.perf_counter_ns() + int(seconds * 1e9)
        done = _time_runs(lane.runner.invoke, samples_ns, 0, 1, BARE_MOST, stop_ns)
        lane.account.bare(samples_ns[:done])


def _time_runs(
    invoke: Callable[[], None], samples_ns: list[int], done: int, at_least: int, at_most: int, stop_ns: int
) -> int:
    """Fills `samples_ns` from `done` on, until `stop_ns` on the clock and `at_least` samples, or `at_most` of them.

    Returns how many are filled. The loop is as bare as Python allows: nothing is between the clock and the call.
    """
    clock_ns = time.perf_counter_ns
    for position in range(done, at_most):
        start_ns = clock_ns()
        invoke()
        end_ns = clock_ns()
        samples_ns[position] = end_ns - start_ns
        if end_ns >= stop_ns and position + 1 >= at_least:
            return position + 1
    return at_most


def _measurement(lane: _Lane, protocol: Protocol, device: str, fingerprint: Fingerprint, threads: int) -> Measurement:
    artifact, card = lane.artifact, lane.artifact.card
    return Measurement(
        artifact_sha256=artifact.sha256,
        artifact_name=artifact.name,
        model=card.model if card else None,
        recipe=card.recipe.name if card else None,
        size_bytes=artifact.size_bytes,
        device=device,
        protocol=protocol,
        threads=threads,
        latency_ns=tuple(lane.samples_ns[: lane.runs]),
        load_ns=lane.start.load_ns,
        first_ns=lane.start.first_ns,
        delegation=lane.runner.delegation(),
        fingerprint=fingerprint,
        started_utc=lane.started_utc,
        energy=lane.account.energy(),
        energy_reason=lane.account.reason,
        peak_rss_bytes=lane.start.peak_rss_bytes,
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
