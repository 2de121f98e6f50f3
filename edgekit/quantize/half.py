"""Weights stored as float16 and widened by a DEQUANTIZE operator that the runtime folds away on load."""

from __future__ import annotations

import numpy as np

from edgekit.errors import DataError
from edgekit.graph import Graph, Operator, Tensor

_LARGEST = float(np.finfo(np.float16).max)


def store_float16(graph: Graph) -> None:
    """Makes every float32 constant with more than one value float16; DataError names one that overflows."""
    widened: list[Operator] = []
    for index, tensor in enumerate(list(graph.tensors)):
        if tensor.data is None or tensor.dtype != "float32" or tensor.elements == 1:
            continue
        if np.abs(tensor.data).max() > _LARGEST:
            raise DataError(f"{tensor.name!r} holds values beyond float16's {_LARGEST:.0f}; use the recipe float32")
        half = Tensor(f"{tensor.name}_f16", tensor.shape, "float16", tensor.data.astype(np.float16))
        tensor.data = None
        widened.append(Operator("DEQUANTIZE", [graph.add_tensor(half)], [index], version=3))
    graph.operators[:0] = widened
