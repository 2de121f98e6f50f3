"""Where an inference spends its time, operator by operator: by cutting the network short, or out of another tool's log.

No Python runtime has a profiler, so each operator is what the network takes longer with it than without it.
"""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgekit.errors import FileFormatError, UnsupportedModelError
from edgekit.runtime import Runner

if TYPE_CHECKING:
    from edgekit.graph import Graph

METHOD = "prefix truncation: the network cut after each operator, less the network cut one earlier, in turns"
LOG_METHOD = "the operator profile in a log of benchmark_model"
ROUNDS = 9
SLICE_S = 0.004
LEAST = 4  # inferences of a turn, however long they take: enough for one that nothing disturbs
TOLERANCE = 0.10
"""The sum may differ from the whole by so much. Every cut makes outputs of tensors that the whole network keeps to
itself, and ends what a delegate would have fused across it; where that is more than a tenth, the figures mislead."""

Progress = Callable[[float], None]


class OperatorTime(msgspec.Struct, frozen=True):
    """One operator's time; `scatter_ns` is its standard error, None where it is not known.

    `time_ns` may be negative where an operator is cheaper than its scatter, or where a delegate drops it altogether.
    `calls` is how often it ran in one inference.
    """

    index: int
    kind: str
    name: str
    time_ns: float
    scatter_ns: float | None = None
    macs: int | None = None
    delegated: bool | None = None
    calls: int = 1


class Profile(msgspec.Struct, frozen=True):
    """All operators in the order in which they run, beside the whole network timed in the same minutes.

    `whole_ns` is None where nobody timed it.
    """

    method: str
    threads: int | None
    operators: tuple[OperatorTime, ...]
    whole_ns: float | None = None

    @property
    def sum_ns(self) -> float:
        """All operators together."""
        return sum(operator.time_ns for operator in self.operators)

    @property
    def scatter_ns(self) -> float:
        """The standard error of the sum, as far as that of its parts is known."""
        return math.hypot(*(operator.scatter_ns or 0.0 for operator in self.operators))

    @property
    def difference(self) -> float | None:
        """By what share of the whole the sum is off."""
        return None if not self.whole_ns else self.sum_ns / self.whole_ns - 1

    @property
    def agrees(self) -> bool | None:
        """Whether the sum is the whole, within TOLERANCE."""
        return None if self.difference is None else abs(self.difference) <= TOLERANCE


def profile(content: bytes, threads: int = 1, seed: int = 0, progress: Progress | None = None) -> Profile:
    """Times every operator of a .tflite.

    Of each two neighbouring cuts the difference of quickest inferences is taken ROUNDS times, in turns, so that a
    drifting machine cancels. The sum of those differences is not bound to be the whole, so the two are held against
    each other. The first operator's figure includes what an inference costs apart from all operators.
    Raises FileFormatError for a damaged file, UnsupportedModelError for one that cannot be cut.
    """
    from edgekit import graph

    whole = Runner(content, threads)  # the runtime verifies the file before its offsets are trusted
    parsed = graph.load(content)
    if parsed.subgraphs != 1 or not parsed.operators:
        raise UnsupportedModelError(f"it has {parsed.subgraphs} subgraphs; only a network in one can be cut")
    whole.resting_inputs(seed)
    taken, wholes_ns, times = whole.delegated(), [], []
    before: Runner | None = None
    for index, operator in enumerate(parsed.operators):
        runner = _loaded(cut(parsed, index), threads, seed, f"cut after operator {index}")
        differences_ns = _differences_ns(runner, before)
        wholes_ns.append(_quickest_ns(whole))
        name = parsed.tensors[operator.outputs[0]].name if operator.outputs else ""
        kind = operator.custom_code or operator.kind
        found = statistics.fmean(_trimmed(differences_ns)), _standard_error(differences_ns)
        times.append(OperatorTime(index, kind, name, *found, parsed.macs(operator), index in taken))
        before = runner
        if progress is not None:
            progress((index + 1) / len(parsed.operators))
    return Profile(METHOD, threads, tuple(times), statistics.median(wholes_ns))


def cut(graph: Graph, last: int) -> bytes:
    """The network up to and with operator `last`; its outputs are all that later operators or the user would read."""
    from edgekit import graph as graphs

    short = graph.copy()
    kept, rest = short.operators[: last + 1], short.operators[last + 1 :]
    wanted = {tensor for operator in rest for tensor in operator.activations} | set(short.outputs)
    short.operators = kept
    short.outputs = [tensor for operator in kept for tensor in operator.outputs if tensor in wanted]
    if not short.outputs:  # nothing reads this operator
        short.outputs = list(kept[-1].outputs)
    short.signatures, short.metadata = [], {}
    short.drop_unused()
    return graphs.dump(short)


def _loaded(content: bytes, threads: int, seed: int, what: str) -> Runner:
    try:
        runner = Runner(content, threads)
        runner.resting_inputs(seed)
        runner.invoke()
    except (FileFormatError, RuntimeError, ValueError) as error:
        raise UnsupportedModelError(f"{what}, the runtime does not run it: {error}") from None
    return runner


def _differences_ns(runner: Runner, before: Runner | None) -> list[float]:
    """The longer cut less the shorter, round by round, the one first and then the other."""
    found: list[float] = []
    for number in range(ROUNDS):
        if before is None:
            found.append(_quickest_ns(runner))
        elif number % 2:
            found.append(_quickest_ns(runner) - _quickest_ns(before))
        else:
            found.append(-_quickest_ns(before) + _quickest_ns(runner))
    return found


def _quickest_ns(runner: Runner) -> float:
    """The quickest of one turn, which others disturb least; the first, which finds the caches taken, does not count."""
    runner.invoke()
    samples_ns: list[int] = []
    stop_ns = time.perf_counter_ns() + int(SLICE_S * 1e9)
    while len(samples_ns) < LEAST or time.perf_counter_ns() < stop_ns:
        start_ns = time.perf_counter_ns()
        runner.invoke()
        samples_ns.append(time.perf_counter_ns() - start_ns)
    return min(samples_ns)


def _trimmed(values: Sequence[float]) -> Sequence[float]:
    """The middle of the values: without the two least and the two greatest, which others' work may have made."""
    return sorted(values)[2:-2]


def _standard_error(values: Sequence[float]) -> float:
    """Of the trimmed mean, from the middle half of all values (a normal distribution's is 1.349 sigma wide)."""
    quarter, _, three_quarters = statistics.quantiles(values, n=4)
    return (three_quarters - quarter) / 1.349 / math.sqrt(len(values) - 4)


_ROW = re.compile(
    r"^\s*(?P<kind>\S.*?)\s+(?:(?P<start>\d+\.\d+)\s+)?(?P<first>\d+\.\d+)\s+(?P<average>\d+\.\d+)\s+"
    r"\d+\.\d+%\s+\d+\.\d+%\s+\d+\.\d+\s+(?P<calls>\d+)\s+(?P<name>\S.*?)\s*$"
)
_WHOLE = re.compile(r"Inference \(avg\):\s+(?P<figure>\d+(?:\.\d+)?(?:e\+\d+)?)(?P<unit> ms)?")
_REGULAR = "Operator-wise Profiling Info for Regular Benchmark Runs"
_RUN_ORDER = "= Run Order ="


def parse_benchmark_model(log: str) -> Profile:
    """The profile that `benchmark_model --enable_op_profiling=true` prints, of the runs and not of the initialization.

    Times are of one inference: where the log says "times called", its average is of one call. Older tools have a
    column [start], newer ones have none; both are read. FileFormatError for a log without a profile.
    """
    regular = log.rpartition(_REGULAR)[2]  # the whole log of a tool that has only one profile
    order = regular.partition(_RUN_ORDER)[2].splitlines()[1:]
    operators: list[OperatorTime] = []
    for line in order:
        row = _ROW.match(line)
        if row is not None:
            operators.append(_logged(len(operators), row))
        elif operators and not line.strip():
            break
    if not operators:
        raise FileFormatError(
            "no operator profile in this log; give what benchmark_model --enable_op_profiling=true prints"
        )
    whole = _WHOLE.search(log)
    whole_ns = float(whole["figure"]) * (1e6 if whole["unit"] else 1e3) if whole else None
    return Profile(LOG_METHOD, None, tuple(operators), whole_ns)


def _logged(index: int, row: re.Match[str]) -> OperatorTime:
    calls = max(1, int(row["calls"]))  # a tool that does not count says 0
    name = re.sub(r"^\[(.*)\](?::\d+)?$", r"\1", row["name"])
    kind = row["kind"]
    delegated = row["name"].startswith("Delegate/") or None
    return OperatorTime(index, kind, name, float(row["average"]) * 1e6 * calls, calls=calls, delegated=delegated)
