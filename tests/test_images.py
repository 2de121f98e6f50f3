"""Image files to inputs, judged against Pillow and plain arithmetic done here."""

from __future__ import annotations

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit import images
from edgekit.errors import DataError, FileFormatError
from edgekit.images import Preprocessor, Unreadable
from edgekit.runtime import TensorInfo
from edgekit.spec import InputSpec, square

SMALL = InputSpec(32, 32, 40)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ramp(height=64, width=64):
    """0 to 65535 from the upper left to the lower right."""
    return np.linspace(0, 65535, height * width).reshape(height, width).astype(np.uint16)


def resized_then_cropped(image, spec):
    """What the InputSpec's docstring says, step by step."""
    scale = spec.resize_shorter / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - spec.width) // 2, (height - spec.height) // 2
    return np.asarray(image.crop((left, top, left + spec.width, top + spec.height)))


def test_list_images(tmp_path):
    names = ["b.JPG", "a.png", "sub/deeper/c.jpeg", "sub/x.txt", "d.webp", "noext"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = images.list_images(tmp_path)
    assert found == [tmp_path / name for name in ("a.png", "b.JPG", "d.webp", "sub/deeper/c.jpeg")]


def test_list_images_where_there_are_none(tmp_path):
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match=r"no images below .*; looked for .*\.jpg"):
        images.list_images(tmp_path)
    for path in (tmp_path / "x.txt", tmp_path / "missing"):
        with pytest.raises(DataError, match="is not a folder"):
            images.list_images(path)


def test_a_hundred_of_500_is_every_fifth():
    paths = list(range(500))
    assert images.evenly_spaced(paths, 100) == paths[::5]


@given(st.integers(1, 300), st.integers(1, 300))
def test_evenly_spaced_picks_at_equal_distances(there, wanted):
    picked = images.evenly_spaced(list(range(there)), wanted)
    assert len(picked) == min(there, wanted)
    assert picked[0] == 0
    gaps = set(np.diff(picked).tolist())
    assert all(gap >= 1 for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("width", "height"), [(40, 40), (41, 40), (100, 73), (73, 100), (20, 31), (640, 480), (39, 400)]
)
def test_crop_resizes_the_shorter_side_and_takes_the_centre(width, height):
    image = Image.fromarray(noise(height, width))
    assert np.array_equal(images.crop(encoded(image), SMALL), resized_then_cropped(image, SMALL))


def test_crop_of_an_input_that_is_not_square():
    spec = InputSpec(height=24, width=32, resize_shorter=40)
    image = Image.fromarray(noise(90, 60))
    assert np.array_equal(images.crop(encoded(image), spec), resized_then_cropped(image, spec))


@pytest.mark.parametrize(("width", "height"), [(10, 2600), (2600, 10)])
def test_a_strip_is_cropped_before_it_is_resized(width, height):
    """Beyond 8192 pixels a side only the window is computed; its rounding may differ by one step."""
    image = Image.fromarray(noise(height, width))
    found, expected = images.crop(encoded(image), SMALL), resized_then_cropped(image, SMALL)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (2, 3)])
def test_a_tiny_or_elongated_image_fills_the_input(size):
    found = images.crop(encoded(Image.new("RGB", size, (10, 200, 30))), square(224))
    assert found.shape == (224, 224, 3)
    assert (found == (10, 200, 30)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "I"])
def test_every_kind_of_pixel_becomes_rgb(mode):
    """A picture of one grey ramp, stored in many ways, gives the same pixels."""
    eight_bits = Image.fromarray((ramp() >> 8).astype(np.uint8))
    if mode == "1":
        eight_bits = Image.fromarray(ramp() > 30_000)
    sixteen = {"I;16": lambda: Image.fromarray(ramp()), "I": lambda: Image.fromarray(ramp().astype(np.int32))}
    stored = sixteen.get(mode, lambda: eight_bits.convert(mode))()
    content = encoded(stored, "TIFF" if mode == "I" else "PNG")
    assert Image.open(io.BytesIO(content)).mode == mode
    assert np.array_equal(images.crop(content, SMALL), resized_then_cropped(eight_bits.convert("RGB"), SMALL))


def test_16_bit_colour_keeps_its_upper_bits():
    image = Image.fromarray(noise(50, 50))
    rows = b"".join(b"\0" + np.repeat(row, 2, axis=1).tobytes() for row in np.asarray(image))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 50, 50, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    assert np.array_equal(images.crop(content, SMALL), resized_then_cropped(image, SMALL))


def test_transparency_and_orientation_are_left_out_of_account():
    pixels = noise(40, 60)
    plain = images.crop(encoded(Image.fromarray(pixels)), SMALL)
    transparent = np.dstack([pixels, np.zeros((40, 60), np.uint8)])
    assert np.array_equal(images.crop(encoded(Image.fromarray(transparent)), SMALL), plain)
    tags = Image.Exif()
    tags[0x0112] = 6  # to be shown turned by 90 degrees
    assert np.array_equal(images.crop(encoded(Image.fromarray(pixels), exif=tags), SMALL), plain)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"])
def test_a_truncated_file(kind):
    content = encoded(Image.fromarray(noise(80, 80)), kind)
    assert images.crop(content, SMALL).shape == (32, 32, 3)
    for length in (0, 4, len(content) // 3):
        with pytest.raises(FileFormatError) as caught:
            images.crop(content[:length], SMALL)
        assert "\n" not in str(caught.value)


def test_what_is_no_image_or_far_too_large():
    for content in (b"", b"plain text", encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")):
        with pytest.raises(FileFormatError):
            images.crop(content, SMALL)
    with pytest.raises(FileFormatError, match="pixels"):
        images.crop(encoded(Image.new("1", (14_000, 14_000))), SMALL)


def test_normalise_follows_the_channel_order():
    pixels = np.array([[[10, 20, 30]]], np.uint8)
    rgb = InputSpec(1, 1, 1, "RGB", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 5.0))
    assert images.normalise(pixels, rgb).tolist() == [[[[4.5, 4.5, np.float32(5.4)]]]]
    bgr = InputSpec(1, 1, 1, "BGR", mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 5.0))
    found = images.normalise(pixels, bgr)
    assert found.dtype == np.float32
    assert found.tolist() == [[[[14.5, 4.5, np.float32(1.4)]]]]


def tensor(spec, dtype, scale=0.0, zero_point=0):
    return TensorInfo(0, "input", (1, spec.height, spec.width, 3), np.dtype(dtype), scale, zero_point)


three = st.tuples(*[st.floats(-200, 200, width=32, allow_subnormal=False)] * 3)
positive = st.tuples(*[st.floats(2.0**-6, 300, width=32)] * 3)


@settings(max_examples=60, deadline=None)
@given(
    mean=three,
    std=positive,
    scale=st.floats(2.0**-10, 4, width=32),
    zero_point=st.integers(0, 255),
    dtype=st.sampled_from(["int8", "uint8"]),
    channels=st.sampled_from(["RGB", "BGR"]),
)
def test_the_lookup_table_is_normalise_then_quantize(mean, std, scale, zero_point, dtype, channels):
    spec = InputSpec(16, 16, 16, channels, mean, std)
    info = tensor(spec, dtype, scale, zero_point - 128 * (dtype == "int8"))
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack([every_value, every_value.T, every_value[::-1]], axis=-1)
    found = Preprocessor(spec, info)(pixels)
    expected = info.quantize(images.normalise(pixels, spec))
    assert found.dtype == expected.dtype == np.dtype(dtype)
    assert np.array_equal(found, expected)


def test_a_float_input_is_normalised():
    spec = InputSpec(32, 32, 40, "BGR", (104.0, 117.0, 123.0))
    pixels = noise(32, 32)
    found = Preprocessor(spec, tensor(spec, "float32"))(pixels)
    assert np.array_equal(found[0, ..., 0], pixels[..., 2].astype(np.float32) - 104)
    assert np.array_equal(found, images.normalise(pixels, spec))


def test_preprocessing_that_does_not_fit_the_model():
    with pytest.raises(DataError, match=r"the model's input is \(1, 32, 32, 3\).*\(1, 224, 224, 3\)"):
        Preprocessor(square(224), tensor(SMALL, "float32"))


@pytest.fixture
def numbered(tmp_path):
    """60 files that hold their own number."""
    paths = [tmp_path / f"{number:02}.png" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return paths


def test_for_each_gives_results_in_order(numbered):
    """The first file is not done before the second is, and still comes first."""
    second_done = threading.Event()

    def work(content):
        if content == b"0":
            assert second_done.wait(10)
        if content == b"1":
            second_done.set()
        return int(content)

    seen = []
    results = images.for_each(numbered, work, workers=3, progress=lambda done, of: seen.append((done, of)))
    assert list(results) == list(zip(numbered, range(60), strict=True))
    assert seen == [(number, 60) for number in range(1, 61)]


def broken(*numbers):
    def work(content):
        if int(content) in numbers:
            raise FileFormatError("broken")
        return int(content)

    return work


def test_for_each_passes_over_a_few_unreadable_files(numbered):
    numbered[7].unlink()
    results = [result for _path, result in images.for_each(numbered, broken(30, 59), workers=2)]
    assert results[7] == Unreadable(numbered[7], "No such file or directory")
    assert results[30] == Unreadable(numbered[30], "broken")
    assert [result for result in results if isinstance(result, int)] == [*range(7), *range(8, 30), *range(31, 59)]


def test_for_each_gives_up_above_the_limit(numbered):
    """3 of 60 are 5 %; the fourth is too many, and it is told which they were."""
    done = []
    with pytest.raises(DataError, match=r"more than 5%: 03\.png \(broken\), 10\.png \(broken\), 20\.png"):
        done.extend(images.for_each(numbered, broken(3, 10, 20, 40), workers=2))
    assert len(list(images.for_each(numbered, broken(3, 10, 20, 40), workers=2, limit=0.1))) == 60


def test_for_each_lets_other_errors_through(numbered):
    def work(content):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(images.for_each(numbered, work, workers=2))


def test_without_leaves_out_by_content(numbered):
    copy = numbered[0].with_name("copy.png")
    copy.write_text("5")
    ids = {images.content_id(b"5"), images.content_id(b"6")}
    missing = numbered[0].with_name("missing.png")
    left = images.without([*numbered, copy, missing], ids)
    assert left == [*numbered[:5], *numbered[7:], missing]
    assert images.without(numbered, set()) == numbered
