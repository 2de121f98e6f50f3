"""edgekit on a board that another machine asks: one JSON request in, JSON lines out; starts on the board's side.

A request names models by hash; each answer stands on a line of its own behind a mark, so that nothing else that a
library prints is taken for one. When the asking side goes or falls silent, this process and its children end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgekit import artifact as artifacts
from edgekit import doctor
from edgekit.devices.local import Local
from edgekit.errors import EdgekitError, MissingError
from edgekit.measurement import Fingerprint, Measurement, Session

MARK = b"edgekit:"
LOCK = Path("/tmp/edgekit.lock")
BEAT_S = 5.0  # how often each side says that it is still there
SILENCE_S = 60.0


class Request(msgspec.Struct, frozen=True):
    """What is asked: `verb` is bench, fingerprint or doctor; `models` are names by the sha256 of their files.

    `who` is for the lock.
    """

    verb: str
    who: str = ""
    models: dict[str, str] = {}
    session: Session | None = None


class Failure(msgspec.Struct, frozen=True):
    """An error's class in `edgekit.errors`, or None for a bug, and its message."""

    error: str | None
    message: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line; exactly one of its fields is set, none of them in a sign of life."""

    share: float | None = None
    measurements: list[Measurement] | None = None
    identity: tuple[str, Fingerprint] | None = None
    findings: list[doctor.Finding] | None = None
    failure: Failure | None = None


def main() -> None:
    """Answers one request from descriptor 0 and exits."""
    out = os.dup(1)
    os.dup2(2, 1)  # libraries print to 1
    with contextlib.suppress(OSError):  # it may lead its session already
        os.setsid()
    say = _Speaker(out)
    try:
        request = msgspec.json.decode(_read_line(), type=Request)
        threading.Thread(target=_watch, args=(say,), daemon=True).start()
        say(_answer(request, say))
    except EdgekitError as error:
        say(Answer(failure=Failure(type(error).__name__, str(error))))
    except Exception as error:
        say(Answer(failure=Failure(None, f"{type(error).__name__}: {error}")))
    sys.stdout.flush()
    os._exit(0)  # the watching thread never ends by itself


class _Speaker:
    """Writes answers whole, from whichever thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, answer: Answer) -> None:
        line = MARK + msgspec.json.encode(answer) + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


def _answer(request: Request, say: _Speaker) -> Answer:
    if request.verb == "fingerprint":
        return Answer(identity=(Local().name, Local().fingerprint()))
    if request.verb == "doctor":
        return Answer(findings=doctor.examine_board())
    assert request.session is not None
    read = [_named(sha256, name) for sha256, name in request.models.items()]
    names = {artifact.sha256: name for artifact, name in zip(read, request.models.values(), strict=True)}
    with held_alone(LOCK, request.who):
        measured = Local().run(read, request.session, lambda share: say(Answer(share=share)))
    return Answer(
        measurements=[
            msgspec.structs.replace(record, artifact_name=names[record.artifact_sha256]) for record in measured
        ]
    )


def _named(sha256: str, name: str) -> artifacts.Artifact:
    """The file that was sent, .tflite or .ekz; `name` is for the record only and never a path."""
    found = artifacts.read(Path(f"{sha256}.tflite"))
    if artifacts.sha256_of(found.path) != sha256:
        found.path.unlink()
        raise MissingError(f"the board's copy of {name} had changed; it was removed, run it again to send it anew")
    return found


@contextlib.contextmanager
def held_alone(path: Path, who: str) -> Iterator[None]:
    """One benchmark at a time on this machine, whoever asks; MissingError says who has it.

    The system lets go of the lock when its holder and the holder's children have ended, however they ended, so a
    stale one cannot be left. The file stays.
    """
    old_mask = os.umask(0)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (0 if path.exists() else os.O_CREAT), 0o666)
    except OSError as error:
        raise MissingError(f"cannot open the lock {path} on the board: {error.strerror}") from None
    finally:
        os.umask(old_mask)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 500, 0).decode(errors="replace").strip() or "somebody"
        os.close(handle)
        raise MissingError(f"the board is busy: {holder}; wait for the end of that, or stop it") from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{who} benchmarks on it since {time.strftime('%H:%M:%S')} (pid {os.getpid()})".encode(), 0)
        yield
    finally:
        os.ftruncate(handle, 0)
        os.close(handle)


def _watch(say: _Speaker) -> None:
    """Gives signs of life, and ends everything once the asking side is gone or gives none."""
    heard = time.monotonic()
    while True:
        if select.select([0], [], [], BEAT_S)[0]:
            if not os.read(0, 4096):
                break
            heard = time.monotonic()
        if time.monotonic() - heard > SILENCE_S:
            break
        try:
            say(Answer())
        except OSError:
            break
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(3)
        line += byte
    return line
