"""Keeps what native libraries write to stderr off the terminal, and hands it over for error messages."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

_one_at_a_time = threading.RLock()  # stderr's descriptor belongs to the whole process


@contextlib.contextmanager
def native_stderr() -> Iterator[Callable[[], str]]:
    """Diverts file descriptor 2 into a file; yields a function that returns what arrived there."""
    with _one_at_a_time, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
