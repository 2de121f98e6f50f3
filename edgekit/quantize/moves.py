"""Operators that only move values, for rewrites of a finished graph: every tensor keeps its type and its scale."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from edgekit.graph import Graph, Operator, Tensor, constant, new_options

_KNOWS_INT8 = 2  # the version of SLICE, PAD and CONCATENATION that does


class Moves:
    """A run of new operators for a graph: each method adds one and returns the tensor that it writes.

    The caller puts `operators` into the graph. New tensors are named after the first part of `name`: converters join
    the names of all layers that a tensor went through.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name.split(";")[0]
        self.operators: list[Operator] = []

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of any tensor of the graph."""
        return self.graph.tensors[tensor].shape

    def like(self, source: int, shape: Sequence[int], suffix: str) -> int:
        """A tensor of another shape that holds the same kind of values, for an operator to write."""
        tensor = self.graph.tensors[source]
        name = f"{self.name}_{suffix}_{len(self.operators)}"
        return self.graph.add_tensor(Tensor(name, tuple(shape), tensor.dtype, quantization=tensor.quantization))

    def reshape(self, source: int, shape: Sequence[int], target: int | None = None) -> int:
        """The same values in another shape; into `target` where that is given."""
        assert math.prod(shape) == math.prod(self.shape(source))
        options = new_options("ReshapeOptions", newShape=list(shape))
        target = self.like(source, shape, "reshaped") if target is None else target
        return self._add("RESHAPE", [source, self._numbers(shape)], target, options, version=1)

    def cut(self, source: int, axis: int, start: int, stop: int, target: int | None = None) -> int:
        """The places start..stop of an axis; into `target` where that is given."""
        shape = list(self.shape(source))
        shape[axis] = stop - start
        begin = [start if dimension == axis else 0 for dimension in range(len(shape))]
        inputs = [source, self._numbers(begin), self._numbers(shape)]
        target = self.like(source, shape, "cut") if target is None else target
        return self._add("SLICE", inputs, target, new_options("SliceOptions"))

    def pad(self, source: int, amounts: Sequence[tuple[int, int]]) -> int:
        """Zeros before and after each axis."""
        shape = [size + sum(pair) for size, pair in zip(self.shape(source), amounts, strict=True)]
        inputs = [source, self._numbers(amounts)]
        return self._add("PAD", inputs, self.like(source, shape, "padded"), new_options("PadOptions"))

    def concatenate(self, sources: Sequence[int], axis: int) -> int:
        """Tensors side by side along an axis; the only one of them itself if there is one."""
        if len(sources) == 1:
            return sources[0]
        shape = list(self.shape(sources[0]))
        shape[axis] = sum(self.shape(source)[axis] for source in sources)
        options = new_options("ConcatenationOptions", axis=axis)
        return self._add("CONCATENATION", list(sources), self.like(sources[0], shape, "joined"), options)

    def again(self, operator: Operator, inputs: list[int], output: int, options: object) -> int:
        """The same operator on other tensors, with other options."""
        self.operators.append(dataclasses.replace(operator, inputs=inputs, outputs=[output], options=options))
        return output

    def _add(self, kind: str, inputs: list[int], target: int, options: object, version: int = _KNOWS_INT8) -> int:
        table = constant("BuiltinOptions", type(options).__name__.removesuffix("T"))
        self.operators.append(Operator(kind, inputs, [target], options, table, version=version))
        return target

    def _numbers(self, values: Sequence[int] | Sequence[tuple[int, int]]) -> int:
        data = np.array(values, np.int32)
        return self.graph.add_tensor(Tensor("", data.shape, "int32", data))
