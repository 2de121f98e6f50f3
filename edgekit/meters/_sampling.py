"""A reading taken again and again, by one thread or one child process, and the energy under it.

Knows no source: what is read is a function that returns a number.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit import meters
from edgekit.errors import EdgekitError, MissingError
from edgekit.meters import MIN_UPDATES, Meter, Window

_ANSWER_S = 10.0  # how long a child may take to start, and to finish a reading
_SERVE = "import sys; from edgekit.meters import _sampling; _sampling.serve(sys.argv[1])"


@dataclass(frozen=True)
class Trace:
    """Readings in the order of their times; `missed` were due and did not come, `problem` is what the last one said."""

    times_ns: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    missed: int = 0
    problem: str = ""

    def within(self, start_ns: int, stop_ns: int) -> Trace:
        """The readings of a window alone."""
        inside = slice(bisect_left(self.times_ns, start_ns), bisect_right(self.times_ns, stop_ns))
        return Trace(self.times_ns[inside], self.values[inside], self.missed, self.problem)

    def changes(self) -> int:
        """How often the value was another than before: the updates of a source that keeps its rate to itself."""
        return sum(after != before for before, after in itertools.pairwise(self.values))


def integrate(times_ns: Sequence[int], watts: Sequence[float], start_ns: int, stop_ns: int) -> float:
    """Joules between two times, by the trapezoidal rule on readings in order of time.

    The window's edges fall between readings: there the power is on the straight line between the two. Before the
    first reading and after the last one it is taken to be theirs.
    """
    inside = range(bisect_right(times_ns, start_ns), bisect_left(times_ns, stop_ns))
    points = [(start_ns, _at(times_ns, watts, start_ns))]
    points += [(times_ns[position], watts[position]) for position in inside]
    points.append((stop_ns, _at(times_ns, watts, stop_ns)))
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in itertools.pairwise(points)) / 1e9


def _at(times_ns: Sequence[int], watts: Sequence[float], time_ns: int) -> float:
    after = bisect_left(times_ns, time_ns)
    if after == 0:
        return watts[0]
    if after == len(times_ns):
        return watts[-1]
    before = after - 1
    share = (time_ns - times_ns[before]) / (times_ns[after] - times_ns[before])
    return watts[before] + share * (watts[after] - watts[before])


class Sampler:
    """Takes a reading every `period_s` in a thread of this process, from `begin()` to `end()`.

    A reading stands at the middle of the time it took. The first is taken before `begin()` returns and the last
    within `end()`, so that they enclose what happens between.
    """

    def __init__(self, read: Callable[[], float], period_s: float) -> None:
        self._read = read
        self._period_ns = round(period_s * 1e9)
        self._thread: threading.Thread | None = None
        self._halt = threading.Event()
        self._forget()

    def begin(self) -> None:
        """Starts reading."""
        self._forget()
        self._halt.clear()
        self._take()
        self._thread = threading.Thread(target=self._run, name="energy sampler", daemon=True)
        self._thread.start()

    def end(self) -> Trace:
        """Stops reading and tells what was read."""
        if self._thread is not None:
            self._halt.set()
            self._thread.join()
            self._thread = None
            self._take()
        return Trace(tuple(self._times_ns), tuple(self._values), self._missed, self._problem)

    def _forget(self) -> None:
        self._times_ns: list[int] = []
        self._values: list[float] = []
        self._missed, self._problem = 0, ""

    def _run(self) -> None:
        due_ns = time.perf_counter_ns() + self._period_ns
        while not self._halt.wait(max(0, due_ns - time.perf_counter_ns()) / 1e9):
            self._take()
            late = max(0, time.perf_counter_ns() - due_ns) // self._period_ns  # whole periods without a reading
            self._missed += late
            due_ns += (1 + late) * self._period_ns

    def _take(self) -> None:
        before_ns = time.perf_counter_ns()
        try:
            value = self._read()
        except (MissingError, OSError) as error:
            self._missed, self._problem = self._missed + 1, str(error)
        else:
            self._times_ns.append((before_ns + time.perf_counter_ns()) // 2)
            self._values.append(value)


class ChildSampler:
    """A Sampler in a process of its own, for a source whose reading costs processor time.

    That process opens the meter by its `text`, reads while it is told to, and hands all readings over at the end, so
    that this process has nothing to do meanwhile. It ends when this process does. The monotonic clock of a system is
    the same in all its processes.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts reading; MissingError if the child cannot open the meter."""
        self._ask("begin")

    def end(self) -> Trace:
        """Stops reading and tells what was read; MissingError if the child has died."""
        answer = self._ask("end")
        return Trace(tuple(answer["times_ns"]), tuple(answer["values"]), answer["missed"], answer["problem"])

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _ask(self, word: str) -> dict[str, Any]:
        child = self._child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(f"{word}\n".encode())
            child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], _ANSWER_S)
            line = child.stdout.readline() if ready else b""
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self.close()
            raise MissingError(f"the process that reads {self._text} has died or hangs; its readings are lost")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise MissingError(answer["error"])
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        home = str(Path(meters.__file__).parents[2])
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, self._text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=home,  # from where Python takes modules first: not the user's folder, where any name may lie
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )


def serve(text: str) -> None:
    """The child's side: one line of JSON for every line that comes in, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, whose end ends this process
    sampler: Sampler | None = None
    for line in sys.stdin:
        answer: dict[str, Any] = {}
        try:
            sampler = sampler or _opened(text)
            if line == "begin\n":
                sampler.begin()
            else:
                answer = asdict(sampler.end())
        except EdgekitError as error:
            answer = {"error": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _opened(text: str) -> Sampler:
    meter = meters.open(text)
    assert isinstance(meter, SampledMeter)
    return Sampler(meter.watts, meter.period_s)


class SampledMeter(Meter):
    """A meter whose source tells power, which is sampled and integrated here.

    period_s: the time between two readings
    in_child: the text by which a process of its own opens this meter; None to sample in a thread of this one
    """

    samples = True
    period_s: float

    def __init__(self, in_child: str | None = None) -> None:
        self._sampler = ChildSampler(in_child) if in_child else Sampler(self.watts, self.period_s)
        self._start_ns = 0

    @abstractmethod
    def watts(self) -> float:
        """The power now. Raises MissingError or OSError if this reading cannot be had."""

    def updates(self, trace: Trace) -> int:
        """How many of these readings are new ones."""
        return len(trace.values)

    def start(self) -> None:
        """Begins a window."""
        self._sampler.begin()
        self._start_ns = time.perf_counter_ns()

    def stop(self) -> Window:
        """The integral of the power since `start()`."""
        stop_ns = time.perf_counter_ns()
        trace = self._sampler.end()
        seconds = (stop_ns - self._start_ns) / 1e9
        within = trace.within(self._start_ns, stop_ns)
        updates = min(self.updates(within), int(seconds / self.resolution_s) + 1)  # reading more often renews nothing
        check_window(self, trace, updates, seconds)
        return Window(integrate(trace.times_ns, trace.values, self._start_ns, stop_ns), seconds, updates, trace.missed)


def check_window(meter: Meter, trace: Trace, updates: int, seconds: float) -> None:
    """Raises MissingError unless the readings carry the window."""
    if trace.missed > len(trace.values):
        raise MissingError(
            f"{meter.source}: {trace.missed} of {trace.missed + len(trace.values)} readings in {seconds:.1f} s failed"
            + (f", the last with: {trace.problem}" if trace.problem else "")
        )
    if updates < MIN_UPDATES:
        wanted_s = max(MIN_UPDATES * meter.resolution_s, seconds * MIN_UPDATES / max(updates, 1))
        raise MissingError(
            f"{meter.source}: {updates} updates in a window of {seconds:.2f} s are too few,"
            f" measure for at least {wanted_s:.1f} s ({MIN_UPDATES} updates)"
        )
