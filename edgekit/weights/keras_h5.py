"""Keras's own files: `.keras`, `.weights.h5`, and the `.h5` of Keras 2.

Keras 3 stores each layer's variables as `<path>/vars/0`, `1`, ... in the order of `layer.weights`; the path counts
layers by class (`layers/conv2d_7`) and an attribute of `vars` holds the layer's real name. A `.keras` file is a zip
of such an HDF5 file and of config.json, which lists the layers in network order. Keras 2 has a group per layer
(attribute `layer_names`) that names its variables (`weight_names`). Source: keras.src.saving.saving_lib and
legacy_h5_format of Keras 3.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import isolate
from edgekit.errors import FileFormatError, MissingError, ModelCrashError
from edgekit.weights.content import file_bytes
from edgekit.weights.record import FloatArray, Kind, LayerWeights, Weights

TIMEOUT_S = 30
WEIGHTS_MEMBER, CONFIG_MEMBER = "model.weights.h5", "config.json"
KINDS: dict[str, Kind] = {
    "conv2d": "conv",
    "depthwiseconv2d": "depthwise",
    "dense": "dense",
    "batchnormalization": "batch_norm",
}
# Their kernels have the shape of a convolution's but mean something else.
REFUSED = ("transpose", "separable")
LEGACY_NAMES = {"depthwise_kernel": "kernel", "moving_mean": "mean", "moving_variance": "variance"}
BATCH_NORM = ("gamma", "beta", "mean", "variance")


@dataclass(frozen=True)
class Declared:
    """What config.json says of a layer: its class, its arguments and its place in the network."""

    class_name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    place: int = 0


@dataclass(frozen=True)
class Stored:
    """One layer's variables as they lie in the file; `names` is empty where the format has no names for them."""

    path: str
    name: str
    arrays: list[npt.NDArray[np.generic]]
    names: list[str] = field(default_factory=list)


def read(path: Path) -> Weights:
    """The weights of a Keras file.

    Layers come in network order where the file has a configuration; a `.weights.h5` has none, so there they come
    kind by kind, each kind in the order in which the model lists it. Raises FileFormatError if the file is missing,
    truncated, not Keras's, or holds layers or quantized variables that cannot be read; MissingError without h5py.
    """
    content = file_bytes(path, "a Keras weights file")
    try:
        # On a damaged file the HDF5 library can crash or never end; then a child process does, not this one.
        stored, config = isolate.call(path.name, TIMEOUT_S, _stored_layers, content)
        declared = _declared(config)
        layers = _ordered([_layer(layer, declared.get(layer.name)) for layer in stored], stored, declared)
    except (ModelCrashError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path} cannot be read as a Keras file ({reason}); save or fetch it again") from None
    if not layers:
        raise FileFormatError(f"{path} holds no Keras layer with weights")
    return Weights(tuple(layers), path.name, hashlib.sha256(content).hexdigest())


def _stored_layers(content: bytes) -> tuple[list[Stored], dict[str, Any]]:
    """The layers of either kind of file, and the configuration if it has one."""
    return _read_keras(content) if zipfile.is_zipfile(io.BytesIO(content)) else _read_hdf5(content)


def _read_keras(content: bytes) -> tuple[list[Stored], dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if WEIGHTS_MEMBER not in archive.namelist():
            raise ValueError(f"the zip has no {WEIGHTS_MEMBER}")
        config = json.loads(archive.read(CONFIG_MEMBER))
        return _read_hdf5(archive.read(WEIGHTS_MEMBER))[0], config


def _read_hdf5(content: bytes) -> tuple[list[Stored], dict[str, Any]]:
    try:
        import h5py
    except ImportError:
        raise MissingError('Keras files are read with h5py, which is missing: pip install "edgekit[export]"') from None
    with h5py.File(io.BytesIO(content), "r") as file:
        legacy = file.get("model_weights", file)
        if "layer_names" in legacy.attrs:
            return list(_legacy_layers(legacy)), json.loads(file.attrs.get("model_config", "{}"))
        groups: list[tuple[str, Any]] = []
        file.visititems(lambda name, node: groups.append((name, node)) if name.endswith("/vars") else None)
        return [_stored(name, group) for name, group in groups if len(group) and not name.startswith("optimizer/")], {}


def _stored(path: str, group: Any) -> Stored:
    parent = path.removesuffix("/vars")
    name = group.attrs.get("name", parent.rpartition("/")[2])
    return Stored(parent, name, [group[key][()] for key in sorted(group, key=int)])


def _legacy_layers(root: Any) -> Iterator[Stored]:
    for group_name in root.attrs["layer_names"]:
        group = root[group_name]
        layers: dict[str, Stored] = {}
        for full_name in map(_text, group.attrs["weight_names"]):
            path, _, variable = full_name.split(":")[0].rpartition("/")
            path = path or _text(group_name)
            layer = layers.setdefault(path, Stored(path, path.rpartition("/")[2], []))
            layer.arrays.append(group[full_name][()])
            layer.names.append(variable)
        yield from layers.values()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _declared(config: dict[str, Any]) -> dict[str, Declared]:
    """The layers of a model's configuration by name, those of nested models included, in order."""
    layers = enumerate(_walk(config))
    return {layer["config"]["name"]: Declared(layer["class_name"], layer["config"], place) for place, layer in layers}


def _walk(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for layer in config.get("config", {}).get("layers", []):
        yield layer
        yield from _walk(layer)


def _ordered(layers: list[LayerWeights], stored: list[Stored], declared: dict[str, Declared]) -> list[LayerWeights]:
    if all(layer.name in declared for layer in layers):
        return sorted(layers, key=lambda layer: declared[layer.name].place)
    if any(layer.names for layer in stored):
        return layers  # Keras 2 lists its layers in order
    kinds = list(KINDS.values())
    pairs = zip(layers, stored, strict=True)
    return [layer for layer, _ in sorted(pairs, key=lambda pair: (kinds.index(pair[0].kind), _natural(pair[1].path)))]


def _natural(path: str) -> list[tuple[str, int]]:
    """A sorting key that puts conv2d_2 before conv2d_10."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", path)]


def _layer(stored: Stored, declared: Declared | None) -> LayerWeights:
    class_name = declared.class_name if declared else re.sub(r"_\d+$", "", stored.path.rpartition("/")[2])
    kind = _kind(class_name, stored)
    named = [LEGACY_NAMES.get(name, name) for name in stored.names]
    names = named or _variable_names(kind, len(stored.arrays), declared)
    arrays = {name: _float(array, stored.name) for name, array in zip(names, stored.arrays, strict=True)}
    epsilon = declared.arguments.get("epsilon") if declared and kind == "batch_norm" else None
    return LayerWeights(stored.name, kind, arrays, epsilon=epsilon)


def _kind(class_name: str, stored: Stored) -> Kind:
    known = KINDS.get(class_name.replace("_", "").lower())
    if known:
        return known
    if stored.names[:1] == ["depthwise_kernel"] and "pointwise_kernel" not in stored.names:
        return "depthwise"
    dimensions = [array.ndim for array in stored.arrays]
    if not any(word in class_name.lower() for word in REFUSED):
        if dimensions in ([4], [4, 1]):
            return "conv"
        if dimensions in ([2], [2, 1]):
            return "dense"
        if dimensions in ([1] * 4, [1] * 3, [1] * 2):
            return "batch_norm"
    shapes = ", ".join(str(array.shape) for array in stored.arrays)
    raise ValueError(f"layer {stored.name} of class {class_name} with variables {shapes} is of no known kind")


def _variable_names(kind: Kind, count: int, declared: Declared | None) -> list[str]:
    if kind != "batch_norm":
        return ["kernel", "bias"][:count]
    if count == 3:  # without a configuration: Keras's own networks leave out the scale, never the offset
        scaled = declared is not None and declared.arguments.get("scale", True)
        return ["gamma" if scaled else "beta", "mean", "variance"]
    return list(BATCH_NORM[-count:])


def _float(array: npt.NDArray[np.generic], layer: str) -> FloatArray:
    if array.dtype.kind != "f":
        raise ValueError(f"{layer} is stored as {array.dtype}, so the model was quantized; only floats can be read")
    return array.astype(np.float32)
