"""Caffe's `.caffemodel`: a NetParameter protocol buffer, of either generation of layers.

Only the fields that are read get declared; numbers and types are those of caffe.proto (github.com/BVLC/caffe,
src/caffe/proto/caffe.proto). A BatchNorm layer and the Scale layer behind it become one batch_norm, and "/" in names
becomes "_". Kernels are (out, in / groups, height, width) and images BGR.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import messages
from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import Array, conv_from_oihw, dense_from_oi
from edgekit.weights.record import LayerWeights, Weights

MEAN = (104.0, 117.0, 123.0)
SIZE = 227
# Types of V1LayerParameter that have a name in LayerParameter.
V1_TYPES = {4: "Convolution", 14: "InnerProduct"}

# message: {field: (number, label and type)}; "*" is repeated, "+" repeated and packed.
SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "+int64")},
    "BlobProto": {
        "num": (1, "int64"),
        "channels": (2, "int64"),
        "height": (3, "int64"),
        "width": (4, "int64"),
        # Packed floats and doubles lie in the file as they lie in memory: taken as bytes, NumPy reads them at once.
        "data": (5, "*bytes"),
        "double_data": (8, "*bytes"),
        "shape": (7, "BlobShape"),
    },
    "ConvolutionParameter": {"group": (5, "uint32")},
    "BatchNormParameter": {"eps": (3, "float")},
    "InputParameter": {"shape": (1, "*BlobShape")},
    "TransformationParameter": {"scale": (1, "float"), "crop_size": (3, "uint64"), "mean_value": (5, "*float")},
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "bottom": (3, "*string"),
        "top": (4, "*string"),
        "blobs": (7, "*BlobProto"),
        "transform_param": (100, "TransformationParameter"),
        "convolution_param": (106, "ConvolutionParameter"),
        "batch_norm_param": (139, "BatchNormParameter"),
        "input_param": (143, "InputParameter"),
    },
    "V1LayerParameter": {
        "bottom": (2, "*string"),
        "top": (3, "*string"),
        "name": (4, "string"),
        "type": (5, "int32"),  # an enum in caffe.proto; the encoding is the same
        "blobs": (6, "*BlobProto"),
        "convolution_param": (10, "ConvolutionParameter"),
        "transform_param": (36, "TransformationParameter"),
    },
    "NetParameter": {
        "name": (1, "string"),
        "layers": (2, "*V1LayerParameter"),
        "input_dim": (4, "*int64"),
        "input_shape": (8, "*BlobShape"),
        "layer": (100, "*LayerParameter"),
    },
}


def read(path: Path) -> Weights:
    """The weights of a `.caffemodel` in file order.

    `input` is BGR; its size, mean and scale are the file's where it states them, else 227 pixels, (104, 117, 123)
    and no scaling, as Caffe's ImageNet networks have it. Raises FileFormatError if the file is missing, truncated or
    foreign, or has weighted layers other than Convolution, InnerProduct, BatchNorm and Scale; MissingError without
    protobuf.
    """
    content = file_bytes(path, "a .caffemodel file")
    net = messages.parse(_net_parameter(), content, path, ".caffemodel")
    try:
        layers = _layers([*net.layers, *net.layer])
    except (ValueError, TypeError) as error:  # a name that is no text comes as bytes
        raise FileFormatError(f"{path} cannot be read: {error}") from None
    if not layers:
        raise FileFormatError(f"{path} is not a .caffemodel file, or one without weights: no layer has any")
    return Weights(tuple(layers), path.name, hashlib.sha256(content).hexdigest(), _input_spec(net), channels_first=True)


@functools.cache
def _net_parameter() -> Any:
    """The message class of NetParameter, built from SCHEMA."""
    return messages.message_class("caffe", SCHEMA, "NetParameter", ".caffemodel")


def _layers(net: list[Any]) -> list[LayerWeights]:
    layers: list[LayerWeights] = []
    producer: dict[str, str] = {}  # by blob the layer that wrote it last: layers may work in place
    for layer in net:
        name = layer.name.replace("/", "_")
        kind = layer.type if isinstance(layer.type, str) else V1_TYPES.get(layer.type, str(layer.type))
        before = producer.get(layer.bottom[0], "") if layer.bottom else ""
        if layer.blobs and kind == "Scale":
            _merge_scale(layers, layer, name, before)
            name = before
        elif layer.blobs:
            layers.append(_layer(layer, name, kind, before))
        producer.update(dict.fromkeys(layer.top, name))
    return layers


def _layer(layer: Any, name: str, kind: str, before: str) -> LayerWeights:
    blobs = [_array(blob, name) for blob in layer.blobs]
    if kind == "BatchNorm":
        return _batch_norm(layer, name, before, blobs)
    bias = blobs[1].ravel() if len(blobs) > 1 else None
    if kind == "Convolution" and blobs[0].ndim == 4:
        groups = layer.convolution_param.group if layer.convolution_param.HasField("group") else 1
        return conv_from_oihw(name, blobs[0], bias, groups)
    if kind == "InnerProduct":  # the old generation writes (1, 1, out, in)
        return dense_from_oi(name, blobs[0].reshape(blobs[0].shape[-2:]), bias)
    shapes = ", ".join(str(blob.shape) for blob in blobs)
    raise ValueError(f"layer {name} of type {kind} has weights {shapes}, and such a layer cannot be read")


def _batch_norm(layer: Any, name: str, before: str, blobs: list[Array]) -> LayerWeights:
    """Caffe keeps mean and variance multiplied by a running factor, its third blob."""
    if len(blobs) != 3 or blobs[2].size != 1:
        raise ValueError(f"BatchNorm {name} has {len(blobs)} blobs; mean, variance and a factor were expected")
    factor = float(blobs[2].ravel()[0])
    mean, variance = (blob.ravel().astype(np.float32) / factor if factor else blob.ravel() * 0 for blob in blobs[:2])
    options = layer.batch_norm_param
    epsilon = options.eps if options.HasField("eps") else 1e-5
    arrays = {"mean": np.asarray(mean, np.float32), "variance": np.asarray(variance, np.float32)}
    return LayerWeights(name, "batch_norm", arrays, after=before, epsilon=epsilon)


def _merge_scale(layers: list[LayerWeights], layer: Any, name: str, before: str) -> None:
    index = next((i for i, other in enumerate(layers) if other.name == before and other.kind == "batch_norm"), None)
    if index is None:
        raise ValueError(f"Scale {name} does not follow a BatchNorm; fold it into the layer before it")
    scale = [np.asarray(_array(blob, name).ravel(), np.float32) for blob in layer.blobs]
    arrays = {**layers[index].arrays, **dict(zip(("gamma", "beta"), scale, strict=False))}
    layers[index] = dataclasses.replace(layers[index], arrays=arrays)


def _array(blob: Any, layer: str) -> Array:
    stored, dtype = (blob.double_data, "<f8") if blob.double_data else (blob.data, "<f4")
    values: Array = np.frombuffer(b"".join(stored), dtype)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    if values.size != np.prod(shape):
        raise ValueError(f"layer {layer} has {values.size} values for shape {shape}; the file is damaged")
    return values.reshape(shape)


def _input_spec(net: Any) -> InputSpec:
    layers = [*net.layers, *net.layer]
    transforms = [layer.transform_param for layer in layers if layer.HasField("transform_param")]
    size = next((transform.crop_size for transform in transforms if transform.crop_size), _input_size(net))
    mean = next((tuple(transform.mean_value) for transform in transforms if len(transform.mean_value) == 3), MEAN)
    scale = next((transform.scale for transform in transforms if transform.scale), 1.0)
    shorter = 256 if size < 256 else round(size * 256 / 224)
    return InputSpec(size, size, shorter, "BGR", mean, (1 / scale,) * 3)


def _input_size(net: Any) -> int:
    """The height in the first (n, channels, height, width) that the file declares as its input."""
    shapes = [shape.dim for layer in net.layer for shape in layer.input_param.shape]
    shapes += [*(shape.dim for shape in net.input_shape), net.input_dim]
    return next((int(shape[2]) for shape in shapes if len(shape) == 4), SIZE)
