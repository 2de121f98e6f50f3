"""MobileNet v3, large and small, and their minimalistic forms; arXiv:1905.02244.

Keras Applications' networks, in TF-slim's order of layers, without the rescaling that Keras puts in front: the images
come normalised. Minimalistic is without squeeze-and-excite, hard swish and 5x5 convolutions.

The two ending in _torch are torchvision's, which pad otherwise; its weights fit no other.

TF-slim's page, the source of the accuracies, gives 66 M MACs and 2.9 M parameters for small and 65 M MACs for small
minimalistic; Keras Applications' networks have 56.5 M, 2.54 M and 52.3 M. Large and large minimalistic agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from edgekit.errors import UsageError
from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

SOURCE = "TF-slim model zoo, mobilenet/README.md"
BUILDERS = {"large": "MobileNetV3Large", "small": "MobileNetV3Small"}


def _variant(size: str, top1: float, params: int, macs: int, *, minimalistic: bool = False) -> ModelSpec:
    return ModelSpec(
        name=f"mobilenet_v3_{size}" + ("_minimalistic" if minimalistic else ""),
        family="mobilenet_v3",
        input_size=224,
        options={"size": size, "alpha": 1.0, "minimalistic": minimalistic},
        published=Published(SOURCE, top1),
        params=params,
        macs=macs,
    )


def _torch(size: str, top1: float, top5: float, params: int, macs: int) -> ModelSpec:
    spec = _variant(size, top1, params, macs)
    return msgspec.structs.replace(
        spec,
        name=f"{spec.name}_torch",
        options={**spec.options, "torch": True},
        published=Published(f"torchvision model zoo, {spec.name}", top1, top5),
        note="as torchvision has it",
    )


TORCH_MATRICES = frozenset({"conv_2", "logits"})  # linear layers there, convolutions of one pixel here
_TORCH_EPSILON = 1e-3  # torchvision keeps the paper's here, unlike elsewhere
VARIANTS = (
    _variant("large", 75.2, 5_483_032, 216_589_760),
    _variant("small", 67.5, 2_542_856, 56_510_400),
    _variant("large", 72.3, 3_924_288, 209_136_704, minimalistic=True),
    _variant("small", 61.9, 2_044_736, 52_288_448, minimalistic=True),
    _torch("large", 74.0, 91.3, 5_483_032, 216_589_760),
    _torch("small", 67.7, 87.4, 2_542_856, 56_510_400),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers conv, expanded_conv_depthwise, ..., conv_2, logits."""
    size, alpha = str(spec.options["size"]), float(spec.options["alpha"])
    if size not in BUILDERS or alpha <= 0:
        raise UsageError(f"MobileNet v3 needs size large or small and alpha > 0; found {size!r} and {alpha}")
    minimalistic = bool(spec.options["minimalistic"])
    model = layers.application(
        spec, BUILDERS[size], alpha=alpha, minimalistic=minimalistic, include_preprocessing=False
    )
    return layers.as_pytorch(model, _TORCH_EPSILON) if spec.options.get("torch") else model


def torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str] | None:
    """torchvision's module of each layer; None for the networks that are not torchvision's."""
    if not spec.options.get("torch"):
        return None
    names = {"conv": "features.0.0", "conv_bn": "features.0.1", "conv_2": "classifier.0", "logits": "classifier.3"}
    blocks = groupby((name for name in layer_names if name.startswith("expanded_conv")), _block)
    number = 0
    for number, (_block_name, inside) in enumerate(blocks, start=1):
        names |= _block_names(f"features.{number}.block", list(inside))
    return names | {"conv_1": f"features.{number + 1}.0", "conv_1_bn": f"features.{number + 1}.1"}


def _block(layer: str) -> str:
    found = re.match(r"expanded_conv(_\d+)?", layer)
    assert found
    return found[0]


def _block_names(place: str, inside: Sequence[str]) -> dict[str, str]:
    """The parts of a block are numbered as far as it has them; squeeze-and-excite counts as one, of two layers."""
    known = ("expand", "depthwise", "squeeze_excite", "project")
    parts = [part for part in known if any(f"{_block(layer)}_{part}" in layer for layer in inside)]
    names = {}
    for layer in inside:
        part = layer.removeprefix(_block(layer)).removeprefix("_")
        kind = part.removesuffix("_bn")
        if kind.startswith("squeeze_excite"):
            names[layer] = f"{place}.{parts.index('squeeze_excite')}.fc{2 if kind.endswith('_1') else 1}"
        else:
            names[layer] = f"{place}.{parts.index(kind)}.{int(part.endswith('_bn'))}"
    return names
