"""Trained weights: the asset store, one reader per checkpoint format, and the way into a Keras model.

Knows no model: `pretrained` and `assign` take a name and a built network from whoever has them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.errors import FileFormatError
from edgekit.weights import caffe, deep_compression, keras_h5, ncnn, safetensors, state_dict, tflite
from edgekit.weights.assign import assign
from edgekit.weights.pretrained import Pretrained, imagenet_labels, load, pretrained
from edgekit.weights.record import LayerWeights, Weights
from edgekit.weights.store import asset, image_folder
from edgekit.weights.tflite import drop_background
from edgekit.weights.torch_out import layer_names, state_dict_of, write_state_dict

__all__ = [
    "READERS",
    "LayerWeights",
    "Pretrained",
    "Weights",
    "asset",
    "assign",
    "drop_background",
    "image_folder",
    "imagenet_labels",
    "layer_names",
    "load",
    "pretrained",
    "read",
    "state_dict_of",
    "write_state_dict",
]

READERS: dict[str, Callable[[Path], Weights]] = {
    ".net": deep_compression.read,
    ".bin": ncnn.read,
    ".param": ncnn.read,
    ".tflite": tflite.read,
    ".keras": keras_h5.read,
    ".h5": keras_h5.read,
    ".hdf5": keras_h5.read,
    ".caffemodel": caffe.read,
    ".pth": state_dict.read,
    ".pt": state_dict.read,
    ".safetensors": safetensors.read,
}


def read(path: Path) -> Weights:
    """The weights in a file of any known format, chosen by its suffix or else by how it begins.

    Raises FileFormatError, in one line, if the format is unknown or the file missing, empty, truncated or foreign;
    MissingError if reading the format needs a package that is not installed.
    """
    reader = READERS.get(path.suffix.lower()) or _by_content(path)
    if reader is None:
        raise FileFormatError(f"{path} is of no known weights format; known suffixes: {', '.join(READERS)}")
    return reader(path)


def _by_content(path: Path) -> Callable[[Path], Weights] | None:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}; a weights file was expected") from None
    if start[4:] == b"TFL3":
        return tflite.read
    if start == b"\x89HDF\r\n\x1a\n" or start[:4] == b"PK\x03\x04":
        return keras_h5.read
    return None
