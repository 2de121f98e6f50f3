"""TRANSPOSE operators that a converter left and that nothing needs, taken out; every value stays the same."""

from __future__ import annotations

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import Graph, Operator, Tensor

_RESHAPES = ("RESHAPE", "SQUEEZE")


def drop_needless(tflite: bytes) -> bytes:
    """The network without transposes before a mean that runs over the axes which they moved.

    The mean takes them where they were. What is left of the map is then laid out anew by a reshape, for which the
    order of axes of size 1 is all one. Channels-first heads, pooling and then flattening, come out of onnx2tf so.
    """
    graph = graphs.load(tflite)
    moves = [operator for operator in graph.operators if operator.kind == "TRANSPOSE"]
    dropped = [operator for operator in moves if _moved_into_mean(graph, operator)]
    if not dropped:
        return tflite
    graph.drop_unused()
    return graphs.dump(graph)


def _moved_into_mean(graph: Graph, move: Operator) -> bool:
    readers, order = graph.consumers(move.outputs[0]), graph.tensors[move.inputs[1]].data
    if order is None or len(readers) != 1 or readers[0].kind != "MEAN" or move.outputs[0] in graph.outputs:
        return False
    mean = readers[0]
    axes = graph.tensors[mean.inputs[1]].data
    if axes is None or not _one_axis_left(graph, mean) or not _only_reshaped(graph, mean):
        return False
    where = [int(order.reshape(-1)[int(axis) % order.size]) for axis in axes.reshape(-1)]
    moved = np.array(sorted(where), np.int32)
    mean.inputs = [move.inputs[0], graph.add_tensor(Tensor(f"axes_{mean.outputs[0]}", moved.shape, "int32", moved))]
    if mean.options.keepDims:
        shape = graph.tensors[move.inputs[0]].shape
        graph.tensors[mean.outputs[0]].shape = tuple(1 if axis in where else size for axis, size in enumerate(shape))
        graph.tensors[mean.outputs[0]].shape_signature = None
    graph.operators.remove(move)
    return True


def _one_axis_left(graph: Graph, mean: Operator) -> bool:
    """Whether the mean leaves values along one axis only, so that they have the same order wherever it is."""
    shape = graph.tensors[mean.outputs[0]].shape
    return sum(size > 1 for size in shape) <= 1


def _only_reshaped(graph: Graph, mean: Operator) -> bool:
    """Whether nobody sees in which order the mean's axes are: it drops them, or a reshape does."""
    output = mean.outputs[0]
    if output in graph.outputs:
        return False
    readers = graph.consumers(output)
    if mean.options.keepDims:
        return all(reader.kind in _RESHAPES for reader in readers)
    return len(graph.tensors[output].shape) == 2
