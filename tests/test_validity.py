"""Verdicts on constructed records: every reason appears where it should, and a quiet session has none."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import validity
from edgekit.errors import QualityError
from edgekit.measurement import Delegation, Fingerprint, Measurement, Probe, Protocol, State, WarmUp

SLICES, EACH, SLICE_S = 10, 20, 0.5
OFFSET_NS = 1_700_000_000 * 10**9


def quiet_state(number: int, **changes: object) -> State:
    """The machine after so many slices of a session in which nothing else happens; its process keeps one core busy."""
    at_s = number * SLICE_S
    state = State(
        at_s=at_s,
        clock_offset_ns=OFFSET_NS,
        slept_ns=0,
        frequency_khz=2_400_000,
        frequency_limit_khz=2_400_000,
        governor="ondemand",
        temperature_c=50.0,
        throttled=0,
        throttle_count=3,
        power_source="mains",
        swap_used_bytes=0,
        busy_s=1000 + 1.02 * at_s,
        stolen_s=5.0,
        own_s=7 + at_s,
    )
    return msgspec.structs.replace(state, **changes)


def record(
    change: Callable[[int], dict[str, object]] = lambda number: {},
    *,
    latency: Callable[[int], float] = lambda number: 1.0,
    spread: float = 0.01,
    **fields: object,
) -> Measurement:
    """A session of ten slices; `change` changes the state of each, `latency` the factor of each slice's latencies."""
    numbers = random.Random(1)
    samples = [
        round(5e6 * latency(number) * numbers.lognormvariate(0, spread))
        for number in range(SLICES)
        for _ in range(EACH)
    ]
    quiet = Measurement(
        artifact_sha256="a" * 64,
        artifact_name="net",
        model=None,
        recipe=None,
        size_bytes=1,
        device="Board",
        protocol=Protocol("standard", 1.0, 200, 5.0),
        threads=1,
        latency_ns=tuple(samples),
        load_ns=1,
        first_ns=1,
        delegation=Delegation("XNNPACK", 1, 1),
        fingerprint=Fingerprint("Board", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0"),
        started_utc="2026-01-01T10:00:00+00:00",
        slices=(EACH,) * SLICES,
        states=tuple(quiet_state(number, **change(number)) for number in range(SLICES + 2)),
        probe=Probe((1000, 1010, 1100), (1005, 1400, 1020)),
        warmup=WarmUp(200, 1.0, stable=True),
    )
    return msgspec.structs.replace(quiet, **fields)


def from_slice(first: int, **changes: object) -> Callable[[int], dict[str, object]]:
    """These changes from one slice on."""
    return lambda number: changes if number >= first else {}


def test_a_quiet_session_is_valid() -> None:
    assert validity.judge(record()) == validity.Verdict("valid")


@pytest.mark.parametrize(
    ("change", "word", "reason"),
    [
        (lambda n: {"throttled": 0x1 if n == 4 else 0}, "invalid", "under-voltage during"),
        (from_slice(4, throttled=0x20000), "invalid", "frequency capped during"),
        (from_slice(4, throttled=0x40004), "invalid", "throttled during"),
        (lambda n: {"throttled": 0x80008}, "invalid", "soft temperature limit during"),
        (lambda n: {"throttled": 0x10000}, "suspect", "under-voltage at some time before"),
        (from_slice(6, throttle_count=9), "invalid", "throttled: the processor counted 6 times"),
        (
            from_slice(6, frequency_limit_khz=1_500_000),
            "invalid",
            "clock changed: the limit went from 2400 MHz to 1500",
        ),
        (from_slice(6, frequency_khz=2_000_000), "suspect", "clock changed: between 2000 MHz and 2400 MHz"),
        (from_slice(6, governor="powersave"), "suspect", "clock changed: the governor was ondemand and powersave"),
        (from_slice(6, power_source="battery"), "suspect", "power source changed: mains and battery"),
        (from_slice(6, slept_ns=4 * 10**9, clock_offset_ns=OFFSET_NS + 4 * 10**9), "invalid", "suspended for 4.0 s"),
        (from_slice(6, swap_used_bytes=30_000_000), "suspect", "other load: 30.0 MB were swapped"),
        (lambda n: {"busy_s": 1000 + 1.3 * n * SLICE_S}, "suspect", "other load: 0.30 of 4 cores"),
        (lambda n: {"busy_s": 1000 + 3.9 * n * SLICE_S}, "suspect", "other load: 2.90 of 4 cores"),  # one is left
        (lambda n: {"busy_s": 1000 + 4.4 * n * SLICE_S}, "invalid", "other load: 3.40 of 4 cores"),
        (lambda n: {"stolen_s": 5 + 0.03 * n * SLICE_S}, "suspect", "a hypervisor took 3.0% of a core"),
        (lambda n: {"thermal_status": 0, "foreground": True, "power_save": False}, "valid", ""),
        (lambda n: {"thermal_status": int(n == 4)}, "suspect", "throttled: the phone's thermal status was 1 (light)"),
        (from_slice(6, thermal_status=3), "invalid", "throttled: the phone's thermal status was 3 (severe)"),
        (lambda n: {"foreground": n != 4}, "invalid", "the app left the screen"),
        (from_slice(6, power_save=True), "suspect", "battery saver was on"),
    ],
)
def test_what_the_machine_says_counts(change: Callable[[int], dict[str, object]], word: str, reason: str) -> None:
    verdict = validity.judge(record(change))
    assert verdict.word == word
    assert len(verdict.reasons) == bool(reason) and all(reason in found for found in verdict.reasons)


@pytest.mark.parametrize(
    ("after", "word"),
    [(1000, "valid"), (1025, "valid"), (975, "valid"), (1050, "suspect"), (950, "suspect"), (1300, "invalid")],
)
def test_the_probe_shows_a_changed_machine(after: int, word: str) -> None:
    verdict = validity.judge(record(probe=Probe((1000, 5000), (after, 9000))))
    assert verdict.word == word
    assert [reason for reason in verdict.reasons if "fixed work took" not in reason] == []


def test_a_drift_is_told_with_its_size() -> None:
    verdict = validity.judge(record(latency=lambda number: 1 + 0.01 * number))
    assert verdict.word == "suspect"
    assert any(reason.startswith("drifting: +9") for reason in verdict.reasons)


@pytest.mark.parametrize(("swing", "word"), [(0.002, "valid"), (0.1, "suspect"), (1.0, "invalid")])
def test_slices_that_differ_are_noise(swing: float, word: str) -> None:
    verdict = validity.judge(record(latency=lambda number: 1 + swing * (number * 7 % 10) / 10))
    assert verdict.word == word
    assert all("noisy" in reason for reason in verdict.reasons)


def test_single_disturbed_inferences_are_not_noise() -> None:
    quiet = record()
    disturbed = tuple(value * 5 if number % 17 == 0 else value for number, value in enumerate(quiet.latency_ns))
    assert validity.judge(msgspec.structs.replace(quiet, latency_ns=disturbed)).word == "valid"


def test_a_warm_up_that_did_not_settle_is_suspect() -> None:
    verdict = validity.judge(record(warmup=WarmUp(900, 10.0, stable=False)))
    assert verdict.reasons == ("drifting: not stable after 10.0 s of warm-up",)


@given(st.integers(1, SLICES), st.floats(-3e5, 3e5).filter(lambda jump_s: abs(jump_s) > 0.2))
@settings(max_examples=20, deadline=None)
def test_a_wall_clock_that_jumps_is_noticed_and_does_not_matter(first: int, jump_s: float) -> None:
    verdict = validity.judge(record(from_slice(first, clock_offset_ns=OFFSET_NS + round(jump_s * 1e9))))
    assert verdict.word == "valid"
    assert verdict.notes == (
        f"the wall clock was set by {jump_s:+.1f} s; latencies are taken by a clock that this does not touch",
    )


def test_a_wall_clock_that_is_slewed_is_no_jump() -> None:
    assert validity.judge(record(lambda n: {"clock_offset_ns": OFFSET_NS + round(n * SLICE_S * 5e5)})).notes == ()


def test_a_suspended_machine_is_not_taken_for_a_clock_that_was_set() -> None:
    slept = from_slice(6, slept_ns=4 * 10**9, clock_offset_ns=OFFSET_NS + 4 * 10**9)
    assert validity.judge(record(slept)).notes == ()


def test_the_governor_may_rise_before_the_first_slice() -> None:
    assert validity.judge(record(lambda n: {"frequency_khz": 600_000 if n == 0 else 2_400_000})).word == "valid"


def test_what_a_system_does_not_tell_is_named() -> None:
    verdict = validity.judge(record(lambda n: {"frequency_khz": None, "temperature_c": None}))
    assert verdict == validity.Verdict("valid", (), ("this system does not tell: frequency, temperature",))


def test_an_old_record_is_not_called_valid() -> None:
    old = record(states=(), probe=None, warmup=None, slices=())
    assert validity.judge(old) == validity.Verdict("suspect", (validity.UNWATCHED,))


def test_the_worst_reason_decides_and_stands_first() -> None:
    verdict = validity.judge(record(from_slice(4, power_source="battery", throttled=4)))
    assert verdict.word == "invalid"
    assert verdict.reasons == ("throttled during the session", "power source changed: mains and battery")
    assert "on battery" in verdict.notes


def test_a_run_that_the_most_runs_ended_is_noted() -> None:
    protocol = Protocol("standard", 1.0, 200, 60.0, max_runs=SLICES * EACH)
    assert validity.judge(record(protocol=protocol)).notes == ("ended after 1 s by the limit of 200 runs",)


def test_strict_takes_nothing_but_valid() -> None:
    validity.check([validity.judged(record())])
    with pytest.raises(QualityError, match="net, 1 thread: the result is invalid: throttled during the session"):
        validity.check([record(), validity.judged(record(from_slice(4, throttled=4)))])


def test_the_probe_is_the_same_work_every_time() -> None:
    goes = validity.probe()
    assert len(goes) == validity.PROBE_GOES and min(goes) > 1000
