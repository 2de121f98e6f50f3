"""The campaign: what is declared is measured once, and a stopped run goes on."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from edgekit import measurement, recipe
from edgekit.errors import FileFormatError, OutputError
from edgekit.measurement import Measurement

ROOT = Path(__file__).parents[2]
CAMPAIGN = 'threads = [1, 2, 4]\nrecipes = ["float32", "int8"]\nmodels = ["one-32", "two-32"]\n'
PROTOCOL = 'name = "p"\nwarmup_s = 0.0\nmin_runs = 1\nmin_seconds = 0.0\n'
FILES = ("one-32-float32", "one-32-int8", "two-32-float32", "two-32-int8")


@pytest.fixture
def place(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with declarations and with four files in `zoo`."""
    monkeypatch.setattr(run, "HERE", tmp_path)
    (tmp_path / "campaign.toml").write_text(CAMPAIGN)
    (tmp_path / "protocol.toml").write_text(PROTOCOL)
    (tmp_path / "zoo").mkdir()
    for name in FILES:
        (tmp_path / "zoo" / f"{name}.tflite").write_bytes(b"1234TFL3" + name.encode())
    return tmp_path


def start(run: ModuleType, place: Path, device: Any) -> int:
    code: int = run.main(["--artifacts", str(place / "zoo"), "--results", str(place / "results")], device)
    return code


def stored(place: Path) -> list[tuple[str, int]]:
    records = measurement.read([place / "results" / "raspberry-pi-5-fake" / "measurements.jsonl"])
    return [(record.artifact_name, record.threads) for record in records if isinstance(record, Measurement)]


def test_recipes_of_a_model_are_measured_together_on_the_cores_there_are(
    run: ModuleType, place: Path, make_device: Any
) -> None:
    device = make_device()
    assert start(run, place, device) == 0
    assert device.asked == [(threads, list(pair)) for pair in (FILES[:2], FILES[2:]) for threads in (1, 2)]
    assert sorted(stored(place)) == sorted((name, threads) for name in FILES for threads in (1, 2))


def test_nothing_is_measured_twice(run: ModuleType, place: Path, make_device: Any) -> None:
    start(run, place, make_device())
    path = place / "results" / "raspberry-pi-5-fake" / "measurements.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:100])  # a kill in the middle of the fourth
    again = make_device()
    assert start(run, place, again) == 0
    assert again.asked[0] == (2, ["one-32-int8"])
    assert sorted(stored(place)) == sorted((name, threads) for name in FILES for threads in (1, 2))
    idle = make_device()
    assert start(run, place, idle) == 0
    assert idle.asked == []


def test_a_rebuilt_file_and_a_new_protocol_are_measured_anew(run: ModuleType, place: Path, make_device: Any) -> None:
    start(run, place, make_device())
    (place / "zoo" / "one-32-int8.tflite").write_bytes(b"1234TFL3 rebuilt")
    rebuilt = make_device()
    start(run, place, rebuilt)
    assert rebuilt.asked == [(1, ["one-32-int8"]), (2, ["one-32-int8"])]
    (place / "protocol.toml").write_text(PROTOCOL.replace("min_runs = 1", "min_runs = 2"))
    other = make_device()
    start(run, place, other)
    assert len(other.asked) == 4


def test_missing_files_are_named_after_the_rest_was_measured(
    run: ModuleType, place: Path, make_device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "zoo" / "one-32-int8.tflite").unlink()
    assert start(run, place, make_device()) == 7
    assert "one-32-int8.tflite; run export/build.py" in capsys.readouterr().err
    assert len(stored(place)) == 6


def test_a_crashing_model_does_not_end_the_campaign(
    run: ModuleType, place: Path, make_device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(run, place, make_device(deadly=("one-32-int8",))) == 9
    assert "one-32-int8.tflite: the runtime died" in capsys.readouterr().err
    assert sorted(stored(place)) == sorted((name, threads) for name in FILES[2:] for threads in (1, 2))


def test_a_full_disk_ends_it(run: ModuleType, place: Path, make_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("cannot append: No space left on device")

    monkeypatch.setattr(measurement, "append", full)
    device = make_device()
    assert start(run, place, device) == 8
    assert len(device.asked) == 1


def test_a_declaration_with_a_typing_error_is_named(run: ModuleType, place: Path, make_device: Any) -> None:
    (place / "campaign.toml").write_text(CAMPAIGN.replace("recipes", "recipies"))
    with pytest.raises(FileFormatError, match=r"campaign\.toml: .*recip"):
        run._declared("campaign.toml", run.Campaign)
    assert start(run, place, make_device()) == 3


def test_device_names_become_folders(run: ModuleType) -> None:
    assert run.slug("Raspberry Pi 5 Model B Rev 1.0") == "raspberry-pi-5-model-b-rev-1-0"
    assert run.slug("../../etc") == "etc"


def test_the_real_declarations_hold_together(run: ModuleType) -> None:
    """Every model and recipe of the campaign is one that the zoo publishes."""
    campaign = run._declared("campaign.toml", run.Campaign)
    protocol = run._declared("protocol.toml", run.Protocol)
    zoo = msgspec.toml.decode((ROOT / "export" / "zoo.toml").read_bytes())
    published = {(row["name"], name) for row in zoo["models"] for name in row["recipes"]}
    for model in campaign.models:
        parts = re.fullmatch(r"(\w+)-(\d+)", model)
        assert parts, model
        assert {(parts[1], name) for name in campaign.recipes} <= published, model
    assert {recipe.find(name).name for name in campaign.recipes} == set(campaign.recipes)
    assert protocol.min_runs >= 50 and protocol.min_seconds >= 1
