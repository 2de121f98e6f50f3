"""ncnn's `.param` (the layers, as text) and `.bin` (their numbers).

The `.param` starts with the mark 7767517 and a line of two counts; each further line is a layer: type, name, numbers
of inputs and outputs, their names, and `key=value` pairs. The `.bin` holds for each weighted layer, in that order, a
32-bit tag, the kernel as (out, in / groups, h, w), and float32 biases. Tag 0x01306B47 means float16 padded to 4
bytes, 0 and 0x0002C056 float32. Source: github.com/Tencent/ncnn, src/modelbin.cpp and docs/developer-guide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.errors import FileFormatError
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import conv_from_oihw, dense_from_oi
from edgekit.weights.record import LayerWeights, Weights

MAGIC = "7767517"
FLOAT16, FLOAT32, FLOAT32_SCALED = 0x01306B47, 0, 0x0002C056


@dataclass(frozen=True)
class ParamLayer:
    """One line of a `.param`; `values` maps ncnn's parameter numbers to their text."""

    type: str
    name: str
    values: dict[int, str]

    def integer(self, key: int, default: int = 0) -> int:
        """The parameter as an integer, `default` where the line leaves it out."""
        return int(self.values.get(key, default))


def read(path: Path) -> Weights:
    """The weights in a `.bin` beside its `.param`; either path will do. Layers keep the order of the `.param`.

    Raises FileFormatError if one of the two is missing, they do not belong together, or the weights are int8 or
    coded by a table.
    """
    param, binary = path.with_suffix(".param"), path.with_suffix(".bin")
    for file, other in ((param, binary), (binary, param)):
        if not file.is_file() and other.is_file():
            raise FileFormatError(f"{other} needs {file.name} beside it in {file.parent}, and there is none")
    try:
        layers = parse_param(file_bytes(param, "ncnn's .param").decode(), param.name)
    except UnicodeDecodeError:
        raise FileFormatError(f"{param} is not an ncnn .param file: it is not text") from None
    content = file_bytes(binary, "ncnn's .bin")
    return Weights(
        decode(content, layers, binary.name), binary.name, hashlib.sha256(content).hexdigest(), channels_first=True
    )


def parse_param(text: str, name: str) -> list[ParamLayer]:
    """The layers of a `.param` in file order; `name` is the file's, for errors."""
    lines = text.split("\n")
    if lines[0].strip() != MAGIC:
        raise FileFormatError(f"{name} is not an ncnn .param file: it does not begin with {MAGIC}")
    try:
        count = int(lines[1].split()[0])
        layers = [_parse_layer(line) for line in lines[2:] if line.strip()]
    except (IndexError, ValueError) as error:
        raise FileFormatError(f"{name} cannot be read as an ncnn .param file ({error}); download it again") from None
    if len(layers) != count:
        raise FileFormatError(f"{name} is truncated: it announces {count} layers and lists {len(layers)}")
    return layers


def _parse_layer(line: str) -> ParamLayer:
    kind, name, inputs, outputs, *rest = line.split()
    pairs = (item.split("=", 1) for item in rest[int(inputs) + int(outputs) :])
    return ParamLayer(kind, name, {int(key): value for key, value in pairs})


def decode(content: bytes, layers: list[ParamLayer], name: str) -> tuple[LayerWeights, ...]:
    """Reads the `.bin`'s bytes for these layers; `name` is the file's, for errors."""
    decoded, start = [], 0
    for layer in layers:
        if layer.type not in READERS:
            continue
        try:
            weights, start = READERS[layer.type](content, start, layer)
        except ValueError as error:
            raise FileFormatError(f"{name} does not fit its .param at {layer.type} {layer.name}: {error}") from None
        decoded.append(weights)
    if start != len(content):
        others = sorted({layer.type for layer in layers} - set(READERS))
        raise FileFormatError(
            f"{name} has {len(content)} bytes, the layers that can be read ({', '.join(READERS)}) take {start}; "
            f"it is another network's file, or one of these has weights: {', '.join(others)}"
        )
    return tuple(decoded)


def _convolution(content: bytes, start: int, layer: ParamLayer) -> tuple[LayerWeights, int]:
    out, width, size, groups = layer.integer(0), layer.integer(1), layer.integer(6), layer.integer(7, 1)
    height = layer.integer(11, width)
    flat, start = _tagged(content, start, size)
    bias, start = _plain(content, start, out) if layer.integer(5) else (None, start)
    if out * height * width == 0:
        raise ValueError(f"{out} kernels of {height} x {width}")
    kernel = flat.reshape(out, size // (out * height * width), height, width)
    return conv_from_oihw(layer.name, kernel, bias, groups), start


def _inner_product(content: bytes, start: int, layer: ParamLayer) -> tuple[LayerWeights, int]:
    out, size = layer.integer(0), layer.integer(2)
    flat, start = _tagged(content, start, size)
    bias, start = _plain(content, start, out) if layer.integer(1) else (None, start)
    return dense_from_oi(layer.name, flat.reshape(out, -1), bias), start


READERS: dict[str, Callable[[bytes, int, ParamLayer], tuple[LayerWeights, int]]] = {
    "Convolution": _convolution,
    "ConvolutionDepthWise": _convolution,
    "InnerProduct": _inner_product,
}


def _tagged(content: bytes, start: int, count: int) -> tuple[npt.NDArray[np.float32], int]:
    """`count` values that begin with a storage tag, and where the next section starts."""
    tag = int.from_bytes(_slice(content, start, 4), "little")
    if tag == FLOAT16:
        end = start + 4 + (2 * count + 3) // 4 * 4
        return np.frombuffer(_slice(content, start + 4, 2 * count), "<f2").astype(np.float32), end
    if tag in (FLOAT32, FLOAT32_SCALED):
        return _plain(content, start + 4, count)
    raise ValueError(f"its weights are stored as 0x{tag:08X}, and only float16 and float32 can be read")


def _plain(content: bytes, start: int, count: int) -> tuple[npt.NDArray[np.float32], int]:
    return np.frombuffer(_slice(content, start, 4 * count), "<f4"), start + 4 * count


def _slice(content: bytes, start: int, size: int) -> bytes:
    if size < 0 or start + size > len(content):
        raise ValueError(f"{size} bytes are wanted at {start}, the file has {len(content)}")
    return content[start : start + size]
