"""What the devices' tests share: an ssh that stays on this machine, and a real one to an emulated board."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.devices import _openssh
from tests.devices.processes import free_port, listens, stop, wait_for

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "emulated_pi"


@dataclass
class NearBoard:
    """This machine in the place of a board: `ssh` on the path runs the command here, with a home of its own.

    `before` is shell text that the stand-in runs first; everything behind ssh is the real thing.
    """

    folder: Path
    home: Path

    def before(self, text: str) -> None:
        (self.folder / "before").write_text(text + "\n")

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "edgekit"


@pytest.fixture
def near_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NearBoard:
    folder, home = tmp_path / "bin", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "before").write_text("")
    # the last word is the command, as for ssh itself
    (folder / "ssh").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >"{folder}/asked"\nfor word; do last=$word; done\nexport HOME="{home}"\n'
        f'PATH="{folder}:$PATH"\n. "{folder}/before"\nexec sh -c "$last"\n'
    )
    (folder / "ssh").chmod(0o755)
    # a script, for a link to python in a virtual environment would not find the packages of that
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return NearBoard(folder, home)


@dataclass
class EmulatedBoard:
    """An aarch64 sshd under emulation; `bin` holds an ssh that uses a key and known_hosts of its own."""

    port: int
    bin: Path
    where: str
    server: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def start_board(emulation: Path, tmp_path_factory) -> Iterator[Callable[..., EmulatedBoard]]:
    """`start_board(core="cortex-a72", size="1g")`: a board with an empty home of that size."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH client; install openssh-client")
    registered = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
    started: list[EmulatedBoard] = []

    def start(core: str = "cortex-a72", size: str = "1g") -> EmulatedBoard:
        board = _start_board(emulation, tmp_path_factory.mktemp("board"), core, size)
        started.append(board)
        return board

    yield start
    for board in started:
        # ssh's shared connection would otherwise live on for a minute
        shared = ["-O", "exit", "-o", f"ControlPath={_openssh._control_folder()}/%C", "-p", str(board.port), "-l", "pi"]
        subprocess.run([board.bin / "ssh", *shared, "127.0.0.1"], check=False, capture_output=True, timeout=20)
        stop(board.server)
    if not registered and not _emulators():
        with contextlib.suppress(OSError):
            Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").write_text("-1")


def _emulators() -> bool:
    """Whether any emulated process runs, ours or not."""
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if "qemu-aarch64" in os.readlink(link):  # noqa: PTH115
                return True
    return False


def _start_board(emulation: Path, folder: Path, core: str, size: str) -> EmulatedBoard:
    key, port = folder / "key", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    command = ["bash", SCRIPTS / "sshd.sh", emulation, str(port), f"{key}.pub", folder, core, size]
    log = (folder / "sshd.log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    wait_for(lambda: listens(port) or server.poll() is not None)
    assert server.poll() is None, (folder / "sshd.log").read_text()
    host_key = " ".join((folder / "ssh" / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "config").write_text(
        f"Host *\n IdentityFile {key}\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
        " GlobalKnownHostsFile /dev/null\n"
    )
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{folder}/config" "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    return EmulatedBoard(port, folder / "bin", f"ssh://pi@127.0.0.1:{port}", server)
