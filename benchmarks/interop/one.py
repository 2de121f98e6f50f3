"""One network by one back end, as a process of its own: a JSON line about what came of it.

Runs in the back end's environment: `one.py NETWORK PACKAGE BACK_END IMAGES FOLDER`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import types
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from edgekit import export, graph, recipe
from edgekit.errors import EdgekitError
from edgekit.foreign import Preprocessing
from edgekit.interop import onnx_in
from edgekit.runtime import Runner

SIZE = 224
SAID = Preprocessing(mean="123.675,116.28,103.53", std="58.395,57.12,57.375")
ALLOWED_TRANSPOSES = 1000  # here they are counted, not refused
CALIBRATION_IMAGES = 20


def main() -> None:
    """Builds, converts, quantizes, and writes `<network>-<back end>.json` beside the models."""
    network, package, back_end, images, folder = sys.argv[1:]
    row: dict[str, Any] = {"network": network, "package": package, "back_end": back_end}
    example = torch.zeros(1, 3, SIZE, SIZE)
    module = settled(build(network, package))
    started, spent = time.monotonic(), _cpu_seconds()
    try:
        trained = export.from_torch(
            module,
            example,
            f"{network}-{back_end}",
            SAID,
            pictures=Path(images),
            back_end=back_end,
            max_transposes=ALLOWED_TRANSPOSES,
        )
        row |= {"seconds": time.monotonic() - started, "cpu_seconds": _cpu_seconds() - spent}
        row |= _described(module, trained, Path(images))
        row |= _quantized(trained, Path(images), Path(folder))
    except EdgekitError as error:
        row["reason"] = str(error)
    (Path(folder) / f"{network}-{back_end}.json").write_text(json.dumps(row))


def build(network: str, package: str) -> torch.nn.Module:
    """The package's network with random weights, the same each time."""
    torch.manual_seed(0)
    if package == "timm":
        for name in ("huggingface_hub", "httpcore2"):  # for downloads, of which there are none
            sys.modules.setdefault(name, types.ModuleType(name))
        import timm

        return timm.create_model(network, pretrained=False)
    import torchvision

    module: torch.nn.Module = torchvision.models.get_model(network, weights=None)
    return module


def settled(module: torch.nn.Module) -> torch.nn.Module:
    """With the statistics of its batch norms taken from noise, so that untrained activations neither fade nor grow."""
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of all batches
        norm.reset_running_stats()
    if norms:
        with torch.no_grad():
            module.train()(torch.randn(8, 3, SIZE, SIZE))
    return module.eval()


def _described(module: torch.nn.Module, trained: export.Trained, pictures: Path) -> dict[str, Any]:
    """How it stands beside the module, and what it is made of."""
    runner, worst, largest = Runner(trained.tflite), 0.0, 0.0
    for sample in export.load_samples(pictures, trained.input, 4).inputs:
        with torch.no_grad():
            wanted = module(torch.from_numpy(sample.transpose(0, 3, 1, 2).copy())).numpy()
        worst = max(worst, float(abs(runner.run(sample) - wanted).max()))
        largest = max(largest, float(abs(wanted).max()))
    kinds = Counter(operator.kind for operator in graph.load(trained.tflite).operators)
    return {
        "difference": worst,
        "largest": largest,
        "operators": dict(sorted(kinds.items())),
        "transposes": kinds["TRANSPOSE"],
        "allowed": onnx_in.MAX_TRANSPOSES,
    }


def _quantized(trained: export.Trained, pictures: Path, folder: Path) -> dict[str, Any]:
    """Its int8 form and what of it stayed float."""
    (folder / f"{trained.stem}-float.tflite").write_bytes(trained.tflite)
    samples = export.load_samples(pictures, trained.input, CALIBRATION_IMAGES)
    made = export.export(trained, recipe.find("int8_fast"), folder, samples, least_agreement=0.0)
    agreement = made.card.audit.agreement if made.card and made.card.audit else None
    return {
        "float_operators": dict(Counter(export.float_operators(made))),
        "sha256": made.sha256,
        "size_bytes": made.size_bytes,
        "agreement": [agreement.hits, agreement.of] if agreement else None,
    }


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
