"""A board to reach by ssh without a board: an aarch64 sshd under emulation, with a key and known_hosts of its own.

Tests and benchmarks start the same one; ports, waiting and ending are what both need for it. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices import _openssh

SCRIPTS = Path(__file__).parent / "emulated_pi"
_REGISTERED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


@dataclass
class EmulatedBoard:
    """A running one; `bin` holds the ssh that gets there, to be put on the path."""

    port: int
    bin: Path
    where: str
    server: subprocess.Popen[bytes]


@contextlib.contextmanager
def started(root: Path, folder: Path, core: str = "cortex-a72", size: str = "1g") -> Iterator[EmulatedBoard]:
    """A board on the root that setup.sh made, with an empty home of that size; `folder` is an empty one of its own."""
    registered = _REGISTERED.exists()
    board = _start(root, folder, core, size)
    try:
        yield board
    finally:
        # ssh's shared connection would otherwise live on for a minute
        shared = ["-O", "exit", "-o", f"ControlPath={_openssh._control_folder()}/%C", "-p", str(board.port), "-l", "pi"]
        subprocess.run([board.bin / "ssh", *shared, "127.0.0.1"], check=False, capture_output=True, timeout=20)
        stop(board.server)
        if not registered and not _emulators():
            with contextlib.suppress(OSError):
                _REGISTERED.write_text("-1")


def _start(root: Path, folder: Path, core: str, size: str) -> EmulatedBoard:
    key, port = folder / "key", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    command = ["bash", *map(str, (SCRIPTS / "sshd.sh", root, port, f"{key}.pub", folder, core, size))]
    with (folder / "sshd.log").open("wb") as log:
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


def _emulators() -> bool:
    """Whether any emulated process runs, ours or not."""
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if "qemu-aarch64" in os.readlink(link):  # noqa: PTH115
                return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
