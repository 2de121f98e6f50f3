"""Folds the input's normalisation into the first convolution, so that the model takes raw RGB pixels.

Pixels have 256 values and so has an int8 input: at a scale of 1 nothing is rounded. Exact in float arithmetic where
nothing is padded between the input and the convolution; a padded zero would stand for another colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgekit.graph import NO_TENSOR, Array, Graph, Operator, constant
from edgekit.quantize.ranges import Sample
from edgekit.spec import InputSpec

PIXELS = (0.0, 255.0)


def fold(graph: Graph, spec: InputSpec) -> InputSpec | None:
    """Rewrites the graph to take pixels and returns its new InputSpec; None, and the graph as it was, if not exact."""
    readers = graph.consumers(graph.inputs[0]) if len(graph.inputs) == 1 else []
    if len(readers) != 1 or not _can_fold(graph, readers[0]):
        return None
    kernel, bias = (graph.tensors[index] for index in readers[0].inputs[1:])
    assert kernel.data is not None and bias.data is not None
    weights = kernel.data.astype(np.float64) / np.array(spec.std)
    bias.data = (bias.data - (weights * np.array(spec.mean)).sum((1, 2, 3))).astype(np.float32)
    kernel.data = _in_rgb(weights, spec).astype(np.float32)
    return msgspec.structs.replace(spec, channels="RGB", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def pixel_range(spec: InputSpec) -> tuple[float, float]:
    """What pixels from 0 to 255 become at most."""
    ends = [(pixel - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True) for pixel in PIXELS]
    return min(ends), max(ends)


def _can_fold(graph: Graph, first: Operator) -> bool:
    if first.kind != "CONV_2D" or first.bias == NO_TENSOR or graph.inputs[0] in graph.outputs:
        return False
    parameters = [graph.tensors[index] for index in first.inputs[1:]]
    unshared = all(len(graph.consumers(index)) == 1 for index in first.inputs[1:])
    constants = all(tensor.data is not None and tensor.dtype == "float32" for tensor in parameters)
    return constants and unshared and parameters[0].shape[3] == 3 and _pads_nothing(graph, first)


def _pads_nothing(graph: Graph, first: Operator) -> bool:
    if first.options.padding == constant("Padding", "VALID"):
        return True
    (_, height, width, _), kernel = graph.tensors[first.data].shape, graph.tensors[first.inputs[1]].shape
    options = first.options
    sizes = (
        (height, kernel[1], options.strideH, options.dilationHFactor),
        (width, kernel[2], options.strideW, options.dilationWFactor),
    )
    return all((-(-size // stride) - 1) * stride + (taps - 1) * gap + 1 <= size for size, taps, stride, gap in sizes)


def _in_rgb(weights: Array, spec: InputSpec) -> Array:
    return weights if spec.channels == "RGB" else weights[..., ::-1]


def as_pixels(samples: Sequence[Sample], spec: InputSpec) -> list[Array]:
    """Normalised inputs as the RGB pixels that they were made from."""
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    single = [sample[0] if isinstance(sample, tuple) else sample for sample in samples]
    return [np.rint(_in_rgb(values * std + mean, spec)).astype(np.float32) for values in single]
