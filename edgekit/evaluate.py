"""How good a model is on images: ranks of the true classes, agreement and divergence from a reference model."""

from __future__ import annotations

import datetime
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgekit import artifact as artifacts
from edgekit import images
from edgekit.artifact import Artifact
from edgekit.errors import DataError
from edgekit.measurement import Quality
from edgekit.runtime import Array, Runner
from edgekit.spec import InputSpec

KL_FLOOR = 1e-6


@dataclass(frozen=True)
class Subject:
    """A model to be judged and how its input is made."""

    artifact: Artifact
    input: InputSpec

    @property
    def output(self) -> str | None:
        """What the outputs mean, "probabilities", "scores" or "logits", where a card says so."""
        return self.artifact.card.output if self.artifact.card else None


def evaluate(
    subject: Subject,
    paths: Sequence[Path],
    truths: Sequence[int | None],
    reference: Subject | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Quality]:
    """Runs every image through the model, and through the reference where there is one; a Quality for each.

    `truths` gives the class number of each image or None. Each worker thread has interpreters of its own.
    DataError if too many images are unreadable or the outputs of the two models differ in size; FileFormatError if
    one of them cannot run.
    """
    local = threading.local()
    subjects = [subject] if reference is None else [subject, reference]
    windows = [images.window(item.input) for item in subjects]
    contents = [artifacts.read_model(item.artifact.path) for item in subjects]

    def load() -> list[_Model]:
        return [_Model(item.input, model) for item, model in zip(subjects, contents, strict=True)]

    def work(content: bytes) -> tuple[bytes, list[Array]]:
        if not hasattr(local, "models"):
            local.models = load()
        crops = {window: images.crop(content, window) for window in set(windows)}
        outputs = [model(crops[window]) for window, model in zip(windows, local.models, strict=True)]
        return hashlib.sha256(content).digest(), outputs

    load()  # what is wrong with a model is not to be taken for what is wrong with an image
    tally = _Tally([item.output for item in subjects])
    results = images.for_each(paths, work, workers or os.cpu_count() or 1, progress)
    for truth, (path, result) in zip(truths, results, strict=True):
        if isinstance(result, images.Unreadable):
            tally.skipped.append(f"{path.name}: {result.reason}")
        else:
            tally.add(truth, *result)
    return tally.qualities([item.artifact for item in subjects])


def rank_of(outputs: Array, truth: int) -> int:
    """How many classes come before the true one, best first; equal outputs stand in the order of their numbers."""
    own = outputs[truth]
    return int((outputs > own).sum() + (outputs[:truth] == own).sum())


def divergence(reference: Array, outputs: Array) -> float:
    """KL(reference || outputs) of two distributions, in nats.

    Probabilities below 1e-6 are raised to it first: an int8 softmax says 0 for all that is below 1/512.
    """
    raised = [np.maximum(values, KL_FLOOR) for values in (reference, outputs)]
    p, q = (values / values.sum() for values in raised)
    return float((p * np.log(p / q)).sum())


def probabilities(outputs: Array, kind: str | None = None) -> Array:
    """Outputs as a distribution: as they are if they are "probabilities", their softmax if they are "logits".

    "scores" of classes that do not exclude each other, which a sigmoid gives, are brought to a sum of 1. Where no
    `kind` is known they are taken for what they look like.
    """
    values = outputs.astype(np.float64)
    if kind == "probabilities" or (kind is None and _could_be_probabilities(values)):
        return values
    if kind == "scores" and values.sum() > 0:
        shares: Array = values / values.sum()
        return shares
    powers = np.exp(values - values.max())
    distribution: Array = powers / powers.sum()
    return distribution


def _could_be_probabilities(values: Array) -> bool:
    """Rounding to 8 bits moves their sum, so only its order of magnitude counts."""
    return bool(values.min() >= 0 and values.max() <= 1.01 and 0.5 <= values.sum() <= 2)


class _Model:
    """One thread's interpreter with its preprocessing."""

    def __init__(self, spec: InputSpec, model: bytes) -> None:
        self.runner = Runner(model, threads=1)
        self.preprocess = images.Preprocessor(spec, self.runner.input)

    def __call__(self, pixels: Array) -> Array:
        outputs = self.runner.output.dequantize(self.runner.run(self.preprocess(pixels))).reshape(-1)
        if not np.isfinite(outputs).all():
            raise DataError("the model gives infinite or undefined outputs; its weights or ranges are broken")
        return outputs


class _Tally:
    """Collects outcomes image by image: the first model's, and beside them the reference's."""

    def __init__(self, kinds: list[str | None]) -> None:
        self.kinds = kinds
        self.started = datetime.datetime.now(datetime.timezone.utc)
        self.digest = hashlib.sha256()
        self.ranks: list[list[int | None]] = []
        self.truths: list[int | None] = []
        self.answers: list[list[int]] = []
        self.agrees: list[bool] = []
        self.kl_nats: list[float] = []
        self.skipped: list[str] = []

    def add(self, truth: int | None, digest: bytes, outputs: list[Array]) -> None:
        own, reference = outputs[0], outputs[-1]
        if truth is not None and truth >= len(own):
            raise DataError(f"an image is of class {truth}, but the model has only {len(own)} classes")
        if len(reference) != len(own):
            raise DataError(f"the model has {len(own)} classes and the reference {len(reference)}")
        self.digest.update(digest)
        self.ranks.append([None if truth is None else rank_of(values, truth) for values in outputs])
        self.truths.append(truth)
        self.answers.append([int(values.argmax()) for values in outputs])
        if len(outputs) > 1:
            self.agrees.append(bool(own.argmax() == reference.argmax()))
            judged, expected = map(probabilities, outputs, self.kinds)
            self.kl_nats.append(divergence(expected, judged))

    def qualities(self, artifacts: list[Artifact]) -> list[Quality]:
        first = self._quality(artifacts[0], 0)
        if len(artifacts) == 1:
            return [first]
        compared = msgspec.structs.replace(
            first,
            reference_sha256=artifacts[1].sha256,
            agrees=tuple(self.agrees),
            kl_nats=tuple(self.kl_nats),
        )
        return [compared, self._quality(artifacts[1], 1)]

    def _quality(self, artifact: Artifact, position: int) -> Quality:
        card = artifact.card
        return Quality(
            artifact_sha256=artifact.sha256,
            artifact_name=artifact.name,
            model=card.model if card else None,
            recipe=card.recipe.name if card else None,
            size_bytes=artifact.size_bytes,
            images=len(self.ranks),
            images_sha256=self.digest.hexdigest(),
            rank=tuple(ranks[position] for ranks in self.ranks),
            started_utc=self.started.isoformat(timespec="seconds"),
            skipped=tuple(self.skipped),
            truth=tuple(self.truths),
            answer=tuple(answers[position] for answers in self.answers),
        )
