"""The range of every activation by the recipe's method, fitted jointly where tensors share a scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import Array, Graph
from edgekit.quantize import equalize, head, histograms, integer, ranges, scales
from edgekit.quantize.histograms import Histogram
from edgekit.quantize.operators import SAME_SCALE
from edgekit.quantize.ranges import Progress, Range, Sample
from edgekit.recipe import Recipe


def channel_reach(graph: Graph, samples: Sequence[Sample], progress: Progress | None = None) -> dict[int, Array]:
    """How far each channel of the tensors that can be equalized reaches, without the outliers that cost too much."""
    model, indices = graphs.dump(graph), equalize.carried(graph)
    if not indices:
        return {}
    limits = histograms.channel_limits(model, samples, indices, progress)
    found = histograms.collect(model, samples, limits, progress)
    return {
        index: histograms.least_error([each]) * np.maximum(np.abs(each.low), np.abs(each.high))
        for index, each in found.items()
    }


def fitted(
    graph: Graph, recipe: Recipe, samples: Sequence[Sample], progress: Progress | None = None, classifies: bool = False
) -> dict[int, Range]:
    """Range of every activation; `classifies` says that the output is the logits of a softmax."""
    model = graphs.dump(graph)
    if recipe.ranges == "moving_average":
        return ranges.observe_average(graph, model, samples, progress)
    found = ranges.observe(graph, model, samples, progress)
    if recipe.activations == "int8" and recipe.ranges != "minmax":
        found |= _clipped(graph, model, recipe, samples, found, progress)
    if recipe.fit_head and recipe.output == "int8" and classifies:
        output = graph.outputs[0]
        logits = [values[output] for values in ranges.run(model, samples, [output])]
        found[output] = head.fitted_range(logits, found[output])
    return found


def _clipped(
    graph: Graph,
    model: bytes,
    recipe: Recipe,
    samples: Sequence[Sample],
    observed: dict[int, Range],
    progress: Progress | None,
) -> dict[int, Range]:
    """Ranges that give up outliers, one for each group of tensors with one scale."""
    ends = {*graph.inputs, *graph.outputs}
    indices = [index for index in observed if index not in ends]
    limits = histograms.channel_limits(model, samples, indices, progress)
    counted = histograms.collect(model, samples, limits, progress)
    found: dict[int, Range] = {}
    for group in scales.shared_scales(integer.integer_operators(graph, "int8"), observed):
        parts = [counted[index] for index in group if index in counted and _is_computed_with(graph, index)]
        if parts and not ends & {*group}:
            found |= dict.fromkeys(group, _range(parts, recipe))
    return found


def _range(parts: list[Histogram], recipe: Recipe) -> Range:
    """By percentile over all channels; or the union of the ranges that serve each channel best."""
    if recipe.ranges == "percentile":
        return histograms.percentile(parts, recipe.percentile)
    shares = [histograms.least_error([part]) for part in parts]
    low = min(float((part.low * share).min()) for part, share in zip(parts, shares, strict=True))
    high = max(float((part.high * share).max()) for part, share in zip(parts, shares, strict=True))
    return min(low, 0.0), max(high, 0.0)


def _is_computed_with(graph: Graph, index: int) -> bool:
    """Whether an operator reads the values to compute, and not only to move them on."""
    return any(operator.kind not in SAME_SCALE for operator in graph.consumers(index))
