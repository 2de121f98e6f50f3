"""A session over time as a picture: the latency of every slice, below it temperature and frequency where they are told.

Drawn by matplotlib, which is imported when a picture is asked for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import compare
from edgekit.errors import DataError, UsageError
from edgekit.measurement import Measurement, State
from edgekit.report import plotting
from edgekit.report.table import plain

_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#9a6700", "#57606a")
_WIDTH_IN, _PANEL_IN = 8.0, 2.4


class Course(msgspec.Struct, frozen=True):
    """One artifact's slices: the end of each in minutes, and the 10th, 50th and 90th percentile of its latencies."""

    name: str
    minutes: tuple[float, ...]
    low_ms: tuple[float, ...]
    median_ms: tuple[float, ...]
    high_ms: tuple[float, ...]


def course(measurement: Measurement) -> Course:
    """DataError for a record that does not tell when its slices were measured."""
    slices, states = compare.slices(measurement), measurement.states[1:-1]
    if not slices or len(slices) != len(states):
        raise DataError(f"{measurement.artifact_name}: the record does not tell when its slices were measured")
    shown = [(state, sorted(values)) for state, values in zip(states, slices, strict=True) if values]
    return Course(
        plain(
            f"{measurement.artifact_name}, {measurement.threads} {'thread' if measurement.threads == 1 else 'threads'}"
        ),
        tuple(state.at_s / 60 for state, _ in shown),
        *(tuple(values[int(share * (len(values) - 1))] / 1e6 for _, values in shown) for share in (0.1, 0.5, 0.9)),
    )


def kind_of(picture: Path) -> str:
    """ "svg" or "png", by the file's name; known before anything is measured, as is whether it can be drawn.

    UsageError for another kind, MissingError without matplotlib.
    """
    kind = picture.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise UsageError(f"--picture {picture}: asked for a {kind or 'nameless'} picture; name a file .svg or .png")
    _matplotlib("matplotlib")
    return kind


def draw(measurements: Sequence[Measurement], kind: str) -> bytes:
    """The picture of one session, "svg" or "png".

    MissingError without matplotlib, DataError for records without times.
    """
    courses = [course(measurement) for measurement in measurements]
    if not courses:
        raise DataError("no picture: nothing was timed")
    states = measurements[0].states
    panels = [panel for panel in _PANELS if any(panel.value(state) is not None for state in states)]
    matplotlib = _matplotlib("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgekit course", "text.parse_math": False}):
        size = (_WIDTH_IN, _PANEL_IN * (1 + len(panels)))
        figure = _matplotlib("matplotlib.figure").Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1 + len(panels), 1, sharex=True, squeeze=False)[:, 0]
        _draw_latency(axes[0], courses)
        for axis, panel in zip(axes[1:], panels, strict=True):
            _draw_states(axis, panel, states)
        axes[-1].set_xlabel("minutes since the session began")
        stream = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()


class _Panel(msgspec.Struct, frozen=True):
    title: str
    value: Callable[[State], float | None]


def _mhz(state: State) -> float | None:
    return None if state.frequency_khz is None else state.frequency_khz / 1000


_PANELS = (_Panel("temperature, °C", lambda state: state.temperature_c), _Panel("frequency, MHz", _mhz))


def _draw_latency(axis: Any, courses: Sequence[Course]) -> None:
    for number, drawn in enumerate(courses):
        colour = _COLOURS[number % len(_COLOURS)]
        axis.fill_between(drawn.minutes, drawn.low_ms, drawn.high_ms, color=colour, alpha=0.2, linewidth=0)
        axis.plot(
            drawn.minutes, drawn.median_ms, color=colour, linewidth=1.4, label=f"{drawn.name}: median, p10 to p90"
        )
    axis.set_ylim(bottom=0)
    axis.set_ylabel("latency, ms")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)


def _draw_states(axis: Any, panel: _Panel, states: Sequence[State]) -> None:
    told = [(state.at_s / 60, value) for state in states if (value := panel.value(state)) is not None]
    axis.plot([minutes for minutes, _ in told], [value for _, value in told], color="#57606a", linewidth=1.2)
    axis.set_ylabel(panel.title)
    axis.grid(alpha=0.3)


def _matplotlib(module: str) -> Any:
    return plotting.load(module, "the picture needs")
