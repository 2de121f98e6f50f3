"""How a float model is stored: a Recipe is data, and its name says what it does.

float32        nothing is quantized
float16        weights are stored as float16, arithmetic stays float32
int8_weights   weights int8 per channel, activations float (quantized on the fly: "dynamic range")
int8           weights int8 per channel, activations int8, input and output int8: full integer
int8_float_io  the same inside, float32 input and output
int16x8        weights int8 per channel, activations, input and output int16
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edgekit.errors import UnknownNameError


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is stored in which type."""

    name: str
    weights: Literal["float32", "float16", "int8"]
    activations: Literal["float32", "int8", "int16"]
    io: Literal["float32", "int8", "int16"]

    @property
    def needs_calibration(self) -> bool:
        """Whether activation ranges, and so sample images, are needed."""
        return self.activations != "float32"


RECIPES = (
    Recipe("float32", weights="float32", activations="float32", io="float32"),
    Recipe("float16", weights="float16", activations="float32", io="float32"),
    Recipe("int8_weights", weights="int8", activations="float32", io="float32"),
    Recipe("int8", weights="int8", activations="int8", io="int8"),
    Recipe("int8_float_io", weights="int8", activations="int8", io="float32"),
    Recipe("int16x8", weights="int8", activations="int16", io="int16"),
)


def find(name: str) -> Recipe:
    """The recipe called `name`; UnknownNameError suggests the nearest ones."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise UnknownNameError.among("recipe", name, (recipe.name for recipe in RECIPES))
