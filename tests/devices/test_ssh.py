"""A board behind ssh: the whole way from request to record on this machine, and everything that can break on it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.emulated_board import wait_for
from edgekit import artifact as artifacts
from edgekit import board, errors
from edgekit.artifact import Artifact
from edgekit.compress import packing
from edgekit.devices import _openssh, ssh
from edgekit.devices._openssh import Address
from edgekit.devices.ssh import Ssh
from edgekit.errors import ChecksumError, MissingError, ModelCrashError, OutputError, UsageError
from edgekit.measurement import Protocol, Session

SHORT = Session(Protocol("short", warmup_s=0.01, min_runs=5, min_seconds=0.01))
WHERE = "ssh://pi@board"


@pytest.fixture(autouse=True)
def own_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The near board's lock is this machine's own; another benchmark on it must not fail these tests."""
    wait_until_free()


def wait_until_free() -> None:
    if not board.LOCK.exists():
        return
    with board.LOCK.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("ssh://pi@raspberrypi.local", Address("raspberrypi.local", "pi")),
        ("ssh://board:2222", Address("board", None, 2222)),
        ("ssh://pi@[fe80::1%eth0]:22", Address("fe80::1%eth0", "pi", 22)),
        ("ssh://u_1@10.0.0.7/", Address("10.0.0.7", "u_1")),
    ],
)
def test_addresses_are_read(where: str, expected: Address) -> None:
    assert _openssh.parse(where) == expected


@pytest.mark.parametrize(
    "where",
    [
        "ssh://",
        "ssh://-oProxyCommand=touch /tmp/x",
        "ssh://pi@-oProxyCommand=x",
        "ssh://-l@board",
        "ssh://$(touch x)@board",
        "ssh://pi@$(touch x)",
        "ssh://pi@bo ard",
        "ssh://pi@bo'ard",
        'ssh://pi@bo"ard',
        "ssh://pi@board;reboot",
        "ssh://pi@board`id`",
        "ssh://pi@board:port",
        "ssh://pi@board:99999",
        "ssh://pi@board/path",
        "ssh://pi@board?x=1",
        "ssh://pi@board\nnext",
    ],
)
def test_what_could_be_an_option_or_a_command_is_no_address(where: str) -> None:
    with pytest.raises(UsageError, match="write ssh://"):
        _openssh.parse(where)


@given(st.text())
def test_no_text_becomes_an_option_or_shell_text(text: str) -> None:
    try:
        address = _openssh.parse(f"ssh://{text}")
    except UsageError:
        return
    for part in (address.host, address.user or "x"):
        assert re.fullmatch(r"[A-Za-z0-9_:][A-Za-z0-9._:%$-]*", part)


def test_a_host_cannot_be_an_option_even_to_ssh() -> None:
    words = _openssh.command(Address("board", "pi", 22))
    assert words[-3:-1] == ["--", "board"]
    assert "BatchMode=yes" in words


def test_models_are_measured_by_the_board_and_named_as_here(near_board, tiny: Artifact, tiny_float: Artifact) -> None:
    shares: list[float] = []
    measured = Ssh(WHERE).run([tiny, tiny_float], SHORT, shares.append)
    assert [record.artifact_sha256 for record in measured] == [tiny.sha256, tiny_float.sha256]
    assert [record.artifact_name for record in measured] == [tiny.name, tiny_float.name]
    assert all(len(record.latency_ns) >= 5 for record in measured)
    assert measured[0].recipe == "int8"
    assert shares == sorted(shares) and shares[-1] == 1


def test_models_and_edgekit_are_sent_once(near_board, tiny: Artifact) -> None:
    Ssh(WHERE).run([tiny], SHORT)
    files = {path: path.stat().st_ino for path in near_board.cache.glob("*/*")}
    assert {path.parent.name for path in files} == {"models", "env"}
    Ssh(WHERE).run([tiny], SHORT)
    assert {path: path.stat().st_ino for path in near_board.cache.glob("*/*")} == files


def test_a_file_name_never_reaches_a_shell(near_board, tiny: Artifact, tmp_path: Path) -> None:
    names = [
        "$(touch owned).tflite",
        "-o ProxyCommand=x.tflite",
        "a 'b' \"c\" `touch owned`;touch owned.tflite",
        "ü\n.tflite",
    ]
    hostile = []
    for number, name in enumerate(names):
        path = tmp_path / name
        path.write_bytes(tiny.path.read_bytes() + bytes([number]))
        hostile.append(artifacts.read(path))
    measured = Ssh(WHERE).run(hostile, SHORT)
    assert [record.artifact_name for record in measured] == [artifact.name for artifact in hostile]
    assert not list(tmp_path.rglob("owned")) and not Path("owned").exists()


def test_a_cut_transfer_goes_on_where_it_was(near_board, tiny: Artifact) -> None:
    content = tiny.path.read_bytes()
    part = near_board.cache / "models" / f"{tiny.sha256}.tflite.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:1000])
    sent: list[int] = []
    address = _openssh.parse(WHERE)
    with _openssh.link(address) as link:
        held = link.ask("held", kind="models", names=[tiny.sha256])
        link.send("models", tiny.sha256, content, held[tiny.sha256]["bytes"], sent.append)
    assert sum(sent) == len(content) - 1000
    assert part.with_suffix("").read_bytes() == content
    assert not part.exists()


def test_a_link_cut_within_a_file_leaves_nothing_that_is_used(near_board, tiny: Artifact) -> None:
    whole = near_board.cache / "models" / f"{tiny.sha256}.tflite"
    with _openssh.link(_openssh.parse(WHERE)) as link:
        request = {"verb": "put", "kind": "models", "name": tiny.sha256, "offset": 0, "size": tiny.size_bytes}
        link.send_line(json.dumps(request).encode())
        link.send_line(tiny.path.read_bytes()[:1999])
    wait_for(lambda: whole.with_suffix(".tflite.part").exists())
    assert not whole.exists()
    assert Ssh(WHERE).run([tiny], SHORT)[0].artifact_sha256 == tiny.sha256
    assert whole.read_bytes() == tiny.path.read_bytes()


def test_a_part_that_holds_something_else_is_sent_anew(near_board, tiny: Artifact) -> None:
    part = near_board.cache / "models" / f"{tiny.sha256}.tflite.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else")
    assert Ssh(WHERE).run([tiny], SHORT)
    assert not part.exists() and part.with_suffix("").read_bytes() == tiny.path.read_bytes()


def test_a_damaged_copy_on_the_board_is_noticed(near_board, tiny: Artifact) -> None:
    Ssh(WHERE).run([tiny], SHORT)
    copy = near_board.cache / "models" / f"{tiny.sha256}.tflite"
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    with pytest.raises(MissingError, match="had changed"):
        Ssh(WHERE).run([tiny], SHORT)
    assert Ssh(WHERE).run([tiny], SHORT)


def test_a_file_that_changed_here_is_not_sent(near_board, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "changed.tflite"
    path.write_bytes(tiny.path.read_bytes())
    read = artifacts.read(path)
    path.write_bytes(tiny.path.read_bytes() + b"!")
    with pytest.raises(ChecksumError, match="changed while it was waiting"):
        Ssh(WHERE).run([read], SHORT)


def test_a_full_disk_is_said_and_nothing_half_written_stays_in_use(near_board, tiny: Artifact) -> None:
    near_board.before("ulimit -f 8; trap '' XFSZ")  # no file over 4 KiB: writing fails as on a full disk, as EFBIG
    with pytest.raises((MissingError, OutputError), match=r"too large|no room"):
        Ssh(WHERE).run([tiny], SHORT)
    assert not [path for path in near_board.cache.rglob("*") if path.is_file() and path.suffix != ".part"]


def test_an_error_on_the_board_is_the_same_error_here(near_board, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(tiny.path.read_bytes()[:600])
    broken = Artifact(path, artifacts.sha256_of(path), 600)
    with pytest.raises((errors.FileFormatError, ModelCrashError), match=re.escape(str(path))):
        Ssh(WHERE).run([broken], SHORT)


def test_a_board_without_python_is_told_from_one_that_is_away(near_board) -> None:
    (near_board.folder / "python3").write_text("#!/bin/sh\nexit 127\n")
    with pytest.raises(MissingError, match="has no python3; run there: sudo apt install python3"):
        Ssh(WHERE).fingerprint()


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ssh: Could not resolve hostname board: Name or service not known", "no such host"),
        ("ssh: connect to host board port 22: Connection refused", "enable ssh"),
        ("No ED25519 host key is known for board.\nHost key verification failed.", "connect once by hand"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R board"),
        ("pi@board: Permission denied (publickey).", "ssh-copy-id pi@board"),
        ("ssh: connect to host board port 22: Connection timed out", "does not answer"),
    ],
)
def test_what_ssh_complains_of_comes_with_advice(near_board, said: str, advice: str) -> None:
    near_board.before(f"printf '%s\\n' '{said}' >&2; exit 255")
    with pytest.raises(MissingError, match=advice):
        Ssh(WHERE).fingerprint()


def test_a_board_that_says_nothing_is_given_up(near_board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openssh, "SILENCE_S", 0.5)
    near_board.before("exec sleep 100")
    with _openssh.link(_openssh.parse(WHERE)) as link, pytest.raises(MissingError, match=r"has said nothing|hangs"):
        link.ask("hello", 0.5, modules=[])


def test_what_a_login_prints_is_no_answer(near_board, tiny: Artifact) -> None:
    near_board.before("echo 'Welcome to the board'; echo '{\"share\": 3}'")
    assert Ssh(WHERE).run([tiny], SHORT)


def _children(home: str) -> list[int]:
    """The processes of the board with that home: Python that the link started, and what that forked."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
            if b"os.read(0,1)" in command and f"HOME={home}".encode() in environment.split(b"\0"):
                found.append(int(path.name))
    return found


LONG = Session(Protocol("long", warmup_s=0.01, min_runs=1, min_seconds=60.0))


def test_a_board_that_dies_within_a_run_is_an_error(near_board, tiny: Artifact) -> None:
    broken: list[MissingError] = []

    def run() -> None:
        try:
            Ssh(WHERE).run([tiny], LONG)
        except MissingError as error:
            broken.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    home = str(near_board.home)
    wait_for(lambda: len(_children(home)) >= 2)  # the board's process and the child that measures
    os.killpg(os.getpgid(_children(home)[0]), signal.SIGKILL)
    thread.join(20)
    assert "the link to pi@board broke" in str(broken[0])


def test_what_runs_on_the_board_ends_with_the_link(near_board, tiny: Artifact) -> None:
    home = str(near_board.home)

    def interrupt(share: float) -> None:
        assert _children(home)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Ssh(WHERE).run([tiny], LONG, lambda share: interrupt(share) if share > 0.3 else None)
    wait_for(lambda: not _children(home), 5)


def test_one_benchmark_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    busy = pytest.raises(MissingError, match="busy: ann on desk benchmarks on it since")
    with board.held_alone(lock, "ann on desk"), busy, board.held_alone(lock, "bob"):
        pass
    with board.held_alone(lock, "bob"):
        assert "bob" in lock.read_text()


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    pid = os.fork()
    if pid == 0:
        with board.held_alone(lock, "dead"):
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert "dead" in lock.read_text()
    with board.held_alone(lock, "next"):
        assert "next" in lock.read_text()


def test_a_lock_is_not_a_link_to_another_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(MissingError, match="cannot open the lock"), board.held_alone(tmp_path / "lock", "x"):
        pass
    assert precious.read_text() == "kept"


def test_a_board_whose_clock_is_in_the_past_dates_by_this_one(near_board, tiny: Artifact) -> None:
    record = Ssh(WHERE).run([tiny], SHORT)[0]
    past = ssh._redated(record, -3600.0)
    began, shown = map(datetime.datetime.fromisoformat, (record.started_utc, past.started_utc))
    assert (shown - began).total_seconds() == 3600
    assert ssh._redated(record, 0.5) is record


def test_the_fingerprint_is_the_boards(near_board) -> None:
    device = Ssh(WHERE)
    found = device.fingerprint()
    assert found.runtime in ("ai-edge-litert", "tflite-runtime")
    assert device.name
    facts, findings = device.examine()
    assert facts.bits == 64 and abs(facts.clock_ahead_s) < 30
    assert {"Python", "runtime", "processor"} <= {finding.what for finding in findings}


def test_a_compressed_model_travels_as_it_is_and_is_unpacked_there(near_board, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "small.ekz"
    path.write_bytes(packing.pack(tiny.path.read_bytes()).content)
    (record,) = Ssh(WHERE).run([artifacts.read(path)], SHORT)
    assert (record.artifact_sha256, record.artifact_name) == (tiny.sha256, "small")
    (sent,) = (near_board.cache).rglob("models/*.tflite")
    assert sent.read_bytes() == path.read_bytes()
