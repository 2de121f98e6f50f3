"""From an ONNX file to a model that can be exported, and from a float model to an ONNX file."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgekit import artifact as artifacts
from edgekit import foreign, graph, images, isolate
from edgekit.artifact import WeightsOrigin
from edgekit.errors import DataError, FileFormatError, QualityError, UsageError
from edgekit.export.files import from_tflite
from edgekit.export.trained import CHECK_SECONDS, Progress, Trained, ignore, stem, unexpected
from edgekit.foreign import Preprocessing
from edgekit.graph import Array
from edgekit.interop import onnx_file, onnx_in, onnx_out
from edgekit.interop.onnx_file import Plan
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

COMPARED_IMAGES = 4
SUFFIX = ".onnx"
_TOLERANCE = 1e-4  # of probabilities, between TFLite and onnxruntime


def is_onnx(name: str) -> bool:
    """Whether what is to be exported is meant as an ONNX file."""
    return name.lower().endswith(SUFFIX)


def from_onnx(
    path: Path,
    said: Preprocessing | None = None,
    labels: Sequence[str] = (),
    progress: Progress = ignore,
    *,
    pictures: Path,
    input_size: int | None = None,
    max_transposes: int = onnx_in.MAX_TRANSPOSES,
) -> Trained:
    """The float model in an .onnx file, converted in child processes and held against onnxruntime on `pictures`.

    `said` gives the preprocessing unless the file is edgekit's own and carries it; `input_size` fixes a size that the
    file leaves open. Errors as `onnx_file.plan`, `onnx_in.convert` and `from_tflite`; UsageError without preprocessing.
    """
    said = said or Preprocessing()
    with unexpected(path):
        plan = isolate.call(str(path), CHECK_SECONDS, onnx_file.plan, path, input_size)
    spec = _input(plan, said)
    made = onnx_in.convert(plan, spec, inputs_of(pictures, spec), max_transposes, progress)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        converted = Path(folder) / f"{stem(path)}.tflite"
        converted.write_bytes(made.tflite)
        found = from_tflite(converted, _as_said(made.input), labels, progress)
    origin = WeightsOrigin(path.name, artifacts.sha256_of(path))
    card = msgspec.structs.replace(found.card, input=made.input, weights=origin, tools=made.tools)
    return dataclasses.replace(found, card=card, source=path, warnings=_warnings(path, found, made))


def to_onnx(trained: Trained, folder: Path, progress: Progress = ignore) -> Path:
    """Writes `<stem>.onnx`: float32, channels first, with the card's InputSpec in its metadata.

    Its answers are held against the float model's first; QualityError if they differ, UnsupportedModelError if an
    operator has no ONNX form.
    """
    path = folder / f"{trained.stem}{SUFFIX}"
    if trained.source is not None and path.resolve() == trained.source.resolve():
        raise UsageError(f"{path} would overwrite the file it is made from; give another folder with --output")
    progress("write ONNX", 0, 2)
    parsed = graph.load(trained.tflite)
    metadata = {
        onnx_file.INPUT_SPEC: msgspec.json.encode(trained.input).decode(),
        "edgekit.model": trained.card.model,
        "edgekit.weights": trained.card.weights.source,
        "edgekit.weights_sha256": trained.card.weights.sha256 or "",
    }
    if trained.labels:
        metadata["edgekit.labels"] = "\n".join(trained.labels)
    content = onnx_out.to_onnx(parsed, metadata, parsed.output_kind())
    progress("compare with onnxruntime", 1, 2)
    _check(trained.tflite, content, path, progress)
    with artifacts.atomic_write(path) as file:
        file.write(content)
    progress("compare with onnxruntime", 2, 2)
    return path


def _check(tflite: bytes, content: bytes, path: Path, progress: Progress) -> None:
    runner = Runner(tflite)
    samples = [runner.noise(seed)[0] for seed in range(COMPARED_IMAGES)]
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        written = Path(folder) / path.name
        written.write_bytes(content)
        inputs = onnx_out.channels_first(_stacked(samples))
        answers = onnx_in.answers(written, inputs, progress)
    for sample, answer in zip(samples, answers, strict=True):
        given = runner.run(sample).reshape(-1)
        wanted = answer.transpose(0, 2, 3, 1).reshape(-1) if answer.ndim == 4 else answer.reshape(-1)
        difference = float(abs(given - wanted).max()) / max(1.0, float(abs(given).max()))
        if not difference <= _TOLERANCE:
            raise QualityError(f"{path} was not written: as ONNX the network's answers differ by {difference:.2g}")


def _stacked(samples: Sequence[Array]) -> Array:
    import numpy as np

    stacked: Array = np.concatenate(list(samples))
    return stacked


def _input(plan: Plan, said: Preprocessing) -> InputSpec:
    """How images become the ONNX model's input: what the user says, else what the file carries."""
    height, width = plan.shape[2:] if plan.channels_first else plan.shape[1:3]
    channels = plan.shape[1] if plan.channels_first else plan.shape[3]
    if height != width or channels != 3:
        raise UsageError(f"{plan.path} takes {plan.shape}; only square RGB images, (1, 3, size, size), are known")
    if (stated := foreign.stated(height, said)) is not None:
        return stated
    if carried := plan.metadata.get(onnx_file.INPUT_SPEC):
        try:
            return msgspec.json.decode(carried.encode(), type=InputSpec)
        except msgspec.DecodeError as error:
            raise FileFormatError(f"{plan.path} carries an input that cannot be read ({error})") from None
    raise UsageError(
        f"{plan.path} does not say how images become its input; say --mean and --std on 0..255, such as "
        "--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 for torchvision's networks"
    )


def _as_said(spec: InputSpec) -> Preprocessing:
    return Preprocessing(spec.channels, ",".join(map(repr, spec.mean)), ",".join(map(repr, spec.std)))


def inputs_of(folder: Path, spec: InputSpec) -> list[Array]:
    """A few images of a folder, decoded, to compare answers on; DataError if none of them can be."""
    chosen = images.evenly_spaced(images.list_images(folder), COMPARED_IMAGES)
    found = images.for_each(chosen, lambda content: images.crop(content, spec), workers=2, limit=1.0)
    crops = [pixels for _path, pixels in found if not isinstance(pixels, images.Unreadable)]
    if not crops:
        raise DataError(f"none of the images of {folder} that were tried can be read")
    return crops


def _warnings(path: Path, found: Trained, made: onnx_in.Converted) -> tuple[str, ...]:
    if not made.transposes:
        return found.warnings
    nodes = ", ".join(dict.fromkeys(made.transposes))
    return (*found.warnings, f"{path}: {len(made.transposes)} operators only move values (TRANSPOSE), from {nodes}")
