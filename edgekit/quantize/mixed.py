"""The few operators of an int8 model to keep in int16 or float, so that it reaches a target within a time budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgekit import quantize
from edgekit.errors import DataError, QualityError, UsageError
from edgekit.quantize import Progress, Quantized, Settled, ranges, sensitivity
from edgekit.quantize.ranges import Sample
from edgekit.quantize.sensitivity import JUDGED, Candidate, Judge, Score, Sensitivity
from edgekit.recipe import Recipe
from edgekit.spec import InputSpec

_HELD_OUT = 3  # one sample in so many
_LEAST_GAIN = 0.01  # of the divergence that is left: less is chance
_LEAST_COST = 0.01  # so that what seems to cost nothing is not worth any other


@dataclass(frozen=True)
class Step:
    """One candidate that is kept: what it loses and costs by itself, and how the model stood with it.

    `gain_nats` is by how much it brought the divergence down on the samples that chose it; `score` is on those held
    out. `added_bytes` and `time_ratio` compare the model so far with the first one.
    """

    found: Sensitivity
    gain_nats: float
    score: Score
    added_bytes: int
    time_ratio: float


@dataclass(frozen=True)
class Mixed:
    """The recipe that reaches the target, and how it came about; no steps if nothing had to be kept.

    `before` and `after` are scores on the `held_out` samples that no range was taken from, `after` of a model that was
    made by `recipe` from the start.
    """

    recipe: Recipe
    steps: tuple[Step, ...]
    before: Score
    after: Score
    held_out: int
    size_bytes: int


@dataclass(frozen=True)
class Target:
    """What has to hold on samples held out: at least this share of equal first classes, at most this divergence."""

    agreement: float | None = None
    kl_nats: float | None = None

    def met(self, score: Score) -> bool:
        """Whether a score reaches it."""
        agrees = self.agreement is None or score.agreement >= self.agreement
        return agrees and (self.kl_nats is None or score.kl_nats <= self.kl_nats)

    def __str__(self) -> str:
        parts = [] if self.agreement is None else [f"{self.agreement:.2%} agreement"]
        return " and ".join(parts if self.kl_nats is None else [*parts, f"{self.kl_nats:.4g} nats"])


def search(
    float_model: bytes,
    recipe: Recipe,
    samples: Sequence[Sample],
    *,
    target: Target,
    budget: float | None = None,
    spec: InputSpec | None = None,
    progress: Progress | None = None,
) -> Mixed:
    """`recipe` with what has to be kept for `target`, by gain per cost; `budget` is the largest time ratio allowed.

    A third of the samples is held out to judge by. QualityError says the best that was found if that is not enough;
    UsageError for a recipe whose activations are not int8; DataError for fewer than three samples.
    """
    _refuse(recipe, samples, target, budget)
    fitted = [sample for number, sample in enumerate(samples) if number % _HELD_OUT]
    quest = _Quest(float_model, recipe, fitted, samples[::_HELD_OUT], target, budget, spec, progress)
    return quest.run()


def _refuse(recipe: Recipe, samples: Sequence[Sample], target: Target, budget: float | None) -> None:
    if recipe.activations != "int8":
        raise UsageError(f"recipe {recipe.name!r} has {recipe.activations} activations; start from one with int8")
    if target == Target():
        raise UsageError("no target was given; ask for an agreement, a divergence or both")
    if budget is not None and budget < 1:
        raise UsageError(f"a time budget of {budget} asks for less than the int8 model takes; give 1 or more")
    if len(samples) < _HELD_OUT:
        raise DataError(f"{len(samples)} samples cannot be split; give at least {_HELD_OUT}, better hundreds")


class _Quest:
    """One search under way: what is settled, who judges, and what is kept so far."""

    def __init__(
        self,
        float_model: bytes,
        recipe: Recipe,
        fitted: Sequence[Sample],
        held_out: Sequence[Sample],
        target: Target,
        budget: float | None,
        spec: InputSpec | None,
        progress: Progress | None,
    ) -> None:
        self.float_model, self.recipe, self.fitted, self.spec = float_model, recipe, fitted, spec
        self.target, self.budget, self.progress = target, budget, progress
        self.settled: Settled = quantize.settle(float_model, recipe, fitted, progress, spec)
        self.chooser = Judge(float_model, ranges.spread(fitted, JUDGED), spec)
        self.judge = Judge(float_model, held_out, spec)
        self.base = self.settled.quantized()
        self.before = self.judge.score(self.base)
        self.steps: list[Step] = []

    def run(self) -> Mixed:
        if self.target.met(self.before):
            return self._result(self.recipe, self.before, len(self.base.model))
        left = self.chooser.score(self.base).kl_nats
        found = sensitivity.of_settled(self.settled, self.chooser, self.progress)
        tried = [each for each in found if each.time_ratio is not None]
        worthwhile = sorted(tried, key=self._worth, reverse=True)
        for number, each in enumerate(worthwhile):
            left = self._try(each, left)
            if self.steps and self.steps[-1].found is each and self.target.met(self.steps[-1].score):
                mixed = self._verified(tried)
                if mixed is not None:
                    return mixed
            if self.progress:
                self.progress("search", number + 1, len(worthwhile))
        raise QualityError(self._shortfall())

    def _worth(self, found: Sensitivity) -> float:
        """Noise by cost: the shares of time and of bytes that are added."""
        assert found.time_ratio is not None
        assert found.added_bytes is not None
        cost = max(found.time_ratio - 1, 0) + max(found.added_bytes, 0) / len(self.base.model)
        return found.noise_nats / (_LEAST_COST + cost)

    def _try(self, found: Sensitivity, left: float) -> float:
        """Keeps a candidate if that still gains something and stays in the budget; the divergence that is left."""
        made = sensitivity.kept(self.settled, [*self._chosen(), found.candidate])
        kl_nats = self.chooser.score(made).kl_nats
        if kl_nats > left * (1 - _LEAST_GAIN):
            return left
        step = self._step(found, made, left - kl_nats)
        if not self._affordable(step):
            return left
        self.steps.append(step)
        return kl_nats

    def _step(self, found: Sensitivity, made: Quantized, gain_nats: float) -> Step:
        (ratio,) = sensitivity.time_ratios(self.base.model, [made.model])
        return Step(found, gain_nats, self.judge.score(made), len(made.model) - len(self.base.model), ratio)

    def _affordable(self, step: Step) -> bool:
        return self.budget is None or step.time_ratio <= self.budget

    def _chosen(self) -> list[Candidate]:
        return [step.found.candidate for step in self.steps]

    def _verified(self, found: Sequence[Sensitivity]) -> Mixed | None:
        """The result if a model made by the recipe from the start meets the target too, without what is needless."""
        steps = self._needed(found)
        in_float, in_int16 = sensitivity.names(step.found.candidate for step in steps)
        recipe = msgspec.structs.replace(
            self.recipe,
            keep_float=(*self.recipe.keep_float, *in_float),
            keep_int16=(*self.recipe.keep_int16, *in_int16),
        )
        made = quantize.quantize(self.float_model, recipe, self.fitted, self.progress, self.spec)
        score = self.judge.score(made)
        if not self.target.met(score):
            return None
        self.steps = steps
        return self._result(recipe, score, len(made.model))

    def _needed(self, found: Sequence[Sensitivity]) -> list[Step]:
        """The steps without those that later ones made superfluous, and with fewer operators where fewer will do."""
        needed = [step.found for step in self.steps]
        for place, each in reversed(list(enumerate(needed))):
            for fewer in [[], *([smaller] for smaller in found if _is_part(smaller.candidate, each.candidate))]:
                trial = [*needed[:place], *fewer, *needed[place + 1 :]]
                made = sensitivity.kept(self.settled, [other.candidate for other in trial])
                if self.target.met(self.judge.score(made)):
                    needed = trial
                    break
        if needed == [step.found for step in self.steps]:
            return self.steps
        steps = self._replayed(needed)
        return steps if steps and self._affordable(steps[-1]) else self.steps

    def _replayed(self, needed: Sequence[Sensitivity]) -> list[Step]:
        left, steps = self.chooser.score(self.base).kl_nats, list[Step]()
        for number, each in enumerate(needed):
            made = sensitivity.kept(self.settled, [other.candidate for other in needed[: number + 1]])
            kl_nats = self.chooser.score(made).kl_nats
            steps.append(self._step(each, made, left - kl_nats))
            left = kl_nats
        return steps

    def _result(self, recipe: Recipe, after: Score, size_bytes: int) -> Mixed:
        return Mixed(recipe, tuple(self.steps), self.before, after, len(self.judge.samples), size_bytes)

    def _shortfall(self) -> str:
        best = max(
            (step.score for step in self.steps), key=lambda each: (each.agreement, -each.kl_nats), default=self.before
        )
        limit = "" if self.budget is None else f" within {self.budget:g} times the time"
        return (
            f"{self.target} was not reached{limit}; the best was {best.agreement:.2%} agreement and "
            f"{best.kl_nats:.4g} nats with {len(self.steps)} kept ({self.before.agreement:.2%} with none); "
            "allow more time or start from another recipe"
        )


def _is_part(candidate: Candidate, whole: Candidate) -> bool:
    return candidate.form == whole.form and {*candidate.outputs} < {*whole.outputs}
