"""Tensors whose scale contradicts the file itself: their readers' biases were made for another one.

An integer kernel adds its bias in steps of input scale x kernel scale and never looks at the bias's own scale. So a
tensor with a wrong scale is stored and read consistently, and yet every reader adds a wrong bias: what is wrong is
the tensor, and what shows it is the next layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.audit.gains import Gains
from edgekit.audit.pairs import activated, equalized_kernel, kernel, weighted_pair, writers
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Tensor

_TOLERANCE = 0.02  # what TFLite itself allows between a bias's scale and the product of the two others
_MOVING = frozenset(
    "AVERAGE_POOL_2D CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS GATHER MAX_POOL_2D MAXIMUM MINIMUM MIRROR_PAD PACK PAD "
    "PADV2 RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SPACE_TO_DEPTH SPLIT SQUEEZE STRIDED_SLICE "
    "TILE TRANSPOSE UNPACK".split()
)


@dataclass(frozen=True)
class Contradictions:
    """`expected` gives the scale that a tensor's readers were made for, `misread` how much too large its readers take
    their biases, by the tensor that they write."""

    expected: dict[int, float]
    misread: dict[int, float]


def contradictions(reference: Graph, quantized: Graph, partner: Mapping[int, int], gains: Gains) -> Contradictions:
    """Where the biases of all that read a tensor were made for another scale than it has.

    A kernel of wrong scale misreads its bias as well; it is told from a wrong input by the float kernel.
    """
    found = Contradictions({}, {})
    factors: dict[int, dict[int, float]] = {}
    for operator in quantized.operators:
        factor = _factor(quantized, operator)
        if factor is not None:
            factors.setdefault(operator.data, {})[operator.outputs[0]] = factor
    written = writers(quantized)
    for tensor, readers in factors.items():
        factor = next(iter(readers.values()))
        makers = _makers(quantized, written, tensor)
        agree = all(_near(other, factor) for other in readers.values())
        if not agree or _near(factor, 1.0) or not makers:
            continue
        operators = [written[output] for output in readers]
        if all(_blameless(reference, quantized, partner, gains, operator, factor) for operator in operators):
            found.misread.update(readers)
            found.expected.update({maker: _scale(quantized.tensors[maker]) / factor for maker in makers})
    return found


def _near(one: float, other: float) -> bool:
    return abs(math.log(one / other)) <= _TOLERANCE


def _scale(tensor: Tensor) -> float:
    return float(tensor.quantization.scale[0]) if tensor.quantization is not None else 0.0


def _factor(quantized: Graph, operator: Operator) -> float | None:
    """By how much a weighted operator takes its bias for larger than the bias's own scale says."""
    if not operator.has_weights or operator.bias == NO_TENSOR:
        return None
    tensors = [quantized.tensors[index] for index in (operator.data, operator.inputs[1], operator.bias)]
    scales = [tensor.quantization.scale for tensor in tensors if tensor.quantization is not None]
    if len(scales) < 3 or not all((scale > 0).all() for scale in scales) or tensors[2].data is None:
        return None
    factor = float(np.median(scales[0] * scales[1].astype(np.float64) / scales[2]))
    return factor if 0 < factor < math.inf else None


def _makers(quantized: Graph, written: Mapping[int, Operator], tensor: int) -> list[int]:
    """The tensors whose values a tensor holds: itself, or those that are only moved into it at the same scale."""
    operator = written.get(tensor)
    if operator is None:
        return []
    sources = [index for index in operator.activations if quantized.tensors[index].data is None]
    same = [_scale(quantized.tensors[index]) == _scale(quantized.tensors[tensor]) for index in sources]
    if operator.kind not in _MOVING or not all(same):
        return [tensor]
    return [maker for source in sources for maker in _makers(quantized, written, source)]


def _blameless(
    reference: Graph, quantized: Graph, partner: Mapping[int, int], gains: Gains, reader: Operator, factor: float
) -> bool:
    """Whether a reader's kernel is as large as it should be, and its bias really is read as too large."""
    other = weighted_pair(reference, quantized, partner, reader)
    if other is None:
        return False
    kernels = equalized_kernel(reference, other, gains), kernel(quantized, reader)
    biases = _float_bias(reference, other, gains), _read_bias(quantized, reader)
    slopes = [_slope(*pair) for pair in (kernels, biases)]
    return all(slopes) and _nearer(slopes[0], 1.0, factor) and _nearer(slopes[1], factor, 1.0)


def _float_bias(reference: Graph, operator: Operator, gains: Gains) -> Array | None:
    values = None if operator.bias == NO_TENSOR else reference.tensors[operator.bias].data
    gain = gains.get(reference.tensors[activated(reference, operator.outputs[0])].name)
    return values if values is None or gain is None else values / gain


def _read_bias(quantized: Graph, operator: Operator) -> Array | None:
    """The bias as the kernel takes it."""
    steps = quantized.tensors[operator.bias].data
    first, second = (quantized.tensors[index].quantization for index in (operator.data, operator.inputs[1]))
    if steps is None or first is None or second is None:
        return None
    values: Array = steps * (first.scale * second.scale.astype(np.float64))
    return values


def _slope(expected: Array | None, found: Array | None) -> float:
    """How many times larger `found` is than `expected`; 0 where that cannot be said."""
    if expected is None or found is None or expected.shape != found.shape:
        return 0.0
    first, second = (values.reshape(-1).astype(np.float64) for values in (expected, found))
    power = float(first @ first)
    return float(first @ second) / power if power else 0.0


def _nearer(value: float, one: float, other: float) -> bool:
    return value > 0 and abs(math.log(value / one)) < abs(math.log(value / other))
