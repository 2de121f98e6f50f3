"""What a model sees while it is timed: seeded noise, the file's own golden image, or images of a folder."""

from __future__ import annotations

from pathlib import Path

from edgekit.artifact import GOLDEN_SIZE, Artifact
from edgekit.errors import DataError, UsageError
from edgekit.runtime import Array, Runner

IMAGES = 16  # enough for a mean over kinds of images, few enough to stay in memory beside any model
_IMAGES = "images:"

Feed = list[list[Array]]


def check(inputs: str) -> None:
    """Raises UsageError unless `inputs` is a word that `feed` knows."""
    if inputs not in ("random", "golden") and not (inputs.startswith(_IMAGES) and len(inputs) > len(_IMAGES)):
        raise UsageError(f"inputs are random, golden or images:FOLDER; got {inputs!r}")


def feed(artifact: Artifact, runner: Runner, inputs: str = "random", seed: int = 0) -> Feed:
    """One array for each of the model's inputs, in its own type; as many such sets as there are different inputs.

    Raises UsageError for a file without what was asked for, and DataError for a folder without images.
    """
    check(inputs)
    if inputs == "random":
        return [runner.noise(seed)]
    if artifact.card is None:
        asked = "images" if inputs != "golden" else "the golden image"
        raise UsageError(f"{artifact.path} has no card that says how {asked} become its input; use random inputs")
    return [_golden(artifact, runner)] if inputs == "golden" else _pictures(artifact, runner, inputs)


def _golden(artifact: Artifact, runner: Runner) -> list[Array]:
    import numpy as np

    from edgekit import golden
    from edgekit.images import Preprocessor

    if artifact.golden is None or artifact.card is None:
        raise UsageError(f"{artifact.path} has no golden image; use random inputs")
    miniature = np.frombuffer(artifact.golden.pixels, np.uint8).reshape(GOLDEN_SIZE, GOLDEN_SIZE, 3)
    spec = artifact.card.input
    return [Preprocessor(spec, runner.input)(golden.enlarge(miniature, spec))]


def _pictures(artifact: Artifact, runner: Runner, inputs: str) -> Feed:
    from edgekit import images

    assert artifact.card is not None
    spec = artifact.card.input
    preprocess = images.Preprocessor(spec, runner.input)
    paths = images.evenly_spaced(images.list_images(Path(inputs.removeprefix(_IMAGES))), IMAGES)
    made = [
        [preprocess(pixels)]
        for _, pixels in images.for_each(paths, lambda content: images.crop(content, spec), workers=1)
        if not isinstance(pixels, images.Unreadable)
    ]
    if not made:
        raise DataError(f"no image of {inputs.removeprefix(_IMAGES)} can be read")
    return made
