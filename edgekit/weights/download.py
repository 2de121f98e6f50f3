"""One public address into one file: resumed, retried, checked, and complete or absent.

Knows nothing of which files there are.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from edgekit import __version__
from edgekit.artifact import sha256_of
from edgekit.errors import ChecksumError, MissingError, OutputError

Progress = Callable[[int, int], None]

PAUSES_S = (0.0, 1.0, 3.0)  # one try after each
TIMEOUT_S = 30
BLOCK = 1 << 16
PASSING = (408, 425, 429)  # the client errors that another try may cure


class _InterruptedError(Exception):
    """A try that brought less than the whole file; `final` if another would end the same way."""

    def __init__(self, reason: object, final: bool = False) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.final = final


def download(address: str, path: Path, sha256: str, size_bytes: int, progress: Progress | None = None) -> None:
    """Fetches `address` into `path`, continuing `<path>.part` where an earlier call left one.

    `progress` receives bytes done and bytes in all. Raises MissingError if three tries did not bring the file,
    ChecksumError if it is not the pinned one, OutputError if `path` cannot be written. The .part file stays for the
    next call unless its content was wrong.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(part) as file:
            if path.exists() and sha256_of(path) == sha256:
                return  # another process has finished it while this one waited
            _fetch(address, file, sha256, size_bytes, progress)
            os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; make room there, or set EDGEKIT_ASSETS to a folder "
            "that has the files"
        ) from error


@contextlib.contextmanager
def _exclusive(part: Path) -> Iterator[BinaryIO]:
    """The .part file, open for this process alone; the lock ends with the process, however that ends."""
    file = part.open("a+b")
    try:
        while not _locked(file, part):
            file.close()
            file = part.open("a+b")
        yield file
    finally:
        if os.fstat(file.fileno()).st_size == 0:
            part.unlink(missing_ok=True)
        file.close()


def _locked(file: BinaryIO, part: Path) -> bool:
    """Waits for the lock; False if whoever held it has meanwhile moved or removed the file."""
    if sys.platform == "win32":
        return True
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)
    return part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())


def _fetch(address: str, file: BinaryIO, sha256: str, size_bytes: int, progress: Progress | None) -> None:
    """Fills `file` until it holds the pinned content."""
    problem: MissingError | ChecksumError | None = None
    for pause in PAUSES_S:
        time.sleep(pause)
        try:
            _append(address, file, size_bytes, progress)
        except _InterruptedError as error:
            problem = MissingError(f"cannot download {address}: {error}")
            if error.final:
                break
            continue
        found = _sha256(file)
        if found == sha256:
            return
        file.truncate(0)
        problem = ChecksumError(f"{address} gave a file with sha256 {found}, but {sha256} is pinned; it was discarded")
    assert problem
    raise problem


def _append(address: str, file: BinaryIO, size_bytes: int, progress: Progress | None) -> None:
    """One try to bring `file` from its present length to `size_bytes`."""
    done = file.seek(0, os.SEEK_END)
    if done == size_bytes:
        return
    if done > size_bytes:
        done = file.truncate(0)
    response, resumed = _open(address, done)
    with response:
        if not resumed:
            done = file.truncate(0)
        while block := _read(response):
            file.write(block)
            done += len(block)
            if done > size_bytes:
                break  # not the pinned file, as its hash will show
            if progress:
                progress(done, size_bytes)
    file.flush()
    if done < size_bytes:
        raise _InterruptedError(f"the connection ended after {done} of {size_bytes} bytes")


def _open(address: str, start: int) -> tuple[http.client.HTTPResponse, bool]:
    """The answer, and whether it continues at byte `start`; a server may send everything instead."""
    headers = {"User-Agent": f"edgekit/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(address, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        final = 400 <= error.code < 500 and error.code not in PASSING
        raise _InterruptedError(f"the server answers {error.code} {error.reason}", final) from None
    except urllib.error.URLError as error:
        raise _InterruptedError(error.reason) from None
    except ValueError as error:
        raise _InterruptedError(error, final=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(error) from None
    content_range = response.headers.get("Content-Range", "")
    return response, content_range.startswith(f"bytes {start}-")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection broke ({error or type(error).__name__})") from None


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
