"""A board that ssh reaches. It runs this same edgekit, so whatever can be measured here can be measured there.

First contact sends wheels that this machine fetched for it: no pip, no compiler and no network are needed there.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import hashlib
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from edgekit import artifact as artifacts
from edgekit import errors
from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.devices import Device, _openssh, wheels
from edgekit.errors import EdgekitError, MissingError
from edgekit.measurement import Fingerprint, Measurement, Session

BEAT_S = 10.0
PREPARE_S = 600.0  # unpacking on a slow card, or the board's own pip
CLOCK_S = 2.0  # clocks nearer than this are taken to agree
_TRANSFER_SHARE = 0.3  # of the progress, where something has to be sent


class Facts(msgspec.Struct, frozen=True):
    """What a board says of itself before edgekit is there; `clock_ahead_s` is against this machine's clock."""

    machine: str
    bits: int
    python: tuple[int, int, int]
    glibc: str
    free_bytes: int
    modules: dict[str, bool]
    clock_ahead_s: float = 0.0


class Finding(msgspec.Struct, frozen=True):
    """As `doctor.Finding`, which is made of it."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


class _Failure(msgspec.Struct, frozen=True):
    error: str | None
    message: str


class _Answer(msgspec.Struct, frozen=True):
    """A line of `board.Answer`."""

    share: float | None = None
    measurements: list[Measurement] | None = None
    identity: tuple[str, Fingerprint] | None = None
    findings: list[Finding] | None = None
    failure: _Failure | None = None


class Ssh(Device):
    """The machine at `ssh://[user@]host[:port]`; nothing is sent before something is asked."""

    def __init__(self, where: str) -> None:
        self._address = _openssh.parse(where)
        self._identity: tuple[str, Fingerprint] | None = None

    @property
    def name(self) -> str:
        """What the board calls itself; asks it the first time."""
        return self._identify()[0]

    def fingerprint(self) -> Fingerprint:
        """The board as it is now. Errors: as `run`."""
        self._identity = None
        return self._identify()[1]

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """Sends what is not there yet and measures there; see Device.run.

        Raises MissingError where the board cannot be reached, is busy, hangs, or lacks what only its owner can give;
        OutputError where it has no room; else what `Local.run` raises there, with the paths of this machine.
        """
        tell = progress or (lambda share: None)
        with self._contact() as (link, facts):
            stored = [_content(artifact) for artifact in artifacts]
            sent = [hashlib.sha256(content).hexdigest() for content in stored]
            contents = dict(zip(sent, stored, strict=True))
            _send(link, "models", contents, lambda share: tell(_TRANSFER_SHARE * share))
            asked = {
                "verb": "bench",
                "who": f"{getpass.getuser()} on {platform.node()}",
                "models": {key: artifact.name for key, artifact in zip(sent, artifacts, strict=True)},
                "session": session,
            }
            names = {f"{key}.tflite": str(artifact.path) for key, artifact in zip(sent, artifacts, strict=True)}
            answer = _ask(link, asked, lambda share: tell(_TRANSFER_SHARE + (1 - _TRANSFER_SHARE) * share), names)
        found = {record.artifact_sha256: record for record in answer.measurements or []}
        return [_redated(found[artifact.sha256], facts.clock_ahead_s) for artifact in artifacts]

    def examine(self) -> tuple[Facts, list[Finding]]:
        """What the board is and what it lacks, by `doctor` on the board. Errors: as `run`."""
        with self._contact() as (link, facts):
            return facts, _ask(link, {"verb": "doctor"}).findings or []

    def _identify(self) -> tuple[str, Fingerprint]:
        if self._identity is None:
            with self._contact() as (link, _):
                self._identity = _ask(link, {"verb": "fingerprint"}).identity
        assert self._identity is not None
        return self._identity

    @contextlib.contextmanager
    def _contact(self) -> Iterator[tuple[_Contact, Facts]]:
        """A link to a board that has all that edgekit needs."""
        with _openssh.link(self._address) as link, _beating(link):
            own = wheels.own_wheel()[1]  # made while the board starts its Python
            told = link.ask("hello", modules=wheels.every_module())
            ahead = told.pop("time") - time.time()  # the answer is on its way for a moment, a request takes a login
            facts = msgspec.convert({**told, "clock_ahead_s": ahead}, Facts)
            board = wheels.target(facts.machine, facts.bits, facts.python, facts.glibc)
            contact = _Contact(link, [_own_environment(link, own), *_runtime_environment(link, board, facts)])
            yield contact, facts


class _Contact:
    """A link and the folders on the board that hold what runs there."""

    def __init__(self, link: _openssh.Link, environments: Sequence[str]) -> None:
        self.link = link
        self.environments = environments


def _own_environment(link: _openssh.Link, wheel: bytes) -> str:
    name = hashlib.sha256(wheel).hexdigest()
    if not _there(link, name):
        _put(link, "wheels", {name: wheel})
        link.ask("unpack", PREPARE_S, env=name, wheels=[name])
    return name


def _runtime_environment(link: _openssh.Link, board: wheels.Target, facts: Facts) -> list[str]:
    """The folder with runtime and numpy, or none where the board's own Python has them all."""
    if all(facts.modules[name] for name in wheels.modules(board)):
        return []
    needed = _needed(board, facts)
    name = hashlib.sha256(" ".join([board.arch, str(board.python), *needed]).encode()).hexdigest()
    if _there(link, name):
        return [name]
    try:
        given = wheels.digests(wheels.fetch(board))
    except MissingError as error:
        _by_own_pip(link, name, needed, error)
        return [name]
    _put(link, "wheels", {digest: path.read_bytes() for digest, path in given.items()})
    link.ask("unpack", PREPARE_S, env=name, wheels=list(given))
    link.ask("sweep")
    return [name]


def _needed(board: wheels.Target, facts: Facts) -> list[str]:
    """The requirements; on 32-bit boards numpy is often the system's, built for them."""
    pairs = zip(wheels.modules(board), wheels.requirements(board), strict=True)
    return [text for name, text in pairs if board.arch != "armv7l" or not facts.modules[name]]


def _by_own_pip(link: _openssh.Link, env: str, needed: Sequence[str], why: MissingError) -> None:
    """For 32-bit boards, whose pip knows an index with wheels for them, and where this machine is offline."""
    try:
        link.ask("pip", PREPARE_S, env=env, requirements=list(needed))
    except MissingError as error:
        raise MissingError(f"{why}; and the board's own pip: {error}") from None


def _there(link: _openssh.Link, env: str) -> bool:
    return bool(link.ask("held", kind="env", names=[env])[env]["whole"])


def _send(contact: _Contact, kind: str, contents: dict[str, bytes], progress: Callable[[float], None]) -> None:
    _put(contact.link, kind, contents, progress)


def _put(
    link: _openssh.Link,
    kind: str,
    contents: dict[str, bytes],
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Sends what is not there, by sha256; a file whose transfer was cut goes on where it was."""
    held = link.ask("held", kind=kind, names=list(contents))
    offsets = {
        name: min(held[name]["bytes"], len(content)) for name, content in contents.items() if not held[name]["whole"]
    }
    total = sum(len(contents[name]) - offset for name, offset in offsets.items())
    done = 0

    def count(sent: int) -> None:
        nonlocal done
        done += sent
        progress(done / max(total, 1))

    for name, offset in offsets.items():
        sound = link.send(kind, name, contents[name], offset, count)
        if not sound and offset:  # what was there before was something else
            sound = link.send(kind, name, contents[name], 0, count)
        if not sound:
            raise MissingError("what arrived on the board is not what was sent; its memory or its card is failing")


def _ask(
    contact: _Contact, request: dict[str, Any], progress: Progress | None = None, names: dict[str, str] | None = None
) -> _Answer:
    """Starts edgekit there and waits for its answer; it gives signs of life, so a silent board is a hanging one."""
    contact.link.send_line(msgspec.json.encode({"verb": "start", "envs": contact.environments}))
    contact.link.send_line(msgspec.json.encode(request))
    while True:
        answer = msgspec.json.decode(contact.link.next_line(), type=_Answer)
        if answer.share is not None and progress is not None:
            progress(answer.share)
        if answer.failure is not None:
            raise _raised(answer.failure, names or {})
        if answer.measurements is not None or answer.identity is not None or answer.findings is not None:
            return answer


def _raised(failure: _Failure, names: dict[str, str]) -> Exception:
    """The board's error as one of ours, with the files named as they are here."""
    message = failure.message
    for there, here in names.items():
        message = message.replace(there, here)
    kind = getattr(errors, failure.error or "", None)
    if isinstance(kind, type) and issubclass(kind, EdgekitError):
        return kind(message)
    return MissingError(f"edgekit failed on the board: {message}")


@contextlib.contextmanager
def _beating(link: _openssh.Link) -> Iterator[None]:
    """Tells the other end every few seconds that this one is there, in case the link dies without a word."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            link.keep_alive()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _content(artifact: Artifact) -> bytes:
    """The file's bytes, if they are still those that were read before; an .ekz stays one until it is on the board."""
    content = artifacts.read_stored(artifact.path)
    model = content if artifact.download_bytes is None else artifacts.read_model(artifact.path)
    artifacts.check_content(artifact, model)
    return content


def _redated(record: Measurement, ahead_s: float) -> Measurement:
    """The record by this machine's clock, where the board's differs: a board without a battery starts in the past."""
    if abs(ahead_s) < CLOCK_S:
        return record
    started = datetime.datetime.fromisoformat(record.started_utc) - datetime.timedelta(seconds=ahead_s)
    return msgspec.structs.replace(record, started_utc=started.isoformat(timespec="seconds"))
