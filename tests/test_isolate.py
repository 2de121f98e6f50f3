"""Work in a child process: answers, errors, crashes, hangs; and nothing of it is left behind."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit import isolate
from edgekit.errors import FileFormatError, ModelCrashError, UnknownNameError


@pytest.fixture(autouse=True)
def no_child_left():
    """Every test leaves the process without children, not even dead ones that nobody waited for."""
    yield
    assert not multiprocessing.active_children()
    if Path("/proc/self/task").is_dir():
        tasks = Path("/proc/self/task").glob("*/children")
        children = {int(word) for task in tasks for word in task.read_text().split()}
        assert not {child for child in children if _state(child) == "Z"}


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def divide(numerator: int, denominator: int = 1) -> tuple[float, int]:
    return numerator / denominator, os.getpid()


def test_the_answer_comes_from_another_process():
    quotient, process = isolate.call("division", 10.0, divide, 6, denominator=4)
    assert quotient == 1.5
    assert process != os.getpid()


def large() -> np.ndarray:
    return np.arange(2_000_000)


def test_an_answer_larger_than_a_pipe_holds():
    assert (isolate.call("array", 20.0, large) == np.arange(2_000_000)).all()


def refuse(kind: type[Exception]) -> None:
    raise kind("not this one")


@pytest.mark.parametrize("kind", [FileFormatError, UnknownNameError])
def test_our_errors_arrive_as_themselves(kind):
    with pytest.raises(kind, match=r"^not this one$"):
        isolate.call("refusal", 10.0, refuse, kind)


def test_any_other_error_names_its_kind():
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: division by zero$"):
        isolate.call("division", 10.0, divide, 1, denominator=0)


def unpicklable() -> threading.Lock:
    return threading.Lock()


def test_an_answer_that_cannot_travel_is_an_error():
    with pytest.raises(RuntimeError, match="pickle"):
        isolate.call("lock", 10.0, unpicklable)


def die_by(number: int) -> None:
    faulthandler.disable()  # pytest's would print where it died
    os.kill(os.getpid(), number)
    time.sleep(60)


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_crash_is_an_error_that_names_the_signal(name):
    with pytest.raises(ModelCrashError, match=rf"^some\.tflite: the runtime died \({name}\)"):
        isolate.call("some.tflite", 10.0, die_by, getattr(signal, name))


def leave() -> None:
    os._exit(7)


def test_an_exit_is_an_error_that_names_the_code():
    with pytest.raises(ModelCrashError, match=r"exit code 7"):
        isolate.call("some.tflite", 10.0, leave)


def sleep_long() -> None:
    time.sleep(600)


def test_a_hang_is_an_error_and_the_child_is_ended():
    with pytest.raises(ModelCrashError, match=r"^some\.tflite: no answer after 0 s"):
        isolate.call("some.tflite", 0.2, sleep_long)


def handles_interrupt() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_child_leaves_ctrl_c_to_its_parent():
    assert isolate.call("signals", 10.0, handles_interrupt)
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def give_up() -> None:
    sys.exit(3)


def test_a_function_that_exits_is_an_error():
    with pytest.raises(ModelCrashError, match="exit code 3"):
        isolate.call("some.tflite", 10.0, give_up)


def tell_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path):
    told = tmp_path / "child"
    parent = os.fork()
    if parent == 0:
        isolate.call("sleep", 60.0, tell_and_sleep, str(told))
        os._exit(0)
    end = time.monotonic() + 20
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.01)
    child = int(told.read_text())
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while _state(child) not in ("", "Z") and time.monotonic() < end:
        time.sleep(0.01)
    assert _state(child) in ("", "Z")
