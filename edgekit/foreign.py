"""Files without a card: how their input is made and what their classes are called, as far as it can be known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.artifact import Artifact, read_model
from edgekit.dataset import ClassNames
from edgekit.errors import UsageError
from edgekit.runtime import Runner, TensorInfo
from edgekit.spec import InputSpec, square

_IMAGENET = 1000
BACKGROUND = "background"


@dataclass(frozen=True)
class Preprocessing:
    """What the user says about a file without a card; numbers are still text."""

    channels: str = "RGB"
    mean: str | None = None
    std: str | None = None


def input_spec(artifact: Artifact, said: Preprocessing) -> InputSpec:
    """The card's preprocessing, or else what the user says, or else what a quantized input implies.

    A uint8 or int8 input of a foreign file takes pixels as they are. UsageError for a float input without --mean.
    """
    if artifact.card is not None:
        return artifact.card.input
    inputs = Runner(read_model(artifact.path)).inputs
    if len(inputs) != 1:
        raise UsageError(f"{artifact.path} has {len(inputs)} inputs; only models with one, an image, are known")
    tensor = inputs[0]
    if len(tensor.shape) != 4 or tensor.shape[3] != 3 or tensor.shape[1] != tensor.shape[2]:
        raise UsageError(f"{artifact.path} takes {tensor.shape}; only square RGB images, (1, size, size, 3), are known")
    if spec := stated(tensor.shape[1], said):
        return spec
    mean, std = _implied(artifact, tensor)
    return square(tensor.shape[1], channels=said.channels, mean=mean, std=std)


def stated(size: int, said: Preprocessing) -> InputSpec | None:
    """What the user says about an input of `size` x `size` pixels; None if that is nothing. UsageError as above."""
    if said.channels not in ("RGB", "BGR"):
        raise UsageError(f"--channels is RGB or BGR, not {said.channels!r}")
    if said.mean is None:
        return None
    mean, std = _three(said.mean, "--mean"), _three(said.std or "1", "--std")
    if not all(std):
        raise UsageError(f"--std divides, so it cannot be 0; got {said.std!r}")
    return square(size, channels=said.channels, mean=mean, std=std)


def class_names(artifact: Artifact) -> ClassNames:
    """The names of the model's classes: the card's, or ImageNet's where there are 1000 (or 1001 with background).

    DataError if the card's are more or fewer than the model's outputs.
    """
    classes = math.prod(Runner(read_model(artifact.path)).output.shape)
    if artifact.label_ids or artifact.labels:
        return ClassNames(classes, artifact.label_ids, artifact.labels)
    if classes not in (_IMAGENET, _IMAGENET + 1):
        return ClassNames(classes)
    from edgekit import weights

    ids, labels = weights.imagenet_labels()
    background = (BACKGROUND,) * (classes - _IMAGENET)
    return ClassNames(classes, (*background, *ids), (*background, *labels))


def _implied(artifact: Artifact, tensor: TensorInfo) -> tuple[list[float], list[float]]:
    """Mean and deviation of a quantized input, which takes pixels as they are."""
    if tensor.dtype not in ("int8", "uint8") or not tensor.scale:
        kind = f"{tensor.dtype}" if tensor.scale or tensor.dtype.kind == "f" else f"{tensor.dtype} without a scale"
        raise UsageError(f"{artifact.path} has no card and its input is {kind}; say --mean and --std, such as 127.5")
    lowest = -128 if tensor.dtype == "int8" else 0
    return [float(tensor.zero_point - lowest)] * 3, [1 / tensor.scale] * 3


def _three(text: str, option: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise UsageError(f"{option} takes one number or three with commas between, not {text!r}")
    return values * 3 if len(values) == 1 else values
