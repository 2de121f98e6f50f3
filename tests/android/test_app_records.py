"""What the Android app's runner wrote in its own tests, read as every results file is; made by `make test-android`."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from edgekit import compare, measurement, validity
from edgekit.devices import adb
from edgekit.measurement import Measurement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written() -> Path:
    """The app's results; `make test-android` requires them."""
    path = ROOT / "android_demo" / "check" / "app" / "target" / "measurements.jsonl"
    if not path.exists():
        reason = f"{path} is not there; it is written by the app's tests: make test-android"
        (pytest.fail if os.environ.get("EDGEKIT_REQUIRE_ANDROID") else pytest.skip)(reason)
    return path


def records(path: Path) -> list[Measurement]:
    found = measurement.read([path])
    assert found
    return [record for record in found if isinstance(record, Measurement)]


def test_every_line_is_a_measurement_with_its_samples(written):
    for record in records(written):
        assert sum(record.slices) == len(record.latency_ns) >= record.protocol.min_runs
        assert sum(record.latency_ns) >= 0.9 * record.protocol.min_seconds * 1e9
        assert len(record.states) == len(record.slices) + 2
        assert record.energy is None and record.energy_reason == "no meter was asked for"
        assert record.fingerprint.python == "none"


def test_the_app_judges_as_edgekit_does(written):
    for record in records(written):
        assert record.verdict == validity.judge(record)


def test_what_the_app_cannot_say_it_leaves_out(written):
    for record in records(written):
        assert record.peak_rss_bytes is None
        assert record.memory.arena_bytes is None and record.memory.arena_method.startswith("not known")


def test_edgekit_takes_it_for_the_answer_of_a_phone(written, tmp_path):
    lines = written.read_text().splitlines()
    for line, record in zip(lines, records(written), strict=True):
        path = tmp_path / "model.tflite"
        artifact = adb.Artifact(path, record.artifact_sha256, record.size_bytes)
        assert adb._app_answer(artifact, line) == record


def test_compare_makes_one_table_of_both_networks(written, run_edgekit):
    rows = compare.compare(measurement.read([written])).rows
    medians = {row.artifact_sha256: row.latency_median_ms for row in rows}
    for record in records(written):
        assert medians[record.artifact_sha256] == pytest.approx(statistics.median(record.latency_ns) / 1e6)
    shown = run_edgekit("compare", written)
    assert shown.returncode == 0, shown.stderr
    assert "squeezenet_v1_1" in shown.stdout and "mobilenet_v1_025" in shown.stdout
