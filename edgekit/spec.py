"""What a network is and what it eats, as records.

Knows no framework: a ModelSpec is built by `edgekit.models`, an InputSpec is obeyed by `edgekit.images`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an image becomes the network's input; the only home of preprocessing.

    The image is resized so that its shorter side has `resize_shorter` pixels (bilinear), a centre crop of
    `height` x `width` is taken, channels are put in the order of `channels`, and each value becomes
    ``(pixel - mean) / std`` with pixels on 0..255 and mean and std in that same channel order.
    """

    height: int
    width: int
    resize_shorter: int
    channels: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


def square(size: int, **normalisation: object) -> InputSpec:
    """An InputSpec of `size` x `size` pixels cropped from a shorter side of `size` * 256 / 224."""
    fields = {"height": size, "width": size, "resize_shorter": round(size * 256 / 224), **normalisation}
    return msgspec.convert(fields, InputSpec)


def resized(spec: InputSpec, size: int) -> InputSpec:
    """The same preprocessing with the same field of view for an input of `size` x `size` pixels."""
    shorter = round(spec.resize_shorter * size / spec.height)
    return msgspec.structs.replace(spec, height=size, width=size, resize_shorter=shorter)


class Published(msgspec.Struct, frozen=True):
    """Accuracy that somebody else measured: ImageNet validation, single crop, in percent."""

    source: str
    top1: float | None = None
    top5: float | None = None


class ModelSpec(msgspec.Struct, frozen=True):
    """One network: a point in one family's space of variants.

    `params` counts convolution and dense weights, biases, and batch-norm scale and shift; `macs` counts
    convolutions and dense layers only, at the family's own input size and class count. Both are None for
    variants that nobody has counted yet.
    """

    name: str
    family: str
    input_size: int
    classes: int = 1000
    options: dict[str, bool | int | float | str] = {}
    published: Published | None = None
    params: int | None = None
    macs: int | None = None
    note: str = ""


class LayerCount(msgspec.Struct, frozen=True):
    """One row of a layer table: output shape is (height, width, channels) or (units,)."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    kernel: str
    params: int
    macs: int
