"""The picture of a session: every slice where and when it was, and refusals for records that do not tell."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgekit.errors import DataError, UsageError
from edgekit.measurement import Delegation, Fingerprint, Measurement, Protocol, State
from edgekit.report import course

SESSION = Measurement(
    artifact_sha256="a" * 64,
    artifact_name="net<&>",
    model=None,
    recipe=None,
    size_bytes=1,
    device="Board",
    protocol=Protocol("sustained", 0.3, 1, 1800.0),
    threads=4,
    latency_ns=(*range(1_000_000, 1_000_010), *range(2_000_000, 2_000_030)),
    load_ns=1,
    first_ns=1,
    delegation=Delegation("none", 1, 0),
    fingerprint=Fingerprint("Board", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0"),
    started_utc="2026-01-01T10:00:00+00:00",
    slices=(10, 30),
    states=tuple(State(60.0 * minute, 0, temperature_c=40.0 + minute) for minute in range(4)),
)


def test_every_slice_is_at_its_time() -> None:
    found = course.course(SESSION)
    assert found.minutes == (1.0, 2.0)
    assert found.median_ms == pytest.approx((1.000004, 2.000014))
    assert all(
        low <= middle <= high for low, middle, high in zip(found.low_ms, found.median_ms, found.high_ms, strict=True)
    )


def test_the_picture_has_a_panel_for_each_reading_that_is_told() -> None:
    pytest.importorskip("matplotlib")
    drawn = course.draw([SESSION], "svg").decode()
    assert "temperature" in drawn and "frequency" not in drawn and "minutes since" in drawn
    assert "net&lt;&amp;&gt;, 4 threads" in drawn
    assert drawn == course.draw([SESSION], "svg").decode()


def test_the_name_says_which_kind_of_picture() -> None:
    pytest.importorskip("matplotlib")
    assert course.kind_of(Path("heat.SVG")) == "svg" and course.kind_of(Path("heat.png")) == "png"
    assert course.draw([SESSION], "png").startswith(b"\x89PNG") and course.draw([SESSION], "svg").startswith(b"<?xml")
    for name in ("heat.jpg", "heat"):
        with pytest.raises(UsageError, match="name a file"):
            course.kind_of(Path(name))


def test_a_record_without_times_is_refused() -> None:
    with pytest.raises(DataError, match="does not tell when"):
        course.draw([msgspec.structs.replace(SESSION, states=())], "svg")
    with pytest.raises(DataError, match="nothing was timed"):
        course.draw([], "svg")
