"""Recipes are data, and their names say what they do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgekit import recipe
from edgekit.errors import FileFormatError, UnknownNameError
from edgekit.recipe import RECIPES, Recipe

NAMES = ["float32", "float16", "int8_weights", "int8", "int8_full", "int8_fast", "int8_float_io", "int16x8"]


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
    assert [one.name for one in RECIPES if one.needs_calibration] == NAMES[3:]


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


def test_a_recipe_file_starts_from_a_recipe_and_changes_fields(tmp_path: Path):
    path = tmp_path / "plain head.toml"
    path.write_text('base = "int8"\nfit_head = false\nranges = "percentile"\npercentile = 99.9\n')
    found = recipe.find(str(path))
    assert found == msgspec.structs.replace(
        recipe.find("int8"), name="plain head", fit_head=False, ranges="percentile", percentile=99.9
    )


def test_a_recipe_file_can_say_everything_itself(tmp_path: Path):
    path = tmp_path / "own.toml"
    path.write_text('name = "mine"\nweights = "int8"\nactivations = "int8"\nio = "int8"\n')
    assert recipe.find(str(path)) == Recipe("mine", weights="int8", activations="int8", io="int8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "int8"\nequalisation = 1', "unknown field `equalisation`"),
        ('base = "int8"\nequalization = 2', "<= 1.0"),
        ('base = "int8"\nrounding = "adaround"', "Invalid enum value 'adaround'"),
        ('weights = "int8"', "missing required field `activations`"),
        ("base = ", "is no recipe"),
        ('base = "int8"\nname = "../up"', "matching regex"),
        ('base = "int8"\nkeep_float = "conv1"', "Expected `array`"),
    ],
)
def test_a_recipe_file_says_what_is_wrong_with_it(tmp_path: Path, text: str, message: str):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        recipe.find(str(path))


def test_a_recipe_file_that_is_not_there_or_names_no_recipe(tmp_path: Path):
    with pytest.raises(FileFormatError, match="cannot read the recipe"):
        recipe.find(str(tmp_path / "none.toml"))
    (tmp_path / "x.toml").write_text('base = "int88"')
    with pytest.raises(UnknownNameError, match="did you mean int8"):
        recipe.find(str(tmp_path / "x.toml"))
