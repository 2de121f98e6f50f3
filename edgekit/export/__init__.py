"""From a network's name, a float .tflite, ONNX or torch to artifacts on disk: the left half of the design in one room.

It decides nothing that another room decides. `networks`, `files`, `onnx_files` and `torch_modules` make the float
model, `calibration` its samples; `checkpoints` and `onnx_files` hand float models on to other runtimes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np

from edgekit import __version__, audit, golden, graph, images, isolate, tflite_metadata
from edgekit import artifact as artifacts
from edgekit import quantize as quantizer
from edgekit.artifact import Artifact, Card
from edgekit.errors import DataError, QualityError, UsageError
from edgekit.export.calibration import CALIBRATION_IMAGES, Samples, load_samples
from edgekit.export.checkpoints import check_twin, is_checkpoint, to_state_dict
from edgekit.export.files import from_tflite, is_file_name
from edgekit.export.networks import RANDOM, find_model, prepare
from edgekit.export.onnx_files import from_onnx, is_onnx, to_onnx
from edgekit.export.torch_modules import from_torch
from edgekit.export.trained import CHECK_SECONDS, SUFFIX, Progress, Trained, about, ignore, stem, unexpected
from edgekit.fidelity import Audit, Histogram, short_names
from edgekit.graph import Array
from edgekit.quantize import Quantized, head, normalisation, operators
from edgekit.recipe import Recipe
from edgekit.spec import InputSpec

__all__ = [
    "CALIBRATION_IMAGES",
    "LEAST_AGREEMENT",
    "RANDOM",
    "Progress",
    "Samples",
    "Trained",
    "check_twin",
    "export",
    "find_model",
    "float_operators",
    "from_onnx",
    "from_tflite",
    "from_torch",
    "ignore",
    "is_checkpoint",
    "is_file_name",
    "is_onnx",
    "load_samples",
    "prepare",
    "stem",
    "to_onnx",
    "to_state_dict",
]

LEAST_AGREEMENT = 0.8
_SILENT_SECONDS = 600.0
_BETTER = {"int8_fast": "int8", "int8_full": "int8", "int8": "int16x8", "int8_float_io": "int16x8"}
_TOOLS = ("ai-edge-litert", "numpy")


def export(
    trained: Trained,
    recipe: Recipe,
    folder: Path,
    samples: Samples | None = None,
    progress: Progress = ignore,
    least_agreement: float = LEAST_AGREEMENT,
    explain: Callable[[str, Audit, dict[str, Histogram]], None] | None = None,
    made: Quantized | None = None,
    path: Path | None = None,
) -> Artifact:
    """Quantizes by `recipe`, audits the result, proves that it runs, and writes `<stem>-<recipe>.tflite`.

    The stem of a network is `<model>-<px>`, that of a file its own name. UsageError if it would overwrite its source.
    QualityError, and no file, if the share of unseen samples on which the model still gives the float model's answer
    is below `least_agreement`; weights that were never trained are not held to it. `explain` is given the audit with
    a histogram of every layer. `made` is the model if it is quantized already; it goes to `path` then, for packing.
    """
    packing = path is not None
    path = path or folder / f"{trained.stem}-{recipe.name}{SUFFIX}"
    if trained.source is not None and path.resolve() == trained.source.resolve():
        raise UsageError(f"{path} would overwrite the file it is made from; give another folder with --output")
    if recipe.needs_calibration and samples is None:
        raise DataError(f"the recipe {recipe.name} needs calibration images; give a folder with --calibration")
    made = made or _quantized(trained, recipe, samples.inputs if samples else (), progress)
    parsed = graph.load(made.model)
    calibration = samples.record if samples and recipe.needs_calibration else None
    card = msgspec.structs.replace(
        trained.card,
        input=made.input or trained.input,
        recipe=recipe,
        calibration=calibration,
        output=head.output_kind(parsed),
        tools=_tools(trained.card.tools),
    )
    parsed.metadata[tflite_metadata.KEY] = _metadata(card, bool(trained.labels))
    if made.gains:
        parsed.metadata[audit.gains.KEY] = audit.gains.pack(made.gains)
    model = graph.dump(parsed)
    if samples is not None and recipe.activations != "float32":
        progress("audit", 0, 1)
        found, histograms = _audit(trained, model, made.input, samples, explain is not None)
        card = msgspec.structs.replace(card, audit=found)
        if explain is not None:
            explain(path.stem, found, histograms)
        if trained.card.weights.source != RANDOM:
            _refuse_degraded(card, path, least_agreement)
        if packing:  # what each layer lost can be measured at any time, and takes 2 kB of a download
            card = msgspec.structs.replace(card, audit=msgspec.structs.replace(found, layers=(), worst=()))
        progress("audit", 1, 1)
    if packing and made.gains:  # whoever audits layer by layer has the float model to quantize again
        del parsed.metadata[audit.gains.KEY]
        model = graph.dump(parsed)
    miniature = samples.miniature if samples else golden.noise()
    with _unexpected(trained):
        output = isolate.call(path.name, CHECK_SECONDS, golden.answer, model, card.input, miniature)
    vector = artifacts.Golden(miniature.tobytes(), output)
    return artifacts.write(path, model, card, trained.labels, trained.label_ids, vector, deflate=not packing)


def _audit(
    trained: Trained, model: bytes, spec: InputSpec | None, samples: Samples, explain: bool
) -> tuple[Audit, dict[str, Histogram]]:
    """The model held against its float form on the unseen samples; on the calibration samples if there are none."""
    inputs = list(samples.unseen) or list(samples.inputs)
    others = None
    if spec is not None and spec != trained.input:
        others = normalisation.as_pixels(inputs, trained.input)
    given = trained.tflite, model, inputs, None, others
    with _unexpected(trained):
        if explain:
            return isolate.call(str(trained.stem), _SILENT_SECONDS, audit.audit_with_histograms, *given)
        return isolate.call(str(trained.stem), _SILENT_SECONDS, audit.audit, *given), {}


def _unexpected(trained: Trained) -> contextlib.AbstractContextManager[None]:
    """What goes wrong unexpectedly is a file's fault if the model came in one, and else ours."""
    return unexpected(trained.source) if trained.source else contextlib.nullcontext()


def _refuse_degraded(card: Card, path: Path, least: float) -> None:
    found = card.audit
    assert found is not None
    if found.agreement.hits >= least * found.agreement.of:
        return
    names = dict(zip(found.names, short_names(found.names), strict=True))
    better = _BETTER.get(card.recipe.name, "int16x8")
    raise QualityError(
        f"{path} was not written: it gives the float model's answer on {found.agreement.hits} of "
        f"{found.agreement.of} images, and {least:.0%} are asked for; the noisiest layers are "
        f"{', '.join(names[name] for name in found.worst[:3])}; try --recipe {better}, keep these layers in float "
        "(keep_float in a recipe file), or --allow-degraded"
    )


def float_operators(artifact: Artifact) -> tuple[str, ...]:
    """The kinds of the operators that stay float in an integer artifact for want of an integer kernel, in graph order.

    What its recipe wants in float does not count. Empty for recipes with float activations.
    """
    if artifact.card is None or artifact.card.recipe.activations == "float32":
        return ()
    parsed, activation = graph.load(artifacts.read_model(artifact.path)), artifact.card.recipe.activations
    return tuple(
        operator.custom_code or operator.kind
        for operator in parsed.operators
        if operator.kind not in ("QUANTIZE", "DEQUANTIZE")
        and not operators.supports(operator, activation)
        and any(parsed.tensors[index].dtype == "float32" for index in (*operator.activations, *operator.outputs))
    )


def _quantized(trained: Trained, recipe: Recipe, inputs: Sequence[Array], progress: Progress) -> Quantized:
    def report(step: str, done: int, of: int) -> None:
        progress(f"quantize, {step}", done, of)

    if trained.source is None:
        with about(trained.card.model):
            return quantizer.quantize(trained.tflite, recipe, inputs, report, trained.input)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with unexpected(trained.source), receiver:
        arguments = trained.tflite, recipe, inputs, trained.input
        pending = isolate.start(str(trained.source), _SILENT_SECONDS, _quantize_apart, sender, *arguments)
        sender.close()
        with contextlib.suppress(EOFError):  # the end of its reports, for better or worse
            while receiver.poll(_SILENT_SECONDS):
                report(*receiver.recv())
        return pending()


def _quantize_apart(
    sender: Connection, model: bytes, recipe: Recipe, inputs: Sequence[Array], spec: InputSpec
) -> Quantized:
    """Runs in a child process, and reports from there."""
    with sender:
        return quantizer.quantize(model, recipe, inputs, lambda *done: sender.send(done), spec)


def _tools(before: dict[str, str]) -> dict[str, str]:
    """Every tool that had a hand in an artifact: those that made the float model, then those at work here."""
    tools = before | {"edgekit": __version__} | {name: importlib.metadata.version(name) for name in _TOOLS}
    return {"edgekit": __version__} | dict(sorted(tools.items()))


def _metadata(card: Card, with_labels: bool) -> bytes:
    ends = np.array([[[0, 0, 0]], [[255, 255, 255]]], np.uint8)
    reached = images.normalise(ends, card.input)
    return tflite_metadata.classifier_metadata(card, float(reached.min()), float(reached.max()), with_labels)
