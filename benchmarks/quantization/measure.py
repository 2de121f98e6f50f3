"""One tool on one model: starts the peer, lets the model answer, and holds the answers against the float model's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgekit import evaluate, isolate
from edgekit.artifact import sha256_of
from edgekit.devices.local import Local
from edgekit.errors import DataError, EdgekitError, ModelCrashError
from edgekit.measurement import utc_now
from edgekit.runtime import Array
from quantization import given as givens
from quantization.given import Given
from quantization.results import FLOAT, Row
from quantization.tools import Tool

ROOT = Path(__file__).parents[2]
PEER_SECONDS = 1800.0
_ANSWER_SECONDS = 600.0
_LONGEST_ERROR = 300


class Report(msgspec.Struct, frozen=True):
    """What a peer leaves behind; see peers/job.py. Without `outputs` the first file is a .tflite."""

    files: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int | None
    versions: dict[str, str]
    output_kind: str
    outputs: str | None
    float_difference: float | None
    extra: dict[str, float]


def measure(tool: Tool, pins: tuple[str, ...], python: Path | EdgekitError, given: Given) -> Row:
    """The tool's row for this model; whatever goes wrong is in the row, too."""
    row = _empty(given, tool, pins)
    try:
        if isinstance(python, EdgekitError):
            raise python
        report = _quantized(tool, python, given)
        return judged(_with_report(row, report), given, *_answers(report, given))
    except EdgekitError as error:
        return msgspec.structs.replace(row, error=_words(str(error), given))


def float_row(given: Given) -> Row:
    """The float model judged by the same images; it is its own reference and carries no comparison."""
    row = Row(given.model, FLOAT, given.float_sha256, given.images_sha256, utc_now(), Local().name)
    return msgspec.structs.replace(
        row,
        rank=_ranks(given.reference, given.truths),
        size_bytes=given.file("float.tflite").stat().st_size,
        model_sha256=given.float_sha256,
        outputs_sha256=hashlib.sha256(given.reference.tobytes()).hexdigest(),
    )


def judged(row: Row, given: Given, outputs: Array, kind: str) -> Row:
    """The row with its answers' ranks, agreement and divergence; `kind` is "probabilities" or "logits"."""
    if outputs.shape != given.reference.shape:
        raise DataError(f"the answers are {outputs.shape}, those of the float model {given.reference.shape}")
    if not np.isfinite(outputs).all():
        raise DataError("the model gives infinite or undefined outputs")
    pairs = list(zip(given.reference, outputs, strict=True))
    divergences = [_divergence(expected, found, kind) for expected, found in pairs]
    return msgspec.structs.replace(
        row,
        rank=_ranks(outputs, given.truths),
        agrees=tuple(bool(expected.argmax() == found.argmax()) for expected, found in pairs),
        kl_nats=tuple(round(value, 7) for value in divergences),
        outputs_sha256=hashlib.sha256(np.ascontiguousarray(outputs).tobytes()).hexdigest(),
    )


def _ranks(outputs: Array, truths: Sequence[int | None]) -> tuple[int | None, ...]:
    pairs = zip(outputs, truths, strict=True)
    return tuple(None if truth is None else evaluate.rank_of(found, truth) for found, truth in pairs)


def _divergence(expected: Array, found: Array, kind: str) -> float:
    reference = evaluate.probabilities(expected, "probabilities")
    return evaluate.divergence(reference, evaluate.probabilities(found, kind))


def _empty(given: Given, tool: Tool, pins: tuple[str, ...]) -> Row:
    row = Row(given.model, tool.name, given.float_sha256, given.images_sha256, utc_now(), Local().name)
    return msgspec.structs.replace(row, settings=tool.settings, pins=pins)


def _with_report(row: Row, report: Report) -> Row:
    return msgspec.structs.replace(
        row,
        versions=report.versions,
        size_bytes=sum(Path(name).stat().st_size for name in report.files),
        seconds=round(report.seconds, 3),
        cpu_seconds=round(report.cpu_seconds, 3),
        peak_rss_bytes=report.peak_rss_bytes,
        float_conversion_seconds=report.extra.get("float_conversion_seconds"),
        float_conversion_cpu_seconds=report.extra.get("float_conversion_cpu_seconds"),
        float_difference=report.float_difference,
        model_sha256=sha256_of(Path(report.files[-1])),
    )


def _quantized(tool: Tool, python: Path, given: Given) -> Report:
    """Runs the peer in its environment; ModelCrashError with its last words if it leaves no report."""
    folder = given.folder / tool.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job, log = folder / "job.json", folder / "log.txt"
    job.write_text(json.dumps(_job(tool, given, folder)))
    command = [str(python), "-m", f"quantization.peers.{tool.peer}", str(job.resolve())]
    with log.open("wb") as file:
        code = _run(command, file.fileno(), folder)
    if code or not (folder / "report.json").exists():
        raise ModelCrashError(f"{_last_line(log)} (exit code {code})")
    return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)


def _run(command: Sequence[str], log: int, folder: Path) -> int:
    try:
        done = subprocess.run(
            command, stdout=log, stderr=log, cwd=folder, env=_environment(), timeout=PEER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelCrashError(f"not done after {PEER_SECONDS:.0f} s") from None
    return done.returncode


def _job(tool: Tool, given: Given, folder: Path) -> dict[str, object]:
    files = {
        "float_tflite": given.file("float.tflite"),
        "keras": given.file("network.keras"),
        "own": given.file("edgekit.pickle"),
        "calibration": given.file("calibration.npy"),
        "evaluation": given.file("evaluation.npy"),
        "expected": given.file("expected.npy"),
        "folder": folder,
    }
    return {**{name: str(path.resolve()) for name, path in files.items()}, "settings": tool.settings}


def _environment() -> dict[str, str]:
    """The peers find `quantization` and, where their environment can carry it, edgekit; nothing looks for a GPU."""
    paths = os.pathsep.join(map(str, (ROOT / "benchmarks", ROOT)))
    return os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _answers(report: Report, given: Given) -> tuple[Array, str]:
    """The answers, and whether they are "probabilities" or "logits"."""
    if report.outputs is not None:
        return np.load(report.outputs), report.output_kind
    model, pixels = Path(report.files[0]), given.file("pixels.npy")
    outputs, kind = isolate.call(model.name, _ANSWER_SECONDS, givens.tflite_answers, model, pixels, given.input)
    return outputs, kind or report.output_kind


def _words(text: str, given: Given) -> str:
    """An error in one line, without this machine's paths."""
    plain = " ".join(text.split()).replace(str(given.folder.resolve()), given.model).replace(str(ROOT), ".")
    return plain[:_LONGEST_ERROR]


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
