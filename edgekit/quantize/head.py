"""The classifier head: the softmax is never quantized.

An int8 softmax has 256 steps of 1/256, so most classes become 0 and their order is lost; the logits before it keep
it, and XNNPACK, which has no int8 softmax, then takes the whole graph. A reader takes the softmax of the dequantized
logits; the card says which of the two the output is.
"""

from __future__ import annotations

from edgekit.graph import Graph, Operator


def final_softmax(graph: Graph) -> Operator | None:
    """The SOFTMAX that writes the model's only output, or None."""
    operator = graph.producer(graph.outputs[0])
    return operator if operator and operator.kind == "SOFTMAX" and len(graph.outputs) == 1 else None


def drop_softmax(graph: Graph) -> None:
    """Lets the model end in logits, where it ended in a softmax of them that nothing else reads."""
    softmax = final_softmax(graph)
    if softmax is None or graph.consumers(softmax.outputs[0]) or softmax.options.beta != 1:
        return
    logits, probabilities = softmax.inputs[0], softmax.outputs[0]
    graph.operators.remove(softmax)
    graph.outputs[0] = logits
    graph.rename_in_signatures(probabilities, logits)


def output_kind(graph: Graph) -> str:
    """What the output means: "probabilities" after a softmax, else "logits"."""
    return "logits" if final_softmax(graph) is None else "probabilities"
