"""Benchmarking on a clock set by hand, where every figure is known, and once on a real model."""

from __future__ import annotations

import hashlib
import mmap
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from edgekit import artifact as artifact_file
from edgekit import bench, energy
from edgekit.artifact import Artifact, Card, WeightsOrigin
from edgekit.bench import ColdStart, cold_start, measure, measure_many
from edgekit.errors import ChecksumError, FileFormatError, MissingError, QualityError, UnknownNameError, UsageError
from edgekit.measurement import Delegation, Fingerprint, Probe, Protocol, State, WarmUp
from edgekit.meters import Meter, Window
from edgekit.recipe import find
from edgekit.spec import square

BOARD = Fingerprint("Board", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0")
MS = 1_000_000
PROTOCOL = Protocol("test", warmup_s=0.3, min_runs=50, min_seconds=1.0)


class Lab:
    """A clock that only moves when a model runs, and a log of what ran."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []
        self.warm = False  # whether anything has run since the machine was at rest

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    @property
    def runs(self) -> list[str]:
        return [name for name in self.log if " " not in name]


class Model:
    """Stands in for the Runner: the file's content is a mark, a name and its inference time."""

    lab: Lab
    tax_ns = 0
    copy_ns = 0
    cooling_ns = 0  # by how much slower the first inference is; it halves from one to the next

    def __init__(self, content: bytes, threads: int) -> None:
        _, self.name, cost_ns = content.decode().split(":")
        self.cost_ns, self.threads = int(cost_ns), threads
        if self.cost_ns < 0:
            raise FileFormatError("the runtime refuses this model: bad operator")
        self.lab.now_ns += 7

    def noise(self, seed: int) -> list[str]:
        return [f"fill {seed}"]

    def set_input(self, values: str, position: int) -> None:
        self.lab.now_ns += self.copy_ns
        self.lab.log.append(values)

    def invoke(self) -> None:
        self.lab.warm = True
        if self.cost_ns == 0:
            raise RuntimeError("node 3 failed to invoke")
        self.lab.now_ns += self.cost_ns + Model.tax_ns + self.cooling_ns
        self.cooling_ns = self.cooling_ns * 15 // 16
        self.lab.log.append(self.name)

    def delegation(self) -> Delegation:
        return Delegation("XNNPACK", 10, 9, ("SOFTMAX",))


class Watts(Meter):
    """A meter that sees a steady 2 W, 0.5 W at rest; `broken` names the windows that it cannot tell."""

    source, scope = "fake", "board"

    def __init__(self, lab: Lab, resolution_s: float = 0.001, broken: tuple[int, ...] = ()) -> None:
        self.lab, self.resolution_s, self.broken = lab, resolution_s, broken
        self.windows_s: list[float] = []
        self._start_ns = 0

    def start(self) -> None:
        self._start_ns = self.lab.now_ns
        if self.lab.warm:
            self.lab.log.append("meter on")

    def stop(self) -> Window:
        seconds = (self.lab.now_ns - self._start_ns) / 1e9
        if not self.lab.warm:
            return Window(0.5 * seconds, seconds, 100)
        self.windows_s.append(seconds)
        if len(self.windows_s) in self.broken:
            raise MissingError("the bus is silent")
        self.lab.log.append("meter off")
        return Window(2.0 * seconds, seconds, 100)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab()
    clock = SimpleNamespace(perf_counter_ns=lambda: lab.now_ns, perf_counter=lambda: lab.now_ns / 1e9)
    monkeypatch.setattr(Model, "lab", lab, raising=False)
    monkeypatch.setattr(bench, "Runner", Model)
    monkeypatch.setattr(bench, "time", clock)
    monkeypatch.setattr(energy, "time", SimpleNamespace(sleep=lab.sleep))
    monkeypatch.setattr(bench.runtime, "version", lambda: ("fake", "0"))
    return lab


def model(folder: Path, name: str, cost_ns: int) -> Artifact:
    path = folder / f"{name}.tflite"
    content = f"1234TFL3:{name}:{cost_ns}".encode()
    path.write_bytes(content)
    return Artifact(path, hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize(
    ("cost_ms", "runs"),
    [(10, 100), (3, 334), (50, 50), (400, 50)],  # by time, by time in whole runs, by count twice
)
def test_both_the_runs_and_the_seconds_are_reached(lab: Lab, tmp_path: Path, cost_ms: int, runs: int) -> None:
    measurement = measure(model(tmp_path, "a", cost_ms * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert set(measurement.latency_ns) == {cost_ms * MS}
    assert len(measurement.latency_ns) == runs


def test_the_most_runs_are_a_limit(lab: Lab, tmp_path: Path) -> None:
    protocol = msgspec.structs.replace(PROTOCOL, max_runs=73)
    measurement = measure(model(tmp_path, "a", MS), protocol=protocol, device="Board", fingerprint=BOARD)
    assert len(measurement.latency_ns) == 73


def test_fewer_runs_than_slices_are_possible(lab: Lab, tmp_path: Path) -> None:
    protocol = Protocol("once", warmup_s=0, min_runs=1, min_seconds=0, max_runs=3)
    measurement = measure(model(tmp_path, "a", MS), protocol=protocol, device="Board", fingerprint=BOARD)
    assert 1 <= len(measurement.latency_ns) <= 3 and min(measurement.latency_ns) == MS


def test_a_lone_model_warms_up_by_time_and_then_every_run_counts(lab: Lab, tmp_path: Path) -> None:
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert lab.runs == ["a"] * (1 + 30 + len(measurement.latency_ns))
    assert measurement.warmup == WarmUp(30, pytest.approx(0.3), stable=True)


def test_models_take_turns(lab: Lab, tmp_path: Path) -> None:
    models = [model(tmp_path, "a", 10 * MS), model(tmp_path, "b", 20 * MS)]
    first, second = measure_many(models, protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    slices = lab.runs[2 + 30 + 15 :]
    expected = (["a"] * (1 + 10) + ["b"] * (1 + 5)) * 10  # one uncounted run opens each slice
    assert slices == expected
    assert (len(first.latency_ns), len(second.latency_ns)) == (100, 50)
    assert (first.slices, second.slices) == ((10,) * 10, (5,) * 10)
    assert first.session is not None and first.session == second.session


def test_two_sessions_have_names_of_their_own(lab: Lab, tmp_path: Path) -> None:
    artifact = model(tmp_path, "a", 10 * MS)
    sessions = {measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD).session for _ in range(2)}
    assert len(sessions) == 2


def test_a_warm_up_goes_on_until_a_stretch_does_not_drift(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "cooling_ns", 20 * MS)
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert measurement.warmup is not None and measurement.warmup.stable
    assert 0.6 < measurement.warmup.seconds < PROTOCOL.warmup_most_s
    assert max(measurement.latency_ns) < 10.5 * MS


def test_a_machine_that_never_settles_ends_the_warm_up_at_its_limit(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower_and_slower(model: Model) -> None:
        model.lab.now_ns += model.cost_ns
        model.cost_ns += model.cost_ns // 50

    monkeypatch.setattr(Model, "invoke", slower_and_slower)
    protocol = msgspec.structs.replace(PROTOCOL, warmup_most_s=2.0, max_runs=20)
    measurement = measure(model(tmp_path, "a", MS), protocol=protocol, device="Board", fingerprint=BOARD)
    assert measurement.warmup is not None and not measurement.warmup.stable
    assert 2.0 <= measurement.warmup.seconds < 2.5


def test_a_slow_model_warms_up_until_there_is_something_to_see(lab: Lab, tmp_path: Path) -> None:
    measurement = measure(model(tmp_path, "a", 400 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert measurement.warmup == WarmUp(8, pytest.approx(3.2), stable=True)


def test_copies_of_the_input_are_timed_apart(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "copy_ns", 3)
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert set(measurement.latency_ns) == {10 * MS}
    assert measurement.input_ns == (3,) * 50


def test_several_inputs_take_turns_and_are_copied_before_each_inference(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "copy_ns", 3)
    monkeypatch.setattr(bench.feeds, "feed", lambda *_: [["see 0"], ["see 1"], ["see 2"]])
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert set(measurement.latency_ns) == {10 * MS}
    assert measurement.input_ns == (3,) * len(measurement.latency_ns)
    assert lab.log[-6:] == ["see 0", "a", "see 1", "a", "see 2", "a"] or lab.log[-2:][0].startswith("see ")
    seen = [name for name in lab.log if name.startswith("see ")][1:]
    assert seen == [f"see {number % 3}" for number in range(len(seen))]


def test_the_machine_is_looked_at_around_every_slice_and_probed_around_them_all(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def watch(since_ns: int) -> State:
        looks.append(len(lab.runs))
        return State((lab.now_ns - since_ns) / 1e9, 0)

    def probe() -> tuple[int, ...]:
        lab.log.append("probe it")
        return (1, 2)

    monkeypatch.setattr(bench.validity, "probe", probe)
    models = [model(tmp_path, "a", 10 * MS), model(tmp_path, "b", 20 * MS)]
    first, second = measure_many(models, protocol=PROTOCOL, device="Board", fingerprint=BOARD, watch=watch)
    assert len(first.states) == len(second.states) == 12
    assert first.states[0] == second.states[0] and first.states[-1] == second.states[-1]
    assert [state.at_s for state in first.states] == sorted(state.at_s for state in first.states)
    assert lab.log[-1] == "probe it" and lab.log.count("probe it") == 2
    assert first.probe == Probe((1, 2), (1, 2))


def test_without_a_watch_nothing_is_probed(lab: Lab, tmp_path: Path) -> None:
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert (measurement.states, measurement.probe, measurement.verdict) == ((), None, None)


def test_a_wall_clock_that_jumps_does_not_matter(lab: Lab, tmp_path: Path) -> None:
    """The clock of the loop is the monotonic one: the fake has no other, so that asking for one would fail."""
    assert not hasattr(bench.time, "time")
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    assert set(measurement.latency_ns) == {10 * MS}


def test_full_delegation_is_asked_for_by_name(lab: Lab, tmp_path: Path) -> None:
    measurement = measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    with pytest.raises(QualityError, match="a: the delegate took 9 of 10 operators and left SOFTMAX"):
        bench.check_delegation([measurement])
    bench.check_delegation([msgspec.structs.replace(measurement, delegation=Delegation("XNNPACK", 10, 10))])


def test_a_measurement_names_its_artifact_and_circumstances(lab: Lab, tmp_path: Path) -> None:
    card = Card("squeezenet_v1_1", "squeezenet", 1000, square(224), find("int8"), WeightsOrigin("random"))
    artifact = msgspec.structs.replace(model(tmp_path, "a", 10 * MS), card=card)
    measurement = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, threads=3)
    assert (measurement.artifact_sha256, measurement.artifact_name) == (artifact.sha256, "a")
    assert (measurement.model, measurement.recipe) == ("squeezenet_v1_1", "int8")
    assert (measurement.device, measurement.threads, measurement.protocol) == ("Board", 3, PROTOCOL)
    assert (measurement.load_ns, measurement.first_ns) == (7, 10 * MS)
    assert measurement.delegation.left == ("SOFTMAX",)
    assert measurement.fingerprint is BOARD
    assert measurement.started_utc.endswith("+00:00")


def test_energy_is_that_of_the_counted_runs(lab: Lab, tmp_path: Path) -> None:
    models = [model(tmp_path, "a", 10 * MS), model(tmp_path, "b", 20 * MS)]
    meter = Watts(lab)
    measurements = measure_many(models, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=meter)
    energies = [measurement.energy for measurement in measurements if measurement.energy]
    assert [energy.energy_j for energy in energies] == pytest.approx([0.02, 0.04])
    assert [energy.net_j for energy in energies] == pytest.approx([0.015, 0.03])
    assert [energy.idle_power_w for energy in energies] == pytest.approx([0.5, 0.5])
    assert [(energy.source, energy.scope, energy.windows) for energy in energies] == [("fake", "board", 10)] * 2
    assert [m.energy_reason for m in measurements] == [None, None]
    assert meter.windows_s == pytest.approx([0.1] * 20)


def test_a_sampling_meter_is_held_against_the_same_slices_without_it(lab: Lab, tmp_path: Path) -> None:
    class Slowing(Watts):
        samples = True

        def start(self) -> None:
            super().start()
            Model.tax_ns = MS

        def stop(self) -> Window:
            Model.tax_ns = 0
            return super().stop()

    artifact = model(tmp_path, "a", 10 * MS)
    measurement = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=Slowing(lab))
    assert measurement.energy is not None and measurement.energy.sampler_ratio == pytest.approx(1.1)
    assert set(measurement.latency_ns) == {11 * MS}  # energy and latency are of the same inferences


def test_bare_slices_come_before_and_after_a_window_in_turns(lab: Lab, tmp_path: Path) -> None:
    meter = Watts(lab, resolution_s=0.01)
    meter.samples = True
    measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=meter)
    counted = [name for name in lab.log if not name.startswith("fill")][1 + 30 :]
    drawn = "".join({"meter on": "[", "meter off": "]"}.get(name, ".") for name in counted)
    first, then = "." * 5 + "[" + "." * 20 + "]", "[" + "." * 20 + "]" + "." * 5
    assert drawn == first + then + first + then + first


def test_a_meter_that_does_nothing_within_a_window_needs_no_bare_slices(lab: Lab, tmp_path: Path) -> None:
    artifact = model(tmp_path, "a", 10 * MS)
    measurement = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=Watts(lab))
    assert measurement.energy is not None and measurement.energy.sampler_ratio is None
    assert len(lab.runs) == 1 + 30 + 100


def test_one_window_without_a_figure_leaves_none(lab: Lab, tmp_path: Path) -> None:
    models = [model(tmp_path, "a", 10 * MS), model(tmp_path, "b", 20 * MS)]
    meter = Watts(lab, broken=(3,))  # the second slice of a
    first, second = measure_many(models, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=meter)
    assert (first.energy, first.energy_reason) == (None, "the bus is silent")
    assert second.energy is not None and second.energy.energy_j == pytest.approx(0.04)


def test_a_meter_that_cannot_start_is_a_reason(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: Watts) -> None:
        raise MissingError("the bus is silent")

    monkeypatch.setattr(Watts, "start", silent)
    artifact = model(tmp_path, "a", 10 * MS)
    measurement = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=Watts(lab))
    assert (measurement.energy, measurement.energy_reason) == (None, "the bus is silent")
    assert len(measurement.latency_ns) == 100


def test_without_a_meter_the_reason_is_kept(lab: Lab, tmp_path: Path) -> None:
    artifact = model(tmp_path, "a", 10 * MS)
    plain = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD)
    told = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter="no RAPL counter")
    assert (plain.energy, plain.energy_reason) == (None, bench.NO_METER)
    assert (told.energy, told.energy_reason) == (None, "no RAPL counter")


@pytest.mark.parametrize(
    ("resolution_s", "windows", "seconds"), [(0.001, 10, 0.1), (0.01, 5, 0.2), (0.05, 1, 1.0), (1.0, 1, 20.0)]
)
def test_a_slow_meter_gets_longer_windows(
    lab: Lab, tmp_path: Path, resolution_s: float, windows: int, seconds: float
) -> None:
    meter = Watts(lab, resolution_s)
    artifact = model(tmp_path, "a", 10 * MS)
    measurement = measure(artifact, protocol=PROTOCOL, device="Board", fingerprint=BOARD, meter=meter)
    assert meter.windows_s == pytest.approx([seconds] * windows)
    assert measurement.protocol == PROTOCOL  # which asks for at least that long


def test_cold_starts_seen_elsewhere_are_recorded(lab: Lab, tmp_path: Path) -> None:
    models = [model(tmp_path, "a", 10 * MS), model(tmp_path, "b", 20 * MS)]
    starts = [[ColdStart(1, 2, 3), ColdStart(7, 8, 5)], [ColdStart(4, 5, None)]]
    measurements = measure_many(models, protocol=PROTOCOL, device="Board", fingerprint=BOARD, starts=starts)
    assert [(m.load_ns, m.first_ns, m.peak_rss_bytes) for m in measurements] == [(1, 2, 4), (4, 5, None)]
    assert [(m.loads_ns, m.firsts_ns) for m in measurements] == [((1, 7), (2, 8)), ((), ())]


def test_progress_rises_to_one_between_slices(lab: Lab, tmp_path: Path) -> None:
    seen: list[float] = []
    at: list[int] = []

    def progress(share: float) -> None:
        seen.append(share)
        at.append(lab.now_ns // MS)

    measure(model(tmp_path, "a", 10 * MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD, progress=progress)
    assert seen == pytest.approx([step / 11 for step in range(1, 12)])
    assert at == [310 + 100 * step for step in range(11)]


def test_a_file_that_changed_is_not_measured_under_its_old_name(lab: Lab, tmp_path: Path) -> None:
    artifact = model(tmp_path, "a", 10 * MS)
    model(tmp_path, "a", 11 * MS)
    with pytest.raises(ChecksumError, match=f"a.tflite changed .* {artifact.sha256[:12]} was expected"):
        cold_start(artifact)


@pytest.mark.parametrize(("cost_ns", "words"), [(-1, "refuses this model: bad operator"), (0, "cannot run it .node 3")])
def test_a_model_that_cannot_run_is_named(lab: Lab, tmp_path: Path, cost_ns: int, words: str) -> None:
    with pytest.raises(FileFormatError, match=rf"broken\.tflite: .*{words}"):
        cold_start(model(tmp_path, "broken", cost_ns))


def test_no_threads_is_a_usage_error(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asked for 0 threads"):
        measure(model(tmp_path, "a", MS), protocol=PROTOCOL, device="Board", fingerprint=BOARD, threads=0)


def test_presets_are_found_by_name() -> None:
    assert bench.find_protocol("quick") is bench.QUICK
    assert (bench.QUICK.warmup_s, bench.QUICK.min_runs, bench.QUICK.min_seconds) == (0.3, 50, 1.0)
    mlperf = bench.find_protocol("mlperf-single-stream")
    assert (mlperf.min_runs, mlperf.min_seconds, mlperf.percentile) == (1024, 60.0, 0.9)
    assert bench.find_protocol("sustained").min_seconds == 1800
    assert bench.find_protocol("cold").starts >= 20
    assert (bench.STANDARD.warmup_s, bench.STANDARD.min_runs, bench.STANDARD.min_seconds) == (1.0, 200, 5.0)
    with pytest.raises(UnknownNameError, match="did you mean standard"):
        bench.find_protocol("standart")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a peak that can be set back")
def test_peak_memory_sees_what_was_freed_again() -> None:
    before = np.ones(64 << 20, dtype=np.uint8)
    del before  # an earlier peak, which must not count
    added_bytes = bench._peak_memory()
    with mmap.mmap(-1, 24 << 20) as block:  # fresh pages: an array could come out of memory that was freed before
        block[:: mmap.PAGESIZE] = b"1" * (len(block) // mmap.PAGESIZE)
    added = added_bytes()
    assert added is not None and 23 << 20 <= added < 40 << 20


def test_peak_memory_is_none_where_the_system_keeps_none(tmp_path: Path) -> None:
    assert bench._peak_memory(tmp_path / "none")() is None


@pytest.mark.assets
def test_two_real_models_in_one_session(assets: Path) -> None:
    folder = assets / "tflite"
    names = ["mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant"]
    artifacts = [artifact_file.read(folder / f"{name}.tflite") for name in names]
    protocol = Protocol("short", warmup_s=0.01, min_runs=20, min_seconds=0.05)
    measurements = measure_many(artifacts, protocol=protocol, device="here", fingerprint=BOARD, threads=2)
    for artifact, measurement in zip(artifacts, measurements, strict=True):
        assert (measurement.artifact_sha256, measurement.size_bytes) == (artifact.sha256, artifact.size_bytes)
        assert len(measurement.latency_ns) >= 20 and min(measurement.latency_ns) > 10_000
        assert measurement.load_ns > 0 and measurement.first_ns > 10_000
        assert (measurement.delegation.operators, measurement.delegation.taken) == (31, 29)
        assert (measurement.model, measurement.recipe) == (None, None)
        assert msgspec.json.decode(msgspec.json.encode(measurement), type=type(measurement)) == measurement
