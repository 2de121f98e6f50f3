"""From a torch nn.Module in the caller's own process to a model that can be exported."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import images
from edgekit.artifact import WeightsOrigin
from edgekit.errors import QualityError, UnknownNameError
from edgekit.export.files import from_tflite
from edgekit.export.onnx_files import from_onnx, inputs_of
from edgekit.export.trained import Progress, Trained, ignore
from edgekit.foreign import Preprocessing
from edgekit.interop import onnx_in, torch_module
from edgekit.runtime import Runner

if TYPE_CHECKING:
    from torch import Tensor, nn

BACK_ENDS = ("onnx2tf", "litert-torch")


def from_torch(
    module: nn.Module,
    example: Tensor,
    name: str,
    said: Preprocessing,
    labels: Sequence[str] = (),
    progress: Progress = ignore,
    *,
    pictures: Path,
    back_end: str = BACK_ENDS[0],
    max_transposes: int = onnx_in.MAX_TRANSPOSES,
) -> Trained:
    """The float model that a module is, under a name; `example` is one input, (1, 3, size, size).

    `back_end` is onnx2tf, by torch's ONNX exporter and then as `from_onnx`, or litert-torch, which must be installed
    beside torch. Either way the answers are held on `pictures` against the original's. Errors as there and in
    `torch_module`.
    """
    if back_end not in BACK_ENDS:
        raise UnknownNameError.among("back end", back_end, BACK_ENDS)
    with tempfile.TemporaryDirectory(prefix="edgekit-torch-") as folder:
        if back_end == "onnx2tf":
            path = Path(folder) / f"{name}.onnx"
            progress("torch.onnx.export", 0, 1)
            torch_module.to_onnx(module, example, path)
            found = from_onnx(path, said, labels, progress, pictures=pictures, max_transposes=max_transposes)
        else:
            path = Path(folder) / f"{name}.tflite"
            progress("litert-torch", 0, 1)
            path.write_bytes(torch_module.to_tflite(module, example))
            found = from_tflite(path, said, labels, progress)
            _check(module, found, pictures)
    card = msgspec.structs.replace(found.card, weights=WeightsOrigin(f"torch module {type(module).__name__}"))
    return dataclasses.replace(found, card=card, source=None)


def _check(module: nn.Module, found: Trained, pictures: Path) -> None:
    """Holds litert-torch's result against the module itself."""
    runner = Runner(found.tflite)
    for crop in inputs_of(pictures, found.input):
        sample = images.normalise(crop, found.input)
        wanted = torch_module.answer(module, sample)
        difference = onnx_in.apart(wanted, runner.run(sample))
        if not difference <= onnx_in.TOLERANCE:
            raise QualityError(f"{found.stem}: litert-torch's result differs from the module by {difference:.2g}")
