"""Pruned networks with shared weights in Deep Compression's own format (`.net`), read and written.

Layout, little-endian, after decode.py of github.com/songhan/SqueezeNet-Deep-Compression and
github.com/songhan/Deep-Compression-AlexNet: a uint32 entry count for each layer; then for each layer the float32
codebook, the float32 biases, one code per entry, and 4-bit gaps two to a byte, low half first. Convolutions have
codebooks of 256 values and codes of a byte, dense layers codebooks of 16 and codes of half a byte, low half first. An
entry's position in the flat (out, in, h, w) kernel is the running sum of gap + 1, minus 1. Positions without an entry
take code 0, and an entry may carry code 0 itself: a filler, where the distance between two weights does not fit in
4 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.compress import sparse
from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import Array, conv_from_oihw, dense_from_oi
from edgekit.weights.record import LayerWeights, Weights

Layer = tuple[str, tuple[int, ...]]  # a name and (out, in, h, w), or (out, in) of a dense layer

INPUT = InputSpec(height=227, width=227, resize_shorter=256, channels="BGR", mean=(104.0, 117.0, 123.0))


@dataclass(frozen=True)
class Coded:
    """A layer as the file has it: `codes`, uint8 in the kernel's shape, say which value of the codebook each weight is.

    Code 0 stands for a weight that is not stored; the codebook has 256 values, or 16 for a dense layer.
    """

    codebook: Array
    bias: Array
    codes: Array


def read(path: Path) -> Weights:
    """The weights of SqueezeNet v1.0 or AlexNet in a `.net` file.

    Raises FileFormatError if the file is missing, empty, or not exactly as long as its own counts say.
    """
    content = file_bytes(path, "a Deep Compression .net file")
    known = known_layers(content) or squeezenet_layers()
    dense = any(len(shape) == 2 for _, shape in known)
    layers = decode(content, known, path.name)
    return Weights(layers, path.name, hashlib.sha256(content).hexdigest(), INPUT, channels_first=dense)


def known_layers(content: bytes) -> list[Layer] | None:
    """The network whose file is exactly as long as these bytes are; None if there is none."""
    for layers in (squeezenet_layers(), alexnet_layers()):
        if len(content) >= 4 * len(layers):
            counts = [int(count) for count in np.frombuffer(content, "<u4", len(layers))]
            if len(content) == 4 * len(layers) + sum(map(section_bytes, layers, counts)):
                return layers
    return None


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


def alexnet_layers() -> list[Layer]:
    """AlexNet's eight; its second, fourth and fifth convolution have two groups."""
    return [
        ("conv1", (96, 3, 11, 11)),
        ("conv2", (256, 48, 5, 5)),
        ("conv3", (384, 256, 3, 3)),
        ("conv4", (384, 192, 3, 3)),
        ("conv5", (256, 192, 3, 3)),
        ("fc6", (4096, 9216)),
        ("fc7", (4096, 4096)),
        ("fc8", (1000, 4096)),
    ]


_GROUPS = {"conv2": 2, "conv4": 2, "conv5": 2}  # of AlexNet; SqueezeNet has no layers of these names


def decode(content: bytes, layers: Sequence[Layer], name: str) -> tuple[LayerWeights, ...]:
    """Decodes the file's bytes for these layers; `name` is the file's, for errors."""
    return tuple(
        _weights(layer, coded) for layer, coded in zip(layers, coded_layers(content, layers, name), strict=True)
    )


def coded_layers(content: bytes, layers: Sequence[Layer], name: str) -> list[Coded]:
    """The file's codebooks, biases and codes, layer by layer; errors as `read`."""
    header = 4 * len(layers)
    if len(content) < header:
        raise FileFormatError(f"{name} is truncated: {len(content)} bytes, and its counts alone take {header}")
    counts = [int(count) for count in np.frombuffer(content, "<u4", len(layers))]
    _check_counts(counts, layers, len(content), name)
    decoded, start = [], header
    for layer, count in zip(layers, counts, strict=True):
        end = start + section_bytes(layer, count)
        decoded.append(_decode_layer(content[start:end], layer, count, name))
        start = end
    return decoded


def encode(layers: Sequence[Coded]) -> bytes:
    """The bytes of a `.net`; the codes' shapes say which layers are dense.

    A weight whose code is 0 is not stored, so the codebook's first value must be what such a weight is: 0 as a rule.
    """
    counts, sections = [], []
    for layer in layers:
        codes = layer.codes.reshape(-1)
        counts.append(len(sparse.entries(codes)[0]))
        tables = layer.codebook.astype("<f4").tobytes() + layer.bias.astype("<f4").tobytes()
        sections.append(tables + sparse.section(codes, 256 if layer.codes.ndim == 4 else 16))
    return np.array(counts, "<u4").tobytes() + b"".join(sections)


def _check_counts(counts: list[int], layers: Sequence[Layer], found: int, name: str) -> None:
    for count, (layer, shape) in zip(counts, layers, strict=True):
        if count > np.prod(shape):
            raise FileFormatError(
                f"{name} is not a Deep Compression file of this network: it counts {count} weights in {layer}, "
                f"which has {np.prod(shape)}"
            )
    expected = 4 * len(layers) + sum(map(section_bytes, layers, counts))
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise FileFormatError(f"{name} is {state}: its counts make {expected} bytes, the file has {found}")


def codebook_size(layer: Layer) -> int:
    """How many values a layer's codebook has."""
    return 256 if len(layer[1]) == 4 else 16


def section_bytes(layer: Layer, count: int) -> int:
    """How long a layer of so many entries is: codebook, biases, codes and gaps."""
    codes = count if codebook_size(layer) == 256 else (count + 1) // 2
    return 4 * codebook_size(layer) + 4 * layer[1][0] + codes + (count + 1) // 2


def _decode_layer(section: bytes, layer: Layer, count: int, name: str) -> Coded:
    layer_name, shape = layer
    out, size, values = shape[0], int(np.prod(shape)), codebook_size(layer)
    halves = (count + 1) // 2
    place = 4 * (values + out)
    codebook, bias = np.frombuffer(section, "<f4", values), np.frombuffer(section, "<f4", out, 4 * values)
    stored = count if values == 256 else halves
    codes = np.frombuffer(section, np.uint8, stored, place)
    if values == 16:
        codes = sparse.unhalved(codes, count)
    gaps = sparse.unhalved(np.frombuffer(section, np.uint8, halves, place + stored), count)
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if count and positions[-1] >= size:
        raise FileFormatError(
            f"{name} is corrupted: a weight of {layer_name} lands at {positions[-1]}, the layer has {size}"
        )
    placed = np.zeros(size, np.uint8)
    placed[positions] = codes
    return Coded(codebook, bias, placed.reshape(shape))


def _weights(layer: Layer, coded: Coded) -> LayerWeights:
    kernel = coded.codebook[coded.codes]
    if kernel.ndim == 2:
        return dense_from_oi(layer[0], kernel, coded.bias)
    return conv_from_oihw(layer[0], kernel, coded.bias, _GROUPS.get(layer[0], 1))
