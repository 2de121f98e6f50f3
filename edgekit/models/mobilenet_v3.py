"""MobileNet v3, large and small, and their minimalistic forms; arXiv:1905.02244.

Keras Applications' networks, in TF-slim's order of layers, without the rescaling that Keras puts in front: the images
come normalised. Minimalistic is without squeeze-and-excite, hard swish and 5x5 convolutions.

TF-slim's page, the source of the accuracies, gives 66 M MACs and 2.9 M parameters for small and 65 M MACs for small
minimalistic; Keras Applications' networks have 56.5 M, 2.54 M and 52.3 M. Large and large minimalistic agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


VARIANTS = (
    _variant("large", 75.2, 5_483_032, 216_589_760),
    _variant("small", 67.5, 2_542_856, 56_510_400),
    _variant("large", 72.3, 3_924_288, 209_136_704, minimalistic=True),
    _variant("small", 61.9, 2_044_736, 52_288_448, minimalistic=True),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers conv, expanded_conv_depthwise, ..., conv_2, logits."""
    size, alpha = str(spec.options["size"]), float(spec.options["alpha"])
    if size not in BUILDERS or alpha <= 0:
        raise UsageError(f"MobileNet v3 needs size large or small and alpha > 0; found {size!r} and {alpha}")
    minimalistic = bool(spec.options["minimalistic"])
    return layers.application(spec, BUILDERS[size], alpha=alpha, minimalistic=minimalistic, include_preprocessing=False)
