"""The known answer: a miniature that fills the input, and when a model still gives what it gave."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import golden
from edgekit.artifact import Golden
from edgekit.errors import DataError, FileFormatError
from edgekit.images import normalise
from edgekit.runtime import Runner
from edgekit.spec import InputSpec, square


def test_the_noise_is_the_same_each_time_and_reaches_every_value():
    noise = golden.noise()
    assert (noise.shape, noise.dtype) == ((16, 16, 3), np.uint8)
    assert np.array_equal(noise, golden.noise())
    assert noise.min() < 4
    assert noise.max() > 251


@pytest.mark.parametrize(("height", "width"), [(224, 224), (16, 16), (227, 160), (7, 33)])
def test_every_miniature_pixel_is_one_of_the_image(height, width):
    image = np.arange(height * width * 3, dtype=np.uint16).reshape(height, width, 3)
    small = golden.shrink(image)
    assert small.shape == (16, 16, 3)
    for row in range(16):
        for column in range(16):
            at = int((row + 0.5) * height / 16), int((column + 0.5) * width / 16)
            assert (small[row, column] == image[at]).all()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (16, 16), (227, 160), (7, 33)])
def test_enlarge_repeats_pixels_as_the_artifact_says(height, width):
    miniature = golden.noise()
    large = golden.enlarge(miniature, InputSpec(height, width, 256))
    assert large.shape == (height, width, 3)
    for row in range(height):
        for column in range(width):
            assert (large[row, column] == miniature[row * 16 // height, column * 16 // width]).all()


def test_what_was_enlarged_shrinks_to_the_same():
    assert np.array_equal(golden.shrink(golden.enlarge(golden.noise(), square(224))), golden.noise())


def test_the_answer_is_the_models(tiny_float):
    pixels = golden.enlarge(golden.noise(), tiny_float.card.input)
    expected = Runner(tiny_float.path.read_bytes()).run(normalise(pixels, tiny_float.card.input))
    assert golden.answer(tiny_float.path.read_bytes(), tiny_float.card.input, golden.noise()) == expected.tobytes()
    assert tiny_float.golden == Golden(golden.noise().tobytes(), expected.tobytes())


@pytest.fixture
def check(request):
    """`check(artifact, change)`: the verdict after the stored output was changed by a function."""

    def checked(artifact, change):
        content = artifact.path.read_bytes()
        dtype = Runner(content).output.dtype
        stored = change(np.frombuffer(artifact.golden.output, dtype)).astype(dtype).tobytes()
        return golden.check(content, artifact.card.input, Golden(artifact.golden.pixels, stored))

    return checked


@pytest.mark.parametrize("which", ["tiny", "tiny_float"])
def test_an_untouched_model_is_bit_exact(which, request, check):
    verdict = check(request.getfixturevalue(which), lambda stored: stored)
    assert (verdict.passed, verdict.exact, verdict.largest_difference) == (True, True, 0)
    assert verdict.detail == "bit-exact"


def test_integers_may_differ_by_one_step(tiny, check):
    def moved(steps):
        return lambda stored: stored.astype(int) + steps * (np.arange(4) == 2)

    one, two = check(tiny, moved(1)), check(tiny, moved(2))
    assert (one.passed, one.exact, one.largest_difference) == (True, False, 1)
    assert (two.passed, two.exact, two.largest_difference) == (False, False, 2)
    assert two.detail == "1 of 4 values differ, by 2 steps at most"


def test_floats_may_differ_by_a_thousandth_of_the_largest(tiny_float, check):
    largest = np.frombuffer(tiny_float.golden.output, np.float32).max()
    assert check(tiny_float, lambda stored: stored + 0.0009 * largest).passed
    verdict = check(tiny_float, lambda stored: stored + 0.0011 * largest)
    assert not verdict.passed
    assert "largest difference" in verdict.detail
    assert not check(tiny_float, lambda stored: stored * np.nan).passed


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content * 2, lambda content: b""])
def test_vectors_of_another_size(change, tiny_float):
    content, spec = tiny_float.path.read_bytes(), tiny_float.card.input
    known = tiny_float.golden
    for wrong in (Golden(change(known.pixels), known.output), Golden(known.pixels, change(known.output))):
        with pytest.raises(FileFormatError, match="another size"):
            golden.check(content, spec, wrong)


def test_preprocessing_of_another_size(tiny_float):
    with pytest.raises(DataError, match="the model's input"):
        golden.check(tiny_float.path.read_bytes(), square(64), tiny_float.golden)
