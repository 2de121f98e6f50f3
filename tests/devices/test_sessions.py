"""Whole sessions here with small real models: cores, inputs, cold starts, verdicts, and models that misbehave."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit import bench, feeds, footprint, validity
from edgekit.artifact import Artifact
from edgekit.devices import local
from edgekit.devices.local import Local
from edgekit.errors import DataError, ModelCrashError, UsageError
from edgekit.measurement import Protocol, Session
from edgekit.runtime import Runner

SHORT = Protocol("short", warmup_s=0.02, min_runs=20, min_seconds=0.05, warmup_most_s=0.1)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process on cores, and forks safely")


def test_a_session_says_all_that_it_saw(tiny: Artifact, tiny_float: Artifact) -> None:
    first, second = Local().run([tiny, tiny_float], Session(SHORT))
    assert first.session == second.session
    for record in (first, second):
        assert sum(record.slices) == len(record.latency_ns) and len(record.slices) == SHORT.rounds
        assert len(record.states) == SHORT.rounds + 2
        assert record.probe is not None and min(record.probe.before_ns + record.probe.after_ns) > 0
        assert record.warmup is not None and record.warmup.runs > 0
        assert record.verdict == validity.judge(record)
        assert len(record.input_ns) == SHORT.rounds * bench.COPIES and min(record.input_ns) > 0
        assert (record.inputs, record.loads_ns) == ("random", ())
    assert (
        first.memory is not None and first.memory.weight_bytes and first.memory.arena_method == footprint.ARENA_METHOD
    )
    assert first.delegation.macs == 32 * 32 * 4 * 3 == second.delegation.macs
    assert second.memory is not None and second.memory.arena_bytes == 2 * 32 * 32 * 4 * 4


def test_golden_and_pictures_are_what_the_model_sees(tiny: Artifact, colour_images: Path) -> None:
    for inputs, copies in (("golden", SHORT.rounds * bench.COPIES), (f"images:{colour_images}", None)):
        (record,) = Local().run([tiny], Session(SHORT, inputs=inputs))
        assert record.inputs == inputs
        assert len(record.input_ns) == (copies or len(record.latency_ns)) or copies is None
        assert min(record.input_ns) > 0


def test_images_become_the_inputs_that_the_card_says(tiny: Artifact, colour_images: Path) -> None:
    runner = Runner(tiny.path.read_bytes())
    fed = feeds.feed(tiny, runner, f"images:{colour_images}")
    assert len(fed) == feeds.IMAGES
    assert {(values.shape, str(values.dtype)) for (values,) in fed} == {((1, 32, 32, 3), "int8")}
    assert len({values.tobytes() for (values,) in fed}) == feeds.IMAGES
    (golden,) = feeds.feed(tiny, runner, "golden")
    assert golden[0].shape == (1, 32, 32, 3)
    same, again, other = (feeds.feed(tiny, runner, "random", seed)[0][0] for seed in (1, 1, 2))
    assert (same == again).all() and not np.array_equal(same, other)


def test_inputs_that_cannot_be_had_are_refused(tiny: Artifact, tmp_path: Path) -> None:
    for inputs in ("ramdom", "images", "images:", ""):
        with pytest.raises(UsageError, match="random, golden or images:FOLDER"):
            Local().run([tiny], Session(SHORT, inputs=inputs))
    with pytest.raises(UsageError, match=r"no card that says how images become its input"):
        feeds.feed(msgspec.structs.replace(tiny, card=None), Runner(tiny.path.read_bytes()), "images:x")
    with pytest.raises(UsageError, match="has no golden image"):
        feeds.feed(msgspec.structs.replace(tiny, golden=None), Runner(tiny.path.read_bytes()), "golden")
    with pytest.raises(DataError, match=r"no image|is not a folder|none"):
        Local().run([tiny], Session(SHORT, inputs=f"images:{tmp_path}"))


@linux
def test_a_session_stays_on_its_cores(tiny: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    core = max(os.sched_getaffinity(0))
    seen: list[set[int]] = []
    real = bench.measure_many

    def spy(*arguments: object, **options: object) -> object:
        records = real(*arguments, **options)  # type: ignore[arg-type]
        seen.append(os.sched_getaffinity(0))
        return [msgspec.structs.replace(record, artifact_name=str(sorted(seen[-1]))) for record in records]

    monkeypatch.setattr(bench, "measure_many", spy)
    (record,) = Local().run([tiny], Session(SHORT, cores=(core,)))
    assert record.artifact_name == str([core])
    assert record.fingerprint.pinned == (core,)
    assert os.sched_getaffinity(0) != {core} or os.cpu_count() == 1


@linux
def test_cores_that_are_not_there_are_refused(tiny: Artifact) -> None:
    with pytest.raises(UsageError, match=r"asked for cores \[0, 4000\], but \[4000\] are not among those allowed"):
        Local().run([tiny], Session(SHORT, cores=(0, 4000)))


def test_many_cold_starts_have_a_process_each(tiny: Artifact) -> None:
    protocol = msgspec.structs.replace(bench.COLD, starts=4)
    seen: list[float] = []
    (record,) = Local().run([tiny], Session(protocol), progress=seen.append)
    assert len(record.loads_ns) == len(record.firsts_ns) == 4
    assert (record.load_ns, record.first_ns) == (record.loads_ns[0], record.firsts_ns[0])
    assert len(set(record.loads_ns)) > 1 and min(record.firsts_ns) > 0
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0) and len(seen) >= 5


def die(*_: object, **__: object) -> None:
    faulthandler.disable()  # pytest's, which would print
    os.kill(os.getpid(), signal.SIGSEGV)


@linux
def test_a_crash_in_the_midst_of_a_session_names_its_models(tiny: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_measure_slice", die)
    with pytest.raises(ModelCrashError, match=rf"{tiny.path.name}: the runtime died \(SIGSEGV\)"):
        Local().run([tiny], Session(SHORT))


@linux
def test_a_hang_in_the_midst_of_a_session_is_ended(tiny: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_measure_slice", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(local, "_timeout_s", lambda *_: 1.5)
    started = time.perf_counter()
    with pytest.raises(ModelCrashError, match="no answer after 2 s"):
        Local().run([tiny], Session(SHORT))
    assert time.perf_counter() - started < 30


@linux
def test_a_busy_neighbour_is_noticed(tiny: Artifact) -> None:
    """As many busy loops as there are cores: no session of any length can call that quiet."""
    protocol = Protocol("second", warmup_s=0.02, min_runs=20, min_seconds=1.0, warmup_most_s=0.1)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        (record,) = Local().run([tiny], Session(protocol))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert record.verdict is not None and record.verdict.word == "invalid"
    assert any(reason.startswith("other load: ") for reason in record.verdict.reasons)


def test_a_file_whose_graph_cannot_be_read_has_no_figures_but_a_reason(tiny: Artifact) -> None:
    memory, delegation = footprint.count(b"1234TFL3", Runner(tiny.path.read_bytes()))
    assert (memory.arena_bytes, memory.weight_bytes) == (None, None) and "not known" in memory.arena_method
    assert (delegation.macs, delegation.macs_taken) == (None, None) and delegation.operators > 0
