"""What edgekit's harness adds to a latency: its median beside a bare loop's and litert-benchmark's, in one run.

Usage: python benchmarks/overhead.py MODEL.tflite [--threads 1] [--rounds 12] [--runs 100]
Every round is two processes, in turns: one in which edgekit's slices alternate with slices of a bare loop around an
interpreter of its own, and `litert-benchmark`, which ships with ai-edge-litert. Writes results/overhead.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from rich.progress import track

from edgekit import artifact, bench, compare, isolate, sampling
from edgekit.artifact import atomic_write
from edgekit.compare import Ratio
from edgekit.devices.local import Local
from edgekit.errors import MissingError
from edgekit.measurement import Protocol

RESULTS = Path(__file__).parent / "results" / "overhead.json"
LITERT_BENCHMARK = Path(sys.executable).with_name("litert-benchmark")
TIMEOUT_S = 600.0
BARE_LIMIT, LITERT_LIMIT = 0.01, 0.03


class Overhead(msgspec.Struct, frozen=True):
    """Medians of every round, nanoseconds, and the median of edgekit's ratio to the others, with 95 % intervals."""

    model: str
    sha256: str
    device: str
    runtime_version: str
    threads: int
    runs: int
    edgekit_ns: tuple[float, ...]
    bare_ns: tuple[float, ...]
    litert_benchmark_ns: tuple[float, ...]
    to_bare: Ratio
    to_litert_benchmark: Ratio
    load_1min: float | None = None


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12, help="how often every harness gets its turn")
    parser.add_argument("--runs", type=int, default=100, help="inferences of each in a round")
    options = parser.parse_args()
    found = measure(options.model, options.threads, options.rounds, options.runs)
    with atomic_write(RESULTS) as file:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    print(_line("a bare loop", found.to_bare, BARE_LIMIT))
    print(_line("litert-benchmark", found.to_litert_benchmark, LITERT_LIMIT))


def measure(model: Path, threads: int = 1, rounds: int = 12, runs: int = 100) -> Overhead:
    """All rounds; MissingError where litert-benchmark is not installed."""
    if not LITERT_BENCHMARK.exists():
        raise MissingError(f"no {LITERT_BENCHMARK}; run: pip install ai-edge-litert")
    device = Local()
    fingerprint = device.fingerprint()
    ours, bare, others = [], [], []
    for number in track(range(rounds), "harness overhead"):
        if number % 2:
            others.append(_litert_benchmark_ns(model, threads, runs))
        pair = isolate.call(str(model), TIMEOUT_S, _alternating, model, threads, runs)
        ours.append(pair[0])
        bare.append(pair[1])
        if number % 2 == 0:
            others.append(_litert_benchmark_ns(model, threads, runs))
    return Overhead(
        model=model.name,
        sha256=artifact.read(model).sha256,
        device=device.name,
        runtime_version=fingerprint.runtime_version,
        threads=threads,
        runs=runs,
        edgekit_ns=tuple(ours),
        bare_ns=tuple(bare),
        litert_benchmark_ns=tuple(others),
        to_bare=_ratio(ours, bare),
        to_litert_benchmark=_ratio(ours, others),
        load_1min=fingerprint.load_1min,
    )


def _alternating(model: Path, threads: int, runs: int) -> tuple[float, float]:
    """(edgekit's median, the bare loop's), their slices in turns; runs in a child process."""
    protocol = Protocol("overhead", warmup_s=0.3, min_runs=runs, min_seconds=0.0, warmup_most_s=0.3)
    samples_ns: list[int] = []
    loop = _bare_loop(model, threads, runs // protocol.rounds)
    device = Local()

    def take_turn(share: float) -> None:
        taken_ns = loop()
        if share > 1 / (1 + protocol.rounds):  # the first turn is after the warm-up and warms up too
            samples_ns.extend(taken_ns)

    measured = bench.measure(
        artifact.read(model),
        protocol=protocol,
        device=device.name,
        fingerprint=device.fingerprint(),
        threads=threads,
        progress=take_turn,
    )
    return compare.median(measured.latency_ns), median(samples_ns)


def _bare_loop(model: Path, threads: int, runs: int) -> Callable[[], list[int]]:
    """The loop that everyone writes, around an interpreter with noise in its first input."""
    interpreter = Interpreter(model_path=str(model), num_threads=threads)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 127, detail["shape"]).astype(detail["dtype"])
    interpreter.set_tensor(detail["index"], noise)

    def loop() -> list[int]:
        samples_ns = []
        for _ in range(runs):
            start_ns = time.perf_counter_ns()
            interpreter.invoke()
            samples_ns.append(time.perf_counter_ns() - start_ns)
        return samples_ns

    return loop


def _litert_benchmark_ns(model: Path, threads: int, runs: int) -> float:
    """Its median, which it tells to 10 microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [LITERT_BENCHMARK, f"--model={model}", f"--num_threads={threads}", f"--num_runs={runs}"]
        command += ["--warmup_runs=30", f"--result_json={result}"]
        subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=TIMEOUT_S)
        found = msgspec.json.decode(result.read_bytes())
    return float(found["latency"]["median_ms"]) * 1e6


def _ratio(above: list[float], below: list[float]) -> Ratio:
    """The median of the rounds' ratios; both of a round ran in the same seconds, so what slowed both cancels."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    low, high = sampling.median_interval([[ratio] for ratio in ratios])
    return Ratio(median(ratios), low, high)


def _line(other: str, ratio: Ratio, limit: float) -> str:
    return f"edgekit / {other}: {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f}); limit: within {limit:.0%}"


if __name__ == "__main__":
    main()
