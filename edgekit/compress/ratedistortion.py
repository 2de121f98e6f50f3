"""Codes on the int8 grid of the deployed model, chosen for the fewest bytes at a given loss of information.

Each weight in turn takes the code with the least cost: the loss that its error adds once the weights not yet chosen
have made up for it (Optimal Brain Surgeon, Hassibi and Stork 1993; GPTQ, Frantar et al. 2023, arXiv:2210.17323), plus
a price for its bits, as DeepCABAC (Wiedemann et al. 2019, arXiv:1905.08318) has it. A weight that is not worth its
bits becomes 0: this prunes, too. One price for all layers, since losses are all in nats of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgekit.compress.gradients import Curvature
from edgekit.graph import Array, Graph, Operator
from edgekit.quantize import kernels
from edgekit.quantize.kernels import Rounded

LIMIT = 127
_PASSES = 2
_BLOCK = 64  # columns between two updates of the rest
_SWEEPS = 3
_DAMPING = 0.01
_FROM_GRADIENTS = 0.5  # the rest of a layer's curvature comes from its inputs alone, which generalises better
_TRUST = 0.5  # in what gradients say of single output channels; a hundred samples say it roughly
_ROW_CLASSES = 4
_STEPS_PER_OCTAVE = 4  # scales lie on a grid, so that a file holds few different ones
_SEEN = 4.0  # symbols' worth of a Laplace distribution in every table


@dataclass(frozen=True)
class Problem:
    """One layer: `weights`, (groups, outputs, n); `curvature`, (groups, n, n), in nats; `importance` of its outputs.

    `floor`, (groups, outputs), are the smallest steps with which weights and biases fit.
    """

    weights: Array
    curvature: Array
    importance: Array
    floor: Array
    shared_step: bool = False


@dataclass(frozen=True)
class Choice:
    """`codes`, (groups, outputs, n); `steps`, (groups, outputs); about how many bits they take and nats they lose."""

    codes: Array
    steps: Array
    bits: float
    loss_nats: float


def choose(problem: Problem, price: float) -> Choice:
    """Codes for a layer at a price in nats for each bit."""
    ordered = _Ordered(problem)
    prices = price / problem.importance
    steps = _steps(problem, ordered.firmness, prices)
    codes = _clip(np.rint(ordered.weights / steps[:, :, None]))
    for number in range(_PASSES + 1):
        classes = _row_classes(codes)
        lengths = _code_lengths(codes, classes)
        if number < _PASSES:
            codes = ordered.compensated(steps, lengths, classes, prices)
    codes = ordered.descend(codes, steps, lengths, classes, prices)
    bits = np.take_along_axis(lengths[classes], (codes + LIMIT).astype(np.int64), 2).sum()
    loss = (ordered.losses(codes, steps) * problem.importance).sum()
    return Choice(ordered.restored(codes), steps, float(bits), float(loss))


class _Ordered:
    """A layer with its columns in the order in which they are chosen: those that matter most first."""

    def __init__(self, problem: Problem) -> None:
        diagonal = np.einsum("gnn->gn", problem.curvature)
        damping = (_DAMPING * diagonal.mean(1) + 1e-30)[:, None, None]
        curvature = problem.curvature + np.eye(diagonal.shape[1]) * damping
        self.order = np.argsort(-diagonal, axis=1, kind="stable")
        rows = np.take_along_axis(curvature, self.order[:, :, None], 1)
        self.curvature = np.take_along_axis(rows, self.order[:, None, :], 2)
        self.weights = np.take_along_axis(problem.weights, self.order[:, None, :], 2)
        self.upper = np.linalg.cholesky(np.linalg.inv(self.curvature)).transpose(0, 2, 1)
        self.firmness = 1 / np.einsum("gnn->gn", self.upper) ** 2  # what an error costs after the rest made up for it

    def compensated(self, steps: Array, lengths: Array, classes: Array, prices: Array) -> Array:
        """Column by column; the columns not yet chosen take up each one's error."""
        rest, codes = self.weights.copy(), np.empty_like(self.weights)
        width = rest.shape[2]
        for start in range(0, width, _BLOCK):
            end = min(start + _BLOCK, width)
            errors = np.empty((*steps.shape, end - start))
            for column in range(start, end):
                wanted = rest[:, :, column] / steps
                cost = self.firmness[:, column, None] * steps**2
                codes[:, :, column] = _cheapest(wanted, cost, lengths, classes, prices)
                missed = (wanted - codes[:, :, column]) * steps
                errors[:, :, column - start] = missed / self.upper[:, column, column, None]
                rest[:, :, column + 1 : end] -= (
                    errors[:, :, column - start, None] * self.upper[:, None, column, column + 1 : end]
                )
            rest[:, :, end:] -= errors @ self.upper[:, start:end, end:]
        return codes

    def descend(self, codes: Array, steps: Array, lengths: Array, classes: Array, prices: Array) -> Array:
        """Coordinate descent: each code in turn becomes the best one, given all others."""
        slope = (codes * steps[:, :, None] - self.weights) @ self.curvature
        for _sweep in range(_SWEEPS):
            for column in range(codes.shape[2]):
                firmness = self.curvature[:, column, column][:, None]
                now = codes[:, :, column]
                wanted = now - slope[:, :, column] / firmness / steps
                best = _cheapest(wanted, firmness * steps**2, lengths, classes, prices, now)
                change = (best - now) * steps
                if change.any():
                    slope += change[:, :, None] * self.curvature[:, None, column, :]
                    codes[:, :, column] = best
        return codes

    def losses(self, codes: Array, steps: Array) -> Array:
        """Of each output, before its importance."""
        missed = codes * steps[:, :, None] - self.weights
        lost: Array = ((missed @ self.curvature) * missed).sum(2)
        return lost

    def restored(self, codes: Array) -> Array:
        made = np.empty_like(codes)
        np.put_along_axis(made, np.broadcast_to(self.order[:, None, :], codes.shape), codes, 2)
        return made


def _cheapest(
    wanted: Array, cost: Array, lengths: Array, classes: Array, prices: Array, now: Array | None = None
) -> Array:
    """Of the nearest code, the next two towards 0, 0 and the present one, the one with the least loss and price."""
    nearest = _clip(np.rint(wanted))
    inwards = np.sign(nearest)
    candidates: list[Array] = [nearest, nearest - inwards, nearest - 2 * inwards, np.zeros_like(nearest)]
    if now is not None:
        candidates.insert(0, now)
    best: Array = candidates[0]
    least = np.full(wanted.shape, np.inf)
    for candidate in candidates:
        total = cost * (wanted - candidate) ** 2 + prices * lengths[classes, (candidate + LIMIT).astype(np.int64)]
        better = total < least
        best, least = np.where(better, candidate, best), np.where(better, total, least)
    return best


def _clip(codes: Array) -> Array:
    clipped: Array = np.clip(codes, -LIMIT, LIMIT)
    return clipped


def _steps(problem: Problem, firmness: Array, prices: Array) -> Array:
    """For each output the step at which one bit more would spare its price (uniform quantizer, high rate)."""
    typical = np.exp(np.log(firmness).mean(1))[:, None]
    reach = np.abs(problem.weights).max(2)  # beyond that every code would be 0, and kernels refuse such scales
    steps = np.sqrt(6 * prices / (np.log(2) * typical))
    steps = np.maximum(np.minimum(steps, np.where(reach > 0, reach, problem.floor)), problem.floor)
    if problem.shared_step:
        steps = np.full(steps.shape, max(np.exp(np.log(steps).mean()), problem.floor.max()))
    on_grid = np.exp2(np.rint(np.log2(steps) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE)
    above = np.exp2(np.ceil(np.log2(problem.floor) * _STEPS_PER_OCTAVE) / _STEPS_PER_OCTAVE)
    chosen: Array = np.maximum(on_grid, above).astype(np.float32).astype(np.float64)
    return chosen


def _row_classes(codes: Array) -> Array:
    """Outputs with codes of like size share a table."""
    if codes.shape[1] < 2 * _ROW_CLASSES:
        return np.zeros(codes.shape[:2], np.int64)
    sizes = np.abs(codes).mean(2)
    found: Array = np.searchsorted(np.quantile(sizes, np.linspace(0, 1, _ROW_CLASSES + 1)[1:-1]), sizes)
    return found


def _code_lengths(codes: Array, classes: Array) -> Array:
    """Bits of each code from -127 to 127 in each class, (classes, 255), as a table that is fitted to them gives."""
    lengths = np.empty((_ROW_CLASSES, 2 * LIMIT + 1))
    values = np.arange(-LIMIT, LIMIT + 1)
    for each in range(_ROW_CLASSES):
        own = codes[classes == each].astype(np.int64).reshape(-1)
        size = (np.abs(own).mean() if len(own) else 0.0) + 0.05
        smooth = np.exp(-np.minimum(np.abs(values) / size, 60.0))
        counts = np.bincount(own + LIMIT, minlength=len(values)) + _SEEN * smooth / smooth.sum()
        lengths[each] = -np.log2(counts / counts.sum())
    return lengths


class Chooser:
    """Chooses every layer's codes at one price, as `quantize.rounding` asks for them.

    `remember` is told each layer's result and may `recall` it, so that a run that was killed goes on.
    """

    def __init__(
        self,
        curvatures: Mapping[int, Curvature] | None,
        price: float,
        recall: Callable[[str], Rounded | None] = lambda name: None,
        remember: Callable[[str, Rounded], None] = lambda name, rounded: None,
    ) -> None:
        self.curvatures, self.price = curvatures, price
        self.recall, self.remember = recall, remember
        self.problems: dict[str, Problem] = {}
        self.choices: dict[str, Choice] = {}

    def known(self, graph: Graph, layer: Operator) -> Rounded | None:
        """What an earlier run chose."""
        return self.recall(layer_name(graph, layer))

    def choose(
        self, graph: Graph, layer: Operator, weights: Array, floor: Array | None, curvature: Array | None
    ) -> tuple[Array, Array]:
        """Codes and steps of a layer."""
        name = layer_name(graph, layer)
        found = self.curvatures.get(layer.inputs[1]) if self.curvatures else None
        given = problem(graph, layer, weights, floor, curvature, found)
        if found is not None and found.inputs is not None and not _is_last(graph, layer):
            given = _calibrated(given, found.inputs / (found.samples * weights.shape[1]), self.price)
        self.problems[name] = given
        choice = self.choices[name] = choose(given, self.price)
        return choice.codes, choice.steps

    def settled(self, graph: Graph, layer: Operator, rounded: Rounded) -> None:
        """Remembers a layer."""
        self.remember(layer_name(graph, layer), rounded)


def layer_name(graph: Graph, layer: Operator) -> str:
    """A layer goes by its output's name."""
    return graph.tensors[layer.outputs[0]].name


def problem(
    graph: Graph,
    layer: Operator,
    weights: Array,
    floor: Array | None,
    inputs: Array | None,
    found: Curvature | None,
) -> Problem:
    """What is to be chosen for a layer, from its inputs' covariance and the gradients' curvature, where there are any.

    Without gradients a layer's loss is its squared error as a share of its output's variance.
    """
    groups, outputs, width = weights.shape
    if inputs is None:
        inputs = np.broadcast_to(np.eye(width), (groups, width, width))
    curvature, importance = _relative(weights, inputs), np.ones((groups, outputs))
    if found is not None and found.inputs is not None and found.inputs.any():
        curvature = _mixed(inputs, found.inputs / (found.samples * outputs))
        if not _is_last(graph, layer):
            importance = _importance(found.outputs)
    axis = kernels.channel_axis(layer)
    reach = np.abs(weights).max(2) / LIMIT
    least = np.maximum(np.where(reach > 0, reach, 1.0 / LIMIT), 0 if floor is None else floor.reshape(groups, outputs))
    return Problem(weights, curvature, importance, least, axis is None)


def _calibrated(given: Problem, gradients: Array, price: float) -> Problem:
    """The problem with a curvature that prices a typical error as the gradients alone do.

    The covariance of inputs is right in what may make up for what, but not in how much the answer minds it: errors of
    neighbouring positions cancel, in the first layers above all. In the last layer the gradients know too little.
    """
    trial = choose(given, price)
    missed = trial.codes * trial.steps[:, :, None] - given.weights
    loss = float((((missed @ gradients) * missed).sum(2) * given.importance).sum())
    ratio = loss / trial.loss_nats if trial.loss_nats > 0 and loss > 0 else 1.0
    return replace(given, curvature=given.curvature * min(ratio, 1.0))


def _relative(weights: Array, inputs: Array) -> Array:
    variance = float(np.einsum("gon,gnm,gom->", weights, inputs, weights, optimize=True))
    scaled: Array = inputs / max(variance, 1e-30)
    return scaled


def _mixed(inputs: Array, gradients: Array) -> Array:
    share = np.einsum("gnn->g", gradients) / np.maximum(np.einsum("gnn->g", inputs), 1e-30)
    mixed: Array = _FROM_GRADIENTS * gradients + (1 - _FROM_GRADIENTS) * inputs * share[:, None, None]
    mixed += np.eye(inputs.shape[1]) * 1e-9 * np.einsum("gnn->gn", mixed).mean()
    return mixed


def _importance(outputs: Array) -> Array:
    relative = outputs / max(float(outputs.mean()), 1e-30) + 0.05
    shrunk = relative**_TRUST
    importance: Array = shrunk / shrunk.mean()
    return importance


def _is_last(graph: Graph, layer: Operator) -> bool:
    """Whether a layer's outputs are the classes: no hundred samples know how much each of a thousand matters."""
    return [operator for operator in graph.operators if operator.has_weights][-1] is layer
