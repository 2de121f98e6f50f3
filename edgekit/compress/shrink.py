"""Looks for the price at which a network's int8 weights meet a wish: a size, or a loss of accuracy.

Every attempt is a whole quantization, layer by layer on what the layers before really give, and is judged on samples
that took no part in it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np

from edgekit import graph as graphs
from edgekit import quantize as quantizer
from edgekit.compress import gradients, packing, ratedistortion
from edgekit.compress.blocks import Section
from edgekit.compress.gradients import Curvature
from edgekit.compress.memory import Memory
from edgekit.compress.ratedistortion import Choice, Chooser, Problem
from edgekit.errors import QualityError
from edgekit.evaluate import divergence, probabilities, rank_of
from edgekit.fidelity import Hits
from edgekit.graph import Array
from edgekit.quantize import Quantized, Settled, normalisation, rounding
from edgekit.quantize.ranges import Sample
from edgekit.recipe import Recipe
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

Progress = Callable[[str, int, int], None]
FIRST_PRICE = 1e-8  # nats for a bit
_GRADIENT_SAMPLES = 50
_SLOPE = -0.12  # of log bytes by log price, to begin with
_NATS_PER_POINT = 0.03  # of divergence; more than this has cost a point of top-1 and more wherever it was measured
_ATTEMPTS = 4
_NEAR = 0.985  # of a target size is near enough


@dataclass(frozen=True)
class Wish:
    """What is asked for: a size of the .ekz, or what top-1 may lose, in points, or a price as it is."""

    target_bytes: int | None = None
    max_drop: float = 0.5
    price: float | None = None


@dataclass(frozen=True)
class Judges:
    """Inputs that chose nothing, in the float model's form, and their classes where they are known."""

    inputs: Sequence[Array]
    truths: Sequence[int | None] = ()


class Attempt(msgspec.Struct, frozen=True):
    """One price and what it led to; `loss_nats` is what the choice itself expected, `kl_nats` what was found."""

    price: float
    download_bytes: int
    loss_nats: float
    agreement: Hits
    kl_nats: float
    top1: Hits | None = None
    float_top1: Hits | None = None

    @property
    def drop_points(self) -> float | None:
        """Top-1 lost, in points; None where no classes are known."""
        if self.top1 is None or self.float_top1 is None or not self.top1.of:
            return None
        return 100 * (self.float_top1.hits - self.top1.hits) / self.top1.of


class LayerCost(msgspec.Struct, frozen=True):
    """What a layer's weights came to; `bits` as its own table codes them."""

    name: str
    weights: int
    nonzero: int
    bits: float
    loss_nats: float


@dataclass(frozen=True)
class Shrunk:
    """The quantized model that meets the wish, how it was found, and what each layer takes."""

    quantized: Quantized
    attempts: tuple[Attempt, ...]
    layers: tuple[LayerCost, ...]
    sections: tuple[Section, ...]


def shrink(
    model: bytes,
    recipe: Recipe,
    samples: Sequence[Array],
    judges: Judges,
    spec: InputSpec | None,
    wish: Wish,
    memory: Memory,
    tail_bytes: int,
    least_agreement: float,
    progress: Progress,
) -> Shrunk:
    """The float model's int8 form by `recipe` that meets the wish; `tail_bytes` is what else will be in the file.

    QualityError if a size is smaller than possible: it says the smallest that agrees with the float model on
    `least_agreement` of the judges.
    """
    plain = msgspec.structs.replace(recipe, rounding="nearest", bias_correction=False)
    settled = quantizer.settle(model, plain, samples, progress, spec)
    settled = dataclasses.replace(settled, recipe=recipe, samples=_with_mirrored(settled.samples))
    search = _Search(model, settled, judges, spec, memory, tail_bytes, progress)
    return search.to_size(wish.target_bytes, least_agreement) if wish.target_bytes else search.to_loss(wish)


def _with_mirrored(samples: Sequence[Sample]) -> list[Sample]:
    """Images and their mirror images: weights that are fitted to a hundred images fit others worse."""
    images = [values for values in samples if not isinstance(values, tuple) and values.ndim >= 3]
    mirrored = [np.ascontiguousarray(values[..., ::-1, :]) for values in images]
    return [*samples, *mirrored]


class _Search:
    """One network under way: its ranges and curvatures, and all attempts so far."""

    def __init__(
        self,
        model: bytes,
        settled: Settled,
        judges: Judges,
        spec: InputSpec | None,
        memory: Memory,
        tail_bytes: int,
        progress: Progress,
    ) -> None:
        self.settled, self.judges, self.spec, self.memory = settled, judges, spec, memory
        self.tail_bytes, self.progress = tail_bytes, progress
        self.curvatures = self._curvatures()
        self.reference = _answers(model, judges.inputs)
        self.problems: dict[str, Problem] = {}
        self.made: list[Shrunk] = []
        self.attempts: list[Attempt] = []

    def to_loss(self, wish: Wish) -> Shrunk:
        """From a price that may be too high downwards, until the loss is within the wish."""
        price = wish.price or FIRST_PRICE * max(wish.max_drop, 0.05) / 0.5
        for _ in range(_ATTEMPTS):
            found = self.attempt(price)
            last = found.attempts[-1]
            if wish.price or (
                last.kl_nats <= _NATS_PER_POINT * wish.max_drop and (last.drop_points or 0.0) <= wish.max_drop
            ):
                return found
            price /= 2.5
        last = self.attempts[-1]
        raise QualityError(
            f"no price keeps top-1 within {wish.max_drop} points: the nearest attempt has {last.download_bytes} bytes "
            f"and {_told(last)}; allow more with --max-drop, or take the recipe int8 in place of int8_full"
        )

    def to_size(self, target: int, least_agreement: float) -> Shrunk:
        """Prices that the first attempt's curvatures predict, each tried until one keeps within the size."""
        found = self.attempt(FIRST_PRICE)
        for _ in range(_ATTEMPTS - 1):
            size = found.attempts[-1].download_bytes
            if _NEAR * target <= size <= target:
                break
            if size <= target and found.attempts[-1].loss_nats < 1e-3:
                break  # finer than this nobody can tell
            found = self.attempt(self._price_for(target, found))
        fitting = [each for each in self.made if each.attempts[-1].download_bytes <= target]
        best = min(fitting, key=lambda each: each.attempts[-1].kl_nats, default=found)
        last = best.attempts[-1]
        if not fitting or last.agreement.hits < least_agreement * last.agreement.of:
            self._refuse(target, least_agreement)
        return dataclasses.replace(best, attempts=(*self.attempts,))

    def _refuse(self, target: int, least_agreement: float) -> None:
        price = min(attempt.price for attempt in self.attempts)
        for _ in range(_ATTEMPTS):
            good = [each for each in self.attempts if each.agreement.hits >= least_agreement * each.agreement.of]
            if good:
                break
            price /= 2.5
            self.attempt(price)
        nearest = min(good, key=lambda each: each.download_bytes) if good else self.attempts[-1]
        raise QualityError(
            f"{target} bytes are fewer than possible: the smallest reached that gives the float model's answer on "
            f"{least_agreement:.0%} of the images has {nearest.download_bytes} bytes and {_told(nearest)}"
        )

    def attempt(self, price: float) -> Shrunk:
        """The network at one price, judged."""
        memory, settled = self.memory, self.settled
        chooser = Chooser(
            self.curvatures,
            price,
            lambda name: memory.recall(price, name),
            lambda name, rounded: memory.remember(price, name, rounded),
        )
        stage = f"choose weights, attempt {len(self.attempts) + 1}"
        rounded = rounding.round_weights(
            settled.graph,
            graphs.dump(settled.graph),
            settled.samples,
            settled.build,
            progress=lambda done, of: self.progress(stage, done, of),
            chooser=chooser,
        )
        quantized = dataclasses.replace(settled, rounded=rounded).quantized()
        self.progress("pack", 0, 1)
        packed = packing.pack(quantized.model)
        self.problems.update(chooser.problems)
        loss = sum(choice.loss_nats for choice in chooser.choices.values())
        size = len(packed.content) + self.tail_bytes
        self.attempts.append(self._judged(quantized, price, size, loss))
        layers = tuple(_cost(name, choice) for name, choice in chooser.choices.items())
        self.made.append(Shrunk(quantized, (*self.attempts,), layers, packed.sections))
        return self.made[-1]

    def _price_for(self, target: int, found: Shrunk) -> float:
        """The price at which the curvatures known so far predict the target size."""
        last = found.attempts[-1]
        if not self.problems:
            return float(last.price * (target / last.download_bytes) ** (1 / _SLOPE))
        now = self._bits(last.price)
        wanted = now - 8 * (last.download_bytes - target * (1 + _NEAR) / 2)
        if wanted <= 0:
            return last.price * 1e4
        price, bits, slope = last.price, now, _SLOPE
        for step in range(4):
            self.progress("look for the price", step, 4)
            trial = price * float(np.clip((wanted / bits) ** (1 / slope), 1e-3, 1e3))
            tried = self._bits(trial)
            if abs(math.log(trial / price)) > 1e-6:
                slope = min(math.log(tried / bits) / math.log(trial / price), -0.01)
            price, bits = trial, tried
            if abs(bits / wanted - 1) < 0.004:
                break
        return price

    def _bits(self, price: float) -> float:
        with ThreadPoolExecutor(2) as pool:
            chosen = pool.map(lambda problem: ratedistortion.choose(problem, price).bits, self.problems.values())
            return float(sum(chosen))

    def _curvatures(self) -> dict[int, Curvature] | None:
        known = self.memory.recall_curvatures()
        if known is None:
            step = max(1, len(self.settled.samples) // _GRADIENT_SAMPLES)
            chosen = self.settled.samples[::step]
            known = gradients.curvatures(
                self.settled.graph, chosen, lambda done, of: self.progress("gradients", done, of)
            )
            if known is not None:
                self.memory.remember_curvatures(known)
        return known

    def _judged(self, quantized: Quantized, price: float, size: int, loss: float) -> Attempt:
        inputs = self.judges.inputs
        if quantized.input is not None and self.spec is not None and quantized.input != self.spec:
            inputs = normalisation.as_pixels(inputs, self.spec)
        self.progress("judge", 0, 1)
        answers = _answers(quantized.model, inputs)
        pairs = list(zip(self.reference, answers, strict=True))
        agreement = Hits(sum(bool(before.argmax() == after.argmax()) for before, after in pairs), len(pairs))
        kl = float(np.mean([divergence(probabilities(before), probabilities(after)) for before, after in pairs]))
        known = [(pair, truth) for pair, truth in zip(pairs, self.judges.truths, strict=False) if truth is not None]
        if not known:
            return Attempt(price, size, loss, agreement, kl)
        first = [sum(rank_of(pair[side], truth) == 0 for pair, truth in known) for side in (1, 0)]
        return Attempt(price, size, loss, agreement, kl, *(Hits(hits, len(known)) for hits in first))


def _answers(model: bytes, inputs: Sequence[Array]) -> list[Array]:
    """Real outputs, flat, in the order of the inputs; two at a time."""

    def part(first: int) -> list[Array]:
        runner = Runner(model)
        return [
            runner.output.dequantize(runner.run(runner.input.quantize(values))).reshape(-1)
            for values in inputs[first::2]
        ]

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(part, range(2)))
    return [parts[number % 2][number // 2] for number in range(len(inputs))]


def _cost(name: str, choice: Choice) -> LayerCost:
    return LayerCost(name, choice.codes.size, int(np.count_nonzero(choice.codes)), choice.bits, choice.loss_nats)


def _told(attempt: Attempt) -> str:
    told = f"agrees on {attempt.agreement.hits} of {attempt.agreement.of}"
    if attempt.top1 is not None and attempt.float_top1 is not None:
        told += f", top-1 {attempt.top1.hits} of {attempt.top1.of} (float {attempt.float_top1.hits})"
    return told
