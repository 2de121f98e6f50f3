"""From windows to the energy of one inference: the arithmetic, what is refused, and what is said of its exactness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import energy
from edgekit.energy import Account, Idle, measure_idle, summed
from edgekit.errors import MissingError
from edgekit.measurement import Energy
from edgekit.meters import Meter, Uncertainty, Window

POSITIVE = st.floats(1e-3, 1e3)


class Scripted(Meter):
    """A meter whose windows are given; None is one that it cannot tell."""

    source, scope, resolution_s = "scripted", "board", 0.01

    def __init__(self, windows: Sequence[Window | None], uncertainty: Uncertainty | None = None) -> None:
        self._windows = iter(windows)
        self.uncertainty = uncertainty

    def start(self) -> None: ...

    def stop(self) -> Window:
        window = next(self._windows)
        if window is None:
            raise MissingError("the bus is silent")
        return window


STATED = Uncertainty(0.02, "datasheet")
IDLE = Idle(power_w=2.0, scatter_w=0.01, seconds=3.0)


def test_gross_idle_and_net() -> None:
    windows = [Window(10.0, 2.0, 200, 1), Window(14.0, 2.0, 200, 2)]
    seen = summed(Scripted([]), windows, [100, 140], IDLE)
    assert seen.energy_j == pytest.approx(24 / 240)
    assert seen.net_j == pytest.approx((24 - 2.0 * 4) / 240)
    assert (seen.idle_power_w, seen.idle_s, seen.seconds) == (2.0, 3.0, 4.0)
    assert (seen.windows, seen.updates, seen.missed) == (2, 400, 3)


def test_the_uncertainty_is_that_of_the_meter_and_of_the_scatter_together() -> None:
    windows = [Window(10.0, 2.0, 10**9)] * 4
    seen = summed(Scripted([], STATED), windows, [100] * 4, IDLE)
    gross_j, rest_j, rest_scatter_j = 0.1, 2.0 * 0.02, 0.01 * 0.02
    assert seen.scatter_j == pytest.approx(rest_scatter_j)
    assert seen.uncertainty_j == pytest.approx(math.hypot(0.02 * gross_j, 0.02 * rest_j, rest_scatter_j))
    assert (seen.meter_uncertainty, seen.stated_by) == (0.02, "datasheet")


def test_where_nobody_states_an_uncertainty_there_is_none_but_the_scatter() -> None:
    seen = summed(Scripted([]), [Window(10.0, 2.0, 200), Window(12.0, 2.0, 200)], [100, 100], IDLE)
    assert (seen.uncertainty_j, seen.meter_uncertainty, seen.stated_by) == (None, None, None)
    assert seen.scatter_j == pytest.approx(math.hypot(0.01, IDLE.scatter_w * 0.02), rel=1e-3)


def test_without_the_power_at_rest_there_is_no_net_energy_but_the_reason() -> None:
    seen = summed(Scripted([]), [Window(10.0, 2.0, 200)], [100], "the battery was charging")
    assert (seen.net_j, seen.idle_power_w, seen.idle_s) == (None, None, None)
    assert seen.idle_reason == "the battery was charging"


@given(POSITIVE, POSITIVE, st.integers(10, 10_000), st.integers(1, 1000), st.floats(0.5, 2))
def test_energy_scales_with_the_reading(joules: float, seconds: float, updates: int, runs: int, factor: float) -> None:
    idle = Idle(joules / seconds / 4, 0.0, 3.0)
    seen = summed(Scripted([], STATED), [Window(joules, seconds, updates)], [runs], idle)
    scaled_idle = Idle(idle.power_w * factor, 0.0, 3.0)
    scaled = summed(Scripted([], STATED), [Window(joules * factor, seconds, updates)], [runs], scaled_idle)
    assert scaled.energy_j == pytest.approx(seen.energy_j * factor)
    assert scaled.net_j == pytest.approx((seen.net_j or 0) * factor)
    assert scaled.uncertainty_j == pytest.approx((seen.uncertainty_j or 0) * factor)
    assert seen.net_j == pytest.approx(0.75 * seen.energy_j)


@given(st.lists(st.tuples(POSITIVE, st.integers(1, 100)), min_size=1, max_size=10))
def test_one_window_has_a_scatter_too_from_its_edges(parts: list[tuple[float, int]]) -> None:
    windows, runs = [Window(joules, 1.0, 10) for joules, _ in parts], [count for _, count in parts]
    assert energy.scatter(windows, runs) > 0
    finer = [Window(joules, 1.0, 1000) for joules, _ in parts]
    assert energy.scatter(finer, runs) <= energy.scatter(windows, runs)


def test_what_scatters_too_much_says_how_long_to_measure() -> None:
    windows = [Window(10.0, 1.0, 1000), Window(20.0, 1.0, 1000)]  # scatters by a third
    seen = summed(Scripted([]), windows, [100, 100], "no")
    assert seen.too_short == "scatters by 33% in 2.0 s where 5% is wanted; measure for 89 s"
    longer = summed(Scripted([]), windows * 45, [100, 100] * 45, "no")
    assert longer.too_short is None


def test_no_energy_at_all_is_not_exact() -> None:
    assert "no energy was seen" in str(energy.too_short(0.0, 0.0, 5.0))


def test_the_power_at_rest_is_that_of_several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(energy.time, "sleep", slept.append)
    meter = Scripted([Window(1.0, 1.0, 100), Window(2.0, 1.0, 100), Window(3.0, 1.0, 100)])
    idle = measure_idle(meter)
    assert isinstance(idle, Idle)
    assert (idle.power_w, idle.scatter_w, idle.seconds) == pytest.approx((2.0, 1 / math.sqrt(3), 3.0))
    assert slept == [1.0] * 3


def test_a_slow_meter_rests_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(energy.time, "sleep", slept.append)
    meter = Scripted([Window(1.0, 15.0, 15)] * 3)
    meter.resolution_s = 1.0
    measure_idle(meter)
    assert slept == [15.0] * 3


def test_a_rest_that_cannot_be_measured_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.time, "sleep", lambda seconds: None)
    assert measure_idle(Scripted([Window(1.0, 1.0, 100), None])) == "the bus is silent"
    assert measure_idle("no meter") == "no meter"


def test_an_account_without_a_meter_has_its_reason() -> None:
    account = Account("no RAPL counter", "no RAPL counter")
    account.open()
    account.close([1, 2])
    assert (account.energy(), account.reason, account.sampling) == (None, "no RAPL counter", False)


def test_one_window_without_a_figure_ends_the_account() -> None:
    account = Account(Scripted([Window(1.0, 1.0, 100), None, Window(1.0, 1.0, 100)]), IDLE)
    for _ in range(3):
        account.open()
        account.close([1, 2])
    assert (account.energy(), account.reason) == (None, "the bus is silent")


def test_a_window_without_inferences_counts_for_nothing() -> None:
    account = Account(Scripted([Window(1.0, 1.0, 100), None, Window(5.0, 1.0, 100)]), IDLE)
    for latencies in ([1, 2], [], []):
        account.open()
        account.close(latencies)
    seen = account.energy()
    assert seen is not None and (seen.energy_j, seen.windows) == (0.5, 1)
    empty = Account(Scripted([]), IDLE)
    assert (empty.energy(), empty.reason) == (None, "no inference ran within a window of scripted")


def test_the_sampler_s_cost_is_a_ratio_of_medians() -> None:
    account = Account(Scripted([Window(1.0, 1.0, 100)] * 2), IDLE)
    for latencies in ([100, 104, 900], [104, 104]):
        account.open()
        account.close(latencies)
        account.bare([100, 100, 700])
    seen = account.energy()
    assert seen is not None and seen.sampler_ratio == pytest.approx(1.04)
    assert seen.unsampled_ns == (100, 100, 700) * 2
    assert seen.energy_j == pytest.approx(2 / 5)


def test_records_of_before_are_still_read() -> None:
    old = msgspec.json.decode(b'{"energy_j":0.01,"source":"RAPL","scope":"cpu"}', type=Energy)
    assert old == Energy(0.01, "RAPL", "cpu") and old.net_j is None
