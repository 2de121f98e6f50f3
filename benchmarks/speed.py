"""How long edgekit's own commands take, beside the least that the work could take; all pairs in one run, interleaved.

Usage: python benchmarks/speed.py [--rounds 3]
Writes results/speed.json. Whole commands are timed, start-up and imports included; medians and their ratio are kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import msgspec
import overhead
from rich.progress import track

from edgekit import images, weights
from edgekit.artifact import atomic_write, read
from edgekit.images import Preprocessor
from edgekit.runtime import Runner

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
EDGEKIT = (sys.executable, "-m", "edgekit")
WORKERS = 2


class Timing(msgspec.Struct, frozen=True):
    """A command beside its yardstick: seconds of every round, and the ratio of the medians."""

    what: str
    yardstick: str
    limit: str
    seconds: tuple[float, ...]
    yardstick_seconds: tuple[float, ...]
    ratio: float | None


def main() -> None:
    """Times everything and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="how often each pair is run")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        timings = _timings(Path(name), rounds)
    with atomic_write(RESULTS) as file:
        file.write(msgspec.json.format(msgspec.json.encode(timings), indent=2) + b"\n")
    for timing in timings:
        ratio = "" if timing.ratio is None else f", {timing.ratio:.2f} x {timing.yardstick}"
        print(f"{timing.what}: {median(timing.seconds):.3g} s{ratio} (limit: {timing.limit})")


def _timings(folder: Path, rounds: int) -> list[Timing]:
    sample = weights.image_folder()
    export = (*EDGEKIT, "export", "squeezenet_v1_1", "--recipe", "int8_fast", "--calibration", sample, "-o", folder)
    stock = (sys.executable, HERE / "stock_converter.py", sample, folder / "stock.tflite")
    timings = [_pair("edgekit export", export, "TensorFlow's converter", stock, "at most 1.00 x", rounds)]
    made = folder / "squeezenet_v1_1-224-int8_fast.tflite"
    bare = (sys.executable, "-c", "import numpy")
    quick = 3 * rounds
    timings.append(_pair("edgekit --help", (*EDGEKIT, "--help"), "import numpy", bare, "under 0.3 s", quick))
    timings.append(_pair("edgekit inspect", (*EDGEKIT, "inspect", made), "import numpy", bare, "under 0.6 s", quick))
    timings.append(_evaluation(made, sample, rounds))
    return timings + _quantizing(rounds) + _harness(made, 4 * rounds)


def _quantizing(rounds: int) -> list[Timing]:
    """SqueezeNet v1.1 and 100 decoded images in memory to int8, in one process; see quantizing.py."""
    command = [sys.executable, HERE / "quantizing.py", rounds]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    seconds: dict[str, list[float]] = msgspec.json.decode(done.stdout.splitlines()[-1])
    stock = seconds["TensorFlow's converter"]
    limits = {"int8_fast": "at most 0.167 x", "int8": "under 180 s"}
    return [
        Timing(
            f"quantizing, {name}",
            "TensorFlow's converter",
            limit,
            tuple(seconds[f"edgekit {name}"]),
            tuple(stock),
            median(seconds[f"edgekit {name}"]) / median(stock),
        )
        for name, limit in limits.items()
    ]


def _harness(model: Path, rounds: int) -> list[Timing]:
    """One inference by edgekit's harness, beside a bare loop and beside litert-benchmark; see overhead.py."""
    found = overhead.measure(model, rounds=rounds)
    yardsticks = {
        "a bare loop": (found.bare_ns, found.to_bare, "within 1 %"),
        "litert-benchmark": (found.litert_benchmark_ns, found.to_litert_benchmark, "within 3 %"),
    }
    return [
        Timing("one inference, median", name, limit, _seconds(found.edgekit_ns), _seconds(others_ns), ratio.value)
        for name, (others_ns, ratio, limit) in yardsticks.items()
    ]


def _seconds(times_ns: Sequence[float]) -> tuple[float, ...]:
    return tuple(time_ns / 1e9 for time_ns in times_ns)


def _pair(
    what: str, command: Sequence[object], yardstick: str, other: Sequence[object], limit: str, rounds: int
) -> Timing:
    seconds, others = [], []
    for _ in track(range(rounds), what):
        seconds.append(_run(command))
        others.append(_run(other))
    ratio = median(seconds) / median(others)
    return Timing(what, yardstick, limit, tuple(seconds), tuple(others), ratio)


def _run(command: Sequence[object]) -> float:
    started = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return time.perf_counter() - started


def _evaluation(model: Path, folder: Path, rounds: int) -> Timing:
    """`edgekit eval`, the whole command, beside a bare loop of decoding and inference on as many threads."""
    command = (*EDGEKIT, "eval", model, "--images", folder, "--include-calibration", "--workers", WORKERS)
    seconds, others = [], []
    for _ in track(range(rounds), "edgekit eval"):
        seconds.append(_run(command))
        others.append(_bare_loop(model, folder))
    ratio = median(seconds) / median(others)
    return Timing(
        "edgekit eval", "decoding and inference", "at most 1.18 x (85 %)", tuple(seconds), tuple(others), ratio
    )


def _bare_loop(model: Path, folder: Path) -> float:
    artifact = read(model)
    assert artifact.card is not None
    spec, content = artifact.card.input, model.read_bytes()
    runners = [Runner(content) for _ in range(WORKERS)]
    preprocess = Preprocessor(spec, runners[0].input)
    paths = images.list_images(folder)

    def work(number: int) -> None:
        for path in paths[number::WORKERS]:
            runners[number].run(preprocess(images.crop(path.read_bytes(), spec)))

    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
