"""`edgekit bench --meter` from the command line to the table, with a stand-in for the Pi 5's command."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import measurement
from edgekit.measurement import Measurement


@pytest.fixture
def vcgencmd(tmp_path: Path) -> Path:
    """Constructed: 2 W, on one rail."""
    script = tmp_path / "vcgencmd"
    script.write_text("#!/bin/sh\necho 'VDD_CORE_A current(7)=2.50000000A'\necho 'VDD_CORE_V volt(15)=0.80000000V'\n")
    script.chmod(0o755)
    return script


@pytest.mark.assets
def test_energy_is_measured_over_the_runs_that_were_timed(assets, run_edgekit, tmp_path, vcgencmd):
    results, model = tmp_path / "r.jsonl", assets / "tflite" / "mobilenet_v1_0.25_128_quant.tflite"
    done = run_edgekit("bench", model, "--meter", f"pmic:{vcgencmd}", "--modelled", "-o", results)
    assert done.returncode == 0, done.stderr
    assert "Pi 5 PMIC" in done.stdout and "Modelled" in done.stdout
    (record,) = measurement.read([results])
    assert isinstance(record, Measurement) and record.energy is not None, record
    energy = record.energy
    assert energy.energy_j * len(record.latency_ns) / (energy.seconds or 0) == pytest.approx(2.0)
    assert energy.net_j == pytest.approx(0, abs=1e-9) and energy.idle_power_w == pytest.approx(2.0)
    assert (energy.seconds or 0) >= 2.0 and (energy.updates or 0) >= 10
    assert energy.unsampled_ns and energy.sampler_ratio is not None
    assert record.modelled is not None and record.modelled.macs > 0


def test_without_a_meter_the_reason_is_in_the_record(tiny, run_edgekit, tmp_path):
    results = tmp_path / "r.jsonl"
    assert run_edgekit("bench", tiny.path, "--meter", "none", "-o", results).returncode == 0
    (record,) = measurement.read([results])
    assert isinstance(record, Measurement)
    assert (record.energy, record.energy_reason, record.modelled) == (None, "no meter was asked for", None)


@pytest.mark.parametrize(
    ("meter", "exit_code", "words"),
    [
        ("ina", 4, "there are: auto, none,"),
        ("ina219:0x40", 2, "three arguments are needed"),
        ("pmic:/none", 7, "is not there"),
        ("modelled", 2, "no meter"),
    ],
)
def test_a_meter_that_cannot_be_had_is_an_error_before_anything_runs(
    tiny, run_edgekit, tmp_path, meter, exit_code, words
):
    results = tmp_path / "r.jsonl"
    done = run_edgekit("bench", tiny.path, "--meter", meter, "-o", results)
    assert done.returncode == exit_code and words in done.stderr
    assert not results.exists()
