"""From any float .tflite, ours or not, to a model that can be exported; it is parsed and run in a child process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from edgekit import artifact as artifacts
from edgekit import foreign, graph, isolate, quantize
from edgekit.artifact import Artifact, Card, WeightsOrigin
from edgekit.errors import DataError, FileFormatError
from edgekit.export.trained import (
    CHECK_SECONDS,
    FLOAT,
    SUFFIX,
    Progress,
    Trained,
    check_labels,
    ignore,
    stem,
    unexpected,
)
from edgekit.foreign import Preprocessing
from edgekit.graph import Graph
from edgekit.images import Preprocessor
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

_FAMILY = "foreign"
_INPUTS = ("float32", "uint8")  # of float models; the second is converted by their first operator


def is_file_name(name: str) -> bool:
    """Whether what is to be exported is meant as a .tflite file and not as a network's name."""
    return name.lower().endswith(SUFFIX)


def from_tflite(
    path: Path, said: Preprocessing | None = None, labels: Sequence[str] = (), progress: Progress = ignore
) -> Trained:
    """The float model in a .tflite file, ours or not; needs neither TensorFlow nor Keras.

    What the file's card says is passed on; without one, `said` gives the preprocessing (see `foreign.input_spec`) and
    the file its name. FileFormatError if it is damaged, quantized, of no fixed size or cannot run, UsageError if its
    input is no image or nothing says how to make it, DataError for weights or labels that cannot serve,
    ModelCrashError if the runtime dies on it.
    """
    progress("read", 0, 1)
    artifact = artifacts.read(path)
    said = said or Preprocessing()
    with unexpected(path):
        found = isolate.call(str(path), CHECK_SECONDS, _examine, artifact, said)
    card = artifact.card or _card(artifact, found)
    names, label_ids = (tuple(labels), ()) if labels else (artifact.labels, artifact.label_ids)
    check_labels(str(path), names or label_ids, found.classes)
    progress("read", 1, 1)
    return Trained(
        artifacts.read_model(path),
        msgspec.structs.replace(card, classes=found.classes),
        stem(path),
        names,
        label_ids,
        source=path,
        warnings=_warnings(artifact, said, found),
    )


class _Found(NamedTuple):
    """What a look into a float .tflite shows."""

    input: InputSpec
    classes: int
    outputs: int


def _examine(artifact: Artifact, said: Preprocessing) -> _Found:
    """Runs in a child process: parses, prepares and runs a model that might be anything."""
    content = artifacts.read_model(artifact.path)
    parsed = graph.load(content)
    _refuse_other_forms(parsed, artifact.card)
    _refuse_undefined(parsed)
    runner = Runner(quantize.quantize(content, FLOAT).model, keep_tensors=True)
    wanted = foreign.input_spec(artifact, said)
    Preprocessor(wanted, runner.input)
    runner.resting_inputs()
    runner.invoke()
    return _Found(wanted, math.prod(runner.output.shape), len(runner.outputs))


def _refuse_other_forms(parsed: Graph, card: Card | None) -> None:
    if parsed.subgraphs != 1:
        raise FileFormatError(
            f"the model has {parsed.subgraphs} subgraphs, as control flow (IF, WHILE) makes them; convert it without"
        )
    for tensor in (parsed.tensors[index] for index in parsed.inputs):
        if tensor.quantization is None and tensor.dtype not in _INPUTS:
            raise FileFormatError(
                f"the input {tensor.name!r} is {tensor.dtype}; only {' and '.join(_INPUTS)} inputs are known"
            )
    stored = Counter(
        tensor.dtype
        for tensor in parsed.tensors
        if tensor.quantization is not None or (tensor.data is not None and tensor.dtype == "float16")
    )
    if stored:
        recipe = f", the recipe {card.recipe.name}" if card else ""
        raise FileFormatError(
            f"the model is quantized already ({_counted(stored)} tensors{recipe}); give the float32 .tflite that it "
            "was made from"
        )


def _refuse_undefined(parsed: Graph) -> None:
    for tensor in parsed.tensors:
        if tensor.data is not None and tensor.data.dtype.kind == "f" and np.isnan(tensor.data).any():
            raise DataError(f"the constant {tensor.name!r} holds undefined values (NaN); train the model again")


def _warnings(artifact: Artifact, said: Preprocessing, found: _Found) -> tuple[str, ...]:
    warnings = []
    if artifact.card is not None and said != Preprocessing():
        warnings.append(f"{artifact.path} has a card; its preprocessing holds, not --channels, --mean and --std")
    if found.outputs > 1:
        warnings.append(
            f"{artifact.path} has {found.outputs} outputs; labels, classes and the golden vector are of the first"
        )
    return tuple(warnings)


def _card(artifact: Artifact, found: _Found) -> Card:
    return Card(
        model=stem(artifact.path),
        family=_FAMILY,
        classes=found.classes,
        input=found.input,
        recipe=FLOAT,
        weights=WeightsOrigin(artifact.path.name, artifact.sha256),
    )


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
