"""Integration, and the two samplers with a real thread, a real child and a real process that writes what they read."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import meters
from edgekit.errors import MissingError
from edgekit.meters import MIN_UPDATES
from edgekit.meters._sampling import ChildSampler, SampledMeter, Sampler, Trace, integrate

SECOND = 1_000_000_000
TIMES = st.lists(st.integers(0, 100 * SECOND), min_size=1, max_size=20, unique=True).map(sorted)
WATTS = st.floats(0, 1e3, allow_subnormal=False)
MOMENT = st.integers(-10 * SECOND, 110 * SECOND)


class Power(SampledMeter):
    """A meter of what a function says."""

    source, scope = "function", "board"
    resolution_s = period_s = 0.002

    def __init__(self, values: Iterator[float | None]) -> None:
        super().__init__()
        self._values = values

    def watts(self) -> float:
        value = next(self._values)
        if value is None:
            raise MissingError("the bus is silent")
        return value


@given(TIMES, WATTS, MOMENT, MOMENT)
def test_constant_power_is_power_times_time(times_ns: list[int], watts: float, a: int, b: int) -> None:
    start, stop = min(a, b), max(a, b)
    expected = watts * (stop - start) / SECOND
    assert integrate(times_ns, [watts] * len(times_ns), start, stop) == pytest.approx(expected)


@given(TIMES, st.floats(-5, 5), WATTS, st.data())
def test_a_straight_line_is_integrated_exactly(
    times_ns: list[int], slope: float, base: float, data: st.DataObject
) -> None:
    inside = st.integers(times_ns[0], times_ns[-1])
    start, stop = sorted((data.draw(inside), data.draw(inside)))
    watts = [base + slope * time_ns / SECOND for time_ns in times_ns]
    middle = base + slope * (start + stop) / 2 / SECOND
    expected = middle * (stop - start) / SECOND
    assert integrate(times_ns, watts, start, stop) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.data(), MOMENT, MOMENT, MOMENT)
def test_neighbouring_windows_add_up(data: st.DataObject, a: int, b: int, c: int) -> None:
    times_ns = data.draw(TIMES)
    watts = data.draw(st.lists(WATTS, min_size=len(times_ns), max_size=len(times_ns)))
    start, middle, stop = sorted((a, b, c))
    whole = integrate(times_ns, watts, start, stop)
    parts = integrate(times_ns, watts, start, middle) + integrate(times_ns, watts, middle, stop)
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-6)
    assert min(watts) * (stop - start) / SECOND <= whole + 1e-6
    assert whole <= max(watts) * (stop - start) / SECOND + 1e-6


def test_a_known_trapezoid() -> None:
    assert integrate([0, 2 * SECOND], [1.0, 3.0], 0, 2 * SECOND) == pytest.approx(4.0)
    assert integrate([0, 2 * SECOND], [1.0, 3.0], SECOND, 2 * SECOND) == pytest.approx(2.5)


def test_changes_are_counted_not_readings() -> None:
    assert Trace((1, 2, 3, 4, 5), (1.0, 1.0, 2.0, 2.0, 1.0)).changes() == 2


def test_a_window_holds_its_readings_and_their_energy() -> None:
    meter = Power(itertools.repeat(4.0))
    for _ in range(2):  # a second window starts afresh
        meter.start()
        time.sleep(0.1)
        window = meter.stop()
        assert window.energy_j == pytest.approx(4.0 * window.seconds)
        assert 0.1 <= window.seconds < 0.5
        assert MIN_UPDATES <= window.updates <= window.seconds / meter.resolution_s + 2


def test_failed_readings_are_counted_and_not_invented() -> None:
    meter = Power(itertools.cycle([4.0, 4.0, None]))
    meter.start()
    time.sleep(0.15)
    window = meter.stop()
    assert window.energy_j == pytest.approx(4.0 * window.seconds)
    assert window.missed >= window.updates / 2 - 2


def test_a_source_that_fails_most_of_the_time_gives_no_figure() -> None:
    meter = Power(itertools.cycle([4.0, None, None]))
    meter.start()
    time.sleep(0.15)
    with pytest.raises(MissingError, match=r"readings in .* failed, the last with: the bus is silent"):
        meter.stop()


def test_a_short_window_says_how_long_is_long_enough() -> None:
    meter = Power(itertools.repeat(4.0))
    meter.resolution_s = 0.5
    meter.start()
    time.sleep(0.05)
    with pytest.raises(MissingError, match=r"too few, measure for at least 5\.0 s"):
        meter.stop()


def test_a_slow_reading_counts_the_ones_it_held_up() -> None:
    calls = itertools.count()

    def read() -> float:
        time.sleep(0.05 if next(calls) == 3 else 0)
        return 1.0

    sampler = Sampler(read, 0.005)
    sampler.begin()
    time.sleep(0.15)
    trace = sampler.end()
    assert trace.missed >= 8
    assert list(trace.times_ns) == sorted(trace.times_ns)


@pytest.fixture
def vcgencmd(tmp_path: Path) -> Path:
    """A constructed stand-in for the firmware's command: one rail of 2 W."""
    script = tmp_path / "vcgencmd"
    script.write_text(
        "#!/bin/sh\necho '  VDD_CORE_A current(7)=2.50000000A'\necho '  VDD_CORE_V volt(15)=0.80000000V'\n"
    )
    script.chmod(0o755)
    return script


def test_a_child_reads_on_its_own_and_on_the_same_clock(vcgencmd: Path) -> None:
    sampler = ChildSampler(f"pmic:{vcgencmd}")
    try:
        for _ in range(2):
            sampler.begin()
            before_ns = time.perf_counter_ns()
            time.sleep(0.35)
            after_ns = time.perf_counter_ns()
            trace = sampler.end()
            assert set(trace.values) == {2.0}
            assert trace.times_ns[0] < before_ns < trace.times_ns[1] < after_ns < trace.times_ns[-1]
    finally:
        sampler.close()


def test_a_child_takes_no_module_from_the_user_s_folder(
    vcgencmd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    meter = meters.open(f"pmic:{vcgencmd.name}")  # a relative path holds all the same
    assert isinstance(meter, SampledMeter)
    meter.start()
    assert isinstance(meter._sampler, ChildSampler)
    assert meter._sampler.end().values
    meter._sampler.close()


def test_a_child_that_dies_is_an_error_and_the_next_window_has_a_new_one(vcgencmd: Path) -> None:
    sampler = ChildSampler(f"pmic:{vcgencmd}")
    try:
        sampler.begin()
        assert sampler._child is not None
        os.kill(sampler._child.pid, signal.SIGKILL)
        with pytest.raises(MissingError, match="has died or hangs"):
            sampler.end()
        sampler.begin()
        assert sampler.end().values
    finally:
        sampler.close()


def test_a_child_that_cannot_open_the_meter_says_why(tmp_path: Path) -> None:
    sampler = ChildSampler(f"pmic:{tmp_path / 'none'}")
    with pytest.raises(MissingError, match="is not there"):
        sampler.begin()


def test_a_child_ends_with_its_parent(vcgencmd: Path) -> None:
    program = (
        "import sys; from edgekit.meters._sampling import ChildSampler; s = ChildSampler(sys.argv[1]); s.begin();"
        "print(s._child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, f"pmic:{vcgencmd}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
