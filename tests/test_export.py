"""From a name to files: what is written runs, says what it is, and is the network that was trained."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from edgekit import artifact as artifacts
from edgekit import cli, golden, images, inspection, models, recipe, weights
from edgekit import export as exports
from edgekit.errors import DataError
from edgekit.recipe import RECIPES
from edgekit.runtime import Runner
from edgekit.spec import square

pytestmark = pytest.mark.export

SMALL = ("squeezenet_v1_1", 10, 32)  # as find_model takes it: 10 classes, 32 x 32 pixels


@pytest.fixture(scope="module")
def own_assets(assets):
    """The store, in this process too, whatever the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_ASSETS", str(assets))
        yield assets


@pytest.fixture(scope="module")
def squeezenet(own_assets):
    """SqueezeNet v1.1, trained, as a float .tflite."""
    return exports.prepare(exports.find_model("squeezenet_v1_1"))


@pytest.fixture(scope="module")
def samples(own_assets, squeezenet):
    """Twenty of the sample images."""
    return exports.load_samples(own_assets / "imagenet-sample", squeezenet.input, 20)


@pytest.fixture(scope="module")
def small():
    """A small network with random weights, as a float .tflite."""
    return exports.prepare(exports.find_model(*SMALL), "random")


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory):
    """25 images of noise."""
    folder = tmp_path_factory.mktemp("noise")
    generator = np.random.default_rng(0)
    for number in range(25):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.assets
def test_the_float_tflite_is_the_keras_model(squeezenet, samples):
    """On real images, with the weights assigned anew."""
    model = models.build(squeezenet.spec)
    weights.assign(model, weights.load(weights.pretrained("squeezenet_v1_1")))
    runner = Runner(squeezenet.tflite)
    for image in samples.inputs[:3]:
        expected = np.asarray(model(image, training=False))
        assert np.abs(runner.run(image) - expected).max() <= 1e-4
        assert expected.max() > 0.1  # an answer, not a uniform distribution


@pytest.mark.assets
@pytest.mark.parametrize("chosen", RECIPES, ids=lambda chosen: chosen.name)
def test_every_recipe_runs(chosen, squeezenet, samples, tmp_path):
    made = exports.export(squeezenet, chosen, tmp_path, samples)
    assert made == artifacts.read(tmp_path / f"squeezenet_v1_1-224-{chosen.name}.tflite")
    assert list(tmp_path.iterdir()) == [made.path]
    assert made.card.recipe == chosen
    assert (made.card.calibration is not None) == chosen.needs_calibration
    runner = Runner(made.path.read_bytes())
    assert (runner.input.dtype, runner.output.dtype) == (chosen.io, chosen.io)
    assert made.card.output == ("probabilities" if chosen.io == "float32" else "logits")
    assert golden.check(made.path.read_bytes(), made.card.input, made.golden).exact
    reference = Runner(squeezenet.tflite)
    judged = samples.inputs[:6]
    agrees = [runner.run(runner.input.quantize(image)).argmax() == reference.run(image).argmax() for image in judged]
    assert sum(agrees) >= 5
    share = made.size_bytes / len(squeezenet.tflite)
    low, high = {"float32": (0.99, 1.02), "float16": (0.5, 0.52), "int8": (0.25, 0.29)}[chosen.weights]
    assert low < share < high


@pytest.mark.assets
def test_the_card(exported, own_assets):
    """Of the artifact that the command line made from the store's weights and images."""
    made = artifacts.read(exported["int8"])
    card = made.card
    assert (card.model, card.family, card.classes, card.output) == ("squeezenet_v1_1", "squeezenet", 1000, "logits")
    assert card.recipe == recipe.find("int8")
    assert card.input == square(224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert card.weights.sha256 == artifacts.sha256_of(own_assets / "weights/squeezenet_v1.1.ncnn.bin")
    assert "squeezenet_v1.1.ncnn.bin" in card.weights.source
    assert set(card.tools) == {"edgekit", "ai-edge-litert", "keras", "numpy", "tensorflow"}
    every_fifth = sorted((own_assets / "imagenet-sample").iterdir())[::5]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in every_fifth]
    assert card.calibration == artifacts.Calibration(tuple(hashes), "imagenet-sample")
    lines = (own_assets / "synset_words.txt").read_text().splitlines()
    assert made.label_ids == tuple(line.split()[0] for line in lines)
    assert (len(made.labels), len(set(made.labels))) == (1000, 999)
    assert (made.labels[0], made.labels[134], made.labels[517]) == ("tench", "crane", "crane")
    assert (made.labels[638], made.labels[639]) == ("maillot", "maillot, tank suit")


@pytest.mark.assets
def test_the_delegate_takes_all_of_it(exported):
    found = inspection.inspect(exported["int8"])
    assert found.left == []
    assert found.macs_delegated == 1.0
    assert found.macs == 349_151_936
    assert found.golden == inspection.GoldenVerdict(True, "bit-exact")


@pytest.mark.assets
def test_the_golden_input_is_the_first_calibration_image(exported, own_assets, squeezenet):
    first = sorted((own_assets / "imagenet-sample").iterdir())[0]
    expected = golden.shrink(images.crop(first.read_bytes(), squeezenet.input))
    assert artifacts.read(exported["int8"]).golden.pixels == expected.tobytes()


def test_random_weights_are_the_same_each_time(small, noise_folder, tmp_path):
    """Two exports give the same bytes, whatever Keras has built before."""
    contents = []
    again = exports.prepare(exports.find_model(*SMALL), "random")
    for trained, folder in ((small, tmp_path / "first"), (again, tmp_path / "second")):
        samples = exports.load_samples(noise_folder, trained.input, 10)
        made = [exports.export(trained, recipe.find(name), folder, samples) for name in ("float32", "int8")]
        contents.append([artifact.path.read_bytes() for artifact in made])
        assert made[0].card.weights == artifacts.WeightsOrigin("random", None)
        assert (made[0].labels, made[0].label_ids) == ((), ())
    assert contents[0] == contents[1]


def test_several_models_and_recipes_in_one_call(capsys, tmp_path):
    arguments = ["export", "squeezenet_v1_1", "squeezenet_v1_0", "--input-size", "32", "--weights", "random"]
    arguments += ["--recipe", "float16,float32", "--classes", "10", "-o", str(tmp_path)]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(10)))
    assert cli.run([*arguments, "--labels", str(labels), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    names = [
        f"{model}-32-{name}.tflite"
        for model in ("squeezenet_v1_1", "squeezenet_v1_0")
        for name in ("float16", "float32")
    ]
    assert [row["path"] for row in made] == [str(tmp_path / name) for name in names]
    for row in made:
        artifact = artifacts.read(tmp_path / row["path"])
        assert artifact.sha256 == row["sha256"]
        assert artifact.labels == tuple(f"class {number}" for number in range(10))
        assert Runner(artifact.path.read_bytes()).output.shape == (1, 10)


def test_weights_of_a_keras_file(tmp_path):
    """What Keras saved comes out of the .tflite."""
    from keras import utils

    spec = exports.find_model("squeezenet_v1_1", classes=7, input_size=32)
    utils.set_random_seed(3)
    model = models.build(spec)
    path = tmp_path / "mine.keras"
    model.save(path)
    trained = exports.prepare(spec, path)
    noise = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    assert Runner(trained.tflite).run(noise) == pytest.approx(np.asarray(model(noise, training=False)), abs=1e-5)
    assert trained.origin == artifacts.WeightsOrigin("mine.keras", artifacts.sha256_of(path))
    assert trained.labels == ()


@pytest.mark.assets
def test_the_preprocessing_of_a_weights_file_follows_the_input_size(own_assets):
    spec = exports.find_model("squeezenet_v1_0", input_size=64)
    trained = exports.prepare(spec, own_assets / "weights/compressed_SqueezeNet.net")
    wanted = trained.input
    assert (wanted.height, wanted.width, wanted.channels, wanted.mean) == (64, 64, "BGR", (104.0, 117.0, 123.0))
    assert wanted.resize_shorter == round(256 / 227 * 64)


def test_a_recipe_that_needs_images_gets_none(small, tmp_path):
    with pytest.raises(DataError, match="the recipe int8 needs calibration images"):
        exports.export(small, recipe.find("int8"), tmp_path)
    made = exports.export(small, recipe.find("float32"), tmp_path)
    assert made.golden.pixels == golden.noise().tobytes()


def test_the_pretrained_size_is_the_default(own_assets):
    assert exports.find_model("mobilenet_v1_050").input_size == 160
    assert exports.find_model("mobilenet_v1_050", input_size=96).input_size == 96
    assert exports.find_model("squeezenext_23").input_size == models.find("squeezenext_23").input_size


def test_calibration_images(noise_folder):
    spec = square(32)
    samples = exports.load_samples(noise_folder, spec, 5)
    paths = sorted(noise_folder.iterdir())[::5]
    ids = tuple(images.content_id(path.read_bytes()) for path in paths)
    assert samples.record == artifacts.Calibration(ids, noise_folder.name)
    crops = [images.crop(path.read_bytes(), spec) for path in paths]
    for crop, found in zip(crops, samples.inputs, strict=True):
        assert np.array_equal(found, images.normalise(crop, spec))
    assert np.array_equal(samples.miniature, golden.shrink(crops[0]))
    assert samples.skipped == ()


def test_a_broken_calibration_image_is_named(noise_folder, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in noise_folder.iterdir():
        (folder / path.name).hardlink_to(path)
    (folder / "broken.png").write_bytes(b"nothing")
    samples = exports.load_samples(folder, square(32))
    assert len(samples.inputs) == 25
    assert [name.partition(":")[0] for name in samples.skipped] == ["broken.png"]
    (folder / "empty.png").touch()
    with pytest.raises(DataError, match=r"too many unreadable images.*broken\.png.*empty\.png"):
        exports.load_samples(folder, square(32))
