"""From a model's name to artifacts on disk: build, load, convert, quantize, check, write.

This is the whole left half of the design in one place; it decides nothing that a room decides.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit import __version__, convert, golden, graph, images, isolate, models, tflite_metadata, weights
from edgekit import artifact as artifacts
from edgekit import quantize as quantizer
from edgekit.artifact import Artifact, Calibration, Card, WeightsOrigin
from edgekit.errors import DataError, MissingError, ModelCrashError
from edgekit.graph import Array
from edgekit.quantize import head
from edgekit.recipe import Recipe
from edgekit.runtime import Runner
from edgekit.spec import InputSpec, ModelSpec, resized, square

if TYPE_CHECKING:
    import keras

RANDOM = "random"
CALIBRATION_IMAGES = 100
_KERAS_TOLERANCE = 1e-4
_CHECK_SECONDS = 120.0
_IMAGENET_CLASSES = 1000

Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True)
class Trained:
    """A float model with what must travel beside it."""

    spec: ModelSpec
    tflite: bytes
    input: InputSpec
    origin: WeightsOrigin
    labels: tuple[str, ...]
    label_ids: tuple[str, ...]


@dataclass(frozen=True)
class Samples:
    """Decoded calibration images: float inputs, the first one's 16 x 16 miniature, and where they came from.

    `skipped` names each image that could not be read, and why.
    """

    inputs: Sequence[Array]
    miniature: Array
    record: Calibration
    skipped: tuple[str, ...] = ()


def ignore(stage: str, done: int, of: int) -> None:
    """The progress callback of callers that show none."""


def find_model(
    name: str,
    classes: int | None = None,
    input_size: int | None = None,
    options: dict[str, bool | int | float | str] | None = None,
) -> ModelSpec:
    """The model's spec; without an explicit size, the size its pretrained weights were trained for."""
    known = weights.pretrained(name, None)
    if input_size is None and known is not None and not options:
        input_size = known.input.height
    return models.find(name, classes=classes, input_size=input_size, options=options)


def prepare(
    spec: ModelSpec, source: str | Path | None = None, labels: Sequence[str] = (), progress: Progress = ignore
) -> Trained:
    """The float .tflite of a network with its weights.

    `source` is a weights file, "random", or None for the pretrained weights of the store. MissingError if there
    are none, WeightsMismatchError if they do not fit, ModelCrashError if Keras and TFLite disagree, DataError if there
    are more or fewer `labels` than classes.
    """
    if labels and len(labels) != spec.classes:
        raise DataError(f"{len(labels)} labels were given, but {spec.name} has {spec.classes} classes")
    progress("build", 0, 3)
    convert.import_keras()
    loaded = _weights_for(spec, source, progress)
    model = models.build(spec) if loaded is not None else _seeded(spec)
    if loaded is not None:
        weights.assign(model, loaded)
    progress("convert", 1, 3)
    tflite = convert.to_float_tflite(model)
    progress("check", 2, 3)
    _check_equal(model, tflite)
    progress("check", 3, 3)
    origin = WeightsOrigin(loaded.source, loaded.sha256) if loaded else WeightsOrigin(RANDOM)
    given = loaded.input if loaded else None
    wanted = resized(given, spec.input_size) if given else square(spec.input_size)
    label_ids, names = _labels(labels, imagenet=source is None)
    return Trained(spec, tflite, wanted, origin, names, label_ids)


def load_samples(
    folder: Path, spec: InputSpec, count: int = CALIBRATION_IMAGES, progress: Progress = ignore
) -> Samples:
    """`count` evenly spaced images of a folder, decoded; DataError if too many cannot be read."""
    chosen = images.evenly_spaced(images.list_images(folder), count)

    def decode(content: bytes) -> tuple[str, Array]:
        return images.content_id(content), images.crop(content, spec)

    decoded: list[tuple[str, Array]] = []
    skipped: list[str] = []
    for path, result in images.for_each(chosen, decode, workers=2, progress=lambda *done: progress("decode", *done)):
        if isinstance(result, images.Unreadable):
            skipped.append(f"{path.name}: {result.reason}")
        else:
            decoded.append(result)
    inputs = [images.normalise(pixels, spec) for _id, pixels in decoded]
    record = Calibration(tuple(identity for identity, _pixels in decoded), folder.resolve().name)
    return Samples(inputs, golden.shrink(decoded[0][1]), record, tuple(skipped))


def export(
    trained: Trained, recipe: Recipe, folder: Path, samples: Samples | None = None, progress: Progress = ignore
) -> Artifact:
    """Quantizes by `recipe`, proves that the result runs, and writes `<model>-<px>-<recipe>.tflite`."""
    if recipe.needs_calibration and samples is None:
        raise DataError(f"the recipe {recipe.name} needs calibration images; give a folder with --calibration")
    inputs = samples.inputs if samples else ()
    model = quantizer.quantize(trained.tflite, recipe, inputs, lambda done, of: progress("quantize", done, of))
    parsed = graph.load(model)
    calibration = samples.record if samples and recipe.needs_calibration else None
    card = _card(trained, recipe, head.output_kind(parsed), calibration)
    parsed.metadata[tflite_metadata.KEY] = _metadata(card, bool(trained.labels))
    model = graph.dump(parsed)
    miniature = samples.miniature if samples else golden.noise()
    path = folder / f"{trained.spec.name}-{trained.spec.input_size}-{recipe.name}.tflite"
    output = isolate.call(path.name, _CHECK_SECONDS, golden.answer, model, card.input, miniature)
    return artifacts.write(
        path, model, card, trained.labels, trained.label_ids, artifacts.Golden(miniature.tobytes(), output)
    )


def _weights_for(spec: ModelSpec, source: str | Path | None, progress: Progress) -> weights.Weights | None:
    if source == RANDOM:
        return None
    if source is not None:
        return weights.read(Path(source))
    known = weights.pretrained(spec.name, spec.input_size)
    if known is None or spec.classes != _IMAGENET_CLASSES:
        what = spec.name if known is None else f"{spec.name} with {spec.classes} classes"
        raise MissingError(f"no pretrained weights are known for {what}; give --weights FILE or --weights random")
    return weights.load(known, lambda done, of: progress("download", done, of))


def _seeded(spec: ModelSpec) -> keras.Model:
    from keras import utils

    utils.set_random_seed(0)
    return models.build(spec)


def _check_equal(model: keras.Model, tflite: bytes) -> None:
    """Keras and TFLite must give the same probabilities; the converter has been wrong before."""
    runner = Runner(tflite)
    noise = np.random.default_rng(0).uniform(-1, 1, runner.input.shape).astype(np.float32)
    difference = float(np.abs(np.asarray(model(noise, training=False)) - runner.run(noise)).max())
    if not difference <= _KERAS_TOLERANCE:
        raise ModelCrashError(f"the float .tflite differs from Keras by {difference:.2g}; more than {_KERAS_TOLERANCE}")


def _labels(labels: Sequence[str], imagenet: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if labels or not imagenet:
        return (), tuple(labels)
    ids, names = weights.imagenet_labels()
    return ids, _short(names)


def _short(names: Sequence[str]) -> tuple[str, ...]:
    """The first of each class's synonyms, or all of them where two classes share the first (maillot)."""
    firsts = [name.split(",")[0].strip() for name in names]
    return tuple(name if firsts.count(first) > 1 else first for name, first in zip(names, firsts, strict=True))


def _card(trained: Trained, recipe: Recipe, output: str, calibration: Calibration | None) -> Card:
    return Card(
        model=trained.spec.name,
        family=trained.spec.family,
        classes=trained.spec.classes,
        input=trained.input,
        recipe=recipe,
        weights=trained.origin,
        options=trained.spec.options,
        calibration=calibration,
        tools={"edgekit": __version__} | {name: importlib.metadata.version(name) for name in _TOOLS},
        output=output,
    )


_TOOLS = ("ai-edge-litert", "keras", "numpy", "tensorflow")


def _metadata(card: Card, with_labels: bool) -> bytes:
    ends = np.array([[[0, 0, 0]], [[255, 255, 255]]], np.uint8)
    reached = images.normalise(ends, card.input)
    return tflite_metadata.classifier_metadata(card, float(reached.min()), float(reached.max()), with_labels)
