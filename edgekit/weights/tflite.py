"""The weights inside a .tflite file: float, float16, or quantized to 8 bits and turned back into float32.

Batch normalisation is already folded into kernel and bias there. Layouts and the arithmetic of quantized tensors are
those of TensorFlow Lite's schema and its 8-bit quantization specification: real = (stored - zero_point) * scale.
"""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import artifact
from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec, square
from edgekit.weights.layouts import Array, conv_from_ohwi, dense_from_oi, depthwise_from_1hwo
from edgekit.weights.record import FloatArray, LayerWeights, Weights

CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, FULLY_CONNECTED = 3, 4, 6, 9
UINT8, INT8 = 3, 9
DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", UINT8: "u1", 4: "<i8", 7: "<i2", INT8: "i1"}


def read(path: Path) -> Weights:
    """The conv, depthwise and dense weights of a .tflite in the order in which its graph runs them.

    `input` comes from the file's card, or else from how an 8-bit image input is quantized. Raises FileFormatError
    if the file is no .tflite, is damaged, or stores a kernel in a way that cannot be read.
    """
    found = artifact.read(path)
    content = artifact.read_model(path)
    try:
        model = _unpack(content)
        layers = _layers(model)
        spec = found.card.input if found.card else _input_spec(model)
    except (struct.error, ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is a damaged .tflite file ({error}); fetch it again") from None
    if not layers:
        raise FileFormatError(f"{path} has no convolution and no dense layer, so no weights to read")
    return Weights(tuple(layers), path.name, found.sha256, spec)


def drop_background(weights: Weights) -> Weights:
    """The weights without class 0 of the last layer: 1001 classes with a background become 1000."""
    last = max(index for index, layer in enumerate(weights.layers) if layer.kind != "batch_norm")
    layer = weights.layers[last]
    arrays = {name: array[..., 1:] for name, array in layer.arrays.items()}
    layers = (*weights.layers[:last], dataclasses.replace(layer, arrays=arrays), *weights.layers[last + 1 :])
    return dataclasses.replace(weights, layers=layers)


def dequantize(stored: Array, scale: Array, zero_point: Array, axis: int) -> FloatArray:
    """Real values of a quantized tensor; `scale` and `zero_point` have one element, or one per index along `axis`."""
    shape = [1] * stored.ndim
    shape[axis] = -1
    steps = scale.astype(np.float64).reshape(shape)
    zeros = zero_point.astype(np.int64).reshape(shape)
    return np.asarray((stored.astype(np.int64) - zeros) * steps, dtype=np.float32)


def _unpack(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema  # takes 0.2 s, so only when it is needed

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _layers(model: Any) -> list[LayerWeights]:
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    # Float16 files keep each kernel behind a DEQUANTIZE of its own.
    origin = {op.outputs[0]: op.inputs[0] for op in graph.operators if codes[op.opcodeIndex] == DEQUANTIZE}
    layers = []
    for op in graph.operators:
        code = codes[op.opcodeIndex]
        if code not in (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED):
            continue
        tensors = [graph.tensors[origin.get(index, index)] if index >= 0 else None for index in op.inputs]
        layers.append(_layer(model, code, tensors))
    return layers


def _layer(model: Any, code: int, tensors: list[Any]) -> LayerWeights:
    name = tensors[1].name.decode().split(";")[0]
    kernel = _constant(model, tensors[1], name)
    bias = _constant(model, tensors[2], name) if len(tensors) > 2 and tensors[2] is not None else None
    if code == CONV_2D:
        return conv_from_ohwi(name, kernel, bias)
    if code == FULLY_CONNECTED:
        return dense_from_oi(name, kernel, bias)
    channels = int(tensors[0].shape[3])
    return depthwise_from_1hwo(name, kernel, bias, kernel.shape[3] // channels)


def _constant(model: Any, tensor: Any, layer: str) -> Array:
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type not in DTYPES or tensor.sparsity is not None:
        raise FileFormatError(
            f"cannot read the weights of {layer}: they are computed, sparse, or of a type other than "
            "float32, float16 and 8, 16, 32 or 64-bit integers"
        )
    stored: Array = np.asarray(data, np.uint8).view(DTYPES[tensor.type]).reshape(tensor.shape)
    quantization = tensor.quantization
    if stored.dtype.kind == "f" or quantization is None or quantization.scale is None:
        return stored
    return dequantize(stored, quantization.scale, quantization.zeroPoint, quantization.quantizedDimension)


def _input_spec(model: Any) -> InputSpec | None:
    graph = model.subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    shape, quantization = list(tensor.shape), tensor.quantization
    if tensor.type not in (UINT8, INT8) or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        return None
    # An 8-bit image input takes the pixel itself as the stored value, shifted by 128 where it is signed.
    mean = float(quantization.zeroPoint[0]) + (128 if tensor.type == INT8 else 0)
    std = 1 / float(quantization.scale[0])
    return square(int(shape[1]), mean=(mean,) * 3, std=(std,) * 3)
