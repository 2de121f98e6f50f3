"""Input specs: the only home of preprocessing."""

from __future__ import annotations

import msgspec
import pytest

from edgekit.spec import InputSpec, square


@pytest.mark.parametrize(("size", "shorter"), [(224, 256), (227, 259), (160, 183), (128, 146), (32, 37)])
def test_a_square_is_cropped_from_a_side_eight_sevenths_as_long(size, shorter):
    spec = square(size)
    assert (spec.height, spec.width, spec.resize_shorter) == (size, size, shorter)
    assert (spec.channels, spec.mean, spec.std) == ("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_a_square_takes_its_normalisation():
    spec = square(227, channels="BGR", mean=(104.0, 117.0, 123.0))
    assert (spec.channels, spec.mean) == ("BGR", (104.0, 117.0, 123.0))
    assert square(227, resize_shorter=227).resize_shorter == 227


@pytest.mark.parametrize(("field", "value"), [("channels", "GRB"), ("mean", (1.0, 2.0)), ("std", "1"), ("crop", 0.875)])
def test_a_normalisation_that_cannot_be_is_refused(field, value):
    with pytest.raises(msgspec.ValidationError):
        square(224, **{field: value})


def test_an_input_spec_survives_json():
    spec = square(224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=InputSpec) == spec
