"""Whether a measurement may be believed: a record in, a verdict out, and the fixed work that shows a changed machine.

Knows no system: what the machine said stands in the record's states. Every limit has its reason beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgekit import compare, sampling
from edgekit.errors import QualityError
from edgekit.measurement import Measurement, State, Verdict

VALID, SUSPECT, INVALID = "valid", "suspect", "invalid"
UNWATCHED = "nothing is known of the machine during the session"
_PI_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_PI_SINCE_START = 16
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

PRECISION = 0.025
"""A median known worse than this is noisy: five tries that are to lie within 5 % of each other need +-2.5 %."""

HOPELESS = 0.10
"""A median known worse than this is of no use: models and recipes differ by less."""

DRIFT = 0.03
"""A trend of more than this from first to last slice. Below, the median differs from either end by 1.5 % at most,
which the wanted 5 % contain; and no fan, governor or cache settles to better than about 1 % while it is watched."""

DRIFT_P = 0.01
"""How seldom chance may look like a drift: one steady session in a hundred is called drifting."""

PROBE = 0.03
"""Fixed work that takes so much longer or shorter: its quickest goes repeat to about 1 % on a machine that does not
change, and 3 % is less than the step between two frequencies of any governor."""

PROBE_INVALID = 0.10
"""A machine that became faster or slower by a tenth is another machine."""

OTHER_LOAD = 0.10
"""Processor time that others had, in cores: what an idle desktop or board takes is 0.01 to 0.05. More shares caches,
memory bandwidth and the power budget, even where a core is left for it."""

OTHER_LOAD_INVALID = 0.50
"""Half a core for others is invalid where the model's threads and the others do not fit on the cores together."""

STOLEN = 0.01
"""Share of a core's time that a hypervisor gave to other guests; it comes in pieces of milliseconds, as long as an
inference."""

CLOCK_SPREAD = 0.05
"""Between the lowest and the highest frequency seen in the session. Turbo steps of 100 MHz in 3 GHz are 3 %."""

SWAP_BYTES = 1 << 20
"""Swap that came or went: less than this many bytes is bookkeeping, more is paging while inferences run."""

WALL_CLOCK_S = 0.1
"""A wall clock that moves so much against the monotonic one was set; NTP slews by 0.5 ms a second at the most."""
WALL_CLOCK_SLEW = 0.0005

SLEPT_S = 0.01
"""A machine that was suspended for longer than this; two readings of the clocks are less than that apart."""

PROBE_SPIN_S = 0.1
"""Before the probe counts: governors raise the frequency within some ten milliseconds of load."""
PROBE_GOES = 40


def probe() -> tuple[int, ...]:
    """Nanoseconds of each go at the same work: a hash over 64 KiB and a copy of 4 MiB, so arithmetic and memory.

    About a millisecond a go on a Raspberry Pi 4; the goes before the clock is up are not counted.
    """
    source, target = bytes(4 << 20), bytearray(4 << 20)
    block = source[: 1 << 16]
    spin_until = time.perf_counter() + PROBE_SPIN_S
    while time.perf_counter() < spin_until:
        _work(block, source, target)
    return tuple(_work(block, source, target) for _ in range(PROBE_GOES))


def _work(block: bytes, source: bytes, target: bytearray) -> int:
    start_ns = time.perf_counter_ns()
    hashlib.sha256(block).digest()
    memoryview(target)[:] = source
    return time.perf_counter_ns() - start_ns


def judged(measurement: Measurement) -> Measurement:
    """The record with its verdict."""
    return msgspec.structs.replace(measurement, verdict=judge(measurement))


def judge(measurement: Measurement) -> Verdict:
    """What the record itself says of its worth; the worst finding decides, and all are given."""
    findings = [finding for check in _CHECKS for finding in check(measurement)]
    words = [word for word, _ in findings]
    worst = INVALID if INVALID in words else SUSPECT if SUSPECT in words else VALID
    ordered = [reason for word, reason in findings if word == INVALID]
    ordered += [reason for word, reason in findings if word == SUSPECT]
    return Verdict(worst, tuple(ordered), tuple(_notes(measurement)))


def check(measurements: Sequence[Measurement]) -> None:
    """Raises QualityError, with the reasons, unless every verdict is valid."""
    for measurement in measurements:
        verdict = measurement.verdict or judge(measurement)
        if verdict.word != VALID:
            threads = f"{measurement.threads} {'thread' if measurement.threads == 1 else 'threads'}"
            reasons = "; ".join(verdict.reasons)
            raise QualityError(f"{measurement.artifact_name}, {threads}: the result is {verdict.word}: {reasons}")


Finding = tuple[str, str]


def _unwatched(measurement: Measurement) -> Iterator[Finding]:
    if not measurement.states:
        yield SUSPECT, UNWATCHED


def _pi_throttled(measurement: Measurement) -> Iterator[Finding]:
    """Bits that are set now, or that rose during the session, make it invalid; those of earlier make it suspect.

    The bits of what has been since the start rise only once: with one of them set, a short event between two of our
    looks cannot be told any more. The meaning of the bits: Raspberry Pi documentation, vcgencmd get_throttled.
    """
    words = [state.throttled for state in measurement.states if state.throttled is not None]
    if not words:
        return
    for bit, name in enumerate(_PI_BITS):
        now = any(word >> bit & 1 for word in words)
        since = [word >> (bit + _PI_SINCE_START) & 1 for word in words]
        if now or since[-1] > since[0]:
            yield INVALID, f"{name} during the session"
        elif since[0]:
            yield SUSPECT, f"{name} at some time before the session, since the board was started"


def _throttle_counted(measurement: Measurement) -> Iterator[Finding]:
    counts = _told(measurement.states, lambda state: state.throttle_count)
    if len(counts) > 1 and counts[-1] > counts[0]:
        yield INVALID, f"throttled: the processor counted {counts[-1] - counts[0]:.0f} times during the session"


def _thermal_status(measurement: Measurement) -> Iterator[Finding]:
    """Android's own word (PowerManager): "light" is said not to be felt, so it makes suspect, and more invalid."""
    worst = max((state.thermal_status or 0 for state in measurement.states), default=0)
    if worst > 0:
        name = _THERMAL[min(worst, len(_THERMAL) - 1)]
        yield (SUSPECT if worst == 1 else INVALID), f"throttled: the phone's thermal status was {worst} ({name})"


def _background(measurement: Measurement) -> Iterator[Finding]:
    """Android gives an app that is not on the screen fewer and slower cores, or none."""
    if any(state.foreground is False for state in measurement.states):
        yield INVALID, "the app left the screen during the session"


def _power_save(measurement: Measurement) -> Iterator[Finding]:
    if any(state.power_save for state in measurement.states):
        yield SUSPECT, "battery saver was on, which lowers the clock"


def _clock(measurement: Measurement) -> Iterator[Finding]:
    """The processor's clock. The state before the first slice is left out: a governor may not have risen by then."""
    running = measurement.states[1:]
    limits = _told(running, lambda state: state.frequency_limit_khz)
    if limits and min(limits) < max(limits):
        yield INVALID, f"clock changed: the limit went from {_mhz(max(limits))} to {_mhz(min(limits))}"
    seen = _told(running[:-1] or running, lambda state: state.frequency_khz)
    if seen and 1 - min(seen) / max(seen) > CLOCK_SPREAD:
        yield SUSPECT, f"clock changed: between {_mhz(min(seen))} and {_mhz(max(seen))}"
    governors = {state.governor for state in measurement.states if state.governor}
    if len(governors) > 1:
        yield SUSPECT, f"clock changed: the governor was {' and '.join(sorted(governors))}"


def _power_source(measurement: Measurement) -> Iterator[Finding]:
    sources = [state.power_source for state in measurement.states if state.power_source]
    if len(set(sources)) > 1:
        yield SUSPECT, f"power source changed: {' and '.join(dict.fromkeys(sources))}"


def _other_load(measurement: Measurement) -> Iterator[Finding]:
    others = other_cores(measurement.states)
    if others is not None and others > OTHER_LOAD:
        crowded = measurement.threads + others > measurement.fingerprint.cores and others > OTHER_LOAD_INVALID
        share = f"other load: {others:.2f} of {measurement.fingerprint.cores} cores were busy with something else"
        yield (INVALID if crowded else SUSPECT), share
    stolen = _per_second(measurement.states, lambda state: state.stolen_s)
    if stolen is not None and stolen > STOLEN:
        yield SUSPECT, f"other load: a hypervisor took {stolen:.1%} of a core"


def other_cores(states: Sequence[State]) -> float | None:
    """How many cores others kept busy from the first state to the last; None where the system does not tell."""
    busy = _per_second(states, lambda state: state.busy_s)
    own = _per_second(states, lambda state: state.own_s)
    return None if busy is None or own is None else max(0.0, busy - own)


def _swap(measurement: Measurement) -> Iterator[Finding]:
    used = _told(measurement.states, lambda state: state.swap_used_bytes)
    if used and max(used) - min(used) > SWAP_BYTES:
        yield SUSPECT, f"other load: {(max(used) - min(used)) / 1e6:.1f} MB were swapped during the session"


def _slept(measurement: Measurement) -> Iterator[Finding]:
    slept = _told(measurement.states, lambda state: state.slept_ns)
    if slept and (slept[-1] - slept[0]) / 1e9 > SLEPT_S:
        yield INVALID, f"the machine was suspended for {(slept[-1] - slept[0]) / 1e9:.1f} s during the session"


def _probed(measurement: Measurement) -> Iterator[Finding]:
    """By the quickest goes, which other processes disturb least."""
    if measurement.probe is None or not measurement.probe.before_ns or not measurement.probe.after_ns:
        return
    change = min(measurement.probe.after_ns) / min(measurement.probe.before_ns) - 1
    if abs(change) > PROBE:
        word = INVALID if abs(change) > PROBE_INVALID else SUSPECT
        yield word, f"the machine changed: fixed work took {change:+.1%} time after the session"


def _unsettled(measurement: Measurement) -> Iterator[Finding]:
    warmup = measurement.warmup
    if warmup is not None and not warmup.stable:
        yield SUSPECT, f"drifting: not stable after {warmup.seconds:.1f} s of warm-up"


def _drifting(measurement: Measurement) -> Iterator[Finding]:
    found = sampling.drift(measurement.latency_ns)
    if found is not None and abs(found.change) > DRIFT and found.p_value < DRIFT_P:
        yield SUSPECT, f"drifting: {found.change:+.1%} from the first slice to the last"


def _noisy(measurement: Measurement) -> Iterator[Finding]:
    precision = median_precision(measurement)
    if precision is not None and precision > PRECISION:
        word = INVALID if precision > HOPELESS else SUSPECT
        yield word, f"noisy: the median is known to {precision:.1%} only"


def median_precision(measurement: Measurement) -> float | None:
    """Half the 95 % interval of the median as a share of it, from how the slices differ; None without slices."""
    blocks = compare.slices(measurement)
    if len(blocks) < 2:
        return None
    low, high = sampling.median_interval(blocks)
    return (high - low) / (high + low)


_CHECKS: tuple[Callable[[Measurement], Iterator[Finding]], ...] = (
    _unwatched,
    _pi_throttled,
    _throttle_counted,
    _thermal_status,
    _background,
    _clock,
    _power_source,
    _power_save,
    _slept,
    _probed,
    _other_load,
    _swap,
    _unsettled,
    _drifting,
    _noisy,
)


def _notes(measurement: Measurement) -> Iterator[str]:
    """What does not speak against the figures but belongs beside them."""
    jump_s = wall_clock_jump_s(measurement.states)
    if jump_s is not None:
        yield f"the wall clock was set by {jump_s:+.1f} s; latencies are taken by a clock that this does not touch"
    if any(state.power_source == "battery" for state in measurement.states):
        yield "on battery"
    seconds = sum(measurement.latency_ns) / 1e9
    if len(measurement.latency_ns) >= measurement.protocol.max_runs and seconds < measurement.protocol.min_seconds:
        yield f"ended after {seconds:.0f} s by the limit of {measurement.protocol.max_runs} runs"
    if measurement.states:
        untold = [name for name, field in _WATCHED if not _told(measurement.states, field)]
        if untold:
            yield f"this system does not tell: {', '.join(untold)}"


def wall_clock_jump_s(states: Sequence[State]) -> float | None:
    """By how much the wall clock was set during the session; None where it was not."""
    for before, after in itertools.pairwise(states):
        moved_s = (after.clock_offset_ns - before.clock_offset_ns) / 1e9
        slept_s = ((after.slept_ns or 0) - (before.slept_ns or 0)) / 1e9
        if abs(moved_s - slept_s) > WALL_CLOCK_S + WALL_CLOCK_SLEW * (after.at_s - before.at_s):
            return moved_s - slept_s
    return None


_WATCHED: tuple[tuple[str, Callable[[State], float | None]], ...] = (
    ("frequency", lambda state: state.frequency_khz),
    ("temperature", lambda state: state.temperature_c),
    ("load", lambda state: state.busy_s),
)


def _told(states: Sequence[State], field: Callable[[State], float | None]) -> list[float]:
    return [value for value in map(field, states) if value is not None]


def _per_second(states: Sequence[State], field: Callable[[State], float | None]) -> float | None:
    """How fast a running total rose from the first state to the last."""
    told = [(state.at_s, value) for state in states if (value := field(state)) is not None]
    if len(told) < 2 or told[-1][0] <= told[0][0]:
        return None
    return (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])


def _mhz(khz: float) -> str:
    return f"{khz / 1000:.0f} MHz"
