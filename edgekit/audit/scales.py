"""Tensors whose scale contradicts the file itself: their readers' biases were made for another one.

An integer kernel adds its bias in steps of input scale x kernel scale and never looks at the bias's own scale. So a
tensor with a wrong scale is stored and read consistently, and yet every reader adds a wrong bias: what is wrong is
the tensor, and what shows it is the next layer. Two things can tell: the bias's own scale, if nobody has rewritten it,
and the float model's bias, unless the quantizer corrected it beyond recognition. Where neither can, the bias is so
small beside what is added up that reading it wrong hardly costs anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.audit.gains import Gains
from edgekit.audit.pairs import MOVING, activated, equalized_kernel, kernel, weighted_pair, writers
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Tensor

_TOLERANCE = 0.02  # what TFLite itself allows between a bias's scale and the product of the two others
_SIGNIFICANT = 6.0  # standard errors that a factor must be from 1
_LEAST = 0.1  # by which a factor that is only estimated must differ from 1
_ALIKE = 0.9  # the cosine of a bias and the float one, if it was not corrected
_MEANT = 100.0  # a larger factor is no scale that somebody changed, but a bias whose own scale means nothing
_RIGHT = 0.3  # how far, of its length, a bias may be from the float one to be read rightly


@dataclass(frozen=True)
class Contradictions:
    """`expected` gives the scale that a tensor's readers were made for; `excess` what its readers' biases are too
    large by, in the float model's units, by the tensor that they write."""

    expected: dict[int, float]
    excess: dict[int, Array]


@dataclass(frozen=True)
class _Reader:
    """A weighted operator of the quantized graph, its float form, and its bias as it is read, in float units."""

    operator: Operator
    other: Operator
    bias: Array


def contradictions(reference: Graph, quantized: Graph, partner: Mapping[int, int], gains: Gains) -> Contradictions:
    """Where the biases of all that read a tensor were made for another scale than it has."""
    return _Biases(reference, quantized, partner, gains).contradictions()


class _Biases:
    """Both graphs with what reads each tensor."""

    def __init__(self, reference: Graph, quantized: Graph, partner: Mapping[int, int], gains: Gains) -> None:
        self._reference, self._quantized, self._partner, self._gains = reference, quantized, partner, gains
        self._written = writers(quantized)
        self._readers: dict[int, list[_Reader]] = {}
        for operator in quantized.operators:
            reader = self._reader(operator)
            if reader is not None and self._makers(operator.data):
                self._readers.setdefault(operator.data, []).append(reader)

    def contradictions(self) -> Contradictions:
        """What the file shows without being run."""
        found = Contradictions({}, {})
        for tensor, readers in self._readers.items():
            factor = self._labelled(readers) or self._estimated(readers)
            if factor is not None:
                found.excess.update({each.operator.outputs[0]: each.bias * (1 - 1 / factor) for each in readers})
                makers = self._makers(tensor)
                found.expected.update({maker: _scale(self._quantized.tensors[maker]) / factor for maker in makers})
        return found

    def _reader(self, operator: Operator) -> _Reader | None:
        """An operator with a bias whose kernel is as large as the float model's; a wrong one shows by itself."""
        other = (
            weighted_pair(self._reference, self._quantized, self._partner, operator) if operator.has_weights else None
        )
        bias = None if other is None or operator.bias == NO_TENSOR else _read_bias(self._quantized, operator)
        if other is None or bias is None:
            return None
        size = _slope(equalized_kernel(self._reference, other, self._gains), kernel(self._quantized, operator))
        gain = self._gains.get(self._reference.tensors[activated(self._reference, other.outputs[0])].name)
        return _Reader(operator, other, bias if gain is None else bias * gain) if _near(size, 1.0, _LEAST / 2) else None

    def _labelled(self, readers: Sequence[_Reader]) -> float | None:
        """What the biases' own scales say, unless they alone are wrong."""
        factors = [_factor(self._quantized, reader.operator) for reader in readers]
        first = factors[0]
        if first is None or not all(factor and _near(factor, first, _TOLERANCE) for factor in factors):
            return None
        if _near(first, 1.0, _TOLERANCE) or not _near(first, 1.0, math.log(_MEANT)):
            return None
        if any(self._is_read_rightly(reader, first) for reader in readers):
            return None
        return first

    def _is_read_rightly(self, reader: _Reader, factor: float) -> bool:
        bias = self._float_bias(reader)
        if bias is None:
            return False
        as_read, as_labelled = (float(np.linalg.norm(reader.bias / times - bias)) for times in (1.0, factor))
        return as_read <= _RIGHT * float(np.linalg.norm(bias)) and as_read < as_labelled / 2

    def _estimated(self, readers: Sequence[_Reader]) -> float | None:
        """How much larger than the float model's all biases are that still resemble them."""
        pairs = [(self._float_bias(reader), reader.bias) for reader in readers]
        slopes = [_clear_slope(expected, read) for expected, read in pairs if expected is not None]
        clear = [slope for slope in slopes if slope is not None]
        agree = bool(clear) and all(slope and _near(slope, clear[0], _LEAST) for slope in clear)
        return float(np.median(clear)) if agree and not _near(clear[0], 1.0, _LEAST) else None

    def _float_bias(self, reader: _Reader) -> Array | None:
        other = reader.other
        values = None if other.bias == NO_TENSOR else self._reference.tensors[other.bias].data
        return values if values is not None and values.shape == reader.bias.shape and values.any() else None

    def _makers(self, tensor: int) -> list[int]:
        """The tensors whose values a tensor holds: itself, or those that are only moved into it at the same scale.

        It goes no further back than the float model's tensors do. None for an input of the model.
        """
        operator = self._written.get(tensor)
        if operator is None:
            return []
        tensors = self._quantized.tensors
        sources = [index for index in operator.activations if tensors[index].data is None]
        moved = operator.kind in MOVING and all(
            index in self._partner and _scale(tensors[index]) == _scale(tensors[tensor]) for index in sources
        )
        return [maker for source in sources for maker in self._makers(source)] if moved else [tensor]


def odd_ones(quantized: Graph) -> list[tuple[str, float, float]]:
    """Tensors of another scale than those that they are joined or moved with: (name, scale, the others' scale)."""
    group = {index: [index] for index in range(len(quantized.tensors))}
    for operator in quantized.operators:
        if operator.kind in MOVING:
            ends = [
                index for index in (*operator.activations, *operator.outputs) if _is_scaled(quantized.tensors[index])
            ]
            merged = list(dict.fromkeys(index for end in ends for index in group[end]))
            group.update(dict.fromkeys(merged, merged))
    found = []
    for members in {id(members): members for members in group.values()}.values():
        scales = [_scale(quantized.tensors[index]) for index in members]
        usual = max(scales, key=scales.count)
        odd = [pair for pair in zip(members, scales, strict=True) if pair[1] != usual and scales.count(usual) > 1]
        found += [(quantized.tensors[index].name, scale, usual) for index, scale in odd]
    return found


def _is_scaled(tensor: Tensor) -> bool:
    return tensor.data is None and tensor.quantization is not None and tensor.dtype in ("int8", "int16")


def _near(one: float, other: float, tolerance: float) -> bool:
    return one > 0 and abs(math.log(one / other)) <= tolerance


def _scale(tensor: Tensor) -> float:
    return float(tensor.quantization.scale[0]) if tensor.quantization is not None else 0.0


def _factor(quantized: Graph, operator: Operator) -> float | None:
    """By how much a weighted operator takes its bias for larger than the bias's own scale says."""
    if not operator.has_weights or operator.bias == NO_TENSOR:
        return None
    tensors = [quantized.tensors[index] for index in (operator.data, operator.inputs[1], operator.bias)]
    scales = [tensor.quantization.scale for tensor in tensors if tensor.quantization is not None]
    if len(scales) < 3 or not all((scale > 0).all() for scale in scales) or tensors[2].data is None:
        return None
    factor = float(np.median(scales[0] * scales[1].astype(np.float64) / scales[2]))
    return factor if 0 < factor < math.inf else None


def _read_bias(quantized: Graph, operator: Operator) -> Array | None:
    """The bias as the kernel takes it."""
    steps = quantized.tensors[operator.bias].data
    first, second = (quantized.tensors[index].quantization for index in (operator.data, operator.inputs[1]))
    if steps is None or first is None or second is None:
        return None
    values: Array = steps * (first.scale * second.scale.astype(np.float64))
    return values


def _slope(expected: Array | None, found: Array | None) -> float:
    """How many times larger `found` is than `expected`; 0 where that cannot be said."""
    if expected is None or found is None or expected.shape != found.shape:
        return 0.0
    first, second = (values.reshape(-1).astype(np.float64) for values in (expected, found))
    power = float(first @ first)
    return float(first @ second) / power if power else 0.0


def _clear_slope(expected: Array, found: Array) -> float | None:
    """How many times larger a bias is than the float one: 1 where it hardly differs, None if they are not alike."""
    slope, lengths = _slope(expected, found), float(np.linalg.norm(expected) * np.linalg.norm(found))
    cosine = float((expected.reshape(-1) @ found.reshape(-1)) / lengths) if lengths else 0.0
    if cosine < _ALIKE or expected.size < 2:
        return None
    error = slope * math.sqrt(max(1 / cosine**2 - 1, 0.0) / (expected.size - 1))
    return slope if abs(slope - 1) > _SIGNIFICANT * error else 1.0
