"""MobileNet v1 with any width alpha; the resolution rho is the input size. arXiv:1704.04861.

Keras Applications' network, whose layers come in TF-slim's order. It pads stride-2 convolutions at the bottom and on
the right, which is TF-slim's "same" padding wherever a map has an even side: at every multiple of 32 pixels.

TF-slim's page counts otherwise than this project. Its parameters have three numbers per batch-norm channel where we
have two (scale and shift): 4.24 M at alpha 1 are our 4,231,976 + 10,944. Its MACs at alpha 0.75 leave out conv1: 317 M
are our 325.4 M less 8.1 M. Its 34 M at alpha 0.25 and 192 pixels lie off the line of its other sizes; we count 30.2 M.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import UsageError
from edgekit.models import layers
from edgekit.models.widths import Widths
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

FAMILY = "mobilenet_v1"
SOURCE = "TF-slim model zoo, mobilenet_v1.md"
SMALLEST_ALPHA = 1 / 32  # leaves conv1 one filter


class Point(NamedTuple):
    """One row of TF-slim's page; `qat` is its quantization-aware trained uint8 network, timed on a Pixel 3."""

    macs_m: int
    params_m: float
    top1: float
    top5: float
    qat_top1: float
    qat_top5: float
    qat_pixel3_ms: float


# By alpha and input size. Times: 4 threads, from the list of models hosted for TFLite.
PUBLISHED = {
    (1.0, 224): Point(569, 4.24, 70.9, 89.9, 69.7, 89.5, 13.0),
    (1.0, 192): Point(418, 4.24, 70.0, 89.2, 69.0, 88.9, 9.9),
    (1.0, 160): Point(291, 4.24, 68.0, 87.7, 67.3, 87.7, 7.3),
    (1.0, 128): Point(186, 4.24, 65.2, 85.8, 64.0, 85.5, 4.8),
    (0.75, 224): Point(317, 2.59, 68.4, 88.2, 67.9, 88.1, 8.5),
    (0.75, 192): Point(233, 2.59, 67.2, 87.3, 66.2, 87.1, 6.4),
    (0.75, 160): Point(162, 2.59, 65.3, 86.0, 63.9, 85.5, 4.7),
    (0.75, 128): Point(104, 2.59, 62.1, 83.9, 59.8, 82.8, 3.1),
    (0.5, 224): Point(150, 1.34, 63.3, 84.9, 62.2, 84.5, 4.7),
    (0.5, 192): Point(110, 1.34, 61.7, 83.6, 60.4, 83.2, 3.6),
    (0.5, 160): Point(77, 1.34, 59.1, 81.9, 57.7, 81.3, 2.6),
    (0.5, 128): Point(49, 1.34, 56.3, 79.4, 54.9, 78.9, 1.7),
    (0.25, 224): Point(41, 0.47, 49.8, 74.2, 48.2, 73.8, 2.3),
    (0.25, 192): Point(34, 0.47, 47.7, 72.3, 45.8, 71.9, 1.8),
    (0.25, 160): Point(21, 0.47, 45.5, 70.3, 43.5, 69.1, 1.3),
    (0.25, 128): Point(14, 0.47, 41.5, 66.3, 39.9, 65.8, 0.8),
}


WIDTHS = Widths(FAMILY, SOURCE, PUBLISHED, SMALLEST_ALPHA)


def published(spec: ModelSpec) -> Published | None:
    """TF-slim's float accuracy at the spec's alpha and input size."""
    return WIDTHS.published(float(spec.options["alpha"]), spec.input_size)


VARIANTS = (
    WIDTHS.variant("mobilenet_v1", 1.0, 4_231_976, 568_740_352),
    WIDTHS.variant("mobilenet_v1_075", 0.75, 2_585_560, 325_400_448),
    WIDTHS.variant("mobilenet_v1_050", 0.5, 1_331_592, 149_497_088),
    WIDTHS.variant("mobilenet_v1_025", 0.25, 470_072, 41_030_272),
)


def parse(name: str) -> ModelSpec | None:
    """Any width: mobilenet_v1_035 is alpha 0.35, mobilenet_v1_100 is mobilenet_v1."""
    return WIDTHS.parse(name, VARIANTS[0])


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers conv1, conv_dw_1, conv_pw_1, ..., conv_preds."""
    alpha = float(spec.options["alpha"])
    if alpha < SMALLEST_ALPHA:
        raise UsageError(f"MobileNet v1 needs alpha >= {SMALLEST_ALPHA}; found {alpha}")
    return layers.application(spec, "MobileNet", alpha=alpha)
