"""Activation functions that an int8 output makes superfluous: where 0 is stored as the lowest value, none is below.

Sums saturate at -128 anyway, and XNNPACK spends an operator of its own on the activation of an ADD.
"""

from __future__ import annotations

from edgekit.graph import Graph, Tensor, constant

_ELEMENTWISE = ("ADD", "MUL", "SUB")
_LOWEST, _HIGHEST = -128, 127


def drop_clamps(graph: Graph) -> None:
    """Takes ReLU and ReLU6 from int8 sums and products whose output holds no values that they would change."""
    relu, relu6, none = (constant("ActivationFunctionType", name) for name in ("RELU", "RELU6", "NONE"))
    for operator in graph.operators:
        if operator.kind not in _ELEMENTWISE:
            continue
        zero, six = _stored(graph.tensors[operator.outputs[0]])
        wanted = operator.options.fusedActivationFunction
        if zero <= _LOWEST and (wanted == relu or (wanted == relu6 and six >= _HIGHEST)):
            operator.options.fusedActivationFunction = none


def _stored(tensor: Tensor) -> tuple[float, float]:
    """What 0 and 6 are in an int8 tensor; in any other, values between which everything lies."""
    if tensor.dtype != "int8" or tensor.quantization is None:
        return float("inf"), -float("inf")
    zero_point = int(tensor.quantization.zero_point[0])
    return zero_point, zero_point + round(6 / float(tensor.quantization.scale[0]))
