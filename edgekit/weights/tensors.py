"""A PyTorch state dict's tensors as layers: which module is what follows from its tensors' names and shapes.

Knows no file and no torch. Names are those of the modules ("features.3.squeeze"); kernels are (o, i / groups, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgekit.errors import FileFormatError
from edgekit.spec import square
from edgekit.weights.layouts import Array, conv_from_oihw, dense_from_oi
from edgekit.weights.record import LayerWeights, Weights

# What DataParallel, Lightning, torch.compile and averaging put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_COUNTER = "num_batches_tracked"
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
# torchvision's mean and deviation on 0..1, times 255
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


def weights_of(tensors: Mapping[str, Array], path: Path, sha256: str, *, ordered: bool) -> Weights:
    """The layers of a state dict; prefixes that all names share are taken off, half precision becomes float32.

    The preprocessing is torchvision's, which a state dict of its networks implies. FileFormatError names the first
    tensor that belongs to no convolution, dense layer or batch normalisation.
    """
    modules: dict[str, dict[str, Array]] = {}
    for name, tensor in _without_prefix(tensors).items():
        module, _, part = name.rpartition(".")
        if part != _COUNTER:
            modules.setdefault(module, {})[part] = tensor
    if not modules:
        raise FileFormatError(f"{path} holds no weights; a state dict was expected, as model.state_dict() gives it")
    layers = tuple(_layer(path, name, parts) for name, parts in modules.items())
    usual = square(224, **IMAGENET)
    return Weights(layers, path.name, sha256, usual, channels_first=True, ordered=ordered, implied_input=True)


def _without_prefix(tensors: Mapping[str, Array]) -> Mapping[str, Array]:
    prefix = next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None)
    if prefix is None:
        return tensors
    return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def _layer(path: Path, name: str, parts: Mapping[str, Array]) -> LayerWeights:
    for part, tensor in parts.items():
        if tensor.dtype.kind != "f":
            raise FileFormatError(f"{path}: {name}.{part} is {tensor.dtype}; only floating-point weights can be read")
    if "running_mean" in parts and parts.keys() <= _NORM.keys():
        arrays = {_NORM[part]: np.ascontiguousarray(tensor, np.float32) for part, tensor in parts.items()}
        return LayerWeights(name, "batch_norm", arrays)
    weight, bias = parts.get("weight"), parts.get("bias")
    if weight is not None and parts.keys() <= {"weight", "bias"}:
        if weight.ndim == 4:
            # A state dict does not say how many groups there are; one channel a group is what a depthwise layer has.
            groups = weight.shape[0] if weight.shape[1] == 1 else 1
            return conv_from_oihw(name, weight, bias, groups)
        if weight.ndim == 2:
            return dense_from_oi(name, weight, bias)
    found = ", ".join(f"{part} {tensor.shape}" for part, tensor in parts.items())
    raise FileFormatError(
        f"{path}: {name or 'the top level'} has {found}, which is no convolution, dense layer or batch normalisation; "
        "export the whole network as ONNX and give that"
    )
