"""Quality judged on models whose answers are known: first by arithmetic, then from the published baselines."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit import artifact as artifacts
from edgekit import evaluate, foreign, images
from edgekit.errors import DataError, FileFormatError
from edgekit.evaluate import Subject

RED, GREEN, BLUE, GREY = range(4)


def softmax(logits):
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum()


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.data())
def test_a_rank_is_the_place_in_a_stable_sort(values, data):
    """Against sorting, with many equal values."""
    truth = data.draw(st.integers(0, len(values) - 1))
    order = np.argsort(-np.array(values), kind="stable")
    assert evaluate.rank_of(np.array(values, np.float32), truth) == order.tolist().index(truth)


distributions = st.lists(st.floats(0.001, 1), min_size=2, max_size=8).map(lambda values: np.array(values) / sum(values))


@given(distributions, distributions)
def test_divergence_is_its_definition(p, q):
    q = np.resize(q, len(p)) / np.resize(q, len(p)).sum()
    expected = sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
    assert evaluate.divergence(p, q) == pytest.approx(expected, abs=1e-9)
    assert evaluate.divergence(p, q) >= -1e-12
    assert evaluate.divergence(p, p) == 0


def test_divergence_from_a_zero_is_finite():
    sure, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert evaluate.divergence(sure, other) == pytest.approx(-np.log(1e-6), rel=1e-4)


def test_probabilities():
    logits = np.array([3.0, -1.0, 0.5], np.float32)
    assert evaluate.probabilities(logits) == pytest.approx(softmax(logits))
    assert evaluate.probabilities(logits * 100, "logits") == pytest.approx([1, 0, 0])
    rounded = np.array([0.996, 0.0, 0.0], np.float32)  # an int8 softmax does not add up to 1
    assert evaluate.probabilities(rounded).tolist() == rounded.tolist()
    timid = np.array([0.5, 0.25, 0.0], np.float32)  # logits that look like probabilities
    assert evaluate.probabilities(timid, "logits") == pytest.approx(softmax(timid))
    assert evaluate.probabilities(np.zeros(1000, np.float32)) == pytest.approx(np.full(1000, 1e-3))


@pytest.fixture
def solid(tmp_path):
    """`solid((red, green, blue), ...)`: paths of images of one colour each."""

    def make(*colours):
        paths = [tmp_path / f"{number}.png" for number in range(len(colours))]
        for path, colour in zip(paths, colours, strict=True):
            Image.new("RGB", (50, 40), colour).save(path)
        return paths

    return make


def logits_of(colour):
    red, green, blue = (8 * value / 256 for value in colour)
    return [red, green, blue, red / 4 + green / 4 + blue / 2]


def test_ranks_and_ties(tiny_float, colour_input, solid):
    """A grey image gives four equal outputs, a red one 0 for green and for blue: the lower number goes first."""
    pure, grey = (200, 0, 0), (128, 128, 128)
    paths = solid(pure, pure, pure, pure, grey, grey, pure)
    truths = [RED, GREY, GREEN, BLUE, RED, GREY, None]
    (quality,) = evaluate.evaluate(Subject(tiny_float, colour_input), paths, truths)
    assert quality.rank == (0, 1, 2, 3, 0, 3, None)
    assert (quality.images, quality.skipped) == (7, ())
    assert (quality.artifact_sha256, quality.size_bytes) == (tiny_float.sha256, tiny_float.size_bytes)
    assert (quality.model, quality.recipe) == ("colours", "float32")
    assert (quality.reference_sha256, quality.agrees, quality.kl_nats) == (None, (), ())
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    assert quality.images_sha256 == hashlib.sha256(digests).hexdigest()


def test_agreement_and_divergence(tiny_float, colour_input, colour_kernel, write_colours, solid, tmp_path):
    """The reference has red and green exchanged, and is only half as sure."""
    swapped = write_colours(tmp_path, "float32", colour_kernel[[GREEN, RED, BLUE, GREY]] / 2)
    colours = [(200, 0, 0), (0, 180, 0), (0, 0, 130), (40, 40, 220), (90, 160, 20)]
    subject, reference = Subject(tiny_float, colour_input), Subject(swapped, colour_input)
    truths = [RED, GREEN, BLUE, BLUE, GREEN]
    own, other = evaluate.evaluate(subject, solid(*colours), truths, reference)
    assert own.rank == (0, 0, 0, 0, 0)
    assert other.rank == (2, 2, 0, 0, 1)
    assert own.agrees == (False, False, True, True, False)
    assert own.reference_sha256 == other.artifact_sha256 == swapped.sha256
    assert (other.reference_sha256, other.agrees) == (None, ())
    for colour, found in zip(colours, own.kl_nats, strict=True):
        logits = np.array(logits_of(colour))
        q, p = softmax(logits), softmax(logits[[GREEN, RED, BLUE, GREY]] / 2)
        assert found == pytest.approx(float((p * np.log(p / q)).sum()), abs=1e-5)


def test_a_model_agrees_with_itself(tiny, tiny_float, colour_input, colour_images):
    paths = images.list_images(colour_images)
    for artifact in (tiny, tiny_float):
        subject = Subject(artifact, colour_input)
        own, reference = evaluate.evaluate(subject, paths, [None] * len(paths), subject)
        assert all(own.agrees)
        assert set(own.kl_nats) == {0.0}
        assert own.rank == reference.rank == (None,) * 40


def test_logits_are_compared_with_probabilities(tiny, tiny_float, colour_input, colour_images, solid):
    """int8 ends in logits, float32 in probabilities; both are distributions before they are compared."""
    timid = (16, 0, 8)  # its logits, 0.5, 0, 0.25 and 0.25, could be taken for probabilities
    paths = [*images.list_images(colour_images), *solid(timid)]
    own, _ = evaluate.evaluate(
        Subject(tiny, colour_input), paths, [None] * len(paths), Subject(tiny_float, colour_input)
    )
    assert 0 < max(own.kl_nats) < 0.01


def test_the_number_of_workers_changes_nothing(tiny_float, colour_input, colour_images):
    paths = images.list_images(colour_images)
    subject, truths = Subject(tiny_float, colour_input), [number % 4 for number in range(40)]
    one, three = (evaluate.evaluate(subject, paths, truths, workers=workers)[0] for workers in (1, 3))
    assert (one.rank, one.images_sha256) == (three.rank, three.images_sha256)


def test_progress_is_told(tiny_float, colour_input, solid):
    seen = []
    paths = solid((1, 2, 3), (4, 5, 6))
    evaluate.evaluate(Subject(tiny_float, colour_input), paths, [0, 0], progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]


def test_an_unreadable_image_is_skipped_counted_and_named(tiny_float, colour_input, solid):
    paths = solid(*[(200, 0, 0)] * 25)
    truths = [RED] * 25
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    truths[3] = BLUE
    subject = Subject(tiny_float, colour_input)
    (quality,) = evaluate.evaluate(subject, paths, truths)
    assert quality.images == 24
    assert quality.rank == (0,) * 24
    assert len(quality.skipped) == 1
    assert quality.skipped[0].startswith("3.png: ")
    paths[4].write_bytes(b"")
    with pytest.raises(DataError, match=r"too many unreadable images, more than 5%: 3\.png.*4\.png"):
        evaluate.evaluate(subject, paths, truths)


def test_undefined_outputs_are_an_error(write_colours, colour_input, solid, tmp_path):
    broken = write_colours(tmp_path, "float32", np.full((4, 3), 3e38, np.float32))
    with pytest.raises(DataError, match="infinite or undefined"):
        evaluate.evaluate(Subject(broken, colour_input), solid((255, 255, 255)), [None])


def test_what_is_wrong_with_a_model_is_not_blamed_on_images(tiny_float, colour_input, solid, tmp_path):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(tiny_float.path.read_bytes()[:300])
    damaged = Subject(artifacts.read(path), colour_input)
    for subject, reference in ((damaged, None), (Subject(tiny_float, colour_input), damaged)):
        with pytest.raises(FileFormatError, match="damaged or truncated"):
            evaluate.evaluate(subject, solid((1, 2, 3)), [None], reference)


def test_classes_that_do_not_fit(tiny_float, colour_input, write_colours, solid, tmp_path):
    subject = Subject(tiny_float, colour_input)
    with pytest.raises(DataError, match="class 4, but the model has only 4 classes"):
        evaluate.evaluate(subject, solid((1, 2, 3)), [4])
    three = write_colours(tmp_path, "float32", np.eye(3, dtype=np.float32), ("red", "green", "blue"))
    with pytest.raises(DataError, match="the model has 4 classes and the reference 3"):
        evaluate.evaluate(subject, solid((1, 2, 3)), [None], Subject(three, colour_input))


def dev400(assets):
    """The sample images but for every fifth, which calibrate; and their classes."""
    paths = images.list_images(assets / "imagenet-sample")
    left = [number for number in range(500) if number % 5]
    return [paths[number] for number in left], [2 * number for number in left]


def percent(ranks, below):
    return 100 * sum(rank < below for rank in ranks) / len(ranks)


@pytest.mark.assets
@pytest.mark.export
def test_squeezenet_reaches_its_baselines(exported, assets, run_edgekit):
    """By the command line, which leaves out the images that calibrated: what is left are dev400."""
    done = run_edgekit("eval", exported["int8"], "--reference", exported["float32"], "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "100 of 500 images set the activation ranges and are left out\n"
    quantized, reference = json.loads(done.stdout)
    assert quantized["images"] == reference["images"] == 400
    assert (percent(reference["rank"], 1), percent(reference["rank"], 5)) == (66.25, 84.75)
    # the manifest has 66.50, 84.50 and 97.25; float kernels, and so scales, differ a little between processors
    assert percent(quantized["rank"], 1) >= 65.25
    assert percent(quantized["rank"], 5) >= 83.75
    assert 100 * sum(quantized["agrees"]) / 400 >= 95.5
    assert sum(quantized["kl_nats"]) / 400 <= 0.003  # the stock converter's logits: 0.0103
    paths, _truths = dev400(assets)
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    assert quantized["images_sha256"] == hashlib.sha256(digests).hexdigest()


@pytest.mark.assets
def test_the_published_mobilenet_reaches_its_baseline(assets, monkeypatch):
    """A uint8 file without a card, judged without one flag."""
    monkeypatch.setenv("EDGEKIT_ASSETS", str(assets))
    artifact = artifacts.read(assets / "tflite/mobilenet_v1_0.5_160_quant.tflite")
    subject = Subject(artifact, foreign.input_spec(artifact, foreign.Preprocessing()))
    paths, classes = dev400(assets)
    truths = [foreign.class_names(artifact).number(path.name[:9]) for path in paths[:1]]
    assert truths == [classes[0] + 1]
    (quality,) = evaluate.evaluate(subject, paths, [number + 1 for number in classes])
    assert 67.25 <= percent(quality.rank, 1) <= 69.5
