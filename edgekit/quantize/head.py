"""The classifier head: the softmax is never quantized, and the logits keep as much of their ranking as they can.

An int8 softmax has 256 steps of 1/256, so most classes become 0 and their order is lost; the logits before it keep
it, and XNNPACK, which has no int8 softmax, then takes the whole graph. A reader takes the softmax of the dequantized
logits; the card says which of the two the output is.
Eight bits for the logits alone change one answer in forty of a 1000-class network whose logits reach from 0 to 47, by
ties mostly. So the range gives up what is too small to matter; and where the output is float anyway, the pooling
before it computes in float too, on 8-bit maps whose errors average out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.graph import Array, Graph, Operator
from edgekit.quantize.ranges import Range

_STEPS = 255
_LOSS_NATS = 5e-4  # a tenth of what quantizing the rest of a network costs
_SHARES = np.linspace(1.0, 0.0, 41)
_POOLING = frozenset(("AVERAGE_POOL_2D", "MEAN", "RESHAPE", "SQUEEZE"))


def final_softmax(graph: Graph) -> Operator | None:
    """The SOFTMAX that writes the model's only output, or None."""
    operator = graph.producer(graph.outputs[0])
    return operator if operator and operator.kind == "SOFTMAX" and len(graph.outputs) == 1 else None


def drop_softmax(graph: Graph) -> bool:
    """Lets the model end in logits, where it ended in a softmax of them that nothing else reads; whether it did."""
    softmax = final_softmax(graph)
    if softmax is None or graph.consumers(softmax.outputs[0]) or softmax.options.beta != 1:
        return False
    logits, probabilities = softmax.inputs[0], softmax.outputs[0]
    graph.operators.remove(softmax)
    graph.outputs[0] = logits
    graph.rename_in_signatures(probabilities, logits)
    return True


def output_kind(graph: Graph) -> str:
    """What the first output means, the one that a card speaks of: "probabilities", "scores" or "logits"."""
    return graph.output_kind()


def fitted_range(logits: Sequence[Array], limits: Range) -> Range:
    """The narrowest range of int8 logits within `limits` that keeps the distribution over classes on the samples.

    Its divergence from that of the float `logits` may be 0.0005 nats, or twice what the whole range costs. Only small
    logits are given up: of a distribution over classes they are the part that is next to nothing.
    """
    rows = np.stack([values.reshape(-1) for values in logits]).astype(np.float64)
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    for share in _SHARES[::-1]:
        if _loss(rows, low * share, high) <= max(_LOSS_NATS, 2 * _loss(rows, low, high)):
            return low * float(share), high
    return low, high


def after_last_map(graph: Graph) -> frozenset[int]:
    """The tensors between the last map and the output: pooling, and the one dense layer that reads what it gives.

    None if the model ends otherwise.
    """
    index, found, dense = graph.outputs[0], set[int](), False
    softmax = final_softmax(graph)
    if softmax is not None:
        index = softmax.inputs[0]
    while (operator := graph.producer(index)) is not None:
        if operator.has_weights and not dense and _reads_one_position(graph, operator):
            dense = True
        elif operator.kind not in _POOLING:
            break
        found.add(index)
        index = operator.data if operator.has_weights else operator.inputs[0]
    return frozenset(found) if len(graph.outputs) == 1 else frozenset()


def _reads_one_position(graph: Graph, operator: Operator) -> bool:
    data = graph.tensors[operator.data]
    return operator.kind in ("CONV_2D", "FULLY_CONNECTED") and data.elements == data.shape[-1]


def _loss(rows: Array, low: float, high: float) -> float:
    """Mean KL divergence, in nats, between softmaxes of logits before and after rounding to 8 bits."""
    if high <= low:
        return np.inf
    step = (high - low) / _STEPS
    rounded = np.rint(np.clip(rows, low, high) / step) * step
    before, after = _log_softmax(rows), _log_softmax(rounded)
    return float((np.exp(before) * (before - after)).sum(1).mean())


def _log_softmax(rows: Array) -> Array:
    shifted = rows - rows.max(1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result
