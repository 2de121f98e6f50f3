"""Both models of an audit, loaded, and what they hold for each layer after a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit import graph as graphs
from edgekit.audit import layers, scales
from edgekit.audit.gains import Gains, stored
from edgekit.audit.layers import Stretch
from edgekit.audit.pairs import match, real
from edgekit.errors import FileFormatError, UsageError
from edgekit.graph import Array, Graph, Tensor
from edgekit.quantize import ranges, split
from edgekit.quantize.ranges import Sample
from edgekit.runtime import Runner

_THREADS = 2
_ROWS = 20_000  # pixels that are enough to find how two inputs relate
_EXACT = 1e-3


class Models:
    """The float and the quantized model with their layers in pairs; `load` the inputs, then ask for values.

    All values are in the float model's units, whatever the gains. Of `runners` the first is the float model with what
    the quantizer split in halves split alike, to compare layers; `answering` is the float model itself, and the other.
    """

    def __init__(self, float_model: bytes, quantized: bytes, gains: Gains | None, inputs_differ: bool) -> None:
        self.content = quantized
        self.reference, self.quantized = graphs.load(float_model), graphs.load(quantized)
        self.reference.name_apart()  # as the quantizer has it, which keeps gains by these names
        self._gains = _split_alike(self.reference, stored(self.quantized) if gains is None else gains)
        _check_gains(self.reference, self._gains)
        self.answering = _runner(float_model), _runner(quantized, self.quantized)
        self.runners = _runner(graphs.dump(self.reference)), self.answering[1]
        self.operators = layers.operators(self.quantized)
        self.pairs = match(self.reference, self.quantized, self._gains, inputs_differ)
        conflicts = scales.contradictions(self.reference, self.quantized, self.pairs.partner, self._gains)
        self.expected_scale = conflicts.expected
        self.stretches = list(layers.stretches(self.reference, self.quantized, self.pairs, conflicts.excess))
        if self.operators and not self.stretches:
            raise UsageError("these are different networks: no layer of the one is found in the other")
        self._alone = [Runner(item.model, _THREADS) if item.model else None for item in self.stretches]
        self._maps: dict[int, tuple[Array, Array] | None] = {}
        self._sample: tuple[Array, ...] = ()

    def relate_inputs(self, pairs: Sequence[tuple[Sample, Sample]]) -> None:
        """Finds what the quantized model's inputs, where they are others, are in the float model's units."""
        for position, index in enumerate(self.reference.inputs):
            expected = [_parts(sample)[position] for sample, _ in pairs]
            given = [_parts(sample)[position] for _, sample in pairs]
            self._maps[index] = _affine(expected, given)

    def load(self, sample: Sample, quantized_sample: Sample) -> None:
        """Runs both models on one sample."""
        for runner, values in zip((*self.runners, self.answering[0]), (sample, quantized_sample, sample), strict=True):
            ranges.fill(runner, values)
            runner.invoke()
        self._sample = _parts(sample)

    def expected(self, stretch: Stretch) -> Array:
        """What the float model holds for a layer."""
        return real(self.reference.tensors[stretch.partner], self.runners[0].tensor(stretch.partner))

    def found(self, stretch: Stretch) -> Array:
        """What the quantized model holds for it, as an array of its own."""
        return self._real(stretch.tensor)

    def alone(self, position: int) -> tuple[Array, Array] | None:
        """For a layer by its position: what the float form makes of the inputs that it got, and what it made of them.

        None if the layer could not be separated.
        """
        stretch, runner = self.stretches[position], self._alone[position]
        if runner is None:
            return None
        for number, source in enumerate(stretch.inputs):
            runner.set_input(runner.inputs[number].quantize(self._real(source)), number)
        runner.invoke()
        found = self.found(stretch)
        if stretch.tensor in self.expected_scale:
            found *= np.float32(self.expected_scale[stretch.tensor] / self.scale(stretch))
        return runner.get_output(), found

    def scale(self, stretch: Stretch) -> float:
        """The scale of a layer's output; 0 where it has none."""
        quantization = self._tensor(stretch).quantization
        return 0.0 if quantization is None else float(quantization.scale[0])

    def gain(self, stretch: Stretch) -> Array:
        """How many times larger the float model's values are, per channel."""
        return self._gain(stretch.partner)

    def range(self, stretch: Stretch) -> tuple[float, float] | None:
        """The least and the largest value that a layer's tensor can hold, in its own units; None for float."""
        tensor = self._tensor(stretch)
        if tensor.quantization is None or tensor.dtype not in ("int8", "uint8", "int16"):
            return None
        stored, zero_point = np.iinfo(tensor.dtype), int(tensor.quantization.zero_point[0])
        return (stored.min - zero_point) * self.scale(stretch), (stored.max - zero_point) * self.scale(stretch)

    def limits(self, stretch: Stretch) -> tuple[Array, Array] | None:
        """The ends beyond which values are clipped, not rounded, per channel; None for float."""
        ends = self.range(stretch)
        if ends is None:
            return None
        half = self.scale(stretch) / 2
        low, high = (np.float32(end) * self.gain(stretch) for end in (ends[0] - half, ends[1] + half))
        return np.minimum(low, high), np.maximum(low, high)

    def _tensor(self, stretch: Stretch) -> Tensor:
        return self.quantized.tensors[stretch.tensor]

    def _has_gain(self, partner: int) -> bool:
        return self.reference.tensors[partner].name in self._gains

    def _gain(self, partner: int) -> Array:
        gain = self._gains.get(self.reference.tensors[partner].name)
        return np.ones((), np.float32) if gain is None else gain.astype(np.float32)

    def _real(self, index: int) -> Array:
        """What the quantized model holds in a tensor, in the float model's units."""
        partner = self.pairs.partner[index]
        values = real(self.quantized.tensors[index], self.runners[1].tensor(index))
        if partner not in self._maps:
            shape = self.reference.tensors[partner].shape
            values = values[tuple(map(slice, shape))]  # without columns that nobody reads
            return values * self._gain(partner) if self._has_gain(partner) else values
        mapped = self._maps[partner]
        if mapped is None:
            return self._sample[self.reference.inputs.index(partner)].reshape(values.shape)
        return values @ mapped[0] + mapped[1]


def _runner(model: bytes, graph: Graph | None = None) -> Runner:
    """A model that runs; if it does not, scales that `graph` must not mix may be why."""
    try:
        return Runner(model, _THREADS, keep_tensors=True)
    except FileFormatError as error:
        odd = [] if graph is None else scales.odd_ones(graph)
        if not odd:
            raise
        told = ", ".join(f"{name!r} has {scale:.4g} where the others have {usual:.4g}" for name, scale, usual in odd)
        raise FileFormatError(f"tensors that must share one scale do not: {told} ({error})") from error


def _split_alike(reference: Graph, gains: Gains) -> Gains:
    """Splits what the quantizer did; the gains that are left then."""
    left = dict(gains)
    for index in split.candidates(reference):
        name, channels = reference.tensors[index].name, reference.tensors[index].shape[-1]
        if name in left and left[name].shape == (2 * channels,):
            split.split(reference, index, left.pop(name)[:channels])
    return left


def _check_gains(reference: Graph, gains: Gains) -> None:
    for tensor in reference.tensors:
        gain = gains.get(tensor.name)
        if gain is not None and tensor.data is None and gain.shape != tensor.shape[-1:]:
            raise UsageError(
                f"the gains of {tensor.name!r} have the shape {gain.shape}, but its channels are {tensor.shape[-1:]}; "
                "export the model again"
            )


def _parts(sample: Sample) -> tuple[Array, ...]:
    return sample if isinstance(sample, tuple) else (sample,)


def _affine(expected: Sequence[Array], given: Sequence[Array]) -> tuple[Array, Array] | None:
    """(Matrix, offset) that turn each pixel of `given` into that of `expected`; None if it is no such relation."""
    targets, rows = (_pixels(arrays) for arrays in (expected, given))
    if len(rows) < 4 * rows.shape[1]:
        return None
    known = np.hstack([rows, np.ones((len(rows), 1))])
    solution = np.linalg.lstsq(known, targets, rcond=None)[0]
    if np.abs(known @ solution - targets).max() > _EXACT * max(np.abs(targets).max(), 1e-30):
        return None
    return solution[:-1].astype(np.float32), solution[-1].astype(np.float32)


def _pixels(arrays: Sequence[Array]) -> Array:
    """Evenly spaced pixels of several arrays, float64: (pixels, channels)."""
    every = np.concatenate([values.reshape(-1, values.shape[-1]) for values in arrays]).astype(np.float64)
    return every[:: max(1, len(every) // _ROWS)]
