"""MobileNet v2 with any width alpha; arXiv:1801.04381. Keras Applications' network, in TF-slim's order of layers.

mobilenet_v2_torch is torchvision's, which differs in padding and in the norms' epsilon; its weights fit no other.
TF-slim's page counts parameters without batch norm: its 3.47 M at alpha 1 are our 3,504,872 less 34,112.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgekit.errors import UsageError
from edgekit.models import layers
from edgekit.models.widths import Widths
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

FAMILY = "mobilenet_v2"
SOURCE = "TF-slim model zoo, mobilenet/README.md"


class Point(NamedTuple):
    """One row of TF-slim's page."""

    macs_m: int
    params_m: float
    top1: float
    top5: float


# By alpha and input size.
PUBLISHED = {
    (1.4, 224): Point(582, 6.06, 75.0, 92.5),
    (1.3, 224): Point(509, 5.34, 74.4, 92.1),
    (1.0, 224): Point(300, 3.47, 71.8, 91.0),
    (1.0, 192): Point(221, 3.47, 70.7, 90.1),
    (1.0, 160): Point(154, 3.47, 68.8, 89.0),
    (1.0, 128): Point(99, 3.47, 65.3, 86.9),
    (1.0, 96): Point(56, 3.47, 60.3, 83.2),
    (0.75, 224): Point(209, 2.61, 69.8, 89.6),
    (0.75, 192): Point(153, 2.61, 68.7, 88.9),
    (0.75, 160): Point(107, 2.61, 66.4, 87.3),
    (0.75, 128): Point(69, 2.61, 63.2, 85.3),
    (0.75, 96): Point(39, 2.61, 58.8, 81.6),
    (0.5, 224): Point(97, 1.95, 65.4, 86.4),
    (0.5, 192): Point(71, 1.95, 63.9, 85.4),
    (0.5, 160): Point(50, 1.95, 61.0, 83.2),
    (0.5, 128): Point(32, 1.95, 57.7, 80.8),
    (0.5, 96): Point(18, 1.95, 51.2, 75.8),
    (0.35, 224): Point(59, 1.66, 60.3, 82.9),
    (0.35, 192): Point(43, 1.66, 58.2, 81.2),
    (0.35, 160): Point(30, 1.66, 55.7, 79.1),
    (0.35, 128): Point(20, 1.66, 50.8, 75.0),
    (0.35, 96): Point(11, 1.66, 45.5, 70.4),
}
_TORCH_EPSILON = 1e-5
SMALLEST_ALPHA = 0.01  # a name has two decimals
WIDTHS = Widths(FAMILY, SOURCE, PUBLISHED, SMALLEST_ALPHA)


def published(spec: ModelSpec) -> Published | None:
    """TF-slim's float accuracy at the spec's alpha and input size."""
    return WIDTHS.published(float(spec.options["alpha"]), spec.input_size)


VARIANTS = (
    WIDTHS.variant("mobilenet_v2", 1.0, 3_504_872, 300_774_272),
    WIDTHS.variant("mobilenet_v2_075", 0.75, 2_636_424, 209_069_792),
    WIDTHS.variant("mobilenet_v2_050", 0.5, 1_968_680, 97_131_840),
    WIDTHS.variant("mobilenet_v2_035", 0.35, 1_677_128, 59_285_808),
    msgspec.structs.replace(
        WIDTHS.variant("mobilenet_v2_torch", 1.0, 3_504_872, 300_774_272),
        options={"alpha": 1.0, "torch": True},
        published=Published("torchvision model zoo, mobilenet_v2", 71.9, 90.3),
        note="as torchvision has it",
    ),
)


def parse(name: str) -> ModelSpec | None:
    """Any width: mobilenet_v2_140 is alpha 1.4, mobilenet_v2_100 is mobilenet_v2."""
    return WIDTHS.parse(name, VARIANTS[0])


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers Conv1, expanded_conv_depthwise, ..., Conv_1, predictions."""
    alpha = float(spec.options["alpha"])
    if alpha <= 0:
        raise UsageError(f"MobileNet v2 needs alpha > 0; found {alpha}")
    model = layers.application(spec, "MobileNetV2", alpha=alpha)
    return layers.as_pytorch(model, _TORCH_EPSILON) if spec.options.get("torch") else model


def torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str] | None:
    """torchvision's module of each layer; None for the networks that are not torchvision's."""
    if not spec.options.get("torch"):
        return None
    ends = {"Conv1": "features.0.0", "bn_Conv1": "features.0.1", "predictions": "classifier.1"}
    ends |= {"Conv_1": "features.18.0", "Conv_1_bn": "features.18.1"}
    return ends | {name: _torch_name(name) for name in layer_names if name not in ends}


def _torch_name(layer: str) -> str:
    """That of block_3_depthwise_BN is features.4.conv.1.1: each but the last part of a block has its norm inside."""
    found = re.fullmatch(r"(?:expanded_conv|block_(\d+))_(expand|depthwise|project)(_BN)?", layer)
    assert found, layer
    first, norm = found[1] is None, int(found[3] is not None)
    part = ["expand", "depthwise", "project"].index(found[2]) - first
    place = f"{part + norm}" if found[2] == "project" else f"{part}.{norm}"
    return f"features.{1 if first else int(found[1]) + 1}.conv.{place}"
