"""SqueezeNext: the 23-layer network, its hardware-tuned v2 to v5, the grouped one, wider and deeper ones.

Structure and layer names from the authors' Caffe files, which exist for 1.0-SqNxt-23, 1.0-G-SqNxt-23, 1.0-SqNxt-23v5,
2.0-SqNxt-23 and 2.0-SqNxt-23v5; paper: arXiv:1803.10615. Every convolution is without bias and followed by batch norm,
scale and ReLU; another ReLU follows each sum. conv1 does not pad and, like the last 1x1, is not widened.

Two things are easily got wrong:

- The 3x1 and the 1x3 convolution swap places from block to block, starting with 3x1 in each stage. (Each stage of the
  authors' files has an even number of blocks, so they leave open whether the order restarts; the counts do not depend
  on it.)
- 23 and 23v5 are wired differently where a stage starts. In 23 ("parallel") the block reads the stage's input beside
  the shortcut's 1x1 convolution; in v5 ("serial") that 1x1 convolution is on the trunk and the block reads its output.

Not published, and where it is taken from:

- v2, v3, v4: v2 differs from 23 in its 5x5 conv1; v3 and v4 then move blocks from the first stages to later ones
  (4-8-8-1, 2-10-8-1) on the way to v5's 2-4-14-1. Their wiring is v5's, the only tuned file there is: with it the four
  have the same MACs, and only the place of the blocks differs.
- 34 and 44: stages 9-9-12-2 and 12-12-16-2, that is 6-6-8-1 times 1.5 and times 2. At width 2.0 this 44 has 4.43 M
  parameters, the 4.4 M of the paper's abstract.
- squeezenext_23_torch is a network of its own, known from PyTorch: other bottlenecks, 3x3 convolutions as shortcuts,
  1x3 always before 3x1, maxima in place of the last average, and neither of the 1x1 convolutions around the stages.
- The 1.5-wide one multiplies the stages' channels as the published 2.0-wide files do.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import UsageError
from edgekit.models import layers
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor
    from keras import Model

STAGE_CHANNELS = (32, 64, 128, 256)
WIRINGS = ("parallel", "serial", "torch")
OPTIONS: dict[str, bool | int | float | str] = {
    "width": 1.0,
    "stages": "6-6-8-1",
    "conv1": 7,
    "groups": 1,
    "wiring": "parallel",
}
TUNED = {**OPTIONS, "conv1": 5, "wiring": "serial"}
PAPER = "SqueezeNext paper, Tables 1 to 3 (arXiv:1803.10615)"


class Plan(NamedTuple):
    """The options, checked and read."""

    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    conv1: int
    groups: int
    wiring: str


def _variant(
    name: str,
    options: dict[str, bool | int | float | str],
    params: int,
    macs: int,
    accuracy: tuple[float, float] | None = None,
    note: str = "",
    size: int = 227,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="squeezenext",
        input_size=size,
        options=options,
        published=Published(PAPER, *accuracy) if accuracy else None,
        params=params,
        macs=macs,
        note=note,
    )


VARIANTS = (
    _variant("squeezenext_23", OPTIONS, 717_280, 277_999_808, (59.05, 82.60)),
    _variant("squeezenext_23_v2", TUNED, 733_664, 224_916_480, note="5x5 conv1; wiring taken from v5"),
    _variant("squeezenext_23_v3", {**TUNED, "stages": "4-8-8-1"}, 747_840, 224_916_480, note="wiring taken from v5"),
    _variant("squeezenext_23_v4", {**TUNED, "stages": "2-10-8-1"}, 762_016, 224_916_480, note="wiring taken from v5"),
    _variant("squeezenext_23_v5", {**TUNED, "stages": "2-4-14-1"}, 930_016, 224_916_480, (59.24, 82.41)),
    _variant("squeezenext_23_g", {**OPTIONS, "groups": 2}, 543_072, 224_191_552),
    _variant("squeezenext_23_w1_5", {**OPTIONS, "width": 1.5}, 1_406_384, 472_270_784),
    _variant("squeezenext_23_w2", {**OPTIONS, "width": 2.0}, 2_361_728, 742_070_464, (67.18, 88.17)),
    _variant(
        "squeezenext_23_v5_w2", {**TUNED, "stages": "2-4-14-1", "width": 2.0}, 3_222_912, 702_592_000, (67.44, 88.20)
    ),
    _variant("squeezenext_34", {**OPTIONS, "stages": "9-9-12-2"}, 1_052_560, 356_711_360, note="stages not published"),
    _variant(
        "squeezenext_44", {**OPTIONS, "stages": "12-12-16-2"}, 1_238_976, 428_197_568, note="stages not published"
    ),
    _variant(
        "squeezenext_23_torch",
        {**OPTIONS, "wiring": "torch"},
        1_065_512,
        370_334_976,
        size=224,
        note="known from PyTorch; examples/torch_networks.py has it there",
    ),
)


def build(spec: ModelSpec) -> Model:
    """(b, size, size, 3) -> (b, classes); layers Convolution1, BatchNorm1, ..., Eltwise1, ..., pool5, fc1000."""
    plan = _plan(spec)
    if plan.wiring == "torch":
        return _build_torch(spec, plan)
    numbers, sums = itertools.count(1), itertools.count(1)
    image = layers.image(spec.input_size)
    x = _conv(image, 64, plan.conv1, numbers, strides=2)
    x = layers.max_pool(x, name="pool1")
    for stage, (blocks, channels) in enumerate(zip(plan.blocks, plan.channels, strict=True)):
        x = _stage_start(x, channels, plan, numbers, next(sums), strides=1 if stage == 0 else 2)
        for index in range(1, blocks):
            y = _block(x, channels, plan, numbers, tall_first=index % 2 == 0)
            x = _sum(x, y, next(sums))
    x = _conv(x, 128, 1, numbers)
    x = layers.global_average(x, name="pool5")
    x = layers.dense(x, spec.classes, bias=False, name="fc1000")
    return layers.network(spec, image, layers.softmax(x))


def _stage_start(x: Tensor, channels: int, plan: Plan, numbers: Iterator[int], number: int, *, strides: int) -> Tensor:
    """The first block of a stage, a 1x1 convolution as or before its shortcut: -> (b, h / strides, ..., channels)."""
    shortcut = _conv(x, channels, 1, numbers, strides=strides)
    if plan.wiring == "serial":
        y = _block(shortcut, channels, plan, numbers, tall_first=True)
    else:
        y = _block(x, channels, plan, numbers, tall_first=True, strides=strides)
    return _sum(shortcut, y, number)


def _block(
    x: Tensor, channels: int, plan: Plan, numbers: Iterator[int], *, tall_first: bool, strides: int = 1
) -> Tensor:
    """Two-step bottleneck, the 3x3 convolution split in two, expansion: (b, h, w, c) -> (b, h', w', channels)."""
    half, quarter = channels // 2, channels // 4
    x = _conv(x, half, 1, numbers, strides=strides, groups=plan.groups)
    x = _conv(x, quarter, 1, numbers)
    for kernel in ((3, 1), (1, 3)) if tall_first else ((1, 3), (3, 1)):
        x = _conv(x, half, kernel, numbers, groups=plan.groups)
    return _conv(x, channels, 1, numbers)


def _conv(
    x: Tensor,
    filters: int,
    kernel: int | tuple[int, int],
    numbers: Iterator[int],
    *,
    strides: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution without bias, batch norm, ReLU; a 3x1 or 1x3 pads along its length, a square kernel does not pad."""
    number = next(numbers)
    pad = 0 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    name = f"Convolution{number}"
    x = layers.conv(
        x,
        filters,
        kernel,
        strides=strides,
        pad=pad,
        groups=groups,
        bias=False,
        relu=False,
        initializer=layers.XAVIER,
        name=name,
    )
    x = layers.batch_norm(x, name=f"BatchNorm{number}")
    return layers.relu(x, name=f"{name}_relu")


def _sum(shortcut: Tensor, y: Tensor, number: int) -> Tensor:
    return layers.relu(layers.add([shortcut, y], name=f"Eltwise{number}"), name=f"Eltwise{number}_relu")


def torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str] | None:
    """The PyTorch module of each layer; None but for the network that is known from there."""
    return {name: _torch_name(name) for name in layer_names} if _plan(spec).wiring == "torch" else None


def _torch_name(layer: str) -> str:
    """That of stage1_block2_conv3_bn is stages.0.1.body.7: each convolution is followed by a norm and a ReLU."""
    name, norm, _ = layer.partition("_bn")
    if name == "stem":
        return "stem.2" if norm else "stem.0"
    if not (found := re.fullmatch(r"stage(\d+)_block(\d+)_(conv(\d)|shortcut)", name)):
        return name
    place = f"body.{3 * (int(found[4]) - 1) + bool(norm)}" if found[4] else f"shortcut.{int(bool(norm))}"
    return f"stages.{int(found[1]) - 1}.{int(found[2]) - 1}.{place}"


def _build_torch(spec: ModelSpec, plan: Plan) -> Model:
    """Layers stem, stage1_block1_conv1 ..., stage1_block1_shortcut ..., each with its _bn, and fc."""
    image = layers.image(spec.input_size)
    x = _plain(image, 64, plan.conv1, "stem", strides=2)
    x = layers.max_pool(x, name="pool1", round_up=False)
    x = layers.relu(layers.batch_norm(x, name="stem_bn"), name="stem_relu")
    for stage, (blocks, channels) in enumerate(zip(plan.blocks, plan.channels, strict=True), start=1):
        for block in range(1, blocks + 1):
            strides = 2 if block == 1 and stage > 1 else 1
            x = _torch_block(x, channels, plan.groups, f"stage{stage}_block{block}", strides)
    x = layers.dense(layers.global_max(x, name="pool5"), spec.classes, name="fc")
    return layers.network(spec, image, layers.softmax(x))


def _torch_block(x: Tensor, channels: int, groups: int, name: str, strides: int) -> Tensor:
    """Narrow layers have a half and a quarter of its inputs, not of its outputs: -> (b, h / strides, ..., channels)."""
    half, quarter = int(x.shape[-1]) // 2, int(x.shape[-1]) // 4
    y = x
    plan: list[tuple[int, int | tuple[int, int]]] = [(half, 1), (quarter, 1), (half, (1, 3)), (half, (3, 1))]
    for number, (filters, kernel) in enumerate([*plan, (channels, 1)], start=1):
        conv = f"{name}_conv{number}"
        y = _plain(y, filters, kernel, conv, strides=strides if number == 1 else 1, groups=groups if kernel != 1 else 1)
        y = layers.relu(layers.batch_norm(y, name=f"{conv}_bn"), name=f"{conv}_relu")
    if strides != 1 or x.shape[-1] != channels:
        x = _plain(x, channels, 3, f"{name}_shortcut", strides=strides)
        x = layers.batch_norm(x, name=f"{name}_shortcut_bn")
    return layers.relu(layers.add([x, y], name=f"{name}_sum"), name=f"{name}_relu")


def _plain(
    x: Tensor, filters: int, kernel: int | tuple[int, int], name: str, *, strides: int = 1, groups: int = 1
) -> Tensor:
    """A convolution without bias and ReLU that pads by half its kernel."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return layers.conv(
        x,
        filters,
        kernel,
        strides=strides,
        pad=(height // 2, width // 2),
        groups=groups,
        bias=False,
        relu=False,
        initializer=layers.XAVIER,
        name=name,
    )


def _plan(spec: ModelSpec) -> Plan:
    stages, wiring = str(spec.options["stages"]), str(spec.options["wiring"])
    if not re.fullmatch(r"[1-9]\d*(-[1-9]\d*){3}", stages):
        raise UsageError(f"SqueezeNext's stages are four block counts such as 6-6-8-1; found {stages!r}")
    if wiring not in WIRINGS:
        raise UsageError(f"SqueezeNext's wiring is one of {', '.join(WIRINGS)}; found {wiring!r}")
    conv1, groups = int(spec.options["conv1"]), int(spec.options["groups"])
    channels = tuple(_widened(channels, float(spec.options["width"])) for channels in STAGE_CHANNELS)
    if conv1 < 1 or groups < 1 or any(c // 4 % groups for c in channels):
        raise UsageError(
            f"SqueezeNext needs conv1 >= 1 and groups that divide {channels[0] // 4}; found {conv1}, {groups}"
        )
    return Plan(tuple(int(blocks) for blocks in stages.split("-")), channels, conv1, groups, wiring)


def _widened(channels: int, width: float) -> int:
    """To the nearest multiple of 8, so that a block can quarter it and still group it in two."""
    return max(8, round(channels * width / 8) * 8)
