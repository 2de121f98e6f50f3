"""Hugging Face's `.safetensors`: a header in JSON, then the tensors as they lie in memory; nothing in it can run.

Eight bytes give the length of the header (little-endian), which gives every tensor's type, shape and place. Tensors
lie in no order that means anything. Source: github.com/huggingface/safetensors, README.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgekit.artifact import atomic_write
from edgekit.errors import FileFormatError
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import Array
from edgekit.weights.record import Weights
from edgekit.weights.tensors import weights_of

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_LONGEST_HEADER = 100_000_000
_METADATA = "__metadata__"


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read(path: Path) -> Weights:
    """The layers of a state dict in a .safetensors file, which are without an order.

    Raises FileFormatError if the file is missing, damaged or foreign, or holds what is no layer's weights.
    """
    content = file_bytes(path, "a .safetensors file")
    try:
        tensors = _tensors(content)
    except (struct.error, ValueError, TypeError, AttributeError, msgspec.ValidationError, RecursionError) as error:
        raise FileFormatError(f"{path} is a damaged .safetensors file ({error}); fetch it again") from None
    return weights_of(tensors, path, hashlib.sha256(content).hexdigest(), ordered=False)


def write(path: Path, tensors: Mapping[str, Array]) -> None:
    """Writes float32 and int64 arrays by name, whole or not at all; OutputError says why not."""
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    start = 0
    for name, array in tensors.items():
        end = start + array.nbytes
        dtype = {"float32": "F32", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def _tensors(content: bytes) -> dict[str, Array]:
    (length,) = struct.unpack_from("<Q", content)
    if length > min(_LONGEST_HEADER, len(content) - 8):
        raise ValueError(f"its header would have {length} bytes")
    header = json.loads(content[8 : 8 + length])
    header.pop(_METADATA, None)
    body = memoryview(content)[8 + length :]
    return {name: _tensor(name, msgspec.convert(entry, _Entry), body) for name, entry in header.items()}


def _tensor(name: str, entry: _Entry, body: memoryview) -> Array:
    start, end = entry.data_offsets
    wide = entry.dtype == "BF16"  # the upper half of a float32
    if not wide and entry.dtype not in DTYPES:
        raise ValueError(f"{name} is of type {entry.dtype}; known: BF16, {', '.join(DTYPES)}")
    dtype = np.dtype("<u2" if wide else DTYPES[entry.dtype])
    if min((*entry.shape, 0)) < 0 or not 0 <= start <= end <= len(body):
        raise ValueError(f"{name} would lie outside of the file")
    if end - start != math.prod(entry.shape) * dtype.itemsize:
        raise ValueError(f"{name} has {end - start} bytes, which does not make {entry.shape} of {entry.dtype}")
    values = np.frombuffer(body[start:end], dtype).reshape(entry.shape)
    return (values.astype(np.uint32) << 16).view(np.float32) if wide else values
