"""One link to a board by the system's OpenSSH client: lines and files over it, and what ssh's complaints mean.

The user's configuration, agent and known_hosts apply. What is run there is one fixed text; whatever is named by a user
travels as data behind it and never passes through a shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from edgekit.errors import EdgekitError, MissingError, OutputError, UsageError

CONNECT_S = 15
SILENCE_S = 60.0  # an answer, or one more block of a file, comes within this
MARK = b"edgekit:"
_AGENT = Path(__file__).with_name("_agent.py")
_REMOTE = """exec python3 -Es -c 'import os;exec(b"".join(iter(lambda:os.read(0,1),b"\\0")))'"""
_BLOCK = 1 << 16
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?")
# What ssh says (OpenSSH 7 to 9, in English) and what there is to do about it.
_COMPLAINTS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one that is known: if the board was set up anew"
     " run 'ssh-keygen -R {host}', otherwise somebody may stand in between"),
    ("Host key verification failed", "its host key is not known yet; connect once by hand and compare it: {command}"),
    ("Could not resolve hostname", "there is no such host; check the name, or use the board's IP address"),
    ("Connection refused", "nothing answers on that port; enable ssh there (sudo raspi-config) and check the port"),
    ("Permission denied", "it lets nobody in without a password; run: ssh-copy-id {target}"),
    ("Too many authentication failures", "too many keys were tried; name one with IdentityFile in ~/.ssh/config"),
    ("No route to host", "there is no way to it; is the board on, and in this network?"),
    ("Network is unreachable", "there is no way to it; is this machine in a network?"),
    ("timed out", "it does not answer; is the board on, and in this network?"),
    ("timeout", "it does not answer; is the board on, and in this network?"),
    ("Bad owner or permissions", "ssh refuses its own configuration: {said}"),
    ("Bad configuration option", "ssh refuses its own configuration: {said}"),
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where a board is; only `parse` makes one, so that no part can be taken for an option or a command."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def target(self) -> str:
        """As people write it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def command(self) -> str:
        """What a person would type to get there."""
        return f"ssh {f'-p {self.port} ' if self.port else ''}{self.target}"


def parse(where: str) -> Address:
    """`ssh://[user@]host[:port]`; UsageError for anything that cannot be a host, a user or a port."""
    try:
        parts = urlsplit(where)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"cannot read {where!r}: {error}; write ssh://user@host or ssh://user@host:port") from None
    user, _, place = parts.netloc.rpartition("@")
    host = re.sub(r":\d+$", "", place) if port is not None else place
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if (
        not where.isprintable()
        or parts.scheme != "ssh"
        or extra
        or not _HOST.fullmatch(host)
        or (user and not _USER.fullmatch(user))
    ):
        raise UsageError(f"cannot read {where!r} as a board's address; write ssh://user@host or ssh://user@host:port")
    return Address(host.strip("[]"), user or None, port)


class Link:
    """One run of the agent on a board. Not thread-safe but for `keep_alive`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        # no pipe: the persistent master of ssh would hold it open
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command(address), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env=dict(os.environ, LC_ALL="C"), start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            self._said.close()
            raise MissingError("there is no ssh on this machine; install the OpenSSH client") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        os.set_blocking(self._in, False)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._writing = threading.RLock()
        threading.Thread(target=_pump, args=(self._process.stdout, self._lines), daemon=True).start()

    def install(self) -> None:
        """Sends the agent, which then answers `ask`."""
        self._write(_AGENT.read_bytes() + b"\0")

    def ask(self, verb: str, timeout_s: float = SILENCE_S, **arguments: object) -> dict[str, Any]:
        """The agent's answer; an error that the agent reports is raised as what it is here."""
        self._write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        return self._answer(timeout_s)

    def send(self, kind: str, name: str, content: bytes, offset: int, progress: Callable[[int], None]) -> bool:
        """A file's bytes from `offset` on; `progress` is told how many went. False where the whole is not that file."""
        request = {"verb": "put", "kind": kind, "name": name, "offset": offset, "size": len(content)}
        with self._writing:  # no sign of life in the middle of a file
            self._write(json.dumps(request).encode() + b"\n")
            for start in range(offset, len(content), _BLOCK):
                block = content[start : start + _BLOCK]
                self._write(block)
                progress(len(block))
        return bool(self._answer(SILENCE_S)["sound"])

    def send_line(self, line: bytes) -> None:
        """A line for what the agent became."""
        self._write(line + b"\n")

    def keep_alive(self) -> None:
        """An empty line, which says only that this side is there; from whichever thread."""
        if self._writing.acquire(blocking=False):
            try:
                with contextlib.suppress(EdgekitError):
                    self._write(b"\n")
            finally:
                self._writing.release()

    def next_line(self, timeout_s: float = SILENCE_S) -> bytes:
        """The next marked line, without its mark.

        MissingError where the link ends or is silent for that long; an error that the agent reports is raised.
        """
        end = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise MissingError(f"{self._address.target} has said nothing for {timeout_s:.0f} s; it hangs, or the"
                                   " link is gone. What ran there ends by itself") from None  # fmt: skip
            if line is None:
                raise self._complaint()
            if line.startswith(MARK + b'{"failed"'):
                raise _refusal(self._address, json.loads(line[len(MARK) :]))
            if line.startswith(MARK):
                return line[len(MARK) :]

    def close(self) -> None:
        """Ends the link, and with it whatever runs at the other end."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.next_line(timeout_s))
        return answer

    def _write(self, content: bytes) -> None:
        with self._writing:
            left = memoryview(content)
            while left:
                if not select.select([], [self._in], [], SILENCE_S)[1]:
                    raise MissingError(f"{self._address.target} has taken no data for {SILENCE_S:.0f} s; run it again,"
                                       " it goes on where it was")  # fmt: skip
                try:
                    left = left[os.write(self._in, left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise self._last_words() from None

    def _last_words(self) -> EdgekitError:
        """Why nothing can be written any more: the agent may have said so before it ended."""
        while True:
            try:
                line = self._lines.get(timeout=5)
            except queue.Empty:
                line = None
            if line is None:
                return self._complaint()
            if line.startswith(MARK) and "failed" in (answer := json.loads(line[len(MARK) :])):
                return _refusal(self._address, answer)

    def _complaint(self) -> EdgekitError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._said.seek(0)
        return explain(self._address, self._said.read().decode(errors="replace"), self._process.poll())


@contextlib.contextmanager
def link(address: Address) -> Iterator[Link]:
    """A link with the agent at its other end."""
    made = Link(address)
    try:
        made.install()
        yield made
    finally:
        made.close()


def command(address: Address) -> list[str]:
    """The whole ssh command. One connection serves all of a minute's contacts (ControlMaster)."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(CONNECT_S),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "4",
        "RemoteCommand": "none",
        "RequestTTY": "no",
        "ForwardX11": "no",
        "ControlMaster": "auto",
        "ControlPersist": "60",
        "ControlPath": f"{_control_folder()}/%C",
    }
    words = ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    words += ["-p", str(address.port)] if address.port else []
    words += ["-l", address.user] if address.user else []
    return [*words, "--", address.host, _REMOTE]


def _control_folder() -> Path:
    """A folder of ours alone for the sockets, short enough for a socket's path."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"edgekit-ssh-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise MissingError(f"{folder} belongs to or is open to somebody else; remove it")
    return folder


def explain(address: Address, said: str, exit_code: int | None) -> EdgekitError:
    """The error for an ended link, by what ssh and the board's shell said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"ssh ended with {exit_code}"
    if exit_code == 127 or "python3: not found" in said or "python3: command not found" in said:
        return MissingError(f"{address.target} has no python3; run there: sudo apt install python3")
    if exit_code == 255:
        for words, meaning in _COMPLAINTS:
            if words in said:
                advice = meaning.format(
                    host=address.host, target=address.target, command=address.command, said=" ".join(lines)
                )
                return MissingError(f"cannot reach {address.target}: {advice}")
    return MissingError(f"the link to {address.target} broke ({last}); run it again, it goes on where it was")


def _refusal(address: Address, answer: dict[str, Any]) -> EdgekitError:
    message = str(answer.get("message"))
    if answer["failed"] == "full":
        return OutputError(
            f"{address.target} has no room left ({message}); free some, ~/.cache/edgekit may be removed there"
        )
    return MissingError(f"{address.target}: {message}")


def _pump(stream: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            lines.put(line.rstrip(b"\r\n"))
    lines.put(None)
