"""A Keras model's weights as the tensors of a PyTorch state dict; the inverse of `tensors` and `assign`.

Asks layers for their class names, shapes and arrays only, so it needs no import of Keras.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import UnknownNameError
from edgekit.weights import safetensors, state_dict
from edgekit.weights.assign import kind_of, leaves
from edgekit.weights.layouts import Array
from edgekit.weights.record import Kind

WRITERS = {".pth": state_dict.write, ".safetensors": safetensors.write}


def layer_names(model: Any) -> list[str]:
    """The names of the layers that have weights, in graph order."""
    return [layer.name for layer in leaves(model) if layer.get_weights()]


def state_dict_of(model: Any, names: Mapping[str, str], matrices: Collection[str] = ()) -> dict[str, Array]:
    """Tensors by name for the modules that `names` gives for each layer with weights.

    Kernels become (o, i / groups, h, w), matrices (o, i), of which the kernels of the layers `matrices` are some too;
    a batch norm without scale or offset gets ones or zeros.
    """
    tensors: dict[str, Array] = {}
    for layer in leaves(model):
        if kind := kind_of(layer):
            for part, array in _parts(layer, kind):
                if layer.name in matrices and array.ndim == 4:
                    array = array.reshape(array.shape[:2])
                tensors[f"{names[layer.name]}.{part}"] = np.ascontiguousarray(array)
    return tensors


def write_state_dict(path: Path, tensors: Mapping[str, Array]) -> None:
    """Writes them as the suffix says, whole or not at all; MissingError for .pth without torch."""
    if path.suffix not in WRITERS:
        raise UnknownNameError.among("format", path.suffix, WRITERS)
    WRITERS[path.suffix](path, tensors)


def _parts(layer: Any, kind: Kind) -> Iterator[tuple[str, Array]]:
    arrays = layer.get_weights()
    if kind == "batch_norm":
        rest = iter(arrays)
        channels = arrays[0].shape
        yield "weight", next(rest) if layer.scale else np.ones(channels, np.float32)
        yield "bias", next(rest) if layer.center else np.zeros(channels, np.float32)
        yield from zip(("running_mean", "running_var"), rest, strict=True)
        yield "num_batches_tracked", np.zeros((), np.int64)
        return
    kernel = arrays[0]
    if kind == "depthwise":  # (h, w, c, multiplier)
        height, width, channels, multiplier = kernel.shape
        yield "weight", kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    elif kind == "conv":
        yield "weight", kernel.transpose(3, 2, 0, 1)
    else:
        yield "weight", kernel.transpose()
    if layer.use_bias:
        yield "bias", arrays[1]
