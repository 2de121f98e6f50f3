"""Emulated cores: counts that repeat, outputs held against this machine's, and no time anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit import artifact as artifacts
from edgekit import bench, compare, devices, graph, measurement, runtime
from edgekit.artifact import Artifact
from edgekit.devices import emulated
from edgekit.devices.emulated import Emulated
from edgekit.errors import FileFormatError, MissingError, ModelCrashError, UnknownNameError, UsageError
from edgekit.measurement import Instructions, Session
from edgekit.report import csv, markdown

SESSION = Session(bench.QUICK)


@pytest.fixture
def core(emulation: Path):
    return lambda name: Emulated(name, emulation)


def record(**changes: object) -> Instructions:
    counts = {"instructions": 39_300_000, "simd": 27_000_000, "dot_products": 22_500_000, "i8mm": 0}
    answers = {"outputs": 2000, "differing": 0, "largest_difference": 0.0, "against": "x86_64, ai-edge-litert 2.3.0"}
    artifact = {"artifact_sha256": "a" * 64, "artifact_name": "net-int8", "model": None, "recipe": None}
    core = {"device": "Cortex-A76 (emulated)", "core": "cortex-a76"}
    rest = {"size_bytes": 1_000_000, "runtime": "ai-edge-litert", "runtime_version": "2.3.0"}
    started = {"started_utc": "2026-01-01T10:00:00+00:00"}
    return Instructions(**{**counts, **answers, **artifact, **core, **rest, **started, **changes})  # type: ignore[arg-type]


def test_an_unknown_core_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cortex-a76"):
        devices.find("emulated:cortex-a67")


def test_more_threads_are_refused_for_their_count_does_not_repeat(tiny: Artifact) -> None:
    with pytest.raises(UsageError, match="counted on one"):
        Emulated("cortex-a72").count([tiny], Session(bench.QUICK, threads=2))


def test_a_count_has_a_row_and_a_column_of_its_own_and_no_time() -> None:
    shown = compare.compare([record()])
    (row,) = shown.rows
    assert (row.device, row.latency_median_ms, row.latency_p90_ms) == ("Cortex-A76 (emulated)", None, None)
    text = markdown.render(shown)
    assert "Instructions, M" in text and "39.3" in text and "22.5 dot products" in text
    assert "an emulated core has no time" in text
    assert "39300000" in csv.render(shown)


def test_a_later_count_replaces_an_earlier_one_and_cores_stand_apart() -> None:
    other = record(device="Cortex-A72 (emulated)", instructions=121_400_000)
    later = record(instructions=39_000_000, started_utc="2026-01-02T10:00:00+00:00")
    rows = compare.compare([later, record(), other]).rows
    assert [row.instructions.instructions for row in rows if row.instructions] == [39_000_000, 121_400_000]


def test_no_column_where_nothing_was_counted() -> None:
    assert "Instructions, M" not in markdown.render(compare.compare([]))


def test_counts_are_stored_and_read_back(tmp_path: Path) -> None:
    measurement.append(tmp_path / "r.jsonl", record())
    assert measurement.read([tmp_path / "r.jsonl"]) == [record()]


def test_prefixes_grow_by_one_operator_and_the_last_answers_as_the_whole(tiny: Artifact) -> None:
    model = artifacts.read_model(tiny.path)
    parts = emulated.prefixes(model)
    whole = graph.load(model)
    assert [kind for kind, _, _ in parts] == [operator.kind for operator in whole.operators]
    assert [len(graph.load(part).operators) for _, _, part in parts] == list(range(1, len(parts) + 1))
    runners = [runtime.Runner(content) for content in (model, parts[-1][2])]
    for runner in runners:
        runner.resting_inputs()
        runner.invoke()
    assert np.array_equal(runners[0].get_output(), runners[1].get_output())


def test_values_that_differ_are_counted_and_measured() -> None:
    here = emulated.Answers(b"", [(1.0, 2.0, -3.0)], ["|i1"])
    assert emulated._compare(here, np.array([1, 2, -3], np.int8).tobytes()) == (0, 0.0)
    assert emulated._compare(here, np.array([1, 4, -2], np.int8).tobytes()) == (2, 2.0)
    assert emulated._compare(here, b"\1")[0] == 2  # what is missing differs


@pytest.mark.emulated
@pytest.mark.slow
def test_counts_repeat_exactly_and_int8_answers_are_bit_exact(core, tiny: Artifact) -> None:
    first, second = (core("cortex-a76").count([tiny], SESSION)[0] for _ in range(2))
    assert (first.instructions, first.simd, first.dot_products) == (
        second.instructions,
        second.simd,
        second.dot_products,
    )
    assert first.instructions > 10_000 and first.dot_products > 0
    assert (first.differing, first.outputs) == (0, 8)
    older = core("cortex-a72").count([tiny], SESSION)[0]
    assert older.dot_products == 0 and older.differing == 0


@pytest.mark.emulated
@pytest.mark.slow
def test_operators_add_up_to_the_whole(core, tiny: Artifact) -> None:
    (found,) = core("cortex-a76+operators").count([tiny], SESSION)
    assert found.operators[0].operator == "CONV_2D"
    assert sum(step.instructions for step in found.operators) == pytest.approx(found.instructions, rel=0.02)
    assert sum(step.dot_products for step in found.operators) == found.dot_products


@pytest.mark.emulated
@pytest.mark.slow
def test_hostile_names_and_damaged_models(core, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "-x '$(touch owned)' \"y\".tflite"
    path.write_bytes(tiny.path.read_bytes())
    assert core("cortex-a72").count([artifacts.read(path)], SESSION)[0].instructions > 0
    assert not Path("owned").exists()
    path.write_bytes(tiny.path.read_bytes()[:700])
    with pytest.raises((FileFormatError, ModelCrashError), match="-x"):
        core("cortex-a72").count([artifacts.read(path)], SESSION)


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "a72", "a76"),
    [("mobilenet_v1_0.5_160_quant", 32.1, 32.1), ("mobilenet_v2_1.0_224_quant", 131.6, 131.6)],
)
def test_published_uint8_files_give_the_known_counts(core, assets: Path, name: str, a72: float, a76: float) -> None:
    read = artifacts.read(assets / "tflite" / f"{name}.tflite")
    for core_name, expected in (("cortex-a72", a72), ("cortex-a76", a76)):
        (found,) = core(core_name).count([read], SESSION)
        assert found.instructions / 1e6 == pytest.approx(expected, abs=0.06)
        assert found.dot_products == 0


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.export
@pytest.mark.assets
def test_squeezenet_gives_the_known_counts(core, exported: dict[str, Path]) -> None:
    read = artifacts.read(exported["float32"])
    for core_name, expected in (("cortex-a72", 136.4), ("cortex-a76", 130.3)):
        (found,) = core(core_name).count([read], SESSION)
        assert found.instructions / 1e6 == pytest.approx(expected, abs=0.06)
        assert found.largest_difference < 1e-6  # floats differ in their last digits


@pytest.mark.skipif(os.geteuid() == 0, reason="as root it can be set up")
def test_without_root_the_reason_is_said(tiny: Artifact) -> None:
    with pytest.raises(MissingError, match="need x86-64 Linux and root"):
        Emulated("cortex-a72").count([tiny], SESSION)


def test_a_runtime_that_dies_under_the_emulator_is_the_models_error(
    tiny: Artifact, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(Emulated, "_set_up", lambda self: None)
    monkeypatch.setattr(emulated, "_call", lambda command, timeout_s: (139, "", "qemu: uncaught target signal 11"))
    with pytest.raises(ModelCrashError, match="uncaught target signal 11"):
        Emulated("cortex-a72", tmp_path).count([tiny], SESSION)
