"""The range of every activation by the recipe's method, fitted jointly where tensors share a scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import Array, Graph
from edgekit.quantize import equalize, histograms, integer, operators, ranges, scales
from edgekit.quantize.histograms import Histogram
from edgekit.quantize.operators import SAME_SCALE
from edgekit.quantize.ranges import Extremes, Progress, Range, Sample
from edgekit.quantize.scales import Scale
from edgekit.recipe import Recipe

_HEADROOM = 4.0


@dataclass(frozen=True)
class Seen:
    """What the samples do in a float graph; histograms are there for what the recipe fits."""

    extremes: Extremes
    histograms: Mapping[int, Histogram]

    def divided(self, gains: Mapping[int, Array]) -> Seen:
        """What they do once channels are divided by these gains; every tensor's are asked for."""
        histograms = {index: each.divided(gains[index]) for index, each in self.histograms.items()}
        return Seen(self.extremes.divided(gains), histograms)


def observe(graph: Graph, recipe: Recipe, samples: Sequence[Sample], progress: Progress | None = None) -> Seen:
    """Runs the float graph on the samples: once, and once more where the recipe looks at distributions."""
    model = graphs.dump(graph)
    by_channel = recipe.equalization > 0 or _clips(recipe)
    extremes = ranges.observe(graph, model, samples, progress, channels=by_channel)
    wanted = {*equalize.carried(graph)} if recipe.equalization else set[int]()
    if _clips(recipe):
        wanted |= {*extremes.low} - {*graph.inputs, *graph.outputs} - {*ranges.padded_lowest(graph)}
    limits = {index: extremes.limits(index) for index in sorted(wanted)}
    return Seen(extremes, histograms.collect(model, samples, limits, progress) if limits else {})


def reach(graph: Graph, seen: Seen) -> dict[int, Array]:
    """How far each channel of the tensors that can be equalized reaches, without the outliers that cost too much."""
    carried = {index: seen.histograms[index] for index in equalize.carried(graph)}
    return {
        index: histograms.least_error(each) * np.maximum(np.abs(each.low), np.abs(each.high))
        for index, each in carried.items()
    }


def with_headroom(graph: Graph, seen: Seen) -> dict[int, Range]:
    """Ranges for int16, far beyond what the samples reach: 16 bits have steps to spare, and clipping costs most."""
    whole = seen.extremes.whole(graph)
    return {index: (_HEADROOM * low, _HEADROOM * high) for index, (low, high) in whole.items()}


def fitted(graph: Graph, recipe: Recipe, seen: Seen) -> dict[int, Range]:
    """Range of every activation."""
    if recipe.activations == "int16":
        return with_headroom(graph, seen)
    if recipe.ranges == "moving_average":
        return seen.extremes.average(graph)
    found = seen.extremes.whole(graph)
    return found | _clipped(graph, recipe, seen, found) if _clips(recipe) else found


def round_value(graph: Graph, index: int, scale: Scale) -> None:
    """Lets all that read a float tensor, which an operator writes, read it by way of int8."""
    producer = graph.producer(index)
    assert producer is not None
    tensor = graph.tensors[index]
    stored = graph.add_tensor(dataclasses.replace(tensor, dtype="int8", quantization=scale.quantization()))
    back = graph.add_tensor(dataclasses.replace(tensor))
    for reader in graph.consumers(index):
        reader.inputs = [back if other == index else other for other in reader.inputs]
    graph.outputs = [back if other == index else other for other in graph.outputs]
    graph.rename_in_signatures(index, back)
    place = graph.operators.index(producer) + 1
    graph.operators.insert(place, operators.conversion("QUANTIZE", index, stored, "int8"))
    graph.operators.insert(place + 1, operators.conversion("DEQUANTIZE", stored, back, "int8"))


def _clips(recipe: Recipe) -> bool:
    return recipe.activations == "int8" and recipe.ranges in ("percentile", "mse")


def _clipped(graph: Graph, recipe: Recipe, seen: Seen, observed: dict[int, Range]) -> dict[int, Range]:
    """Ranges that give up outliers, one for each group of tensors with one scale."""
    ends = {*graph.inputs, *graph.outputs}
    found: dict[int, Range] = {}
    for group in scales.shared_scales(integer.integer_operators(graph, "int8"), observed):
        parts = [
            seen.histograms[index] for index in group if index in seen.histograms and _is_computed_with(graph, index)
        ]
        if parts and not ends & {*group}:
            found |= dict.fromkeys(group, _range(parts, recipe))
    return found


def _range(parts: list[Histogram], recipe: Recipe) -> Range:
    """By percentile over all channels; or the union of the ranges that serve each channel best."""
    if recipe.ranges == "percentile":
        return histograms.percentile(parts, recipe.percentile)
    shares = [histograms.least_error(part) for part in parts]
    low = min(float((part.low * share).min()) for part, share in zip(parts, shares, strict=True))
    high = max(float((part.high * share).max()) for part, share in zip(parts, shares, strict=True))
    return min(low, 0.0), max(high, 0.0)


def _is_computed_with(graph: Graph, index: int) -> bool:
    """Whether an operator reads the values to compute, and not only to move them on."""
    return any(operator.kind not in SAME_SCALE for operator in graph.consumers(index))
