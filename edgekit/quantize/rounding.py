"""Weights as integers so that each layer's output, not each weight, is nearest to the float model's.

Layer by layer, on the inputs that the quantized layers before it really give: GPTQ (Frantar et al. 2023,
arXiv:2210.17323) rounds one column of the kernel after the other and lets the columns not yet rounded make up for the
error; some sweeps of coordinate descent follow. The bias takes up the mean error that remains, which also corrects
what the layers before have shifted (bias correction, Nagel et al. 2019). No labels, no gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import NO_TENSOR, Array, Graph, Operator
from edgekit.quantize import kernels, patches, ranges
from edgekit.quantize.kernels import Rounded
from edgekit.quantize.ranges import Progress, Sample
from edgekit.runtime import Runner

Build = Callable[[Mapping[int, Rounded]], Graph]  # the integer graph with these kernels and the rest rounded plainly

_POSITIONS = (100, 400)  # of one layer's output and one sample: sixteen for each weight of a filter, within these
_AT_ONCE = 10  # samples whose products are taken together: larger products are faster ones
_UNSURE = 1e-4  # of a mean square: what the sums in float32 may be wrong by
_DAMPING = 0.01  # of the mean curvature, as in the paper
_FIRM = 0.1  # the same where weights follow what the layers before got wrong: it must hold for other samples too
_FOLLOW = 1.0  # how far they do
_BLOCK = 64  # columns between two updates of the rest
_WIDEST = 4096  # kernels with more inputs than this are rounded to the nearest: their curvature would not fit
_SWEEPS = 3
_MOST_WORK = 2e9  # multiplications of a sweep; dense layers beyond it get none


class Chooser(Protocol):
    """Chooses codes by rules of its own, such as how few bytes they take, and may remember them from run to run."""

    def known(self, graph: Graph, layer: Operator) -> Rounded | None:
        """What was chosen for a layer before; its inputs are not observed then."""

    def choose(
        self, graph: Graph, layer: Operator, weights: Array, floor: Array | None, curvature: Array | None
    ) -> tuple[Array, Array]:
        """Codes, (groups, outputs, n), and steps, (groups, outputs), with which they fit an int8 kernel.

        `weights` are not quite the layer's: on the inputs that the quantized layers give, they come nearest to its
        outputs.
        """

    def settled(self, graph: Graph, layer: Operator, rounded: Rounded) -> None:
        """Hears what becomes of a layer."""


@dataclass
class _Statistics:
    """Sums over the sampled positions of one layer, of what its inputs differ by from their mean in the float model.

    That mean, `reference`, is taken off before products are summed, for sums in float32 could not hold the rest beside
    it.
    """

    reference: Array  # (groups, n)
    products: Array | None  # (groups, n, n), or None where only means are wanted
    total: Array  # (groups, n)
    crossed: Array | None = None  # (groups, n, n), of the float model's inputs by these, where they are wanted
    positions: int = 0

    def add(self, rows: Array, exact: Array | None = None) -> None:
        """Counts inputs of shape (groups, positions, n), and what the float model has in their place."""
        moved = rows - self.reference[:, None, :].astype(np.float32)
        if self.crossed is not None and exact is not None:
            self.crossed += (exact - self.reference[:, None, :].astype(np.float32)).transpose(0, 2, 1) @ moved
        if self.products is not None:
            self.products += moved.transpose(0, 2, 1) @ moved
        self.total += moved.sum(1, dtype=np.float64)
        self.positions += rows.shape[1]

    @property
    def mean(self) -> Array:
        """What the quantized layers before really give, on average."""
        found: Array = self.reference + self.total / self.positions
        return found

    def covariance(self) -> Array | None:
        """Of the inputs, (groups, n, n), kept positive definite where one hardly varies."""
        if self.products is None:
            return None
        moved = self.total / self.positions
        squares = self.products / self.positions
        rounding = _UNSURE * np.einsum("gnn->gn", squares).max(1)
        found: Array = squares - moved[:, :, None] * moved[:, None, :]
        found += np.eye(moved.shape[1]) * rounding[:, None, None]
        return found

    def best_weights(self, weights: Array) -> Array:
        """Weights, (groups, outputs, n), that come nearest to these ones' outputs on the float model's inputs."""
        covariance = self.covariance()
        if self.crossed is None or covariance is None:
            return weights
        missed = self.crossed / self.positions - covariance
        firm = _FIRM * np.einsum("gnn->gn", covariance).mean(1) + 1e-12
        damped = covariance + np.eye(covariance.shape[1]) * firm[:, None, None]
        wanted = np.linalg.solve(damped, (weights @ missed).transpose(0, 2, 1)).transpose(0, 2, 1)
        found: Array = weights + _FOLLOW * wanted
        return found


def round_weights(
    graph: Graph,
    model: bytes,
    samples: Sequence[Sample],
    build: Build,
    gptq: bool = True,
    correct_bias: bool = True,
    progress: Progress | None = None,
    chooser: Chooser | None = None,
) -> dict[int, Rounded]:
    """Kernel, scales and bias of every layer of the float `graph`, by the index of the float kernel's tensor.

    `model` is the float graph written out; `build` makes the graph whose activations the layers see. A `chooser`
    takes the place of GPTQ.
    """
    stages = _stages(graph)
    means = _float_means(graph, model, samples, stages)
    rounded: dict[int, Rounded] = {}
    chain, exact = _Chain(samples), _Chain(samples) if chooser else None
    for number, (tensor, layers) in enumerate(stages.items()):
        known = {layer.inputs[1]: chooser.known(graph, layer) for layer in layers} if chooser else {}
        if not known or None in known.values():
            values = chain.values(build(rounded), tensor)
            found = _observe(graph, layers, values, means, gptq, exact.values(graph, tensor) if exact else None)
            for layer in layers:
                kernel = layer.inputs[1]
                known[kernel] = _rounded(graph, layer, found[kernel], chain, gptq, correct_bias, chooser)
        rounded.update({kernel: each for kernel, each in known.items() if each is not None})
        if progress:
            progress(number + 1, len(stages))
    return rounded


def _stages(graph: Graph) -> dict[int, list[Operator]]:
    """The layers by the tensor that they read, in the order in which these tensors come about."""
    made = {index: place + 1 for place, operator in enumerate(graph.operators) for index in operator.outputs}
    stages: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        if kernels.can_round(graph, operator):
            stages.setdefault(operator.data, []).append(operator)
    return dict(sorted(stages.items(), key=lambda stage: made.get(stage[0], 0)))


class _Chain:
    """Runs the integer graph from stage to stage, so that each operator runs once for each sample."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        given = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
        self.held: list[dict[int, Array]] = [dict(enumerate(sample)) for sample in given]
        self.place = -1
        self.graph: Graph | None = None

    def values(self, graph: Graph, tensor: int) -> Iterator[Array]:
        """The real values of a tensor, sample by sample; stages must be asked for in order."""
        made = [place for place, operator in enumerate(graph.operators) if tensor in operator.outputs]
        place = made[0] + 1 if made else 0
        if place > self.place:
            self._advance(graph, place)
        self.graph = graph
        for held in self.held:
            yield _real(graph, tensor, held[tensor])

    def bias_floor(self, layer: Operator, bias: Array) -> Array | None:
        """The smallest scales with which the layer's bias fits its integer type; None where it stays float."""
        assert self.graph is not None
        tensor = self.graph.tensors[layer.data]
        if tensor.quantization is None:
            return None
        bias_type = "int32" if tensor.dtype == "int8" else "int64"
        return kernels.bias_floor(bias, float(tensor.quantization.scale[0]), bias_type)

    def _advance(self, graph: Graph, place: int) -> None:
        first = self.place < 0
        alive = _alive(graph, 0 if first else self.place)
        wanted = _alive(graph, place)
        part = graph.copy()
        part.operators = part.operators[max(self.place, 0) : place]
        part.inputs, part.outputs, part.signatures = list(alive), list(wanted), []
        number = part.drop_unused()
        runner = Runner(graphs.dump(part), threads=2) if part.operators else None
        fed = {info.index: position for position, info in enumerate(runner.inputs)} if runner else {}
        for sample, held in enumerate(self.held):
            values = {index: held[alive.index(index)] for index in alive} if first else held
            if first:
                values = {index: _stored(graph, index, value) for index, value in values.items()}
            self.held[sample] = _run(runner, part, values, wanted, number, fed)
        self.place = place


def _alive(graph: Graph, place: int) -> list[int]:
    """The tensors that exist before the operator at `place` and are read by it or later ones, or are outputs."""
    before = {*graph.inputs, *(index for operator in graph.operators[:place] for index in operator.outputs)}
    after = {*graph.outputs, *(index for operator in graph.operators[place:] for index in operator.activations)}
    return list(graph.inputs) if place == 0 else sorted(before & after)


def _run(
    runner: Runner | None,
    part: Graph,
    values: Mapping[int, Array],
    wanted: Sequence[int],
    number: Mapping[int, int],
    fed: Mapping[int, int],
) -> dict[int, Array]:
    """The tensors `wanted` after a part of the graph; those that merely pass it by are handed on."""
    if runner is None:
        return {index: values[index] for index in wanted}
    for index, value in values.items():
        if number.get(index) in fed:
            runner.set_input(value, fed[number[index]])
    runner.invoke()
    out = {info.index: position for position, info in enumerate(runner.outputs)}
    return {index: values[index] if index in values else runner.get_output(out[number[index]]) for index in wanted}


def _real(graph: Graph, index: int, stored: Array) -> Array:
    quantization = graph.tensors[index].quantization
    if quantization is None:
        return stored
    real: Array = (stored.astype(np.float32) - np.float32(quantization.zero_point[0])) * quantization.scale[0]
    return real


def _stored(graph: Graph, index: int, real: Array) -> Array:
    tensor = graph.tensors[index]
    if tensor.quantization is None:
        return real.reshape(tensor.shape).astype(tensor.dtype, copy=False)  # samples are float32, also for uint8 pixels
    limits = np.iinfo(tensor.dtype)
    steps = np.rint(real / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
    stored: Array = np.clip(steps, limits.min, limits.max).astype(tensor.dtype).reshape(tensor.shape)
    return stored


def _float_means(
    graph: Graph, model: bytes, samples: Sequence[Sample], stages: Mapping[int, list[Operator]]
) -> dict[int, Array]:
    """The mean input of every layer in the float model, at the positions that `_observe` takes too."""

    def take(sample: int, values: dict[int, Array]) -> dict[int, tuple[Array, int]]:
        rows = {
            layer.inputs[1]: _inputs(graph, layer, values[tensor], sample)
            for tensor, layers in stages.items()
            for layer in layers
        }
        return {kernel: (each.sum(1, dtype=np.float64), each.shape[1]) for kernel, each in rows.items()}

    sums = ranges.each(model, samples, list(stages), take)
    means: dict[int, Array] = {}
    for kernel in sums[0]:
        totals, positions = zip(*(each[kernel] for each in sums), strict=True)
        means[kernel] = np.sum(totals, axis=0) / sum(positions)
    return means


def _observe(
    graph: Graph,
    layers: Sequence[Operator],
    values: Iterator[Array],
    means: Mapping[int, Array],
    gptq: bool,
    exact: Iterator[Array] | None = None,
) -> dict[int, _Statistics]:
    found: dict[int, _Statistics] = {}
    others_too: Iterator[Array | None] = exact if exact is not None else itertools.repeat(None)
    numbered = enumerate(zip(values, others_too))  # noqa: B905
    while few := list(itertools.islice(numbered, _AT_ONCE)):
        for layer in layers:
            rows = np.concatenate([_inputs(graph, layer, value, sample) for sample, (value, _) in few], axis=1)
            others = [_inputs(graph, layer, other, sample) for sample, (_, other) in few if other is not None]
            kernel = layer.inputs[1]
            if kernel not in found:
                wide = not gptq or rows.shape[2] > _WIDEST
                square = (len(rows), rows.shape[2], rows.shape[2])
                products = None if wide else np.zeros(square)
                crossed = np.zeros(square) if others and not wide else None
                found[kernel] = _Statistics(means[kernel], products, np.zeros(rows.shape[::2]), crossed)
            found[kernel].add(rows, np.concatenate(others, axis=1) if others else None)
    return found


def _inputs(graph: Graph, layer: Operator, value: Array, sample: int) -> Array:
    weights = graph.tensors[layer.inputs[1]].elements // graph.tensors[layer.outputs[0]].shape[-1]
    return patches.rows(graph, layer, value, int(np.clip(16 * weights, *_POSITIONS)), seed=sample)


def _rounded(
    graph: Graph,
    layer: Operator,
    found: _Statistics,
    chain: _Chain,
    gptq: bool,
    correct_bias: bool,
    chooser: Chooser | None = None,
) -> Rounded:
    tensor, bias = graph.tensors[layer.inputs[1]], _bias(graph, layer)
    assert tensor.data is not None
    weights = patches.as_matrix(graph, layer, tensor.data.astype(np.float64))
    floor, curvature = chain.bias_floor(layer, bias), found.covariance() if gptq else None
    if chooser is not None:
        codes, steps = chooser.choose(graph, layer, found.best_weights(weights), floor, curvature)
        scales = steps.reshape(-1).astype(np.float32)[: None if kernels.channel_axis(layer) is not None else 1]
    else:
        scales = kernels.channel_scales(tensor.data, kernels.channel_axis(layer), floor)
        steps = np.broadcast_to(scales.astype(np.float64), (weights.shape[0] * weights.shape[1],))
        steps = steps.reshape(weights.shape[:2])
        codes = _nearest(weights / steps[:, :, None]) if curvature is None else _compensated(weights, steps, curvature)
    if correct_bias:
        left = np.einsum("gon,gn->go", weights, found.reference)
        left -= np.einsum("gon,gn->go", codes * steps[:, :, None], found.mean)
        bias = bias + left.reshape(-1)
    kernel = patches.from_matrix(graph, layer, codes).astype(np.int8)
    rounded = Rounded(kernel, scales, bias.astype(np.float32))
    if chooser is not None:
        chooser.settled(graph, layer, rounded)
    return rounded


def _bias(graph: Graph, layer: Operator) -> Array:
    if layer.bias == NO_TENSOR:
        return np.zeros(graph.tensors[layer.outputs[0]].shape[-1])
    data = graph.tensors[layer.bias].data
    assert data is not None
    return data.astype(np.float64).reshape(-1)


def _nearest(steps: Array) -> Array:
    nearest: Array = np.clip(np.rint(steps), -127, 127)
    return nearest


def _compensated(weights: Array, steps: Array, curvature: Array) -> Array:
    """Integer codes, (groups, out, n), whose error e has a small e @ curvature @ e in every output channel."""
    groups, outputs, width = weights.shape
    diagonal = np.einsum("gnn->gn", curvature)
    damped = curvature + np.eye(width) * (_DAMPING * diagonal.mean(1) + 1e-12)[:, None, None]
    order = np.argsort(-diagonal, axis=1, kind="stable")
    sorted_weights = np.take_along_axis(weights, order[:, None, :], 2)
    sorted_curvature = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], 1), order[:, None, :], 2)
    codes = _one_column_after_another(sorted_weights, steps, sorted_curvature)
    if width * width * outputs * groups <= _MOST_WORK:
        codes = _descend(codes, sorted_weights, steps, sorted_curvature)
    codes = _better(codes, _nearest(sorted_weights / steps[:, :, None]), sorted_weights, steps, sorted_curvature)
    result = np.empty_like(codes)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], codes.shape), codes, 2)
    return result


def _better(codes: Array, others: Array, weights: Array, steps: Array, curvature: Array) -> Array:
    """For each output channel the codes with the smaller error; what is best column by column need not be in all."""
    costs = []
    for each in (codes, others):
        missed = each * steps[:, :, None] - weights
        costs.append(((missed @ curvature) * missed).sum(2))
    better: Array = np.where((costs[0] <= costs[1])[:, :, None], codes, others)
    return better


def _one_column_after_another(weights: Array, steps: Array, curvature: Array) -> Array:
    """GPTQ: `upper` is the Cholesky factor of the inverse; row i says how the later columns make up for column i."""
    upper = np.linalg.cholesky(np.linalg.inv(curvature)).transpose(0, 2, 1)
    rest, codes = weights.copy(), np.empty_like(weights)
    width = weights.shape[2]
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        errors = np.empty((*steps.shape, end - start))
        for column in range(start, end):
            codes[:, :, column] = _nearest(rest[:, :, column] / steps)
            missed = rest[:, :, column] - codes[:, :, column] * steps
            errors[:, :, column - start] = missed / upper[:, column, column, None]
            rest[:, :, column + 1 : end] -= (
                errors[:, :, column - start, None] * upper[:, None, column, column + 1 : end]
            )
        rest[:, :, end:] -= errors @ upper[:, start:end, end:]
    return codes


def _descend(codes: Array, weights: Array, steps: Array, curvature: Array) -> Array:
    """Coordinate descent: each code in turn becomes the best one, given the others."""
    slope = (codes * steps[:, :, None] - weights) @ curvature
    for _sweep in range(_SWEEPS):
        for column in range(codes.shape[2]):
            down = slope[:, :, column] / curvature[:, None, column, column] / steps
            wanted = _nearest(codes[:, :, column] - down)
            change = (wanted - codes[:, :, column]) * steps
            if change.any():
                slope += change[:, :, None] * curvature[:, None, column, :]
                codes[:, :, column] = wanted
    return codes
