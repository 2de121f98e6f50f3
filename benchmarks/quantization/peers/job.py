"""What a peer is asked to do, and the report that it leaves; standard library and numpy only.

A peer is started as `python -m quantization.peers.<name> JOB.json` in an environment that has nothing of edgekit's
dependencies, so nothing here may be imported from there.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Job:
    """One model for one tool. Images are (n, height, width, 3) float32, preprocessed; `folder` is the peer's own.

    `expected` holds what the float .tflite answers to the first calibration images, for peers that work on another
    form of it; `own` is for edgekit's peer alone.
    """

    float_tflite: Path
    keras: Path
    own: Path
    calibration: Path
    evaluation: Path
    expected: Array
    folder: Path
    settings: dict[str, Any]

    @property
    def samples(self) -> list[Array]:
        """The calibration images one by one, in memory: (1, height, width, 3)."""
        return [np.array(image[np.newaxis]) for image in np.load(self.calibration, mmap_mode="r")]

    def answers(self, answer: Callable[[Array], Array]) -> Path:
        """A file with what `answer` says to every evaluation image: (n, classes) float32."""
        path = self.folder / "outputs.npy"
        images = np.load(self.evaluation, mmap_mode="r")
        np.save(path, np.stack([answer(image[np.newaxis]).reshape(-1) for image in images]).astype(np.float32))
        return path

    def check(self, answer: Callable[[Array], Array]) -> float:
        """How far `answer` is from the float .tflite at most; SystemExit if another form of it is another network."""
        own = np.stack([answer(image).reshape(-1) for image in self.samples[: len(self.expected)]])
        difference = float(np.abs(own - self.expected).max())
        if not difference <= TOLERANCE:
            raise SystemExit(f"this form of the network differs from the float .tflite by {difference:.2g}")
        return difference


@dataclass
class Spent:
    """What the work inside `stopwatch` took; processor seconds count every thread."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int | None = None


@dataclass(frozen=True)
class Report:
    """What a peer did: the model's files, and its answers in `outputs` where no TFLite runtime can give them."""

    files: Sequence[Path]
    spent: Spent
    packages: Sequence[str]
    output_kind: str = "probabilities"
    outputs: Path | None = None
    float_difference: float | None = None
    extra: dict[str, float] = field(default_factory=dict)


def read() -> Job:
    """The job that the command line names."""
    content = json.loads(Path(sys.argv[1]).read_text())
    return Job(
        float_tflite=Path(content["float_tflite"]),
        keras=Path(content["keras"]),
        own=Path(content["own"]),
        calibration=Path(content["calibration"]),
        evaluation=Path(content["evaluation"]),
        expected=np.load(content["expected"]),
        folder=Path(content["folder"]),
        settings=content["settings"],
    )


@contextlib.contextmanager
def stopwatch() -> Iterator[Spent]:
    """Measures the work inside: from a float model and decoded images in memory to a quantized file on disk."""
    spent, started, worked = Spent(), time.perf_counter(), _processor_seconds()
    yield spent
    spent.seconds = time.perf_counter() - started
    spent.cpu_seconds = _processor_seconds() - worked
    spent.peak_rss_bytes = _peak_rss_bytes()


def finish(job: Job, report: Report) -> None:
    """Writes the report to where the driver looks for it."""
    versions = {name: importlib.metadata.version(name) for name in (*report.packages, "numpy")}
    content = {
        "files": [str(path) for path in report.files],
        "seconds": report.spent.seconds,
        "cpu_seconds": report.spent.cpu_seconds,
        "peak_rss_bytes": report.spent.peak_rss_bytes,
        "versions": {**versions, "python": platform.python_version()},
        "output_kind": report.output_kind,
        "outputs": report.outputs and str(report.outputs),
        "float_difference": report.float_difference,
        "extra": report.extra,
    }
    (job.folder / "report.json").write_text(json.dumps(content))


def _processor_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def _peak_rss_bytes() -> int | None:
    """The most memory this process ever had; rusage would also count its parent's, from before the program started."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found.group(1)) * 1024 if found else None
    return None
