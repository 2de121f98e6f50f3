"""How a quantized model's channels are rescaled, kept in the file itself, so that it can be audited at any time."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec
import numpy as np

from edgekit.errors import FileFormatError
from edgekit.graph import Array, Graph

KEY = "EDGEKIT_GAINS"  # of the flatbuffer's metadata
Gains = Mapping[str, Array]


def pack(gains: Gains) -> bytes:
    """Metadata that says by how much each float tensor's channels are larger than the quantized model's.

    The quantizer only uses gains that float16 can hold.
    """
    return zlib.compress(
        msgspec.msgpack.encode({name: values.astype("<f2").tobytes() for name, values in gains.items()})
    )


def stored(graph: Graph) -> dict[str, Array]:
    """The gains that a file carries; none in most. FileFormatError if they cannot be read."""
    content = graph.metadata.get(KEY)
    if content is None:
        return {}
    try:
        packed = msgspec.msgpack.decode(zlib.decompress(content), type=dict[str, bytes])
        return {name: np.frombuffer(values, "<f2").astype(np.float32) for name, values in packed.items()}
    except (msgspec.DecodeError, ValueError, zlib.error) as error:
        raise FileFormatError(f"the gains of the channels cannot be read ({error}); export the model again") from None
