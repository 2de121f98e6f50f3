"""From a meter's windows to the energy of one inference: gross, at rest, net, and how far off they may be.

Knows neither models nor runtimes: a window is some joules and the latencies of the inferences in it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgekit.errors import FileFormatError, MissingError
from edgekit.measurement import Energy
from edgekit.meters import MIN_UPDATES, Meter, Window

IDLE_WINDOWS = 3
IDLE_WINDOW_S = 1.0
IDLE_UPDATES = math.ceil(1.5 * MIN_UPDATES)  # a window at rest, for a slow meter: some more than it must have
PRECISION = 0.05  # a greater scatter than this share of the gross energy calls for a longer measurement
_EDGES = math.sqrt(2 / 12)  # of an update: both edges of a window fall anywhere between two updates


@dataclass(frozen=True)
class Idle:
    """The machine at rest: its power, the standard error of that, and how long it was measured."""

    power_w: float
    scatter_w: float
    seconds: float


def shortest_s(meter: Meter | str) -> float:
    """The shortest window worth opening: twice the updates that it must have."""
    return 0.0 if isinstance(meter, str) else 2 * MIN_UPDATES * meter.resolution_s


def session_s(meter: Meter | str) -> float:
    """Seconds that a meter adds to a session: the rest, and a window with its bare slices if it is slow."""
    return 0.0 if isinstance(meter, str) else IDLE_WINDOWS * _idle_window_s(meter) + 2 * shortest_s(meter)


def _idle_window_s(meter: Meter) -> float:
    return max(IDLE_WINDOW_S, IDLE_UPDATES * meter.resolution_s)


def measure_idle(meter: Meter | str) -> Idle | str:
    """The power at rest, or why it is not known; to be called before the warm-up, while nothing else is done."""
    if isinstance(meter, str):
        return meter
    try:
        windows = [_rest(meter, _idle_window_s(meter)) for _ in range(IDLE_WINDOWS)]
    except (MissingError, FileFormatError) as error:
        return str(error)
    powers_w = [window.energy_j / window.seconds for window in windows]
    scatter_w = statistics.stdev(powers_w) / math.sqrt(len(powers_w))
    return Idle(statistics.fmean(powers_w), scatter_w, sum(window.seconds for window in windows))


def _rest(meter: Meter, seconds: float) -> Window:
    meter.start()
    time.sleep(seconds)
    return meter.stop()


class Account:
    """The windows of one artifact in a session; without a meter, or after one window without a figure, a reason."""

    def __init__(self, meter: Meter | str, idle: Idle | str) -> None:
        self.reason = meter if isinstance(meter, str) else None
        self._meter = None if isinstance(meter, str) else meter
        self._idle = idle
        self._windows: list[Window] = []
        self._metered_ns: list[int] = []
        self._runs: list[int] = []
        self._bare_ns: list[int] = []

    @property
    def sampling(self) -> bool:
        """Whether a meter works during the windows, so that its cost has to be measured."""
        return self._meter is not None and self._meter.samples

    def open(self) -> None:
        """Begins a window."""
        if self._meter is not None:
            try:
                self._meter.start()
            except (MissingError, FileFormatError) as error:
                self._meter, self.reason = None, str(error)

    def close(self, latency_ns: Sequence[int]) -> None:
        """Ends the window in which these inferences ran; one without any counts for nothing."""
        if self._meter is None:
            return
        try:
            window = self._meter.stop()
        except (MissingError, FileFormatError) as error:
            if latency_ns:
                self._meter, self.reason = None, str(error)
            return
        if latency_ns:
            self._windows.append(window)
            self._runs.append(len(latency_ns))
            self._metered_ns += latency_ns

    def bare(self, latency_ns: Sequence[int]) -> None:
        """The same inferences outside all windows."""
        self._bare_ns += latency_ns

    def energy(self) -> Energy | None:
        """What one inference took; None where `reason` says why."""
        if self._meter is None:
            return None
        if not self._windows:
            self.reason = f"no inference ran within a window of {self._meter.source}"
            return None
        energy = summed(self._meter, self._windows, self._runs, self._idle)
        ratio = self.sampler_ratio()
        return msgspec.structs.replace(energy, sampler_ratio=ratio, unsampled_ns=tuple(self._bare_ns))

    def sampler_ratio(self) -> float | None:
        """Median latency within the windows over that outside of them."""
        if not self._bare_ns:
            return None
        return statistics.median(self._metered_ns) / statistics.median(self._bare_ns)


def summed(meter: Meter, windows: Sequence[Window], runs: Sequence[int], idle: Idle | str) -> Energy:
    """The energy of one inference from windows with so many inferences each.

    The errors of gross and idle readings are combined as if they were independent. They come from one meter, so most
    of what it is off cancels in the difference: the figure errs on the large side.
    """
    inferences, seconds = sum(runs), sum(window.seconds for window in windows)
    gross_j = sum(window.energy_j for window in windows) / inferences
    gross_scatter_j = scatter(windows, runs)
    each_s = seconds / inferences
    rest_j, rest_scatter_j = (0.0, 0.0) if isinstance(idle, str) else (idle.power_w * each_s, idle.scatter_w * each_s)
    scatter_j = math.hypot(gross_scatter_j, rest_scatter_j)
    stated = meter.uncertainty
    return Energy(
        energy_j=gross_j,
        source=meter.source,
        scope=meter.scope,
        net_j=None if isinstance(idle, str) else gross_j - rest_j,
        idle_power_w=None if isinstance(idle, str) else idle.power_w,
        idle_s=None if isinstance(idle, str) else idle.seconds,
        idle_reason=idle if isinstance(idle, str) else None,
        scatter_j=scatter_j,
        uncertainty_j=math.hypot(scatter_j, stated.share * gross_j, stated.share * rest_j) if stated else None,
        meter_uncertainty=stated.share if stated else None,
        stated_by=stated.stated_by if stated else None,
        seconds=seconds,
        windows=len(windows),
        updates=sum(window.updates for window in windows),
        missed=sum(window.missed for window in windows),
        resolution_s=meter.resolution_s,
        too_short=too_short(gross_scatter_j, gross_j, seconds),
    )


def scatter(windows: Sequence[Window], runs: Sequence[int]) -> float:
    """Standard error of the gross energy of one inference: from window to window, but no less than the edges make it.

    A window begins and ends somewhere between two updates, which is off by some part of an update at either end.
    """
    inferences = sum(runs)
    edges_j = math.hypot(*(_EDGES * window.energy_j / max(window.updates, 1) for window in windows)) / inferences
    if len(windows) < 2:
        return edges_j
    each_j = [window.energy_j / count for window, count in zip(windows, runs, strict=True)]
    return max(edges_j, statistics.stdev(each_j) / math.sqrt(len(each_j)))


def too_short(scatter_j: float, energy_j: float, seconds: float) -> str | None:
    """Why this measurement is not long enough for PRECISION, and how long would be: scatter falls with the root."""
    share = scatter_j / energy_j if energy_j > 0 else math.inf
    if share <= PRECISION:
        return None
    if math.isinf(share):
        return f"no energy was seen in {seconds:.1f} s; measure for longer"
    needed_s = seconds * (share / PRECISION) ** 2
    return f"scatters by {share:.0%} in {seconds:.1f} s where {PRECISION:.0%} is wanted; measure for {needed_s:.0f} s"
