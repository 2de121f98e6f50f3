"""The campaign: what is declared is measured once on every device, and whatever stops it, it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import bench, measurement, recipe
from edgekit.artifact import Artifact
from edgekit.devices.emulated import Emulated
from edgekit.errors import EdgekitError, FileFormatError, MissingError, UnknownNameError, UsageError
from edgekit.measurement import Instructions, Measurement, Protocol, Session

ROOT = Path(__file__).parents[2]
PROTOCOL = '{ name = "p", warmup_s = 0.0, min_runs = 1, min_seconds = 0.0 }'
CAMPAIGN = f"""
protocol = {PROTOCOL}
threads = [1, 2, 4]
recipes = ["float32", "int8"]
models = ["one-32", "two-32"]
devices = [{{ where = "ssh://a" }}]
"""
TWO_DEVICES = CAMPAIGN.replace('"ssh://a" }', '"ssh://a" }, { where = "ssh://b" }')
FILES = ("one-32-float32", "one-32-int8", "two-32-float32", "two-32-int8")
ALL = sorted((name, threads) for name in FILES for threads in (1, 2))
GONE = MissingError("pi@host has said nothing for 60 s; it hangs, or the link is cut")
Make = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a declaration and with four files in `zoo`."""
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    (tmp_path / "zoo").mkdir()
    for name in FILES:
        (tmp_path / "zoo" / f"{name}.tflite").write_bytes(b"1234TFL3" + name.encode())
    return tmp_path


@pytest.fixture
def fake(make_device: Make, tmp_path: Path) -> Make:
    """`fake(name="Raspberry Pi 5 (fake)", **how)`: a device with a log of its own."""

    def make(called: str = "Raspberry Pi 5 (fake)", **how: Any) -> Any:
        return make_device(
            tmp_path / f"{len(list(tmp_path.glob('*.log')))}{time.monotonic_ns()}.log", called=called, **how
        )

    return make


def start(run: ModuleType, place: Path, device: Any, *more: str, others: dict[str, Any] | None = None) -> int:
    """The campaign with `device` as every one that is not among the others, named by where they are."""
    places = ["--campaign", "campaign.toml", "--artifacts", "zoo", "--results", "results"]
    arguments = [str(place / word) if not word.startswith("--") else word for word in places]
    code: int = run.main([*arguments, *more], lambda where, _: (others or {}).get(where, device))
    return code


def results(place: Path, folder: str = "raspberry-pi-5-fake") -> Path:
    return place / "results" / folder / "measurements.jsonl"


def stored(place: Path, folder: str = "raspberry-pi-5-fake") -> list[tuple[str, int]]:
    path = results(place, folder)
    records = measurement.read([path]) if path.exists() else []
    return sorted((record.artifact_name, record.threads) for record in records if isinstance(record, Measurement))


# what is measured, and what not again


def test_recipes_of_a_model_are_measured_together_on_the_cores_there_are(
    run: ModuleType, place: Path, fake: Make
) -> None:
    device = fake()
    assert start(run, place, device) == 0
    assert device.asked == [(threads, list(pair)) for pair in (FILES[:2], FILES[2:]) for threads in (1, 2)]
    assert stored(place) == ALL


def test_nothing_is_measured_twice(run: ModuleType, place: Path, fake: Make) -> None:
    start(run, place, fake())
    lines = results(place).read_bytes().splitlines(keepends=True)
    results(place).write_bytes(b"".join(lines[:3]) + lines[3][:100])  # a kill in the middle of the fourth
    again = fake()
    assert start(run, place, again) == 0
    assert again.asked[0] == (2, ["one-32-int8"])
    assert stored(place) == ALL
    assert results(place).read_bytes().startswith(b"".join(lines[:3]))
    idle = fake()
    assert start(run, place, idle) == 0
    assert idle.asked == []


def test_a_rebuilt_file_and_a_new_protocol_are_measured_anew(run: ModuleType, place: Path, fake: Make) -> None:
    start(run, place, fake())
    former = results(place).read_bytes()
    (place / "zoo" / "one-32-int8.tflite").write_bytes(b"1234TFL3 rebuilt")
    rebuilt = fake()
    start(run, place, rebuilt)
    assert rebuilt.asked == [(1, ["one-32-int8"]), (2, ["one-32-int8"])]
    (place / "campaign.toml").write_text(CAMPAIGN.replace("min_runs = 1", "min_runs = 2"))
    other = fake()
    start(run, place, other)
    assert len(other.asked) == 4
    assert results(place).read_bytes().startswith(former)  # what nobody asks for any more stays


@pytest.mark.parametrize("change", ["cores = [1, 0]", 'meter = "pmic"'])
def test_other_cores_and_another_meter_are_measured_anew_and_once(
    run: ModuleType, place: Path, fake: Make, change: str
) -> None:
    start(run, place, fake())
    (place / "campaign.toml").write_text(CAMPAIGN.replace('"ssh://a" }', f'"ssh://a", {change} }}'))
    other, idle = fake(), fake()
    start(run, place, other)
    start(run, place, idle)
    assert len(other.asked) == 4
    assert idle.asked == []


def test_results_that_name_no_meter_count_as_those_of_the_usual_one(run: ModuleType, place: Path, fake: Make) -> None:
    start(run, place, fake())
    older = results(place).read_bytes()
    assert older.count(b'"meter":"auto",') == len(ALL)
    results(place).write_bytes(older.replace(b'"meter":"auto",', b""))
    idle = fake()
    assert start(run, place, idle) == 0
    assert idle.asked == []


def test_files_with_the_same_content_are_one(run: ModuleType, place: Path, fake: Make) -> None:
    (place / "zoo" / "two-32-int8.tflite").write_bytes((place / "zoo" / "one-32-float32.tflite").read_bytes())
    assert start(run, place, fake()) == 0
    assert stored(place) == [found for found in ALL if found[0] != "two-32-int8"]


def test_a_device_has_its_own_threads_cores_meter_and_folder(campaigns: ModuleType, place: Path) -> None:
    own = '{ where = "ssh://a", threads = [1, 4], cores = [4, 5], meter = "pmic", folder = "fan" }'
    (place / "campaign.toml").write_text(CAMPAIGN.replace('{ where = "ssh://a" }', own))
    campaign = campaigns.read(place / "campaign.toml")
    (session,) = campaign.sessions(campaign.devices[0], cores=8)  # two cores have no room for four threads
    assert session == Session(Protocol("p", 0.0, 1, 0.0), 1, "pmic", (4, 5))


def test_files_are_named_in_lists_that_are_interleaved(run: ModuleType, place: Path, fake: Make) -> None:
    text = re.sub("(?m)^(models|recipes).*\n", "", CAMPAIGN)
    listed = 'files = [["one-32-int8.tflite", "two-32-int8.tflite"], ["two-32-float32.tflite"]]\n'
    (place / "campaign.toml").write_text(listed + text.replace("[1, 2, 4]", "[1]"))
    device = fake()
    assert start(run, place, device) == 0
    assert device.asked == [(1, ["one-32-int8", "two-32-int8"]), (1, ["two-32-float32"])]


@given(st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=5), st.sets(st.integers(1, 4)))
def test_every_content_is_asked_once_per_number_of_threads(groups: list[list[int]], threads: set[int]) -> None:
    import campaign as module

    artifacts = [[Artifact(Path(f"{number}.tflite"), str(number), 8) for number in group] for group in groups]
    sessions = [Session(bench.QUICK, count) for count in sorted(threads)]
    for counts in (False, True):
        asked = [task.key(file) for task in module.tasks(artifacts, sessions, counts) for file in task.artifacts]
        way = None if counts else (bench.QUICK, (), "random", "none")
        contents = {str(number) for group in groups for number in group}
        assert len(asked) == len(set(asked))
        assert set(asked) == {(content, count, way) for content in contents for count in threads}


class CountingCore(Emulated):
    """An emulated core that counts nothing."""

    def count(self, artifacts: Any, session: Session, progress: Any = None) -> list[Instructions]:
        assert session.threads == 1
        return [
            Instructions(
                file.sha256,
                file.name,
                None,
                None,
                8,
                self.name,
                "cortex-a76",
                "r",
                "1",
                5,
                0,
                0,
                0,
                0,
                0,
                0.0,
                "x86",
                "t",
            )
            for file in artifacts
        ]


def test_an_emulated_core_counts_each_file_once_and_waits_for_this_machine(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    both = '{ where = "local" }, { where = "emulated:cortex-a76" }'
    (place / "campaign.toml").write_text(CAMPAIGN.replace('{ where = "ssh://a" }', both))
    others = {"emulated:cortex-a76": CountingCore("cortex-a76")}
    assert start(run, place, fake(pause_s=0.05), others=others) == 0
    told = [
        line.partition(": ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith(("local", "em"))
    ]
    assert told == ["local"] * 8 + ["emulated:cortex-a76"] * 4
    assert start(run, place, fake(), others=others) == 0
    counted = measurement.read([results(place, "cortex-a76-emulated")])
    assert [record.artifact_name for record in counted] == list(FILES)


# what is chosen and shown


def test_a_dry_run_lists_what_is_due_and_touches_nothing(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    device = fake()
    assert start(run, place, device, "--dry-run") == 0
    assert device.asked == [] and not (place / "results").exists()
    start(run, place, fake(), "--only", "one-*")
    capsys.readouterr()
    assert start(run, place, device, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "ssh://a: 4 of 8 due" in shown and "two-32-int8, 2 threads" in shown and "one-32" not in shown


def test_device_and_only_restrict(run: ModuleType, place: Path, fake: Make) -> None:
    (place / "campaign.toml").write_text(TWO_DEVICES)
    first, second = fake("A"), fake("B")
    both = {"ssh://a": first, "ssh://b": second}
    assert start(run, place, None, "--device", "ssh://b", "--only", "two-32-int8.tflite", others=both) == 0
    assert first.asked == []
    assert second.asked == [(1, ["two-32-int8"]), (2, ["two-32-int8"])]
    assert start(run, place, None, "--device", "ssh://c", others=both) == UnknownNameError.exit_code
    assert start(run, place, None, "--only", "three*", others=both) == UsageError.exit_code


def test_the_table_says_what_is_done_and_left(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    start(run, place, fake(), "--only", "one-32-int8")
    capsys.readouterr()
    start(run, place, fake(failure=GONE, sessions=1))
    row = [cell.strip() for cell in re.findall(r"│ ssh://a .*", capsys.readouterr().out)[0].split("│")[1:-1]]
    assert row[:5] == ["ssh://a", "8", "2", "1", "5"]
    assert row[5].startswith("pi@host has said nothing")


# what fails


def test_missing_files_are_named_after_the_rest_was_measured(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "zoo" / "one-32-int8.tflite").unlink()
    (place / "zoo" / "two-32-int8.tflite").write_bytes(b"no model")
    assert start(run, place, fake()) == 3
    shown = capsys.readouterr().err
    assert "one-32-int8.tflite; run export/build.py" in shown and "two-32-int8.tflite is not a .tflite" in shown
    assert stored(place) == [found for found in ALL if not found[0].endswith("int8")]


def test_a_crashing_model_takes_no_other_with_it(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(run, place, fake(deadly=("one-32-int8",))) == 9
    assert "one-32-int8.tflite: the runtime died" in capsys.readouterr().err
    assert stored(place) == [found for found in ALL if found[0] != "one-32-int8"]


def test_a_device_that_vanishes_stops_no_other_and_goes_on_later(
    run: ModuleType, place: Path, fake: Make, make_unreachable: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    three = TWO_DEVICES.replace('"ssh://b" }', '"ssh://b" }, { where = "ssh://c" }')
    (place / "campaign.toml").write_text(three)
    others = {"ssh://a": fake("A", failure=GONE, sessions=2), "ssh://b": make_unreachable(failure=GONE)}
    assert start(run, place, fake("C"), others=others) == GONE.exit_code
    shown = capsys.readouterr().err
    assert shown.count("said nothing for 60 s") == 2 and "ssh://a: " in shown and "ssh://b: " in shown
    assert stored(place, "a") == [found for found in ALL if found[0].startswith("one")]
    assert stored(place, "c") == ALL
    back = fake("A")
    assert start(run, place, None, others={"ssh://a": back, "ssh://b": fake("B"), "ssh://c": fake("C")}) == 0
    assert len(back.asked) == 2
    assert stored(place, "a") == stored(place, "b") == ALL


def test_a_bug_and_a_dying_process_stop_no_other_device(
    run: ModuleType, place: Path, fake: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    (place / "campaign.toml").write_text(TWO_DEVICES)

    class Dying(type(fake())):  # type: ignore[misc]
        def run(self, *_: object) -> list[Measurement]:
            os.kill(os.getpid(), signal.SIGKILL)
            return []

    others = {"ssh://a": fake("A", failure=ZeroDivisionError("oops"), sessions=1), "ssh://b": Dying(called="B")}
    assert start(run, place, None, others=others) == EdgekitError.exit_code
    shown = capfd.readouterr().err
    assert "ssh://a: ZeroDivisionError: oops" in shown and "ssh://b: the process that measures died (SIGKILL)" in shown
    assert len(stored(place, "a")) == 2


def test_two_boards_of_one_kind_need_folders_of_their_own(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "campaign.toml").write_text(TWO_DEVICES)
    assert start(run, place, fake()) == UsageError.exit_code
    assert "give one of them another folder" in capsys.readouterr().err
    assert stored(place) == ALL
    (place / "campaign.toml").write_text(TWO_DEVICES.replace('"ssh://b" }', '"ssh://b", folder = "other" }'))
    assert start(run, place, fake()) == 0
    assert stored(place, "other") == ALL


def test_garbage_among_the_results_is_named_and_left_alone(
    run: ModuleType, place: Path, fake: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    start(run, place, fake())
    first, *rest = results(place).read_bytes().splitlines(keepends=True)
    results(place).write_bytes(content := first + b"<<<<<<< HEAD\n" + b"".join(rest[:2]) + b'{"torn')
    device = fake()
    assert start(run, place, device) == FileFormatError.exit_code
    assert "measurements.jsonl, line 2: not a result" in capsys.readouterr().err
    assert device.asked == [] and results(place).read_bytes() == content


def test_results_of_a_newer_edgekit_are_not_taken_for_ours(run: ModuleType, place: Path, fake: Make) -> None:
    start(run, place, fake())
    content = results(place).read_bytes().replace(b'"schema":2', b'"schema":3')
    results(place).write_bytes(content)
    assert start(run, place, fake()) == FileFormatError.exit_code
    assert results(place).read_bytes() == content


# a full disk


@pytest.fixture
def small_disk(place: Path) -> Path:
    """A file system of 16 kB in the place of the results."""
    folder = place / "results"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_it_and_room_lets_it_go_on(
    run: ModuleType, place: Path, fake: Make, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(8192))  # leaves a page or two for folder, lock and results
    device = fake()
    assert start(run, place, device) == 8
    assert "No space left on device" in capsys.readouterr().err
    had = stored(place)
    assert len(device.asked) < 4 or len(had) < 8
    ballast.unlink()
    assert start(run, place, fake()) == 0
    assert stored(place) == ALL


def test_a_write_that_stops_halfway_loses_and_doubles_nothing(
    run: ModuleType, place: Path, fake: Make, lanes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up within the third session's lines: the system writes a part and then refuses."""
    append, calls = measurement.append, []

    def full(path: Path, *records: Any) -> None:
        calls.append(path)
        if len(calls) < 3:
            return append(path, *records)
        import resource

        room = path.stat().st_size + 900  # within the second of two lines
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        return append(path, *records)

    monkeypatch.setattr(measurement, "append", full)
    assert start(run, place, fake()) == 8
    monkeypatch.undo()
    assert not results(place).read_bytes().endswith(b"\n")
    assert set(stored(place)) < set(ALL)
    assert start(run, place, fake()) == 0
    assert stored(place) == ALL


def test_a_sessions_results_are_one_write_and_a_new_files_name_is_synced_too(
    place: Path, make_device: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [Artifact(place / "x.tflite", digit * 64, 8) for digit in "abc"]
    records = make_device().run(files, Session(bench.QUICK))
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())), fsync(handle))
    )
    path = place / "new" / "measurements.jsonl"
    measurement.append(path, *records)
    assert synced == [str(path), str(path.parent)]
    measurement.append(path, *records[:1])
    assert synced[2:] == [str(path)]
    assert measurement.read([path]) == [*records, records[0]]


# stopped, killed, and started twice


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(
    run: ModuleType, place: Path, fake: Make, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "campaign.toml").write_text(TWO_DEVICES)
    others = {"ssh://a": fake("A", pause_s=0.2), "ssh://b": fake("B", pause_s=30.0)}
    timer = threading.Timer(0.6, os.kill, (os.getpid(), number))
    timer.start()
    begin = time.monotonic()
    assert start(run, place, None, others=others) == 128 + number
    assert time.monotonic() - begin < 5
    timer.join()
    shown = capsys.readouterr().out
    assert f"stopped by {number.name}" in shown and "goes on from here" in shown
    assert len(stored(place, "a")) in (2, 4, 6) and stored(place, "b") == []
    assert start(run, place, None, others={"ssh://a": fake("A"), "ssh://b": fake("B")}) == 0
    assert stored(place, "a") == stored(place, "b") == ALL


def test_ctrl_c_at_a_real_campaign_leaves_no_process(kills: ModuleType, tmp_path: Path) -> None:
    kills.prepare(tmp_path, models=4)
    process, said = kills.start(tmp_path)
    kills.await_result(process, said)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    assert process.wait(15) == 130
    kills.none_left(tmp_path)
    kills.check(tmp_path / "results", {}, said)
    assert "the file is damaged" not in said.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed campaign's processes end a little later")
def test_kills_at_random_moments_lose_and_double_nothing(kills: ModuleType, tmp_path: Path) -> None:
    outcome = kills.torment(tmp_path, kills=6, seed=1, models=4)
    assert outcome.kills == 6


def test_two_campaigns_at_once_do_not_mix(
    run: ModuleType,
    place: Path,
    fake: Make,
    lanes: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second is told who has the results, and takes over once the first was killed."""
    monkeypatch.setattr(lanes, "PATIENCE_S", 0.3)
    slow = fake(pause_s=60.0)
    first = os.fork()
    if first == 0:
        start(run, place, slow)
        os._exit(0)
    try:
        while not slow.asked:
            time.sleep(0.02)
        second = fake()
        assert start(run, place, second) == 8
        assert re.search(rf"another campaign stores in .*: process {first} on ", capsys.readouterr().err)
        assert second.asked == []
    finally:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    monkeypatch.setattr(lanes, "PATIENCE_S", 5.0)
    assert start(run, place, fake()) == 0
    assert stored(place) == ALL


# the declaration


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("recipes", "recipies", "recip"),
        ("min_runs", "min_run", "min_runs"),
        ('name = "p"', 'name = "p", minimum = 3', "minimum"),
        (PROTOCOL, '"standart"', "standard"),
        ('{ where = "ssh://a" }', '{ where = "ssh://a" }, { where = "ssh://a" }', "twice"),
    ],
)
def test_a_declaration_with_a_typing_error_is_named(
    campaigns: ModuleType, run: ModuleType, place: Path, fake: Make, old: str, new: str, said: str
) -> None:
    (place / "campaign.toml").write_text(CAMPAIGN.replace(old, new))
    with pytest.raises(EdgekitError, match=said) as caught:
        campaigns.read(place / "campaign.toml")
    assert start(run, place, fake()) == caught.value.exit_code


def test_device_names_become_folders(lanes: ModuleType) -> None:
    assert lanes.slug("Raspberry Pi 5 Model B Rev 1.0") == "raspberry-pi-5-model-b-rev-1-0"
    assert lanes.slug("../../etc") == "etc"


def test_the_real_declaration_holds_together(campaigns: ModuleType) -> None:
    """Every model and recipe of the campaign is one that the zoo publishes, and every device can be found."""
    campaign = campaigns.read(ROOT / "benchmarks" / "campaign.toml")
    zoo = msgspec.toml.decode((ROOT / "export" / "zoo.toml").read_bytes())
    published = {(row["name"], name) for row in zoo["models"] for name in row["recipes"]}
    for model in campaign.models:
        parts = re.fullmatch(r"(\w+)-(\d+)", model)
        assert parts, model
        assert {(parts[1], name) for name in campaign.recipes} <= published, model
    assert {recipe.find(name).name for name in campaign.recipes} == set(campaign.recipes)
    from edgekit import devices

    for entry in campaign.devices:
        (session, *_) = campaign.sessions(entry, cores=4)
        assert session.protocol.min_runs >= 50 and session.protocol.min_seconds >= 1
        devices.find(entry.where)
