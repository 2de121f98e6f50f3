"""`bench --device` and `doctor --device` as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgekit import devices
from edgekit.devices.adb import Adb
from edgekit.devices.app import App
from edgekit.devices.emulated import Emulated
from edgekit.devices.local import Local
from edgekit.devices.ssh import Ssh
from edgekit.errors import UsageError


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("local", Local),
        ("ssh://pi@board", Ssh),
        ("adb:SERIAL", Adb),
        ("adb:10.0.0.7:5555", Adb),
        ("app:SERIAL", App),
        ("emulated:cortex-a72", Emulated),
    ],
)
def test_a_device_is_found_by_how_it_is_written(where: str, kind: type) -> None:
    assert type(devices.find(where)) is kind


@pytest.mark.parametrize("where", ["", "pi@board", "telnet://board", "-v", "usb:1"])
def test_what_is_no_device_is_refused_with_how_to_write_one(where: str) -> None:
    with pytest.raises(UsageError, match="write local, ssh://user@host"):
        devices.find(where)


def test_the_phones_tool_is_for_phones() -> None:
    with pytest.raises(UsageError, match="is for phones"):
        devices.find("local", Path("benchmark_model"))


@pytest.fixture
def edgekit_here(near_board, run_edgekit):
    """The command line with the near board's ssh on its path."""
    return lambda *words: run_edgekit(*words, env={"PATH": os.environ["PATH"]})


def test_bench_over_ssh_appends_the_boards_records(near_board, edgekit_here, tiny, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    done = edgekit_here("bench", tiny.path, "--device", "ssh://pi@board", "-o", results, "--json", "--meter", "none")
    assert done.returncode == 0, done.stderr
    assert json.loads(results.read_text())["artifact_sha256"] == tiny.sha256


def test_a_board_that_cannot_be_reached_is_one_line_and_exit_code_7(near_board, edgekit_here, tiny, tmp_path) -> None:
    near_board.before("echo 'ssh: connect to host board port 22: Connection refused' >&2; exit 255")
    done = edgekit_here("bench", tiny.path, "--device", "ssh://pi@board", "-o", tmp_path / "r.jsonl")
    assert done.returncode == 7
    assert done.stderr.startswith("edgekit: cannot reach pi@board: nothing answers on that port")
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "r.jsonl").exists()


def test_doctor_tells_what_a_board_is(near_board, edgekit_here) -> None:
    done = edgekit_here("doctor", "--device", "ssh://pi@board", "--json")
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["ssh://pi@board"]["ok"] and "64-bit programs" in found["ssh://pi@board"]["found"]
    assert {"clock", "free space", "Python", "runtime", "delegate", "energy meter"} <= found.keys()
    assert "export stack" not in found  # a board exports nothing


def test_doctor_makes_a_finding_of_what_stops_it(near_board, edgekit_here) -> None:
    (near_board.folder / "python3").write_text("#!/bin/sh\nexit 127\n")
    done = edgekit_here("doctor", "--device", "ssh://pi@board", "--json")
    (found,) = json.loads(done.stdout)
    assert not found["ok"] and "sudo apt install python3" in found["remedy"]
