"""A quantized model in single layers, each with the float model of the same stretch, to be run on its own inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit import graph as graphs
from edgekit.audit.pairs import MOVING, Pairs, origin, writers
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Tensor


@dataclass(frozen=True)
class Stretch:
    """What lies between tensors that both models have.

    `tensor` is written and `sources` are read in the quantized graph, `operator` computes the result there;
    `partner` is the result's tensor in the float graph. `inputs` are those of the sources that the float form of the
    stretch reads, in the order of its inputs, and `model` is that form's file; both are empty where there is none.
    """

    tensor: int
    partner: int
    operator: Operator
    sources: tuple[int, ...]
    inputs: tuple[int, ...] = ()
    model: bytes | None = None


def operators(quantized: Graph) -> list[Operator]:
    """The operators that are quantized: integers come out of them, or their kernel is not stored as float32."""
    written = writers(quantized)
    found = {origin(written, index) for index in written if _is_integer(quantized, index)}
    return [operator for operator in quantized.operators if operator in found or _small_kernel(quantized, operator)]


def stretches(reference: Graph, quantized: Graph, pairs: Pairs, excess: Mapping[int, Array]) -> Iterator[Stretch]:
    """Every quantized operator whose output both models have, in file order.

    `excess` tells by how much a reader of a tensor with a wrong scale takes its own bias for larger than it is: by the
    tensor that the reader writes. Its float form gets that bias, for it is not the reader's fault.
    """
    written, known = writers(quantized), set(operators(quantized))
    for index in (index for operator in quantized.operators for index in operator.outputs):
        operator = origin(written, index)
        if index not in pairs.partner or operator not in known or not _stored(quantized, index, operator):
            continue
        assert operator is not None
        sources = _sources(quantized, written, pairs.partner, index)
        computing = _computing(quantized, written, operator, sources or ())
        plain = Stretch(index, pairs.partner[index], computing, sources or ())
        too_large = excess.get(computing.outputs[0])
        yield plain if sources is None else _with_float_form(reference, pairs.partner, plain, too_large)


def _computing(
    quantized: Graph, written: Mapping[int, Operator], operator: Operator, sources: tuple[int, ...]
) -> Operator:
    """The weighted operator of a stretch that ends in others which only move its result; else the last one."""
    pending, computing = [operator], operator
    while pending and computing.kind in MOVING:
        current = pending.pop()
        computing = current if current.has_weights else computing
        before = [index for index in current.activations if index not in sources and index in written]
        pending += [written[index] for index in before if current.kind in MOVING]
    return computing


def _stored(quantized: Graph, index: int, operator: Operator) -> bool:
    return _is_integer(quantized, index) or _small_kernel(quantized, operator)


def _is_integer(quantized: Graph, index: int) -> bool:
    tensor = quantized.tensors[index]
    return tensor.quantization is not None and tensor.data is None and tensor.dtype != "float32"


def _small_kernel(quantized: Graph, operator: Operator) -> bool:
    if not operator.has_weights:
        return False
    producer = quantized.producer(operator.inputs[1])
    index = operator.inputs[1] if producer is None else producer.inputs[0]
    return quantized.tensors[index].data is not None and quantized.tensors[index].dtype != "float32"


def _sources(
    quantized: Graph, written: Mapping[int, Operator], partner: Mapping[int, int], tensor: int
) -> tuple[int, ...] | None:
    """The nearest tensors before this one that both models have; None if an input without a partner is reached."""
    found: dict[int, None] = {}
    pending = list(written[tensor].activations)
    seen = set(pending)
    while pending:
        index = pending.pop(0)
        if quantized.tensors[index].data is not None:
            continue
        if index in partner and partner[index] != partner[tensor]:  # else it is this value before a conversion
            found[index] = None
        elif index not in written:
            return None
        else:
            fresh = [source for source in written[index].activations if source not in seen]
            seen.update(fresh)
            pending += fresh
    return tuple(found)


def _with_float_form(reference: Graph, partner: Mapping[int, int], plain: Stretch, too_large: Array | None) -> Stretch:
    given = {partner[source]: source for source in plain.sources}
    chosen = _between(reference, set(given), plain.partner)
    if chosen is None:
        return plain
    read = {index for operator in chosen for index in operator.activations}
    inputs = [index for index in given if index in read]
    part = Graph(
        tensors=list(reference.tensors),
        operators=[dataclasses.replace(operator) for operator in chosen],
        inputs=list(inputs),
        outputs=[plain.partner],
    )
    if too_large is not None:
        _enlarge_bias(part, too_large)
    part.drop_unused()
    return dataclasses.replace(plain, inputs=tuple(given[index] for index in inputs), model=graphs.dump(part))


def _between(reference: Graph, given: set[int], result: int) -> list[Operator] | None:
    """The float operators that make `result` of `given`, in file order; None if they need more than that."""
    written = writers(reference)
    chosen: set[Operator] = set()
    pending = [result]
    while pending:
        operator = written.get(pending.pop())
        if operator is None:
            return None
        if operator not in chosen:
            chosen.add(operator)
            pending += [i for i in operator.activations if reference.tensors[i].data is None and i not in given]
    return [operator for operator in reference.operators if operator in chosen]


def _enlarge_bias(part: Graph, by: Array) -> None:
    """Adds to the bias of the one operator that can have one."""
    weighted = [operator for operator in part.operators if operator.has_weights]
    for operator in weighted if len(weighted) == 1 else ():
        old = None if operator.bias == NO_TENSOR else part.tensors[operator.bias].data
        bias = by.astype(np.float32) if old is None else (old + by).astype(np.float32)
        larger = part.add_tensor(Tensor("bias", bias.shape, "float32", bias))
        operator.inputs = [*operator.inputs[: operator.bias_position], larger]
