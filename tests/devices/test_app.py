"""Models into the demo app and results out of it, by the real adb client; the folders of the phone are on this machine.

No Android runs: pm and am are shell scripts, and the results are this machine's own.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from edgekit import artifact as artifacts
from edgekit import measurement
from edgekit.artifact import Artifact
from edgekit.devices import adb, app
from edgekit.devices.app import App
from edgekit.devices.local import Local
from edgekit.errors import FileFormatError, MissingError, OutputError, UsageError
from edgekit.measurement import Measurement, Protocol, Session
from tests.devices.test_adb import Phone, adb_client, adb_server, phone

__all__ = ["adb_client", "adb_server", "phone"]  # fixtures

SHORT = Session(Protocol("short", warmup_s=0.01, min_runs=5, min_seconds=0.01))


@pytest.fixture
def installed(phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """A phone with the app, whose files are under tmp_path/files."""
    files = tmp_path / "files of the app"
    monkeypatch.setattr(app, "MODELS", str(files / "models"))
    monkeypatch.setattr(app, "RESULTS", str(files / "results" / "results.jsonl"))
    (files / "results").mkdir(parents=True)
    phone.answer("pm", "echo package:/data/app/base.apk")
    yield App(phone.serial)


@pytest.fixture
def measured(tiny: Artifact) -> list[Measurement]:
    return [Local().run([tiny], SHORT)[0] for _ in range(2)]


@pytest.fixture
def on_phone() -> Callable[[list[Measurement]], Path]:
    def write(records: list[Measurement]) -> Path:
        path = Path(app.RESULTS)
        path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
        return path

    return write


def test_models_arrive_whole_under_their_own_names(installed: App, tiny: Artifact) -> None:
    assert installed.put([tiny]) == [f"{tiny.name}.tflite"]
    (sent,) = Path(app.MODELS).iterdir()
    assert sent.name == f"{tiny.name}.tflite" and sent.read_bytes() == tiny.path.read_bytes()
    installed.put([tiny])  # again: replaced, not doubled
    assert len(list(Path(app.MODELS).iterdir())) == 1


def test_a_hostile_name_is_only_a_name(installed: App, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "$(touch owned) 'x'; y.tflite"
    path.write_bytes(tiny.path.read_bytes())
    installed.put([artifacts.read(path)])
    assert [sent.name for sent in Path(app.MODELS).iterdir()] == [path.name]
    assert not list(tmp_path.rglob("owned")) and not Path("owned").exists()


def test_a_model_without_a_card_stays_here(installed: App, tiny: Artifact, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tflite"
    with zipfile.ZipFile(tiny.path) as tail:  # the flatbuffer ends where the tail's first member begins
        plain.write_bytes(tiny.path.read_bytes()[: min(member.header_offset for member in tail.infolist())])
    with pytest.raises(UsageError, match="has no card"):
        installed.put([artifacts.read(plain)])
    assert not Path(app.MODELS).exists()


def test_a_model_damaged_on_its_way_is_not_left_there(installed: App, phone: Phone, tiny: Artifact) -> None:
    phone.answer("sha256sum", "echo 0000000000000000000000000000000000000000000000000000000000000000")
    with pytest.raises(OutputError, match="arrived damaged"):
        installed.put([tiny])
    assert list(Path(app.MODELS).iterdir()) == []


def test_a_phone_without_the_app_says_where_to_get_it(phone: Phone, tiny: Artifact) -> None:
    for ask in (lambda: App(phone.serial).put([tiny]), App(phone.serial).fetch, App(phone.serial).how):
        with pytest.raises(MissingError, match=r"docs/android\.md"):
            ask()


def test_the_app_measures_though_the_phone_has_the_tool(installed: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "_found_tool", lambda self: "/data/local/tmp/benchmark_model")
    assert installed.how() == adb.APP


def test_results_are_fetched_as_they_were_written(installed: App, measured, on_phone) -> None:
    assert installed.fetch() == []
    path = on_phone(measured)
    with path.open("ab") as file:
        file.write(b'{"kind": "measurement", "artifact_sh')  # the app was killed within a line
    assert installed.fetch() == measured


def test_a_line_that_is_no_result_is_named(installed: App, measured, on_phone) -> None:
    with on_phone(measured).open("ab") as file:
        file.write(b'{"kind": "measurement"}\n')
    with pytest.raises(FileFormatError, match=r"^the app's results\.jsonl, line 3: not a result"):
        installed.fetch()


def test_no_result_is_kept_twice(measured, tmp_path: Path) -> None:
    path = tmp_path / "kept" / "results.jsonl"
    assert app.keep(path, measured[:1]) == measured[:1]
    assert app.keep(path, [*measured, measured[1]]) == measured[1:]
    assert app.keep(path, measured) == [] and measurement.read([path]) == measured


def test_the_only_phone_is_found(phone: Phone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="adb knows no phone"):
        app.only_phone()
    App(phone.serial).examine()  # connects
    assert app.only_phone() == phone.serial


def test_more_phones_than_one_are_named(phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "bin"
    stand_in.mkdir()
    listed = "List of devices attached\\nA1\\tdevice\\nB2\\tdevice\\nC3\\toffline\\n"
    (stand_in / "adb").write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    (stand_in / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in}:{os.environ['PATH']}")
    with pytest.raises(MissingError, match=r"2 phones: A1, B2; choose with --device"):
        app.only_phone()


def test_pull_as_a_user_types_it(installed: App, phone: Phone, measured, on_phone, tmp_path: Path, capsys) -> None:
    from edgekit import cli

    on_phone(measured)
    kept = tmp_path / "kept.jsonl"
    asked = ["android", "pull", "--device", f"adb:{phone.serial}", "-o", str(kept), "--json"]
    assert cli.run(asked) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert cli.run(asked) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [] and "0 new of 2 results" in said.err
    assert measurement.read([kept]) == measured


def test_push_and_bench_as_a_user_types_them(installed, phone, tiny, measured, tmp_path, monkeypatch, capsys) -> None:
    from edgekit import cli

    where = ["--device", f"adb:{phone.serial}"]
    assert cli.run(["android", "push", str(tiny.path), *where]) == 0
    assert f"{tiny.name}.tflite: on the phone" in capsys.readouterr().out
    answers = tmp_path / "answers"
    answers.mkdir()
    monkeypatch.setattr(adb, "RESULTS", str(answers))
    (tmp_path / "answer").write_bytes(msgspec.json.encode(measured[0]))
    phone.answer(
        "am",
        "for word; do last=$word; done\n"
        'id=$(printf \'%s\' "$last" | sed \'s/.*"id":"\\([0-9a-f]*\\)".*/\\1/\')\n'
        f"cp {tmp_path}/answer {answers}/$id.json",
    )
    monkeypatch.setattr(adb, "FOLDER", str(tmp_path / "models"))
    monkeypatch.setattr(App.__init__, "__defaults__", (None, str(tmp_path / "models")))
    kept = tmp_path / "kept.jsonl"
    assert cli.run(["android", "bench", str(tiny.path), *where, "-o", str(kept)]) == 0
    (found,) = measurement.read([kept])
    assert found == msgspec.structs.replace(measured[0], meter="auto")  # what was asked for, here and not of the app


def test_another_device_than_a_phone_is_refused(capsys) -> None:
    from edgekit import cli

    assert cli.run(["android", "pull", "--device", "ssh://pi@board"]) == 2
    assert "write --device adb:SERIAL" in capsys.readouterr().err
