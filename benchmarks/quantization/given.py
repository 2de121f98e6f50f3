"""What every tool is given for one model, the float network and the images as files, and what judges its answers."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit import artifact as artifacts
from edgekit import convert, dataset, export, images, models, weights
from edgekit.errors import DataError, MissingError
from edgekit.images import Preprocessor, Unreadable
from edgekit.runtime import Array, Runner
from edgekit.spec import InputSpec, ModelSpec

_CHECKED_IMAGES = 8
_WORKERS = 2

Progress = Callable[[str, int, int], None]  # as edgekit.export has it


@dataclass(frozen=True)
class Sample:
    """The image files: `calibration` sets ranges, `evaluation` judges; `sha256` names their contents in order."""

    folder: Path
    calibration: tuple[Path, ...]
    evaluation: tuple[Path, ...]
    sha256: str


@dataclass(frozen=True)
class Given:
    """One model's files in `folder`, the true classes, and the float model's answers (images, classes).

    The files: float.tflite, network.keras, calibration.npy and evaluation.npy (float inputs), pixels.npy (what these
    last were before normalisation), expected.npy (what the float .tflite answers to the first calibration images) and
    edgekit.pickle (what `edgekit.export.export` takes: a Trained and its Samples).
    """

    model: str
    folder: Path
    input: InputSpec
    truths: tuple[int | None, ...]
    reference: Array
    float_sha256: str
    images_sha256: str

    def file(self, name: str) -> Path:
        """One of the files above."""
        return self.folder / name


def sample(folder: Path) -> Sample:
    """The same split that `edgekit export` and `edgekit eval` make of a folder."""
    paths = images.list_images(folder)
    chosen = images.evenly_spaced(paths, export.CALIBRATION_IMAGES)
    ids = [images.content_id(path.read_bytes()) for path in chosen]
    rest = images.without(paths, ids)
    if not rest:
        raise DataError(f"{folder} has {len(paths)} images; all of them set ranges and none is left to judge by")
    digest = hashlib.sha256()
    for path in (*chosen, *rest):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Sample(folder, tuple(chosen), tuple(rest), digest.hexdigest())


def prepare(model: str, found: Sample, folder: Path, *, keras: bool, progress: Progress) -> Given:
    """Builds the float network and decodes the images; errors as in edgekit.export."""
    spec = export.find_model(model)
    trained = export.prepare(spec, progress=progress)
    samples = export.load_samples(found.folder, trained.input, progress=progress)
    if keras:
        folder.mkdir(parents=True, exist_ok=True)
        _save_keras(spec, folder / "network.keras")
    return hand_out(model, trained, samples, found, folder, progress)


def hand_out(
    model: str, trained: export.Trained, samples: export.Samples, found: Sample, folder: Path, progress: Progress
) -> Given:
    """Writes the files that every tool gets; DataError if an image cannot be read."""
    if samples.skipped:
        raise DataError(f"not every calibration image can be read: {'; '.join(samples.skipped)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "float.tflite").write_bytes(trained.tflite)
    (folder / "edgekit.pickle").write_bytes(pickle.dumps((trained, samples)))
    pixels = _decoded(found.evaluation, trained.input, progress)
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "calibration.npy", np.concatenate(samples.inputs))
    np.save(folder / "evaluation.npy", np.concatenate([images.normalise(image, trained.input) for image in pixels]))
    runner = Runner(trained.tflite, threads=_WORKERS)
    np.save(folder / "expected.npy", _answers(runner, samples.inputs[:_CHECKED_IMAGES]))
    reference = _answers(runner, map(Preprocessor(trained.input, runner.input), pixels))
    names = dataset.ClassNames(reference.shape[1], trained.label_ids, trained.labels)
    truths = tuple(dataset.truths(found.evaluation, names))
    digest = hashlib.sha256(trained.tflite).hexdigest()
    return Given(model, folder, trained.input, truths, reference, digest, found.sha256)


def tflite_answers(model: Path, pixels: Path, spec: InputSpec) -> tuple[Array, str | None]:
    """What a .tflite answers to images, (images, classes) float32, and what that is where its card says so.

    Images become inputs by the card's preprocessing where there is one, as a recipe may fold a part of it into the
    network, else by `spec`.
    """
    found = artifacts.read(model)
    runner = Runner(artifacts.read_model(model), threads=_WORKERS)
    preprocess = Preprocessor(found.card.input if found.card else spec, runner.input)
    said = _answers(runner, map(preprocess, np.load(pixels, mmap_mode="r")))
    return said, found.card.output if found.card else None


def _answers(runner: Runner, inputs: Iterable[Array]) -> Array:
    return np.stack([runner.output.dequantize(runner.run(values)).reshape(-1) for values in inputs])


def _save_keras(spec: ModelSpec, path: Path) -> None:
    """The same network once more, for tools that start from Keras."""
    known = weights.pretrained(spec.name, spec.input_size)
    if known is None:
        raise MissingError(f"no pretrained weights are known for {spec.name}")
    convert.import_keras()
    network = models.build(spec)
    weights.assign(network, weights.load(known))
    network.save(path)


def _decoded(paths: Sequence[Path], spec: InputSpec, progress: Progress) -> Array:
    """The crops of all images: (images, height, width, 3) uint8."""
    decoded = images.for_each(
        paths,
        lambda content: images.crop(content, spec),
        _WORKERS,
        lambda done, of: progress("decode", done, of),
        limit=0.0,  # the first that cannot be read raises
    )
    return np.stack([crop for _path, crop in decoded if not isinstance(crop, Unreadable)])
