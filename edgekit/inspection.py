"""What a .tflite file is made of and how it runs here; works on any file, ours or not.

The examination happens in a child process, and so do its imports: the parent can draw tables in the meantime.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import artifact as artifacts
from edgekit import isolate
from edgekit.artifact import Artifact, Card
from edgekit.errors import DataError, EdgekitError, FileFormatError, MissingError, UnsupportedModelError

if TYPE_CHECKING:
    from edgekit.graph import Graph, Operator, Tensor

_TIMEOUT_S = 60.0
_MEMORY_SHARE = 8  # activations may take an eighth of the machine's memory


class TensorRow(msgspec.Struct, frozen=True):
    """One tensor; `scales` counts them: 0 unquantized, 1 per tensor, more per channel of `axis`."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    size_bytes: int
    scales: int
    scale: tuple[float, float] | None
    zero_point: int | None
    axis: int | None


class OperatorRow(msgspec.Struct, frozen=True):
    """One operator; `delegated` is None where the runtime could not load the model."""

    index: int
    kind: str
    dtypes: tuple[str, ...]
    output_shape: tuple[int, ...]
    macs: int
    delegated: bool | None
    output_bytes: int = 0


class GoldenVerdict(msgspec.Struct, frozen=True):
    """Whether the model still gives the answer that it was shipped with."""

    passed: bool
    detail: str


class Inspection(msgspec.Struct, frozen=True):
    """Everything `edgekit inspect` shows; `refused` says why the runtime would not load the file, if so."""

    path: str
    sha256: str
    size_bytes: int
    subgraphs: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorRow, ...]
    tensors: tuple[TensorRow, ...]
    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    delegate: str | None
    macs_delegated: float | None
    refused: str | None
    card: Card | None
    labels: int
    golden: GoldenVerdict | None
    metadata: tuple[str, ...]

    @property
    def dtypes(self) -> dict[str, int]:
        """How many activations there are of each type."""
        return dict(Counter(row.dtype for row in self.tensors if not row.constant))

    @property
    def left(self) -> list[str]:
        """The operators that the delegate did not take, in graph order."""
        return [row.kind for row in self.operators if row.delegated is False]


def inspect(path: Path) -> Inspection:
    """Reads and loads the file, in a child process that may crash.

    FileFormatError if it is no sound .tflite, ModelCrashError if the runtime dies on it.
    """
    return start(path)()


def start(path: Path) -> Callable[[], Inspection]:
    """As `inspect`, but goes on at once: what is returned waits for the result."""
    artifact = artifacts.read(path)
    pending = isolate.start(str(path), _TIMEOUT_S, _examine, artifacts.read_model(path), artifact)

    def finish() -> Inspection:
        try:
            return pending()
        except FileFormatError as error:
            raise type(error)(f"{path}: {error}") from None

    return finish


def _examine(content: bytes, artifact: Artifact) -> Inspection:
    """Runs in a child process."""
    from edgekit import graph

    try:
        parsed = graph.load(content)
        too_large = _too_large(parsed)
        delegated, verdict, refused = (None, None, too_large) if too_large else _load(content, artifact)
        return _described(parsed, artifact, delegated, verdict, refused)
    except EdgekitError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise FileFormatError(f"damaged flatbuffer ({type(error).__name__}: {error})") from None


def _too_large(parsed: Graph) -> str | None:
    """Why a model whose shapes ask for a good part of this machine's memory is not loaded; None for all others."""
    needed = parsed.peak_activation_bytes()
    if needed <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEMORY_SHARE:
        return None
    return f"its activations need {needed / 1e9:,.1f} GB at once: a damaged file, or one for a larger machine"


def _described(
    parsed: Graph,
    artifact: Artifact,
    delegated: frozenset[int] | None,
    verdict: GoldenVerdict | None,
    refused: str | None,
) -> Inspection:
    rows = tuple(_operator_row(parsed, *item, delegated) for item in enumerate(parsed.operators))
    macs = sum(row.macs for row in rows)
    taken = sum(row.macs for row in rows if row.delegated)
    return Inspection(
        path=str(artifact.path),
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        subgraphs=parsed.subgraphs,
        inputs=tuple(parsed.inputs),
        outputs=tuple(parsed.outputs),
        operators=rows,
        tensors=tuple(_tensor_row(*item) for item in enumerate(parsed.tensors)),
        macs=macs,
        weight_bytes=parsed.weight_bytes(),
        peak_activation_bytes=parsed.peak_activation_bytes(),
        delegate=None if delegated is None else "XNNPACK" if delegated else "none",
        macs_delegated=None if delegated is None or not macs else taken / macs,
        refused=refused,
        card=artifact.card,
        labels=len(artifact.labels),
        golden=verdict,
        metadata=tuple(parsed.metadata),
    )


def _load(content: bytes, artifact: Artifact) -> tuple[frozenset[int] | None, GoldenVerdict | None, str | None]:
    """(Delegated operators, golden verdict, refusal.)"""
    from edgekit import golden
    from edgekit.runtime import Runner

    try:
        delegated = Runner(content).delegated()
    except (UnsupportedModelError, MissingError) as error:
        return None, None, str(error)
    if artifact.card is None or artifact.golden is None:
        return delegated, None, None
    try:
        verdict = golden.check(content, artifact.card.input, artifact.golden)
    except (DataError, FileFormatError) as error:
        return delegated, GoldenVerdict(False, str(error)), None
    return delegated, GoldenVerdict(verdict.passed, verdict.detail), None


def _operator_row(parsed: Graph, index: int, operator: Operator, delegated: frozenset[int] | None) -> OperatorRow:
    tensors = [parsed.tensors[tensor] for tensor in (*operator.activations, *operator.outputs)]
    shape = parsed.tensors[operator.outputs[0]].shape if operator.outputs else ()
    return OperatorRow(
        index=index,
        kind=operator.custom_code or operator.kind,
        dtypes=tuple(dict.fromkeys(tensor.dtype for tensor in tensors)),
        output_shape=shape,
        macs=parsed.macs(operator),
        delegated=None if delegated is None else index in delegated,
        output_bytes=sum(parsed.tensors[output].size_bytes for output in operator.outputs),
    )


def _tensor_row(index: int, tensor: Tensor) -> TensorRow:
    quantization = tensor.quantization
    return TensorRow(
        index=index,
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        constant=tensor.data is not None,
        size_bytes=tensor.size_bytes,
        scales=0 if quantization is None else len(quantization.scale),
        scale=None if quantization is None else (float(quantization.scale.min()), float(quantization.scale.max())),
        zero_point=None if quantization is None else int(quantization.zero_point[0]),
        axis=quantization.axis if quantization is not None and quantization.per_channel else None,
    )
