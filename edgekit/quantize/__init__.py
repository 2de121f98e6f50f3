"""float .tflite + samples + Recipe -> quantized .tflite; needs the runtime and numpy, never TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit import graph as graphs
from edgekit.errors import FileFormatError
from edgekit.graph import Array, Graph
from edgekit.quantize import half, head, integer, kernels, ranges, simplify
from edgekit.quantize.ranges import Progress
from edgekit.recipe import Recipe


def quantize(model: bytes, recipe: Recipe, samples: Sequence[Array] = (), progress: Progress | None = None) -> bytes:
    """The model's bytes in the form that `recipe` asks for.

    `samples` are float32 inputs of the model's own shape; only recipes with integer activations look at them.
    FileFormatError for a model that is quantized already; DataError for samples that cannot serve.
    """
    graph = graphs.load(model)
    _refuse_quantized(graph)
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
        if tensor.quantization is not None or tensor.dtype in ("int8", "uint8", "int16"):
            raise FileFormatError(
                f"the model is quantized already ({tensor.name!r} is {tensor.dtype}); give its float form"
            )


def _written(graph: Graph) -> bytes:
    graph.drop_unused()
    return graphs.dump(graph)
