"""What each kernel and each value of an int8 model loses by its 8 bits, and what keeping it costs in bytes and time.

Measured by rounding one of them in the float model and nothing else. The opposite, one operator kept in an int8 model,
is a small difference of large errors. Either way it is a first guess: what a few operators gain together has to be
measured again, as `mixed` does.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgekit import graph as graphs
from edgekit import quantize
from edgekit.graph import NO_TENSOR, Array, Graph, Operator
from edgekit.quantize import (
    Progress,
    Quantized,
    Settled,
    activations,
    head,
    integer,
    kernels,
    normalisation,
    operators,
    patches,
    ranges,
    scales,
)
from edgekit.quantize.kernels import Rounded
from edgekit.quantize.ranges import Sample
from edgekit.recipe import Recipe
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

Form = Literal["float32", "int16"]
JUDGED = 32  # samples; differences between operators show on few, since all are judged on the same
_SMALLEST = 1e-6  # probabilities are raised to it: an int8 softmax says 0 for all below 1/512
_ROUNDS, _TOGETHER = 25, 8
_POSITIONS = 400  # of one layer's output and one sample
_TRIED = 30  # candidates; what loses less than thirty others needs no time spent on it


@dataclass(frozen=True)
class Score:
    """How near a model's answers are to the float model's: share of equal first classes, and mean KL in nats."""

    agreement: float
    kl_nats: float


@dataclass(frozen=True)
class Candidate:
    """Operators to keep together in `form`, by the tensors that they write; `name` is the first of these.

    One operator alone keeps its weights, in float. A value that one operator writes and others read gains something
    only if all of them are kept: in int16 the value alone, in float the weights too.
    """

    name: str
    kind: str
    form: Form
    outputs: tuple[str, ...]
    macs: int
    value: tuple[int, ...] = ()  # the tensors of the float graph that hold it


@dataclass(frozen=True)
class Sensitivity:
    """What a candidate loses by being int8, and costs by being kept.

    `noise_nats` is the divergence from the float model that its kernels and its value cause by themselves, summed.
    `added_bytes` and `time_ratio` compare the whole model with the candidate kept to the one without, time on this
    machine with one thread; None for those that lose so little that they were not tried.
    """

    candidate: Candidate
    noise_nats: float
    added_bytes: int | None
    time_ratio: float | None


class Judge:
    """The float model's answers to some samples, and how near other models come to them."""

    def __init__(self, float_model: bytes, samples: Sequence[Sample], spec: InputSpec | None = None) -> None:
        self.samples, self.spec = list(samples), spec
        self.expected = _answers(float_model, self.samples)

    def score(self, made: Quantized) -> Score:
        """How near a quantized form of the float model is; over all outputs and positions, classes on the last axis."""
        samples = self.samples
        if self.spec is not None and made.input != self.spec:
            samples = list(normalisation.as_pixels(samples, self.spec))
        equal, divergence = [], []
        for expected, found in zip(self.expected, _answers(made.model, samples), strict=True):
            for p, q in zip(expected, found, strict=True):
                equal.append(float((p.argmax(-1) == q.argmax(-1)).mean()))
                divergence.append(float((p * np.log(p / q)).sum(-1).mean()))
        return Score(float(np.mean(equal)), float(np.mean(divergence)))


def measure(
    float_model: bytes,
    recipe: Recipe,
    samples: Sequence[Sample],
    spec: InputSpec | None = None,
    progress: Progress | None = None,
) -> list[Sensitivity]:
    """Every candidate of the model as `recipe` quantizes it, the noisiest first; arguments as for `quantize`."""
    settled = quantize.settle(float_model, recipe, samples, progress, spec)
    return of_settled(settled, Judge(float_model, ranges.spread(samples, JUDGED), spec), progress)


def of_settled(settled: Settled, judge: Judge, progress: Progress | None = None) -> list[Sensitivity]:
    """Every candidate of a model whose ranges and kernels are found, the noisiest first."""
    noise = _Noise(settled, judge)
    found: dict[Candidate, float] = {}
    chosen = candidates(settled)
    for number, candidate in enumerate(chosen):
        found[candidate] = noise.of(candidate)
        if progress:
            progress("sensitivity", number + 1, len(chosen))
    ranked = sorted(found, key=lambda candidate: found[candidate], reverse=True)
    tried, base = ranked[:_TRIED], settled.quantized().model
    models = [kept(settled, [candidate]).model for candidate in tried]
    ratios = dict(zip(tried, time_ratios(base, models), strict=True))
    added = {candidate: len(model) - len(base) for candidate, model in zip(tried, models, strict=True)}
    return [Sensitivity(each, found[each], added.get(each), ratios.get(each)) for each in ranked]


class _Noise:
    """Measures kernels and values of a float graph one by one, each of them once."""

    def __init__(self, settled: Settled, judge: Judge) -> None:
        self.settled, self.judge, self.graph = settled, judge, settled.graph
        self.whole = integer.integer_operators(self.graph, "int8")
        limits = scales.widened(self.graph, self.whole, settled.ranges, "int8")
        self.scales = scales.choose_scales(self.whole, limits, "int8")
        self.means = _mean_inputs(settled) if settled.recipe.bias_correction else {}
        self.known: dict[tuple[int, ...], float] = {}

    def of(self, candidate: Candidate) -> float:
        operators_kept = [
            operator
            for operator in self.graph.operators
            if self.graph.tensors[operator.outputs[0]].name in candidate.outputs
        ]
        parts = [] if candidate.form == "int16" else [self._kernel(each) for each in operators_kept if each.has_weights]
        return sum(parts) + (self._value(candidate.value) if candidate.value else 0.0)

    def _kernel(self, operator: Operator) -> float:
        index = operator.inputs[1]
        if (index,) not in self.known:
            chosen = self.settled.rounded.get(index) or self._nearest(operator)
            if index in self.means:
                chosen = dataclasses.replace(chosen, bias=self._centred(operator, chosen))
            self.known[index,] = self._divergence(kernels.as_float(self.graph, {index: chosen}))
        return self.known[index,]

    def _nearest(self, operator: Operator) -> Rounded:
        kernel = self.graph.tensors[operator.inputs[1]].data
        assert kernel is not None
        return kernels.nearest(kernel, self._bias(operator), kernels.channel_axis(operator))

    def _bias(self, operator: Operator) -> Array:
        bias = None if operator.bias == NO_TENSOR else self.graph.tensors[operator.bias].data
        return np.zeros(self.graph.tensors[operator.outputs[0]].shape[-1], np.float32) if bias is None else bias

    def _centred(self, operator: Operator, rounded: Rounded) -> Array:
        """The bias that takes up the mean error of the rounded kernel, and not that of layers before it."""
        kernel = self.graph.tensors[operator.inputs[1]].data
        assert kernel is not None
        shape = [1] * kernel.ndim
        shape[kernels.channel_axis(operator) or 0] = -1
        error = kernel - rounded.kernel * rounded.scales.reshape(shape)
        missed = np.einsum("gon,gn->go", patches.as_matrix(self.graph, operator, error), self.means[operator.inputs[1]])
        centred: Array = (self._bias(operator).reshape(-1) + missed.reshape(-1)).astype(np.float32)
        return centred

    def _value(self, group: tuple[int, ...]) -> float:
        """Rounds where the value comes about; operators that only move it round nothing."""
        if group not in self.known:
            graph = self.graph.copy()
            for index in group:
                producer = graph.producer(index)
                if producer is not None and producer.kind not in operators.SAME_SCALE:
                    activations.round_value(graph, index, self.scales[index])
            self.known[group] = self._divergence(graph)
        return self.known[group]

    def _divergence(self, graph: Graph) -> float:
        graph.drop_unused()
        return self.judge.score(Quantized(graphs.dump(graph), self.settled.input)).kl_nats


def _mean_inputs(settled: Settled) -> dict[int, Array]:
    """What each kernel is multiplied with on average, (groups, n), by the kernel's index."""
    graph, samples = settled.graph, ranges.spread(settled.samples, JUDGED)
    layers = [operator for operator in graph.operators if kernels.can_round(graph, operator)]
    found: dict[int, Array] = {}
    for number, values in enumerate(ranges.run(graphs.dump(graph), samples, [layer.data for layer in layers])):
        for layer in layers:
            rows = patches.rows(graph, layer, values[layer.data], _POSITIONS, seed=number)
            found[layer.inputs[1]] = found.get(layer.inputs[1], 0) + rows.mean(1, dtype=np.float64) / len(samples)
    return found


def candidates(settled: Settled) -> list[Candidate]:
    """What could be kept: each operator with weights by itself, and each value with all that write or read it."""
    graph, recipe = settled.graph, settled.recipe
    taken = quantize.outputs_named(graph, (*recipe.keep_float, *recipe.keep_int16))
    found = [
        _candidate(graph, [operator], "float32")
        for operator in graph.operators
        if operator.has_weights and not taken & {*operator.outputs}
    ]
    whole = integer.integer_operators(graph, "int8")
    for group in scales.shared_scales(whole, settled.ranges):
        users = _users(whole, {*group})
        if not users or taken & {index for operator in users for index in operator.outputs}:
            continue
        found.append(_candidate(graph, users, "float32", tuple(group)))
        if all(operators.supports(operator, "int16") for operator in users):
            found.append(_candidate(graph, users, "int16", tuple(group)))
    return list(dict.fromkeys(found))


def kept(settled: Settled, chosen: Iterable[Candidate]) -> Quantized:
    """The model with these candidates kept; what is to be both float and int16 is float."""
    return settled.quantized(*names(chosen))


def names(chosen: Iterable[Candidate]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tensors that candidates name, as a recipe has them: in float, and in int16."""
    chosen = list(chosen)
    in_float = dict.fromkeys(name for each in chosen if each.form == "float32" for name in each.outputs)
    in_int16 = dict.fromkeys(name for each in chosen if each.form == "int16" for name in each.outputs)
    return tuple(in_float), tuple(name for name in in_int16 if name not in in_float)


def time_ratios(base: bytes, models: Sequence[bytes]) -> list[float]:
    """How long each model takes, with `base` as 1: least of 25 runs each, run in turns with `base`, one thread."""
    found: list[float] = []
    for start in range(0, len(models), _TOGETHER):
        runners = [Runner(model) for model in (base, *models[start : start + _TOGETHER])]
        for runner in runners:
            runner.resting_inputs()
            runner.invoke()
        rounds = [[_seconds(runner) for runner in runners] for _round in range(_ROUNDS)]
        least = np.min(rounds, axis=0)
        found += [float(seconds / least[0]) for seconds in least[1:]]
    return found


def _seconds(runner: Runner) -> float:
    start = time.perf_counter()
    runner.invoke()
    return time.perf_counter() - start


def _users(whole: Sequence[Operator], group: set[int]) -> list[Operator]:
    """All that write or read a value; none if nothing here writes it or nothing reads it."""
    writers = [operator for operator in whole if group & {*operator.outputs}]
    readers = [operator for operator in whole if group & {*operator.inputs}]
    return [operator for operator in whole if operator in writers or operator in readers] if writers and readers else []


def _candidate(graph: Graph, chosen: Sequence[Operator], form: Form, value: tuple[int, ...] = ()) -> Candidate:
    outputs = tuple(graph.tensors[operator.outputs[0]].name for operator in chosen)
    return Candidate(outputs[0], chosen[0].kind, form, outputs, sum(map(graph.macs, chosen)), value)


def _answers(model: bytes, samples: Sequence[Sample]) -> list[list[Array]]:
    """Distributions over classes, output by output, for each sample."""
    kind, runner = head.output_kind(graphs.load(model)), Runner(model, threads=2)
    found = []
    for sample in samples:
        for position, values in enumerate(sample if isinstance(sample, tuple) else (sample,)):
            runner.set_input(runner.inputs[position].quantize(values), position)
        runner.invoke()
        outputs = [info.dequantize(runner.get_output(position)) for position, info in enumerate(runner.outputs)]
        found.append([_distribution(values, kind) for values in outputs])
    return found


def _distribution(values: Array, kind: str) -> Array:
    values = values.astype(np.float64)
    powers = values if kind != "logits" else np.exp(values - values.max(-1, keepdims=True))
    raised = np.maximum(powers / np.maximum(powers.sum(-1, keepdims=True), _SMALLEST), _SMALLEST)
    result: Array = raised / raised.sum(-1, keepdims=True)
    return result
