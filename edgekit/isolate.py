"""Runs a function in a child process, so that a native crash becomes an error and not a dead command line."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from edgekit.errors import EdgekitError, ModelCrashError

_PR_SET_PDEATHSIG = 1
P = ParamSpec("P")
T = TypeVar("T")


def call(what: str, timeout_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)`, run in a child process; arguments and result must pickle.

    Raises what the function raises, or ModelCrashError if the child dies or takes longer than `timeout_s`;
    `what` names the work in that message. Fork is used where it is safe: it starts in milliseconds.
    """
    return start(what, timeout_s, function, *args, **kwargs)()


def start(
    what: str, timeout_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> Callable[[], T]:
    """As `call`, but goes on at once: what is returned waits for the result, and is to be called once."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, args, kwargs), daemon=True)
    process.start()
    sender.close()
    return lambda: _result(what, timeout_s, process, receiver)


def _result(what: str, timeout_s: float, process: Any, receiver: Connection) -> Any:
    try:
        result = receiver.recv() if receiver.poll(timeout_s) else None
    except (EOFError, OSError):  # it died before its answer, or within it
        process.join()
        raise ModelCrashError(f"{what}: the runtime died ({_cause(process.exitcode)}); the file is damaged") from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if result is None:
        raise ModelCrashError(f"{what}: no answer after {timeout_s:.0f} s; the file is damaged or far too large")
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[1]


def _child(sender: Connection, function: Callable[..., object], args: object, kwargs: object) -> None:
    assert isinstance(args, tuple) and isinstance(kwargs, dict)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this process
    die_with_parent()
    _limit_memory()
    try:
        sender.send((None, function(*args, **kwargs)))
    except EdgekitError as error:
        sender.send((error, None))
    except Exception as error:
        sender.send((RuntimeError(f"{type(error).__name__}: {error}"), None))


def die_with_parent() -> None:
    """Ends this child process when the thread that started it ends, even by SIGKILL; on Linux only (prctl(2)).

    A measurement that went on without anyone to take it would slow down the next one.
    """
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it had ended before
        os._exit(1)


def _limit_memory() -> None:
    """Lets this process take half of the machine's memory, so that a damaged shape fails before the machine does."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # where a system has no such limit
        import resource

        page = os.sysconf("SC_PAGE_SIZE")
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * page
        limit = mapped + os.sysconf("SC_PHYS_PAGES") * page // 2
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
