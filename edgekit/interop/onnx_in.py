"""ONNX -> float .tflite: by onnx2tf in its own environment, then held against onnxruntime on real images."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import graph as graphs
from edgekit import images, isolate
from edgekit.errors import FileFormatError, ModelCrashError, QualityError
from edgekit.graph import Array
from edgekit.interop import environment, moves, normalisation
from edgekit.interop.environment import Progress
from edgekit.interop.onnx_file import Plan
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

TOLERANCE = 1e-4  # of the greatest output, or of 1 where that is greater
MAX_TRANSPOSES = 4
TIMEOUT_S = 900.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BLAMED = re.compile(r"onnx_op_name:\s*(\S+)")


@dataclass(frozen=True)
class Converted:
    """A float .tflite that gives what the ONNX model gives; `input` is how images become its input.

    `difference` is the greatest one seen, in units of the greatest output or of 1. `transposes` names the ONNX node
    before each operator that only reorders values.
    """

    tflite: bytes
    input: InputSpec
    difference: float
    transposes: tuple[str, ...]
    tools: dict[str, str]


def convert(plan: Plan, spec: InputSpec, crops: Sequence[Array], limit: int, progress: Progress) -> Converted:
    """The network of an ONNX file, whose input `spec` describes; `crops` are images to compare answers on.

    They are RGB pixels, (height, width, 3) uint8. A normalisation at the network's front moves into the InputSpec.

    FileFormatError if it cannot be converted, naming nodes; QualityError if the result gives other answers than
    onnxruntime, or moves values about in more than `limit` places; MissingError if onnx2tf's environment is not there
    and cannot be made; ModelCrashError if a library dies on the file.
    """
    python = environment.python(progress)
    progress("convert ONNX", 0, 2)
    made = _attempt(python, plan, spec, crops, careful=False)
    if made.difference > TOLERANCE or made.transposes:
        progress("convert ONNX, operator by operator", 0, 2)
        careful = _attempt(python, plan, spec, crops, careful=True)
        made = min(made, careful, key=lambda other: (other.difference > TOLERANCE, len(other.transposes)))
    progress("compare with onnxruntime", 1, 2)
    _refuse(plan.path, made, limit)
    progress("compare with onnxruntime", 2, 2)
    return made


def _attempt(python: Path, plan: Plan, spec: InputSpec, crops: Sequence[Array], careful: bool) -> Converted:
    """One conversion. A careful one tries each operator's orders of axes on data, which takes several times as long."""
    with tempfile.TemporaryDirectory(prefix="edgekit-onnx-") as folder:
        job = {
            "action": "convert",
            "model": str(plan.path.resolve()),
            "input": plan.input_name,
            "shape": plan.shape,
            "channels_first": plan.channels_first,
            "careful": careful,
        }
        samples = [images.normalise(pixels, spec) for pixels in crops]
        result = _run(python, Path(folder), job, plan.path, _as_given(samples, plan))
        tflite = (Path(folder) / "model.tflite").read_bytes()
        expected = _answers(Path(folder), len(samples))
    tflite, taken = isolate.call(str(plan.path), TIMEOUT_S, _tidied, tflite, spec)
    samples = [images.normalise(pixels, taken) for pixels in crops]
    difference = isolate.call(str(plan.path), TIMEOUT_S, _difference, tflite, samples, expected)
    return Converted(tflite, taken, difference, _left(tflite, result["transposes"]), result["tools"])


def _refuse(path: Path, made: Converted, limit: int) -> None:
    if not made.difference <= TOLERANCE:
        raise QualityError(
            f"{path}: converted, it differs from onnxruntime by {made.difference:.2g} of the greatest output, and "
            f"{TOLERANCE} is allowed; onnx2tf has mistaken its meaning, so nothing was written"
        )
    if len(made.transposes) > limit:
        raise QualityError(
            f"{path}: converted, it moves values about in {len(made.transposes)} places (TRANSPOSE), and {limit} are "
            f"allowed; they come from the ONNX nodes {', '.join(dict.fromkeys(made.transposes))}; export the network "
            f"without them, or allow them with --max-transposes {len(made.transposes)}"
        )


def _tidied(tflite: bytes, spec: InputSpec) -> tuple[bytes, InputSpec]:
    """Runs in a child process."""
    return normalisation.absorb(moves.drop_needless(tflite), spec)


def answers(model: Path, samples: Array, progress: Progress) -> list[Array]:
    """What onnxruntime gives for the first output, sample by sample; `samples` as the model takes them, (n, ...)."""
    python = environment.python(progress)
    with tempfile.TemporaryDirectory(prefix="edgekit-onnx-") as folder:
        job = {"action": "answer", "model": str(model.resolve())}
        _run(python, Path(folder), job, model, samples)
        return [outputs[0] for outputs in _answers(Path(folder), len(samples))]


def _left(tflite: bytes, named: dict[str, str]) -> tuple[str, ...]:
    """The ONNX nodes behind the transposes that are still there; `named` has them by the tensors that are moved."""
    graph = graphs.load(tflite)
    names = [graph.tensors[operator.inputs[0]].name for operator in graph.operators if operator.kind == "TRANSPOSE"]
    return tuple(named.get(name, name) for name in names)


def _as_given(samples: Sequence[Array], plan: Plan) -> Array:
    """The samples in the order of the ONNX model's own input."""
    stacked = np.concatenate(list(samples)) if samples else np.zeros((0, 1, 1, 3), np.float32)
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2) if plan.channels_first else stacked)


def _run(python: Path, folder: Path, job: dict[str, Any], path: Path, samples: Array) -> dict[str, Any]:
    """One job in the environment; its libraries' lines go into a file, which is looked at when it fails."""
    np.save(folder / "samples.npy", samples)
    job = {**job, "folder": str(folder), "samples": str(folder / "samples.npy"), "parent": os.getpid()}
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_USE_LEGACY_KERAS": "1"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), "-I", str(Path(__file__).with_name("_worker.py")), str(folder / "job.json")]
    with (folder / "log.txt").open("wb") as log:
        try:
            done = subprocess.run(
                command, env=clean | quiet, stdout=log, stderr=log, timeout=TIMEOUT_S, cwd=folder, check=False
            )
        except subprocess.TimeoutExpired:
            raise ModelCrashError(f"{path}: no answer after {TIMEOUT_S:.0f} s; damaged, or far too large") from None
    text = _COLOUR.sub("", (folder / "log.txt").read_text("utf-8", "replace"))
    if not (folder / "result.json").is_file():
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "no message")
        raise ModelCrashError(f"{path}: the converter died (exit {done.returncode}: {last[:200]})")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
    if "error" in result:
        raise FileFormatError(f"{path}: {result['error']}{_blamed(result['nodes'], text)}")
    return result


def _blamed(nodes: list[list[str]], log: str) -> str:
    """The nodes that the worker or onnx2tf's own lines name."""
    if nodes:
        return ": " + ", ".join(f"{kind} ({name})" for kind, name in nodes[:8]) + ("..." if len(nodes) > 8 else "")
    found = _BLAMED.findall(log)
    return f", at the node {found[-1]}" if found else ""


def _answers(folder: Path, count: int) -> list[list[Array]]:
    """Every output, sample by sample."""
    if not (folder / "outputs.npz").is_file():
        return []
    with np.load(folder / "outputs.npz") as stored:
        columns = 1 + max((int(name.partition("-")[2]) for name in stored.files), default=-1)
        return [[stored[f"{row}-{column}"] for column in range(columns)] for row in range(count)]


def _difference(tflite: bytes, samples: Sequence[Array], expected: Sequence[Sequence[Array]]) -> float:
    """Runs in a child process; the greatest difference of any output, in units of its greatest value or of 1."""
    graphs.load(tflite)
    runner = Runner(tflite)
    worst = 0.0
    for sample, wanted in zip(samples, expected, strict=True):
        runner.set_input(sample)
        runner.invoke()
        given = [runner.get_output(position) for position in range(len(runner.outputs))]
        worst = max(worst, *(min((apart(one, other) for other in given), default=float("inf")) for one in wanted))
    return worst


def apart(wanted: Array, given: Array) -> float:
    """The greatest difference, in units of the greatest value or of 1.

    Maps may have had their channels moved to the end; what has another size is apart without end.
    """
    if wanted.ndim == 4 and wanted.shape != given.shape:
        wanted = wanted.transpose(0, 2, 3, 1)
    if wanted.size != given.size:
        return float("inf")
    scale = max(1.0, float(np.abs(wanted).max()))
    apart = float(np.abs(wanted.reshape(-1) - given.reshape(-1)).max()) / scale
    return apart if apart == apart else float("inf")
