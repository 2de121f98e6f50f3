"""Recipes are data, and their names say what they do."""

from __future__ import annotations

import msgspec
import pytest

from edgekit import recipe
from edgekit.errors import UnknownNameError
from edgekit.recipe import RECIPES, Recipe

NAMES = ["float32", "float16", "int8_weights", "int8", "int8_float_io", "int16x8"]


def test_every_recipe_is_found_by_its_name_and_explained():
    assert [one.name for one in RECIPES] == NAMES
    assert recipe.__doc__ is not None
    for name in NAMES:
        assert recipe.find(name).name == name
        assert f"\n{name} " in recipe.__doc__


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="no recipe is called 'int88'; did you mean int8"):
        recipe.find("int88")


def test_only_integer_activations_need_calibration():
    assert [one.name for one in RECIPES if one.needs_calibration] == ["int8", "int8_float_io", "int16x8"]


def test_integer_ends_have_the_type_of_the_activations():
    for one in RECIPES:
        assert one.io in ("float32", one.activations)
        assert one.activations == "float32" or one.weights == "int8"


def test_a_recipe_is_frozen_and_survives_json():
    for one in RECIPES:
        assert msgspec.json.decode(msgspec.json.encode(one), type=Recipe) == one
        with pytest.raises(AttributeError):
            one.name = "other"
    with pytest.raises(msgspec.ValidationError, match="unknown field `speed`"):
        msgspec.json.decode(
            b'{"name": "x", "weights": "int8", "activations": "int8", "io": "int8", "speed": 1}', type=Recipe
        )
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'int4'"):
        msgspec.json.decode(b'{"name": "x", "weights": "int4", "activations": "int8", "io": "int8"}', type=Recipe)
