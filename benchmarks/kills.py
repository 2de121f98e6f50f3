"""Kills a campaign of real models at random moments and checks that nothing is lost and nothing is there twice.

Usage: python benchmarks/kills.py [--kills 50] [--seed 0]
Two devices side by side: this machine, and this machine under another board's name. What a campaign has said to be
measured must be on disk after the kill, every line must stay as it was, no process may be left, and the campaign that
is let run to its end must hold each file on each device with each number of threads once.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import run as driver

from edgekit import graph, measurement
from edgekit.artifact import atomic_write
from edgekit.devices import Device
from edgekit.devices.local import Local
from edgekit.measurement import Measurement

MODELS = 16
THREADS = (1, 2)
BOARD = "Raspberry Pi 4 Model B (this machine under its name)"
SPAN_S = 1.5
EARLY = 0.25  # of the kills count their time from the start of the process, the others from its first result
CAMPAIGN = """
protocol = {{ name = "kills", warmup_s = 0.0, min_runs = 5, min_seconds = 0.05 }}
threads = {threads}
recipes = ["a", "b"]
models = {models}
devices = [{{ where = "local", folder = "here" }}, {{ where = "board", folder = "board" }}]
"""
Result = tuple[str, str, int]  # device's folder, artifact, threads


class LostError(Exception):
    """A kill has cost or doubled something."""


@dataclass
class Outcome:
    """What was done; `moments` says how many results the two devices held after each kill."""

    asked: int
    kills: int
    campaigns: int
    torn: int
    moments: list[int]


def main() -> int:
    """Runs the kills and says how it went; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = torment(Path(folder), options.kills, options.seed)
        except LostError as error:
            print(f"benchmarks/kills.py: {error}", file=sys.stderr)
            return 1
    print(
        f"{outcome.kills} kills in {outcome.campaigns} campaigns of {outcome.asked} results, "
        f"{time.monotonic() - start:.0f} s: nothing lost, nothing twice, {outcome.torn} torn lines recovered; "
        f"results at the kills: {outcome.moments}"
    )
    return 0


def torment(folder: Path, kills: int, seed: int, models: int = MODELS) -> Outcome:
    """Starts campaigns and kills them, then lets the last one end; LostError says what went wrong."""
    chance = random.Random(seed)
    prepare(folder, models)
    outcome = Outcome(len(expected(folder)), 0, 1, 0, [])
    results = folder / "results"
    while outcome.kills < kills:
        before = lines(results)
        process, said = start(folder)
        try:
            wait_a_while(process, said, chance)
        finally:
            if process.poll() is None:
                process.kill()
        if process.wait() == -signal.SIGKILL:
            outcome.kills += 1
            check(results, before, said)
            outcome.moments.append(sum(map(len, lines(results).values())))
            outcome.torn += sum(not path.read_bytes().endswith(b"\n") for path in files(results))
            none_left(folder)
        else:
            check_end(results, process.returncode, said)
            outcome.campaigns += 1
            results.rename(folder / f"results{outcome.campaigns}")
    process, said = start(folder)
    check_end(results, process.wait(), said)
    return outcome


def prepare(folder: Path, models: int) -> None:
    """The campaign, its models and the tree that names the board."""
    names = [f"model{number}" for number in range(models)]
    (folder / "campaign.toml").write_text(CAMPAIGN.format(threads=list(THREADS), models=names))
    noise = np.random.default_rng(0)
    for name in names:
        for recipe in "ab":
            path = folder / "zoo" / f"{name}-{recipe}.tflite"
            with atomic_write(path) as file:
                file.write(layer(noise.normal(size=(8, 16)).astype(np.float32)))
    tree = folder / "tree" / "proc"
    (tree / "device-tree").mkdir(parents=True)
    (tree / "device-tree" / "model").write_text(BOARD)
    (tree / "cpuinfo").write_text("processor\t: 0\n\nprocessor\t: 1\n")


def layer(kernel: np.ndarray) -> bytes:
    """A network of one dense layer, (outputs, inputs)."""
    outputs, inputs = kernel.shape
    tensors = [
        graph.Tensor("in", (1, inputs), "float32"),
        graph.Tensor("kernel", (outputs, inputs), "float32", kernel),
        graph.Tensor("out", (1, outputs), "float32"),
    ]
    made = graph.new_options("FullyConnectedOptions")
    dense = graph.Operator(
        "FULLY_CONNECTED", [0, 1, -1], [2], made, graph.constant("BuiltinOptions", "FullyConnectedOptions")
    )
    return graph.dump(graph.Graph(tensors, [dense], inputs=[0], outputs=[2]))


def serve(folder: Path) -> int:
    """The campaign itself, in a process of its own."""

    def find(where: str, _: Path | None) -> Device:
        return Local(folder / "tree") if where == "board" else Local()

    places = ["--campaign", folder / "campaign.toml", "--artifacts", folder / "zoo", "--results", folder / "results"]
    return driver.main(list(map(str, places)), find)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """A running campaign, and the file with what it says."""
    said = folder / "said"
    command = [sys.executable, __file__, "--serve", str(folder)]
    with said.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True), said


def wait_a_while(process: subprocess.Popen[bytes], said: Path, chance: random.Random) -> None:
    """Until the moment at which to kill, or the end of the campaign."""
    if chance.random() > EARLY:
        await_result(process, said)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0, SPAN_S))


def await_result(process: subprocess.Popen[bytes], said: Path) -> None:
    """Waits until the campaign tells of a result, or ends."""
    while process.poll() is None and not acknowledged(said):
        time.sleep(0.01)


def files(results: Path) -> list[Path]:
    """The result files of both devices, as far as they are there."""
    return sorted(results.glob("*/measurements.jsonl"))


def lines(results: Path) -> dict[str, list[bytes]]:
    """The whole lines by device."""
    return {path.parent.name: path.read_bytes().split(b"\n")[:-1] for path in files(results)}


def held(results: Path) -> list[Result]:
    """What is stored; FileFormatError for a line that is no result."""
    found = [(path.parent.name, record) for path in files(results) for record in measurement.read([path])]
    return [
        (device, record.artifact_name, record.threads) for device, record in found if isinstance(record, Measurement)
    ]


def expected(folder: Path) -> set[Result]:
    """All that the campaign asks for."""
    names = [path.stem for path in folder.glob("zoo/*.tflite")]
    return {(device, name, threads) for device in ("here", "board") for name in names for threads in THREADS}


def check(results: Path, before: dict[str, list[bytes]], said: Path) -> None:
    """What was there is there, in its place; what was said to be measured is there; nothing is there twice."""
    after = lines(results)
    for device, known in before.items():
        if after.get(device, [])[: len(known)] != known:
            raise LostError(f"{device}: lines that were there have changed")
    found = held(results)
    if len(set(found)) < len(found):
        raise LostError(f"twice: {sorted(name for name in found if found.count(name) > 1)}")
    lost = acknowledged(said) - set(found)
    if lost:
        raise LostError(f"said to be measured and not on disk: {sorted(lost)}")


def acknowledged(said: Path) -> set[Result]:
    """The results that a campaign has told of: "here: model3-a, 2 threads: 0.01 ms"."""
    whole = said.read_text().rpartition("\n")[0].splitlines()
    told = [line.replace(":", ",").split(", ") for line in whole if line.endswith(" ms")]
    return {(device, name, int(threads.split()[0])) for device, name, threads, _ in told}


def check_end(results: Path, exit_code: int, said: Path) -> None:
    """A campaign that has ended by itself holds all that was asked, once, in whole lines."""
    check(results, {}, said)
    missing = expected(results.parent) - set(held(results))
    torn = [path.parent.name for path in files(results) if not path.read_bytes().endswith(b"\n")]
    if exit_code or missing or torn:
        raise LostError(f"exit code {exit_code}, missing {sorted(missing)}, torn {torn}: {said.read_text()[-2000:]}")


def none_left(folder: Path, patience_s: float = 5.0) -> None:
    """No process of the campaign outlives it by more than a moment."""
    end = time.monotonic() + patience_s
    while left := running(str(folder)):
        if time.monotonic() > end:
            raise LostError(f"still running after the kill: {left}")
        time.sleep(0.02)


def running(folder: str) -> Sequence[int]:
    """Processes that were started with this folder's name."""
    mark = b"\0--serve\0" + folder.encode() + b"\0"
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


if __name__ == "__main__":
    sys.exit(main())
