"""SqueezeNet: v1.0, v1.1, two bypass variants, PyTorch's two others, and the metaparameter family of v1.0.

Structure and layer names from the authors' Caffe files (v1.0, v1.1) and from the paper, arXiv:1602.07360
(metaparameters in section 5.1, bypass in section 6). What matters and is easily missed:

- The paper's Table 1 says 224 pixels, but its 111x111 map after conv1 needs the 227 of the authors' files.
- conv10 of v1.0 pads its 13x13 input by one pixel, so that the average runs over 15x15; v1.1 does not pad.
- PyTorch's v1.0 does not pad conv10; its v1.1 is the authors'. The one with batch norm, known from PyTorch alone, has
  it after the first pool and after each squeeze, no ReLU after conv1, and pools that round down.
- The paper leaves open what follows a bypass. Here the 1x1 convolution of a complex bypass has bias and ReLU, like
  every other convolution of the network, and nothing follows the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import UsageError
from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor
    from keras import Model


class Macro(NamedTuple):
    """What is around the fire modules: conv1, after which modules a pool follows, and the padding of conv10.

    With `normalised`, batch norm takes the place of conv1's ReLU and stands before those of the squeezes.
    """

    conv1_filters: int
    conv1_kernel: int
    pool_after: tuple[int, ...]
    conv10_pad: int = 0
    conv1_pad: int = 0
    normalised: bool = False


class Fire(NamedTuple):
    """Output channels of the three convolutions of a fire module."""

    squeeze1x1: int
    expand1x1: int
    expand3x3: int

    @property
    def channels(self) -> int:
        return self.expand1x1 + self.expand3x3


MACROS = {
    "v1_0": Macro(96, 7, (4, 8), conv10_pad=1),
    "v1_1": Macro(64, 3, (3, 5)),
    "v1_0_torch": Macro(96, 7, (4, 8)),
    "bn": Macro(96, 7, (5, 8), conv1_pad=3, normalised=True),
}
_TORCH_PARTS = {
    "squeeze1x1": "squeeze",
    "squeeze1x1_bn": "squeeze_bn",
    "expand1x1": "expand1x1",
    "expand3x3": "expand3x3",
}
BYPASSES = ("none", "simple", "complex")
OPTIONS: dict[str, bool | int | float | str] = {
    "base_e": 128,
    "incr_e": 128,
    "pct3x3": 0.5,
    "freq": 2,
    "sr": 0.125,
    "bypass": "none",
    "macro": "v1_0",
}
V1_0_PUBLISHED = Published("SqueezeNet paper, Table 2 (arXiv:1602.07360)", 57.5, 80.3)

VARIANTS = (
    ModelSpec(
        name="squeezenet_v1_0",
        family="squeezenet",
        input_size=227,
        options=OPTIONS,
        published=V1_0_PUBLISHED,
        params=1_248_424,
        macs=861_339_936,
    ),
    ModelSpec(
        name="squeezenet_v1_1",
        family="squeezenet",
        input_size=224,
        options={**OPTIONS, "macro": "v1_1"},
        published=Published("torchvision model zoo, squeezenet1_1", 58.2, 80.6),
        params=1_235_496,
        macs=349_151_936,
    ),
    ModelSpec(
        name="squeezenet_v1_0_simple_bypass",
        family="squeezenet",
        input_size=227,
        options={**OPTIONS, "bypass": "simple"},
        published=Published("SqueezeNet paper, Table 3 (arXiv:1602.07360)", 60.4, 82.5),
        params=1_248_424,
        macs=861_339_936,
        note="identity around fire 3, 5, 7 and 9",
    ),
    ModelSpec(
        name="squeezenet_v1_0_complex_bypass",
        family="squeezenet",
        input_size=227,
        options={**OPTIONS, "bypass": "complex"},
        published=Published("SqueezeNet paper, Table 3 (arXiv:1602.07360)", 58.8, 82.0),
        params=1_589_672,
        macs=1_212_625_184,
        note="identity around fire 3, 5, 7 and 9, a 1x1 convolution around fire 2, 4, 6 and 8",
    ),
    ModelSpec(
        name="squeezenet_v1_0_torch",
        family="squeezenet",
        input_size=224,
        options={**OPTIONS, "macro": "v1_0_torch"},
        published=Published("torchvision model zoo, squeezenet1_0", 58.1, 80.4),
        params=1_248_424,
        macs=818_924_576,
        note="as torchvision has it",
    ),
    ModelSpec(
        name="squeezenet_bn",
        family="squeezenet",
        input_size=224,
        options={**OPTIONS, "macro": "bn"},
        params=1_249_256,
        macs=948_667_904,
        note="batch norm in the fire modules; examples/torch_networks.py has it in PyTorch",
    ),
    ModelSpec(
        name="squeezenet",
        family="squeezenet",
        input_size=227,
        options=OPTIONS,
        published=V1_0_PUBLISHED,
        params=1_248_424,
        macs=861_339_936,
        note="the metaparameter family; its defaults are v1.0",
    ),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers conv1, fire2_squeeze1x1 ... fire9_expand3x3, conv10, pool10."""
    macro, bypass = _macro(spec), _bypass(spec)
    image = layers.image(spec.input_size)
    relu, round_up = not macro.normalised, not macro.normalised
    x = layers.conv(
        image, macro.conv1_filters, macro.conv1_kernel, strides=2, pad=macro.conv1_pad, relu=relu, name="conv1"
    )
    x = layers.max_pool(x, name="pool1", round_up=round_up)
    if macro.normalised:
        x = layers.batch_norm(x, name="conv1_bn")
    for number, module in enumerate(fire_modules(spec), start=2):
        x = _bypassed(x, module, f"fire{number}", bypass, macro.normalised)
        if number in macro.pool_after:
            x = layers.max_pool(x, name=f"pool{number}", round_up=round_up)
    x = layers.dropout(x, 0.5, name="drop9")
    x = layers.conv(x, spec.classes, 1, pad=macro.conv10_pad, name="conv10")
    x = layers.global_average(x, name="pool10")
    return layers.network(spec, image, layers.softmax(x))


def torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str] | None:
    """The PyTorch module of each layer of torchvision's v1.0 and v1.1 and the one with batch norm; else None."""
    macro = _macro(spec)
    if macro.conv10_pad or _bypass(spec) != "none":
        return None
    place, names = 3, {"conv1": "features.0", "conv10": "classifier.1"}  # after conv1, ReLU or norm, and pool
    if macro.normalised:
        names["conv1_bn"] = "features.2"
    for number in range(2, 10):
        for part in ("squeeze1x1", "squeeze1x1_bn", "expand1x1", "expand3x3"):
            names[f"fire{number}_{part}"] = f"features.{place}.{_TORCH_PARTS[part]}"
        place += 2 if number in macro.pool_after else 1
    return {layer: name for layer, name in names.items() if layer in layer_names}


def fire_modules(spec: ModelSpec) -> list[Fire]:
    """Widths of fire 2 to 9 by the rule of section 5.1, module i from 0 having ``base_e + incr_e * (i // freq)``."""
    base_e, incr_e, freq = (int(spec.options[key]) for key in ("base_e", "incr_e", "freq"))
    pct3x3, sr = float(spec.options["pct3x3"]), float(spec.options["sr"])
    if base_e < 2 or incr_e < 0 or freq < 1 or not 0 < pct3x3 < 1 or not 0 < sr <= 1:
        raise UsageError(
            "SqueezeNet needs base_e >= 2, incr_e >= 0, freq >= 1, 0 < pct3x3 < 1 and 0 < sr <= 1; "
            f"found {base_e}, {incr_e}, {freq}, {pct3x3} and {sr}"
        )
    return [_fire(base_e + incr_e * (index // freq), pct3x3, sr) for index in range(8)]


def _fire(expand: int, pct3x3: float, sr: float) -> Fire:
    """Rounded to whole filters, at least one of each."""
    expand3x3 = min(max(round(pct3x3 * expand), 1), expand - 1)
    return Fire(max(round(sr * expand), 1), expand - expand3x3, expand3x3)


def _bypassed(x: Tensor, module: Fire, name: str, bypass: str, normalised: bool) -> Tensor:
    """The fire module, plus its input where the bypass asks for it: (b, h, w, c) -> (b, h, w, module.channels)."""
    initializer = layers.HE if bypass == "none" else layers.XAVIER
    y = _fire_module(x, module, name, initializer, normalised)
    if bypass != "none" and x.shape[-1] == module.channels:
        return layers.add([x, y], name=f"{name}_bypass")
    if bypass == "complex":
        shortcut = layers.conv(x, module.channels, 1, initializer=initializer, name=f"{name}_bypass1x1")
        return layers.add([shortcut, y], name=f"{name}_bypass")
    return y


def _fire_module(x: Tensor, module: Fire, name: str, initializer: str, normalised: bool) -> Tensor:
    """Squeeze to few channels, expand by 1x1 and 3x3 side by side."""
    squeeze = f"{name}_squeeze1x1"
    x = layers.conv(x, module.squeeze1x1, 1, relu=not normalised, initializer=initializer, name=squeeze)
    if normalised:
        x = layers.relu(layers.batch_norm(x, name=f"{squeeze}_bn"), name=f"{squeeze}_relu")
    left = layers.conv(x, module.expand1x1, 1, initializer=initializer, name=f"{name}_expand1x1")
    right = layers.conv(x, module.expand3x3, 3, pad=1, initializer=initializer, name=f"{name}_expand3x3")
    return layers.concat([left, right], name=f"{name}_concat")


def _macro(spec: ModelSpec) -> Macro:
    macro = str(spec.options["macro"])
    if macro not in MACROS:
        raise UsageError(f"SqueezeNet's macro is one of {', '.join(MACROS)}; found {macro!r}")
    return MACROS[macro]


def _bypass(spec: ModelSpec) -> str:
    bypass = str(spec.options["bypass"])
    if bypass not in BYPASSES:
        raise UsageError(f"SqueezeNet's bypass is one of {', '.join(BYPASSES)}; found {bypass!r}")
    return bypass
