"""A torch nn.Module as an ONNX file, by torch's own exporter, or as a float .tflite, by litert-torch.

The module is the caller's own code, running in the caller's own process; both packages are imported here alone.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import FileFormatError, MissingError, UsageError
from edgekit.graph import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
INPUT, OUTPUT = "image", "output"


def to_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    """Writes the module as it is in inference, with the example's shape; (1, 3, h, w) float32.

    MissingError without torch and its exporter, UsageError for an example that is no image, FileFormatError if the
    module cannot be traced.
    """
    torch = _torch()
    _check(example)
    training = module.training
    module.eval()
    try:
        with _without_triton():
            program = torch.onnx.export(
                module,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        program.save(str(path))
    except ModuleNotFoundError as error:
        raise MissingError(f"torch's exporter needs {error.name}; run: pip install 'edgekit[torch]'") from None
    except Exception as error:  # whatever the module's own code leads to
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise FileFormatError(f"torch.onnx.export cannot trace {type(module).__name__} ({reason})") from error
    finally:
        module.train(training)


def to_tflite(module: nn.Module, example: Tensor) -> bytes:
    """The module by litert-torch, images channels last; errors as `to_onnx`, MissingError without litert-torch."""
    torch = _torch()
    _check(example)
    try:
        import litert_torch
    except ImportError as error:
        raise MissingError(f"litert-torch is missing ({error}); run: pip install litert-torch") from None
    training = module.training
    module.eval()
    try:
        last = litert_torch.to_channel_last_io(module, args=[0])
        made = litert_torch.convert(last, (torch.zeros_like(example.permute(0, 2, 3, 1).contiguous()),))
        content: bytes = made.model_content()
    except Exception as error:  # whatever the module's own code leads to
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise FileFormatError(f"litert-torch cannot convert {type(module).__name__} ({reason})") from error
    finally:
        module.train(training)
    return content


def answer(module: nn.Module, image: Array) -> Array:
    """What the module gives in inference for one image, (1, h, w, 3) float32."""
    torch = _torch()
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            output: Array = module(torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))).numpy()
    finally:
        module.train(training)
    return output


@contextlib.contextmanager
def _without_triton() -> Iterator[None]:
    """Keeps torch from loading Triton, which it looks for and can do without.

    TensorFlow may be in this process or come later, and two LLVMs in one process end it at once.
    """
    absent = "triton" not in sys.modules
    if absent:
        sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["triton"]


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingError("this needs torch; run: pip install 'edgekit[torch]'") from None
    return torch


def _check(example: Tensor) -> None:
    shape = tuple(example.shape)
    if len(shape) != 4 or shape[:2] != (1, 3):
        raise UsageError(f"the example input is {shape}; one image, (1, 3, height, width), was expected")
