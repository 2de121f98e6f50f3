"""Which tensors of a quantized graph and of its float form are the same value.

Names are looked at first; then weighted operators of equal shapes and similar kernels; then what follows from these.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.audit.gains import Gains
from edgekit.errors import FileFormatError, UsageError
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Tensor

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
MOVING = frozenset(
    "AVERAGE_POOL_2D CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS GATHER MAX_POOL_2D MAXIMUM MINIMUM MIRROR_PAD PACK PAD "
    "PADV2 RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SPACE_TO_DEPTH SPLIT SQUEEZE STRIDED_SLICE "
    "TILE TRANSPOSE UNPACK".split()
)
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_SIMILAR = 0.5  # the cosine of two kernels: quantized ones have 0.99, those of different layers about 0


@dataclass(frozen=True)
class Pairs:
    """`partner` gives the float tensor for a tensor of the quantized graph; `named` are those found by name.

    A map may have more columns than its partner, which its reader never looks at: the first ones are the value.
    """

    partner: dict[int, int]
    named: frozenset[int]


def match(reference: Graph, quantized: Graph, gains: Gains, inputs_differ: bool) -> Pairs:
    """Every tensor of `quantized` that can be told to be one of `reference`.

    Where `inputs_differ` the first kernels do so too, and are no evidence.
    FileFormatError if the reference is quantized itself, UsageError if the two are different networks.
    """
    _refuse_quantized(reference)
    _refuse_unknown_size(reference)
    _refuse_other_ends(reference, quantized)
    partner = dict(zip(quantized.inputs, reference.inputs, strict=True))
    partner |= _by_name(reference, quantized)
    named = frozenset(partner)
    partner |= _by_kernels(reference, quantized, partner)
    _follow(reference, quantized, partner)
    _before_pools(reference, quantized, partner)
    _refuse_other_kernels(reference, quantized, partner, gains, inputs_differ)
    return Pairs(partner, named)


def writers(graph: Graph) -> dict[int, Operator]:
    """The operator that writes each tensor."""
    return {tensor: operator for operator in graph.operators for tensor in operator.outputs}


def origin(written: dict[int, Operator], tensor: int) -> Operator | None:
    """The operator that computes a tensor, seen through conversions of its type or scale; None for inputs."""
    operator = written.get(tensor)
    while operator is not None and operator.kind in CONVERSIONS:
        operator = written.get(operator.inputs[0])
    return operator


def real(tensor: Tensor, stored: Array) -> Array:
    """Real values, float32, of what a tensor holds."""
    if tensor.quantization is None or stored.dtype.kind == "f":
        return stored.astype(np.float32, copy=False)
    shape = [1] * stored.ndim
    if tensor.quantization.per_channel:
        shape[tensor.quantization.axis] = -1
    values: Array = stored.astype(np.float32)
    values -= tensor.quantization.zero_point.astype(np.float32).reshape(shape)
    values *= tensor.quantization.scale.reshape(shape)
    return values


def kernel(graph: Graph, operator: Operator) -> Array | None:
    """An operator's constant kernel as real values, or None."""
    tensor = _constant(graph, operator.inputs[1])
    if tensor is None or tensor.data is None or tensor.data.shape != tensor.shape:  # types that numpy does not know
        return None
    return real(tensor, tensor.data)


def weighted_pair(
    reference: Graph, quantized: Graph, partner: Mapping[int, int], operator: Operator
) -> Operator | None:
    """The float operator with the kernel of a quantized one, or None."""
    written = writers(reference)
    ends = {activated(quantized, operator.outputs[0]), operator.outputs[0]}
    for end in ends & set(partner):
        found = written.get(partner[end])
        while found is not None and found.kind in _CLAMPS:
            found = written.get(found.inputs[0])
        if found is not None and found.has_weights and _same_shapes(reference, found, quantized, operator):
            return found
    return None


def _rescaled(values: Array, operator: Operator, into: Array | None, out: Array | None) -> Array:
    if out is not None:
        shape = [1] * values.ndim
        shape[3 if operator.kind == "DEPTHWISE_CONV_2D" else 0] = -1
        values = values / out.reshape(shape)
    if into is not None and values.shape[-1] % len(into) == 0:
        times = values.shape[-1] // len(into)
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"  # each input channel has `times` kernels, side by side
        values = values * (np.repeat(into, times) if depthwise else np.tile(into, times))
    return values


def activated(graph: Graph, tensor: int) -> int:
    """The tensor after the activation function that alone reads this one, or the tensor itself."""
    readers = graph.consumers(tensor)
    while len(readers) == 1 and readers[0].kind in _CLAMPS and tensor not in graph.outputs:
        tensor = readers[0].outputs[0]
        readers = graph.consumers(tensor)
    return tensor


def _refuse_quantized(reference: Graph) -> None:
    for tensor in reference.tensors:
        if tensor.quantization is not None and tensor.dtype != "float32":
            raise FileFormatError(
                f"the reference is quantized itself ({tensor.name!r} is {tensor.dtype}); give the float model that the "
                "quantized one was made from"
            )


def _refuse_unknown_size(reference: Graph) -> None:
    for tensor in (reference.tensors[index] for index in reference.inputs):
        if any(size < 0 for size in (tensor.shape_signature or ())[1:]):
            raise FileFormatError(
                f"the float model's input {tensor.name!r} has no fixed size {tensor.shape_signature}; give the float "
                "file that the quantized model was made from, or convert with a fixed size"
            )


def _refuse_other_ends(reference: Graph, quantized: Graph) -> None:
    both = (reference, quantized)
    inputs = [", ".join(str(graph.tensors[index].shape) for index in graph.inputs) for graph in both]
    if inputs[0] != inputs[1]:
        raise UsageError(
            f"these are different networks: the float one takes {inputs[0]}, the quantized one {inputs[1]}"
        )
    classes = [graph.tensors[graph.outputs[0]].elements for graph in both]
    if classes[0] != classes[1]:
        raise UsageError(
            f"these are different networks: the float one gives {classes[0]} values, the quantized one {classes[1]}"
        )


def _refuse_other_kernels(
    reference: Graph, quantized: Graph, partner: Mapping[int, int], gains: Gains, inputs_differ: bool
) -> None:
    found = []
    first = set(reference.inputs) if inputs_differ else set()
    for operator in quantized.operators:
        if not operator.has_weights or partner.get(operator.data) in first:
            continue
        other, values = weighted_pair(reference, quantized, partner, operator), kernel(quantized, operator)
        if other is not None and values is not None and values.any():  # a dead layer is no evidence
            found.append(_similarity(equalized_kernel(reference, other, gains), values))
    if found and statistics.median(found) < _SIMILAR:
        raise UsageError(
            "these are different networks, or one network with different weights: their kernels are not alike "
            f"(median cosine {statistics.median(found):.2f})"
        )


def equalized_kernel(reference: Graph, operator: Operator, gains: Gains) -> Array | None:
    """A float operator's kernel as the quantized model should have it: its channels rescaled."""
    values = kernel(reference, operator)
    ends = operator.data, activated(reference, operator.outputs[0])
    into, out = (gains.get(reference.tensors[index].name) for index in ends)
    return None if values is None else _rescaled(values, operator, into, out)


def _by_name(reference: Graph, quantized: Graph) -> dict[int, int]:
    known = _names(reference)
    return {
        index: known[name]
        for name, index in _names(quantized).items()
        if name in known and reference.tensors[known[name]].shape == quantized.tensors[index].shape
    }


def _names(graph: Graph) -> dict[str, int]:
    """Activations by name, without names that stand twice."""
    found = {index: graph.tensors[index].name for index in (*graph.inputs, *writers(graph))}
    times = Counter(found.values())
    return {name: index for index, name in found.items() if name and times[name] == 1}


def _by_kernels(reference: Graph, quantized: Graph, partner: Mapping[int, int]) -> dict[int, int]:
    """Pairs weighted operators that have no partner yet: the most similar kernels of those with equal shapes."""
    taken = set(partner.values())
    free = [
        operator
        for operator in reference.operators
        if operator.has_weights and activated(reference, operator.outputs[0]) not in taken
    ]
    found: dict[int, int] = {}
    for operator in quantized.operators:
        if not operator.has_weights or {operator.outputs[0], activated(quantized, operator.outputs[0])} & set(partner):
            continue
        values = kernel(quantized, operator)
        alike = [
            (_similarity(kernel(reference, other), values), -number)  # the first of equals
            for number, other in enumerate(free)
            if _same_shapes(reference, other, quantized, operator)
        ]
        if alike and max(alike)[0] > _SIMILAR:
            other = free.pop(-max(alike)[1])
            found[activated(quantized, operator.outputs[0])] = activated(reference, other.outputs[0])
    return found


def _follow(reference: Graph, quantized: Graph, partner: dict[int, int]) -> None:
    """Adds the outputs of operators of one kind that read the same values."""
    known: dict[tuple[str, tuple[int | None, ...]], Operator] = {
        (operator.kind, tuple(_flowing(reference, operator))): operator
        for operator in reference.operators
        if not operator.has_weights
    }
    written = writers(quantized)
    for operator in quantized.operators:
        if operator.kind in CONVERSIONS or operator.has_weights or operator.outputs[0] in partner:
            continue
        read = tuple(partner.get(_paired(written, partner, index)) for index in _flowing(quantized, operator))
        other = known.get((operator.kind, read))
        if other is not None:
            partner.update(_of_one_shape(reference, other.outputs, quantized, operator.outputs))


def _before_pools(reference: Graph, quantized: Graph, partner: dict[int, int]) -> None:
    """Adds what paired pools read, where a rewritten layer left columns there that the pool's windows do not reach."""
    written = writers(reference)
    for pool in quantized.operators:
        other = written.get(partner.get(pool.outputs[0], NO_TENSOR))
        if pool.kind not in _POOLS or other is None or other.kind != pool.kind or pool.inputs[0] in partner:
            continue
        shape, wide = reference.tensors[other.inputs[0]].shape, quantized.tensors[pool.inputs[0]].shape
        if shape[:2] + shape[3:] == wide[:2] + wide[3:] and wide[2] >= shape[2]:
            partner[pool.inputs[0]] = other.inputs[0]


def _of_one_shape(reference: Graph, others: list[int], quantized: Graph, own: list[int]) -> dict[int, int]:
    return {
        index: other
        for index, other in zip(own, others, strict=False)
        if quantized.tensors[index].shape == reference.tensors[other].shape
    }


def _flowing(graph: Graph, operator: Operator) -> list[int]:
    """The inputs of an operator that are no constants."""
    return [index for index in operator.activations if graph.tensors[index].data is None]


def _paired(written: dict[int, Operator], partner: Mapping[int, int], tensor: int) -> int:
    """The tensor itself, or the one that it was converted from, whichever has a partner."""
    while tensor not in partner and tensor in written and written[tensor].kind in CONVERSIONS:
        tensor = written[tensor].inputs[0]
    return tensor


def _same_shapes(reference: Graph, other: Operator, quantized: Graph, operator: Operator) -> bool:
    shapes = [
        (one.kind, graph.tensors[one.inputs[1]].shape, graph.tensors[one.outputs[0]].shape)
        for graph, one in ((reference, other), (quantized, operator))
    ]
    return shapes[0] == shapes[1]


def _similarity(one: Array | None, other: Array | None) -> float:
    """The cosine of the angle between two kernels; 0 where one is unknown."""
    if one is None or other is None:
        return 0.0
    first, second = (values.reshape(-1).astype(np.float64) for values in (one, other))
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0


def _constant(graph: Graph, index: int) -> Tensor | None:
    """The constant that a tensor is, or that it is dequantized from when the model runs."""
    if index == NO_TENSOR:
        return None
    if graph.tensors[index].data is not None:
        return graph.tensors[index]
    producer = graph.producer(index)
    if producer is None or producer.kind != "DEQUANTIZE":
        return None
    return graph.tensors[producer.inputs[0]]
