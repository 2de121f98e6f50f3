"""How a float model is stored, and by which techniques: a Recipe is data, and its name says what it does.

float32        nothing is quantized
float16        weights are stored as float16, arithmetic stays float32
int8_weights   weights int8 per channel, activations float (quantized on the fly: "dynamic range")
int8           weights int8 per channel, activations and input int8, and a head that averages and answers in float32
int8_full      as int8, and the head int8 too: integers throughout, at the price of one answer in fifty
int8_fast      as int8_full with plain ranges and nearest rounding: seconds in place of a minute
int8_float_io  as int8 with float32 input
int16x8        weights int8 per channel, activations, input and output int16

A recipe file (TOML) names a recipe to start from and what to change: `base = "int8"`, then any field of Recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgekit.errors import FileFormatError, UnknownNameError

RangeMethod = Literal["minmax", "moving_average", "percentile", "mse"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is stored in which type, and how the integers are chosen.

    `ranges`: how a range is taken from what the samples reach; `percentile` belongs to the method of that name.
    `equalization`: how far channels are brought to one range before quantizing, from 0 (not at all) to 1.
    `split`: how many more multiplications, as a share, the values that cost most accuracy may take to get a ninth bit.
    `rounding`: weights to the nearest step, or so that the layer's output error is least ("gptq").
    `bias_correction`: biases take up the mean error that quantization leaves at each layer.
    `fold_input`: the first convolution takes raw pixels where that is exact, so that an int8 input loses nothing.
    `float_output`: the output is float32 although the input is not.
    `fit_head`: an integer head gets the finest range that keeps the distribution over classes; before a float output,
    what follows the last map computes in float.
    `lower`: the finished integer graph is rewritten to what Arm kernels do quickly, equal to the last bit.
    `keep_float`, `keep_int16`: names of output tensors whose operators stay in float, or compute in int16.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^\w[\w.+ -]*$")]  # a part of file names
    weights: Literal["float32", "float16", "int8"]
    activations: Literal["float32", "int8", "int16"]
    io: Literal["float32", "int8", "int16"]
    ranges: RangeMethod = "minmax"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99
    equalization: Share = 0.0
    split: Share = 0.0
    rounding: Literal["nearest", "gptq"] = "nearest"
    bias_correction: bool = False
    fold_input: bool = False
    float_output: bool = False
    fit_head: bool = False
    lower: bool = False
    keep_float: tuple[str, ...] = ()
    keep_int16: tuple[str, ...] = ()

    @property
    def output(self) -> Literal["float32", "int8", "int16"]:
        """The type of the model's outputs."""
        return "float32" if self.float_output else self.io

    @property
    def needs_calibration(self) -> bool:
        """Whether sample images are needed: for activation ranges, or to weigh rounding errors."""
        return self.activations != "float32" or self.rounding == "gptq" or self.bias_correction


_CAREFUL: dict[str, Any] = {
    "ranges": "mse",
    "equalization": 0.75,
    "split": 0.05,
    "rounding": "gptq",
    "bias_correction": True,
    "fold_input": True,
    "fit_head": True,
    "lower": True,
}

RECIPES = (
    Recipe("float32", weights="float32", activations="float32", io="float32"),
    Recipe("float16", weights="float16", activations="float32", io="float32"),
    Recipe("int8_weights", weights="int8", activations="float32", io="float32"),
    Recipe("int8", weights="int8", activations="int8", io="int8", float_output=True, **_CAREFUL),
    Recipe("int8_full", weights="int8", activations="int8", io="int8", **_CAREFUL),
    Recipe("int8_fast", weights="int8", activations="int8", io="int8", fold_input=True, lower=True),
    Recipe("int8_float_io", weights="int8", activations="int8", io="float32", **_CAREFUL),
    Recipe("int16x8", weights="int8", activations="int16", io="int16", rounding="gptq", bias_correction=True),
)


def find(name: str) -> Recipe:
    """The recipe called `name`, or the one in the file of that name if it ends in .toml.

    UnknownNameError suggests the nearest ones; FileFormatError says what a recipe file cannot hold.
    """
    if name.endswith(".toml"):
        return read(Path(name))
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise UnknownNameError.among("recipe", name, (recipe.name for recipe in RECIPES))


def read(path: Path) -> Recipe:
    """The recipe in a TOML file; it is named after the file unless it says its name."""
    try:
        fields = msgspec.toml.decode(path.read_bytes())
        base = msgspec.to_builtins(find(fields.pop("base"))) if "base" in fields else {}
        return msgspec.convert({**base, "name": path.stem, **fields}, Recipe)
    except OSError as error:
        raise FileFormatError(f"cannot read the recipe {path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
        raise FileFormatError(f"{path} is no recipe: {error}; its fields are those of edgekit.recipe.Recipe") from None
