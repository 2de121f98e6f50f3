"""int8 graphs made from float ones with no calibration: any kernels, any scales, any zero points."""

from __future__ import annotations

import numpy as np
from float_graphs import Net

from edgekit import graph as graphs
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Quantization
from edgekit.runtime import Runner

SCALE = 0.05  # of every activation, so that operators that only move values get what they ask for


def stored(net: Net, zero_point: int = 3) -> Graph:
    """The net in int8; its convolutions get random kernels and biases that use the range well."""
    graph = graphs.load(net.done(*net.graph.outputs))
    for operator in graph.operators:
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            _store_weights(graph, operator, net.random)
    for tensor in graph.tensors:
        if tensor.dtype == "float32":
            assert tensor.data is None
            tensor.dtype, tensor.quantization = "int8", scales([SCALE], zero_point)
    for operator in graph.operators:
        operator.version = max(operator.version, 2 if operator.kind != "RESHAPE" else 1)
    return graph


def scales(values: list[float], zero_point: int = 0) -> Quantization:
    return Quantization(np.array(values, np.float32), np.full(len(values), zero_point, np.int64))


def _store_weights(graph: Graph, operator: Operator, random: np.random.Generator) -> None:
    kernel = graph.tensors[operator.inputs[1]]
    axis = 0 if operator.kind == "CONV_2D" else 3
    filters, per_output = kernel.shape[axis], int(np.prod(kernel.shape)) // kernel.shape[axis]
    spread = random.uniform(0.5, 1.5, filters) / (100 * np.sqrt(per_output))
    kernel.dtype, kernel.data = "int8", random.integers(-127, 128, kernel.shape).astype(np.int8)
    kernel.quantization = scales(list(spread))
    kernel.quantization.axis = axis
    if operator.bias != NO_TENSOR:
        bias = graph.tensors[operator.bias]
        bias.dtype, bias.data = "int32", random.integers(-500, 500, filters).astype(np.int32)
        bias.quantization = scales(list(spread * SCALE))
    operator.version = 3 if axis == 0 else 4


def finished(graph: Graph) -> bytes:
    graph.drop_unused()
    return graphs.dump(graph)


def outputs(model: bytes, sample: Array, *, delegate: bool) -> list[Array]:
    runner = Runner(model, delegate=delegate)
    runner.set_input(sample)
    runner.invoke()
    return [runner.get_output(position) for position in range(len(runner.outputs))]


def assert_same_bits(before: bytes, after: bytes, *, delegate: bool, delegated: bool = True) -> None:
    """Both answer the same to noise, and the delegate takes all of the second if it took all of the first."""
    shape = Runner(before).input.shape
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
        for one, other in zip(
            outputs(before, noise, delegate=delegate), outputs(after, noise, delegate=delegate), strict=True
        ):
            assert one.shape == other.shape
            assert (one == other).all()
    if delegate and delegated and not Runner(before).delegation().left:
        assert not Runner(after).delegation().left


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]
