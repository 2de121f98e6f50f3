"""A real ssh session to a real aarch64 sshd under emulation, with the real aarch64 runtime behind it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.emulated_board import free_port
from edgekit import artifact as artifacts
from edgekit import errors
from edgekit.artifact import Artifact
from edgekit.compress import packing
from edgekit.devices import _openssh, wheels
from edgekit.devices.ssh import Ssh
from edgekit.errors import MissingError, ModelCrashError, OutputError
from edgekit.measurement import Protocol, Session

pytestmark = [pytest.mark.emulated, pytest.mark.slow]
SHORT = Session(Protocol("short", warmup_s=0.01, min_runs=3, min_seconds=0.05))


@pytest.fixture(scope="module")
def needed_wheels() -> None:
    """The board's wheels, fetched before anything is timed; the network may be slow, or away."""
    try:
        wheels.fetch(wheels.target("aarch64", 64, (3, 11), "2.36"))
    except MissingError as error:
        (pytest.fail if os.environ.get("EDGEKIT_REQUIRE_ASSETS") else pytest.skip)(str(error))


@pytest.fixture(scope="module")
def board(needed_wheels, start_board):
    return start_board("cortex-a76")


@pytest.fixture(autouse=True)
def own_ssh(board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{board.bin}:{os.environ['PATH']}")


def test_an_empty_board_is_set_up_within_a_minute_and_then_reused(
    board, tiny: Artifact, tiny_float: Artifact, record_property
) -> None:
    began = time.monotonic()
    first = Ssh(board.where).run([tiny, tiny_float], SHORT)
    first_s = time.monotonic() - began
    began = time.monotonic()
    later = Ssh(board.where).run([tiny, tiny_float], SHORT)
    later_s = time.monotonic() - began
    measured_s = sum(sum(record.latency_ns) / 1e9 for record in later)
    record_property("first_contact_s", first_s)
    record_property("later_contact_s", later_s - measured_s)
    for record in [*first, *later]:
        assert (record.fingerprint.arch, record.fingerprint.cpu) == ("aarch64", "Cortex-A76")
        assert record.fingerprint.runtime == "ai-edge-litert"
        assert record.delegation.delegate == "XNNPACK"
        assert len(record.latency_ns) >= 3
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert first_s < 60 * busy
    assert later_s - measured_s < 15 * busy


def test_the_board_is_examined(board) -> None:
    facts, findings = Ssh(board.where).examine()
    assert (facts.machine, facts.bits, facts.python[:2]) == ("aarch64", 64, (3, 11))
    found = {finding.what: finding for finding in findings}
    assert found["delegate"].found == "XNNPACK"
    assert found["processor"].found.startswith("Cortex-A76")


def test_a_damaged_model_is_an_error_with_its_path_here(board, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "it's $(damaged).tflite"
    path.write_bytes(tiny.path.read_bytes()[:700])
    with pytest.raises((errors.FileFormatError, ModelCrashError), match=re.escape(str(path))):
        from edgekit import artifact as artifacts

        Ssh(board.where).run([Artifact(path, artifacts.sha256_of(path), 700)], SHORT)


def test_a_second_benchmark_is_told_who_has_the_board(board, tiny: Artifact) -> None:
    long = Session(Protocol("long", warmup_s=0.01, min_runs=1, min_seconds=90.0))
    begun, enough = threading.Event(), threading.Event()

    def watch(share: float) -> None:
        if share > 0.3:
            begun.set()
        if enough.is_set():
            raise InterruptedError

    def run() -> None:
        with contextlib.suppress(InterruptedError):
            Ssh(board.where).run([tiny], long, watch)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    try:
        with pytest.raises(MissingError, match=r"the board is busy: .* benchmarks on it since"):
            Ssh(board.where).run([tiny], SHORT)
    finally:
        enough.set()
        thread.join(90)
    assert Ssh(board.where).run([tiny], SHORT)  # what was interrupted there has ended and let go


def test_a_port_without_a_server_refuses(board) -> None:
    with pytest.raises(MissingError, match="enable ssh"):
        Ssh(f"ssh://pi@127.0.0.1:{free_port()}").fingerprint()


def test_another_user_is_not_let_in(board) -> None:
    with pytest.raises(MissingError, match="ssh-copy-id nobody@127"):
        Ssh(f"ssh://nobody@127.0.0.1:{board.port}").fingerprint()


def test_an_unknown_and_a_changed_host_key_are_told_apart(board) -> None:
    folder = board.bin.parent
    known = (folder / "known_hosts").read_text()
    where = f"ssh://pi@127.0.0.1:{board.port}"
    try:
        (folder / "known_hosts").write_text("")
        with pytest.raises(MissingError, match="not known yet; connect once by hand"):
            Ssh(where.replace("127.0.0.1", "localhost")).fingerprint()
        key = (folder / "key.pub").read_text().split()[1]
        (folder / "known_hosts").write_text(f"[localhost]:{board.port} ssh-ed25519 {key}\n")
        with pytest.raises(MissingError, match="ssh-keygen -R"):
            Ssh(where.replace("127.0.0.1", "localhost")).fingerprint()
    finally:
        (folder / "known_hosts").write_text(known)


def test_a_board_without_room_says_so_and_works_once_there_is(needed_wheels, start_board, monkeypatch, tiny) -> None:
    full = start_board("cortex-a72", size="20m")
    monkeypatch.setenv("PATH", f"{full.bin}:{os.environ['PATH']}")
    with pytest.raises(OutputError, match="has no room left"):
        Ssh(full.where).run([tiny], SHORT)


def test_a_link_that_is_cut_in_a_transfer_goes_on_where_it_was(board) -> None:
    """The client and its shared connection are killed amid 8 MB; the second contact sends only the rest."""
    content = np.random.default_rng(0).bytes(8_000_000)
    name = hashlib.sha256(content).hexdigest()
    address = _openssh.parse(board.where)
    sent: list[int] = []

    def cut(block: int) -> None:
        sent.append(block)
        if sum(sent) > 5_000_000:
            for master in _masters(board.port):
                os.kill(master, signal.SIGKILL)

    with pytest.raises(MissingError, match=r"the link to pi@127\.0\.0\.1 broke"), _openssh.link(address) as link:
        link.send("wheels", name, content, 0, cut)
    sent.clear()
    with _openssh.link(address) as link:
        offset = link.ask("held", kind="wheels", names=[name])[name]
        assert not offset["whole"] and 0 < offset["bytes"] < len(content)
        assert link.send("wheels", name, content, offset["bytes"], sent.append)
        assert link.ask("held", kind="wheels", names=[name])[name] == {"whole": True, "bytes": len(content)}
    assert sum(sent) == len(content) - offset["bytes"]


def _masters(port: int) -> list[int]:
    """The ssh clients that hold a connection to that port."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0") if path.exists() else []
        if str(port).encode() in words and words[0].endswith(b"ssh") and b"-l" in words:
            found.append(int(path.parent.name))
    return found


def test_a_compressed_model_travels_small_and_is_unpacked_on_the_board(board, tiny: Artifact, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekz"
    packed.write_bytes(packing.pack(tiny.path.read_bytes()).content)
    artifact = artifacts.read(packed)
    (record,) = Ssh(board.where).run([artifact], SHORT)
    assert record.artifact_sha256 == tiny.sha256  # the board hashed what it had unpacked
    assert record.artifact_name == "tiny"
