"""float .tflite + samples + Recipe -> quantized .tflite; needs the runtime and numpy, never TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit import graph as graphs
from edgekit.errors import DataError, FileFormatError
from edgekit.graph import NO_TENSOR, Graph
from edgekit.quantize import half, head, integer, kernels, ranges, simplify
from edgekit.quantize.ranges import Progress, Sample
from edgekit.recipe import Recipe

_NARROW = ("bfloat16", "float16", "int16", "int2", "int4", "int8", "uint8")


def quantize(model: bytes, recipe: Recipe, samples: Sequence[Sample] = (), progress: Progress | None = None) -> bytes:
    """The model's bytes in the form that `recipe` asks for.

    `samples` are float32 inputs of the model's own shape, as a tuple where it has several; only recipes with integer
    activations look at them. FileFormatError for a model that is quantized already or has no fixed input size (an
    unknown batch counts as 1); DataError for weights or samples that cannot serve.
    """
    graph = graphs.load(model)
    _refuse_quantized(graph)
    _refuse_unknown_size(graph)
    _refuse_undefined(graph)
    simplify.fuse_padding(graph)
    if recipe.io != "float32":
        head.drop_softmax(graph)
    if recipe.activations != "float32":
        observed = ranges.observe(graph, _written(graph), samples, progress)
        integer.quantize_graph(graph, observed, recipe.activations, float_io=recipe.io == "float32")
    elif recipe.weights == "int8":
        kernels.store_int8(graph)
    elif recipe.weights == "float16":
        half.store_float16(graph)
    return _written(graph)


def _refuse_quantized(graph: Graph) -> None:
    for tensor in graph.tensors:
        if tensor.quantization is not None or (tensor.data is not None and tensor.dtype in _NARROW):
            raise FileFormatError(
                f"the model is quantized already ({tensor.name!r} is {tensor.dtype}); give its float form"
            )


def _refuse_unknown_size(graph: Graph) -> None:
    for tensor in (graph.tensors[index] for index in graph.inputs):
        if any(size < 0 for size in (tensor.shape_signature or ())[1:]):
            raise FileFormatError(
                f"the input {tensor.name!r} has no fixed size {tensor.shape_signature}; convert the model with one"
            )


def _refuse_undefined(graph: Graph) -> None:
    for operator in graph.operators:
        for index in (operator.inputs[1], operator.bias) if operator.has_weights else ():
            tensor = graph.tensors[index]
            if index != NO_TENSOR and tensor.data is not None and not np.isfinite(tensor.data).all():
                raise DataError(f"the weights {tensor.name!r} hold infinite or undefined values; train the model again")


def _written(graph: Graph) -> bytes:
    graph.drop_unused()
    return graphs.dump(graph)
