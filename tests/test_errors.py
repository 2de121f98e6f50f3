"""The error tree: what its docstring says is what it is."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from edgekit import cli, errors
from edgekit.errors import EdgekitError, UnknownNameError

CLASSES = [
    member
    for _name, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, EdgekitError) and member is not EdgekitError
]


def test_the_docstring_has_every_error_with_its_exit_code_and_parent():
    assert errors.__doc__ is not None
    drawn = re.findall(r"^(│   )?[├└]── (\w+)\s+(\d+)  ", errors.__doc__, re.MULTILINE)
    assert {(name, int(code)) for _indent, name, code in drawn} == {(kind.__name__, kind.exit_code) for kind in CLASSES}
    for indent, name, _code in drawn:
        parent = errors.FileFormatError if indent else EdgekitError
        assert getattr(errors, name).__base__ is parent


def test_branches_have_exit_codes_of_their_own():
    codes = [kind.exit_code for kind in CLASSES if kind.__base__ is EdgekitError]
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 130} & set(codes)


def test_the_help_text_names_every_exit_code():
    for kind in CLASSES:
        assert re.search(rf"\b{kind.exit_code} ", cli.EXIT_CODES)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_travel_between_processes(kind):
    copy = pickle.loads(pickle.dumps(kind("what was found")))
    assert (type(copy), str(copy)) == (kind, "what was found")


def test_an_unknown_name_suggests_the_nearest():
    error = UnknownNameError.among("fruit", "aple", ["pear", "apple", "cherry", "fig"])
    assert str(error) == "no fruit is called 'aple'; did you mean apple, pear?"


def test_an_unknown_name_like_no_other_lists_all():
    error = UnknownNameError.among("fruit", "xyz", iter(["pear", "fig"]))
    assert str(error) == "no fruit is called 'xyz'; known: pear, fig"
