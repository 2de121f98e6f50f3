"""From a network's name to its float .tflite: build, load weights, convert, check; the part that needs Keras."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit import convert, foreign, models, weights
from edgekit.artifact import Card, WeightsOrigin
from edgekit.errors import DataError, MissingError, ModelCrashError
from edgekit.export.trained import FLOAT, Progress, Trained, about, check_labels, ignore, stem
from edgekit.foreign import Preprocessing
from edgekit.runtime import Runner
from edgekit.spec import ModelSpec, resized, square

if TYPE_CHECKING:
    import keras

RANDOM = "random"
_KERAS_TOLERANCE = 1e-4
_IMAGENET_CLASSES = 1000
_TOOLS = ("keras", "tensorflow")


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
    spec: ModelSpec,
    source: str | Path | None = None,
    labels: Sequence[str] = (),
    progress: Progress = ignore,
    said: Preprocessing | None = None,
) -> Trained:
    """The float .tflite of a network with its weights.

    `source` is a weights file, "random", or None for the pretrained weights of the store; `said` is the preprocessing
    of a weights file that does not state it. MissingError if there
    are none, WeightsMismatchError if they do not fit, ModelCrashError if Keras and TFLite disagree, DataError if a
    weight is no finite number or there are more or fewer `labels` than classes.
    """
    check_labels(spec.name, labels, spec.classes)
    with about(spec.name):
        progress("build", 0, 3)
        convert.import_keras()
        loaded = _as_said(loaded_for(spec, source, progress), spec, said)
        model = models.build(spec) if loaded is not None else _seeded(spec)
        if loaded is not None:
            weights.assign(model, loaded, models.torch_names(spec, weights.layer_names(model)))
        progress("convert", 1, 3)
        tflite = convert.to_float_tflite(model)
        progress("check", 2, 3)
        _check_equal(model, tflite)
        progress("check", 3, 3)
    label_ids, names = _labels(labels, imagenet=source is None)
    return Trained(tflite, _card(spec, loaded), stem(spec), names, label_ids, warnings=_warnings(loaded, said))


def loaded_for(spec: ModelSpec, source: str | Path | None, progress: Progress) -> weights.Weights | None:
    """The weights that `prepare` takes: a file's, the store's, or None for random ones; errors as there."""
    if source == RANDOM:
        return None
    if source is not None:
        return _finite(weights.read(Path(source)))
    known = weights.pretrained(spec.name, spec.input_size)
    if known is None or spec.classes != _IMAGENET_CLASSES:
        what = spec.name if known is None else f"{spec.name} with {spec.classes} classes"
        raise MissingError(f"no pretrained weights are known for {what}; give --weights FILE or --weights random")
    return weights.load(known, lambda done, of: progress("download", done, of))


def _as_said(loaded: weights.Weights | None, spec: ModelSpec, said: Preprocessing | None) -> weights.Weights | None:
    stated = foreign.stated(spec.input_size, said) if said else None
    return dataclasses.replace(loaded, input=stated) if loaded and stated else loaded


def _finite(loaded: weights.Weights) -> weights.Weights:
    for layer in loaded.layers:
        if not all(np.isfinite(array).all() for array in layer.arrays.values()):
            raise DataError(
                f"the weights of {layer.name} in {loaded.source} hold infinite or undefined values; train them again"
            )
    return loaded


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


def _warnings(loaded: weights.Weights | None, said: Preprocessing | None) -> tuple[str, ...]:
    if loaded is None or (said is not None and said.mean is not None):
        return ()
    if loaded.input is None:
        return (f"{loaded.source} does not say how images become its input; RGB on 0..255 is taken for granted",)
    if loaded.implied_input:
        return (
            f"{loaded.source} does not say how images become its input; torchvision's normalisation is taken for "
            "granted, so say --mean and --std if it was trained with another",
        )
    return ()


def _labels(labels: Sequence[str], imagenet: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if labels or not imagenet:
        return (), tuple(labels)
    ids, names = weights.imagenet_labels()
    return ids, _short(names)


def _short(names: Sequence[str]) -> tuple[str, ...]:
    """The first of each class's synonyms, or all of them where two classes share the first (maillot)."""
    firsts = [name.split(",")[0].strip() for name in names]
    return tuple(name if firsts.count(first) > 1 else first for name, first in zip(names, firsts, strict=True))


def _card(spec: ModelSpec, loaded: weights.Weights | None) -> Card:
    given = loaded.input if loaded else None
    return Card(
        model=spec.name,
        family=spec.family,
        classes=spec.classes,
        input=resized(given, spec.input_size) if given else square(spec.input_size),
        recipe=FLOAT,
        weights=WeightsOrigin(loaded.source, loaded.sha256) if loaded else WeightsOrigin(RANDOM),
        options=spec.options,
        tools={name: importlib.metadata.version(name) for name in _TOOLS},
    )
