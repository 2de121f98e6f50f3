"""PyTorch's checkpoints, `.pth` and `.pt`: a state dict, bare or wrapped, read by torch itself and never unpickled.

A checkpoint is a pickle, and unpickling runs whatever its maker wanted. torch.load with weights_only=True builds
tensors and plain containers and refuses everything else; it does so in a child process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit import isolate
from edgekit.artifact import atomic_write
from edgekit.errors import FileFormatError, MissingError, ModelCrashError
from edgekit.weights.content import file_bytes
from edgekit.weights.layouts import Array
from edgekit.weights.record import Weights
from edgekit.weights.tensors import weights_of

TIMEOUT_S = 120.0
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "model_ema", "ema")
_GLOBAL = re.compile(r"unsupported (?:global: )?GLOBAL (\S+)", re.IGNORECASE)
MISSING = "PyTorch's files need torch; run: pip install 'edgekit[torch]', or save the weights as .safetensors"


def read(path: Path) -> Weights:
    """The layers of a checkpoint in the order in which the network's maker defined them.

    Raises MissingError without torch; FileFormatError if the file is missing, truncated or foreign, if it holds
    Python objects besides tensors and containers (nothing of them is run), or no state dict.
    """
    content = file_bytes(path, "a PyTorch checkpoint")
    try:
        tensors = isolate.call(path.name, TIMEOUT_S, _tensors, path)
    except (ModelCrashError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FileFormatError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); save or fetch it again"
        ) from None
    return weights_of(tensors, path, hashlib.sha256(content).hexdigest(), ordered=True)


def write(path: Path, tensors: Mapping[str, Array]) -> None:
    """Saves a state dict as torch.save does; MissingError without torch, OutputError if it cannot be written."""
    torch = _torch()
    with atomic_write(path) as file:
        torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, file)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingError(MISSING) from None
    return torch


def _tensors(path: Path) -> dict[str, Array]:
    """Runs in a child process."""
    torch = _torch()
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's, zipfile's and its own
        raise FileFormatError(_refusal(path, str(error) or type(error).__name__)) from None
    found = _state_dict(path, loaded, torch.Tensor)
    return {name: _array(torch, tensor) for name, tensor in found.items()}


def _refusal(path: Path, reason: str) -> str:
    text = " ".join(reason.split())
    if "TorchScript" in text:
        return f"{path} is a TorchScript archive; save model.state_dict(), or export the network as ONNX"
    if "Weights only load failed" in text:
        found = _GLOBAL.search(text)
        what = f"the Python object {found[1]}" if found else "something"
        return (
            f"{path} holds {what} besides tensors and containers; loading it could run any code, so it was refused and "
            "nothing was run; save model.state_dict() and give that"
        )
    return f"{path} is damaged, or no PyTorch checkpoint ({text[:150]}); save model.state_dict() again"


def _state_dict(path: Path, loaded: object, tensor_type: type) -> dict[str, Any]:
    """The mapping of names to tensors, looked for inside the wrappers that trainers put around it."""
    content = loaded
    while isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, tensor_type)}
        if tensors:
            return tensors
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    if isinstance(loaded, Mapping):
        found = f"a mapping with {', '.join(map(repr, list(loaded)[:8])) or 'nothing in it'}"
    else:
        found = f"a {type(loaded).__name__}"
    raise FileFormatError(f"{path} holds {found} and no state dict; save model.state_dict() and give that")


def _array(torch: Any, tensor: Any) -> Array:
    if tensor.is_quantized or tensor.layout != torch.strided:
        raise FileFormatError("quantized and sparse tensors cannot be read; give the floating-point weights")
    values = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
    array: Array = values.contiguous().numpy()
    return array
