"""How faithful a quantized model is to its float form, layer by layer, found by running both; needs no TensorFlow.

Every layer's noise is told twice: with all that went before it, and its own. Own noise is what the float operators of
the same stretch make of the very inputs that the quantized operator got, held against what that one made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit import evaluate
from edgekit.audit import file, histograms
from edgekit.audit.gains import Gains
from edgekit.audit.layers import Stretch
from edgekit.audit.models import Models
from edgekit.audit.noise import Tally
from edgekit.errors import DataError
from edgekit.fidelity import LARGEST_DB, Audit, Histogram, Hits, Layer, by_own_noise
from edgekit.quantize.ranges import Sample

OWN_SAMPLES = 8  # each holds thousands of a layer's values
WORST = 5
Pair = tuple[Sample, Sample]  # of the float model and of the quantized one
Progress = Callable[[int, int], None]


def audit(
    float_model: bytes,
    quantized: bytes,
    samples: Sequence[Sample],
    gains: Gains | None = None,
    quantized_samples: Sequence[Sample] | None = None,
    progress: Progress | None = None,
    truths: Sequence[int | None] = (),
) -> Audit:
    """Holds a quantized model against its float form on `samples`, the float model's inputs.

    Where the quantized model's channels are rescaled, `gains` tells by how much: channel c of the float tensor T is
    gains[T][c] times the quantized model's; if not given, the gains that the file itself carries count. Where it takes
    other real inputs (raw pixels, say), `quantized_samples` holds these, one for each of the samples. `truths` are the
    true classes, None where one is not known.

    Of a model in which nothing is quantized the answers alone are compared; it has no layers. FileFormatError if the
    float model is quantized or a model cannot run, UsageError if the two are different networks, DataError for samples
    that cannot serve.
    """
    pairs = _pairs(samples, quantized_samples)
    return _audit(_load(float_model, quantized, gains, pairs, quantized_samples is not None), pairs, progress, truths)


def audit_with_histograms(
    float_model: bytes,
    quantized: bytes,
    samples: Sequence[Sample],
    gains: Gains | None = None,
    quantized_samples: Sequence[Sample] | None = None,
    progress: Progress | None = None,
    truths: Sequence[int | None] = (),
) -> tuple[Audit, dict[str, Histogram]]:
    """As `audit`, and by name what each layer holds and is off by, over the samples that own noise is found on."""
    pairs = _pairs(samples, quantized_samples)
    models = _load(float_model, quantized, gains, pairs, quantized_samples is not None)
    found = _audit(models, pairs, progress, truths)
    return found, histograms.collect(models, _few(pairs))


def _pairs(samples: Sequence[Sample], quantized_samples: Sequence[Sample] | None) -> list[Pair]:
    if not len(samples):
        raise DataError("an audit needs samples; give a folder of images with --images")
    return list(zip(samples, samples if quantized_samples is None else quantized_samples, strict=True))


def _chosen(count: int) -> list[int]:
    """The samples that own noise is found on, evenly spaced."""
    return sorted({number * count // OWN_SAMPLES for number in range(OWN_SAMPLES)})


def _few(pairs: Sequence[Pair]) -> list[Pair]:
    return [pairs[number] for number in _chosen(len(pairs))]


def _load(
    float_model: bytes, quantized: bytes, gains: Gains | None, pairs: Sequence[Pair], inputs_differ: bool
) -> Models:
    models = Models(float_model, quantized, gains, inputs_differ)
    if inputs_differ:
        models.relate_inputs(_few(pairs))
    return models


def _audit(models: Models, pairs: Sequence[Pair], progress: Progress | None, truths: Sequence[int | None]) -> Audit:
    chosen = _chosen(len(pairs))
    limits = [models.limits(stretch) for stretch in models.stretches]
    tallies = [Tally() for _ in models.stretches]
    outcomes = _Outcomes(models)
    for number, pair in enumerate(pairs):
        models.load(*pair)
        for stretch, tally, ends in zip(models.stretches, tallies, limits, strict=True):
            tally.add(models.expected(stretch), models.found(stretch), ends)
        if number in chosen:
            _add_own(models, tallies)
        outcomes.add(truths[number] if truths else None)
        if progress:
            progress(number + 1, len(pairs))
    return _record(models, tallies, outcomes, len(chosen))


def _add_own(models: Models, tallies: Sequence[Tally]) -> None:
    for position, tally in enumerate(tallies):
        alone = models.alone(position)
        if alone is not None:
            tally.add_own(*alone)


class _Outcomes:
    """What both models answer, sample by sample."""

    def __init__(self, models: Models) -> None:
        self._runners = models.answering
        self._kinds = [graph.output_kind() for graph in (models.reference, models.quantized)]
        self.agrees: list[bool] = []
        self.kl_nats: list[float] = []
        self.right: list[tuple[bool, ...]] = []

    def add(self, truth: int | None) -> None:
        answers = [runner.output.dequantize(runner.get_output()).reshape(-1) for runner in self._runners]
        for answer, which in zip(answers, ("float", "quantized"), strict=True):
            if not np.isfinite(answer).all():
                raise DataError(f"the {which} model gives infinite or undefined outputs; its weights are broken")
        expected, found = (evaluate.probabilities(*pair) for pair in zip(answers, self._kinds, strict=True))
        self.agrees.append(bool(answers[0].argmax() == answers[1].argmax()))
        self.kl_nats.append(evaluate.divergence(expected, found))
        if truth is not None:
            self.right.append(tuple(evaluate.rank_of(answer, truth) == 0 for answer in answers))

    def top1(self, which: int) -> Hits | None:
        """How often the float (0) or the quantized (1) model was right, where true classes are known."""
        return Hits(sum(pair[which] for pair in self.right), len(self.right)) if self.right else None


def _record(models: Models, tallies: Sequence[Tally], outcomes: _Outcomes, own_samples: int) -> Audit:
    found = tuple(_layer(models, *item) for item in zip(models.stretches, tallies, strict=True))
    named = {stretch.operator for stretch in models.stretches if stretch.tensor in models.pairs.named}
    quantized = models.quantized
    return Audit(
        layers=found,
        worst=tuple(layer.name for layer in by_own_noise(found)[:WORST] if _is_noisy(layer)),
        operators=len(models.operators),
        matched=len({stretch.operator for stretch in models.stretches}),
        named=len(named),
        samples=len(outcomes.agrees),
        own_samples=own_samples,
        agreement=Hits(sum(outcomes.agrees), len(outcomes.agrees)),
        kl_nats=float(np.mean(outcomes.kl_nats)),
        activations=file.activations(quantized),
        islands=file.islands(quantized),
        transposes=file.count(quantized, "TRANSPOSE"),
        quantizes=file.count(quantized, "QUANTIZE"),
        dequantizes=file.count(quantized, "DEQUANTIZE"),
        macs_delegated=file.macs_delegated(quantized, models.content),
        top1=outcomes.top1(1),
        float_top1=outcomes.top1(0),
    )


def _is_noisy(layer: Layer) -> bool:
    return layer.own_sqnr_db is not None and layer.own_sqnr_db < LARGEST_DB


def _layer(models: Models, stretch: Stretch, tally: Tally) -> Layer:
    tensor = models.quantized.tensors[stretch.tensor]
    if not math.isfinite(tally.total.signal):
        raise DataError(f"the float model itself gives infinite or undefined values, first at {tensor.name!r}")
    return Layer(
        name=tensor.name,
        kind=stretch.operator.custom_code or stretch.operator.kind,
        index=models.quantized.operators.index(stretch.operator),
        dtype=tensor.dtype,
        sqnr_db=tally.total.db,
        own_sqnr_db=tally.own.db if stretch.model else None,
        clipped=tally.clipped,
        scale=models.scale(stretch) or None,
        zero_point=int(tensor.quantization.zero_point[0]) if tensor.quantization else None,
        expected_scale=models.expected_scale.get(stretch.tensor),
    )
