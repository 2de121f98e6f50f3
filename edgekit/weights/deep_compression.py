"""The pruned, 8-bit coded SqueezeNet v1.0 of Deep Compression (`.net`).

Layout, little-endian, after decode.py of github.com/songhan/SqueezeNet-Deep-Compression: a uint32 entry count for
each of the 26 layers; then for each layer 256 float32 codebook values, the float32 biases, one uint8 code per
entry, and 4-bit gaps two to a byte, low half first. An entry's position in the flat (out, in, h, w) kernel is the
running sum of gap + 1, minus 1. Positions without an entry take code 0, and an entry may carry code 0 itself:
a filler, where the distance between two weights does not fit in 4 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import conv_from_oihw
from edgekit.weights.record import LayerWeights, Weights

Layer = tuple[str, tuple[int, int, int, int]]  # a name and (out, in, h, w)

CODEBOOK_BYTES = 256 * 4
INPUT = InputSpec(height=227, width=227, resize_shorter=256, channels="BGR", mean=(104.0, 117.0, 123.0))


def read(path: Path) -> Weights:
    """The weights of SqueezeNet v1.0 in a `.net` file.

    Raises FileFormatError if the file is missing, empty, or not exactly as long as its own counts say.
    """
    content = file_bytes(path, "a Deep Compression .net file")
    layers = decode(content, squeezenet_layers(), path.name)
    return Weights(layers, path.name, hashlib.sha256(content).hexdigest(), INPUT)


def entries(path: Path) -> dict[str, tuple[int, int, int]]:
    """For each layer how many weights it has, how many of them are not 0, and how many biases. Errors: as `read`."""
    return {
        layer.name: (layer.kernel.size, int(np.count_nonzero(layer.kernel)), layer.arrays["bias"].size)
        for layer in read(path).layers
    }


def squeezenet_layers() -> list[Layer]:
    """The file's 26 layers in order; it stores no names and no shapes."""
    layers: list[Layer] = [("conv1", (96, 3, 7, 7))]
    channels = 96
    for number, (squeeze, expand) in enumerate(
        [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)], start=2
    ):
        layers += [
            (f"fire{number}_squeeze1x1", (squeeze, channels, 1, 1)),
            (f"fire{number}_expand1x1", (expand, squeeze, 1, 1)),
            (f"fire{number}_expand3x3", (expand, squeeze, 3, 3)),
        ]
        channels = 2 * expand
    return [*layers, ("conv10", (1000, channels, 1, 1))]


def decode(content: bytes, layers: Sequence[Layer], name: str) -> tuple[LayerWeights, ...]:
    """Decodes the file's bytes for these layers; `name` is the file's, for errors."""
    header = 4 * len(layers)
    if len(content) < header:
        raise FileFormatError(f"{name} is truncated: {len(content)} bytes, and its counts alone take {header}")
    counts = [int(count) for count in np.frombuffer(content, "<u4", len(layers))]
    _check_counts(counts, layers, len(content), name)
    decoded, start = [], header
    for layer, count in zip(layers, counts, strict=True):
        end = start + _section_bytes(layer, count)
        decoded.append(_decode_layer(content[start:end], layer, count, name))
        start = end
    return tuple(decoded)


def _check_counts(counts: list[int], layers: Sequence[Layer], found: int, name: str) -> None:
    for count, (layer, shape) in zip(counts, layers, strict=True):
        if count > np.prod(shape):
            raise FileFormatError(
                f"{name} is not a Deep Compression file of this network: it counts {count} weights in {layer}, "
                f"which has {np.prod(shape)}"
            )
    expected = 4 * len(layers) + sum(map(_section_bytes, layers, counts))
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise FileFormatError(f"{name} is {state}: its counts make {expected} bytes, the file has {found}")


def _section_bytes(layer: Layer, count: int) -> int:
    return CODEBOOK_BYTES + 4 * layer[1][0] + count + (count + 1) // 2


def _decode_layer(section: bytes, layer: Layer, count: int, name: str) -> LayerWeights:
    layer_name, shape = layer
    out, size = shape[0], int(np.prod(shape))
    codebook = np.frombuffer(section, "<f4", 256)
    bias = np.frombuffer(section, "<f4", out, CODEBOOK_BYTES)
    codes = np.frombuffer(section, np.uint8, count, CODEBOOK_BYTES + 4 * out)
    packed = np.frombuffer(section, np.uint8, (count + 1) // 2, CODEBOOK_BYTES + 4 * out + count)
    gaps = np.stack([packed & 15, packed >> 4], axis=1).ravel()[:count]
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if count and positions[-1] >= size:
        raise FileFormatError(
            f"{name} is corrupted: a weight of {layer_name} lands at {positions[-1]}, the layer has {size}"
        )
    placed = np.zeros(size, np.uint8)
    placed[positions] = codes
    return conv_from_oihw(layer_name, codebook[placed].reshape(shape), bias)
