"""From a name to files: what is written runs, says what it is, and is the network that was trained."""

from __future__ import annotations

import hashlib
import json

import msgspec
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
    """Ten of the sample images."""
    return exports.load_samples(own_assets / "imagenet-sample", squeezenet.input, 10)


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
    model = models.build(exports.find_model("squeezenet_v1_1"))
    weights.assign(model, weights.load(weights.pretrained("squeezenet_v1_1")))
    runner = Runner(squeezenet.tflite)
    for image in samples.inputs[:3]:
        expected = np.asarray(model(image, training=False))
        assert np.abs(runner.run(image) - expected).max() <= 1e-4
        assert expected.max() > 0.1  # an answer, not a uniform distribution


@pytest.mark.assets
@pytest.mark.parametrize("chosen", RECIPES, ids=lambda chosen: chosen.name)
def test_every_recipe_runs(chosen, squeezenet, samples, own_assets, tmp_path):
    made = exports.export(squeezenet, chosen, tmp_path, samples)
    assert made == artifacts.read(tmp_path / f"squeezenet_v1_1-224-{chosen.name}.tflite")
    assert list(tmp_path.iterdir()) == [made.path]
    assert made.card.recipe == chosen
    assert (made.card.calibration is not None) == chosen.needs_calibration
    runner = Runner(made.path.read_bytes())
    assert (runner.input.dtype, runner.output.dtype) == (chosen.io, chosen.output)
    assert made.card.output == ("probabilities" if chosen.output == "float32" else "logits")
    assert golden.check(made.path.read_bytes(), made.card.input, made.golden).exact
    reference, prepare = Runner(squeezenet.tflite), images.Preprocessor(made.card.input, runner.input)
    agrees = []
    for path in sorted((own_assets / "imagenet-sample").iterdir())[1:500:80]:
        pixels = images.crop(path.read_bytes(), squeezenet.input)
        expected = reference.run(images.normalise(pixels, squeezenet.input)).argmax()
        agrees.append(runner.run(prepare(pixels)).argmax() == expected)
    assert sum(agrees) >= 6
    share = made.size_bytes / len(squeezenet.tflite)
    low, high = {"float32": (0.99, 1.02), "float16": (0.5, 0.52), "int8": (0.25, 0.29)}[chosen.weights]
    assert low < share < high


@pytest.mark.assets
def test_the_card(exported, own_assets):
    """Of the artifact that the command line made from the store's weights and images."""
    made = artifacts.read(exported["int8"])
    card = made.card
    assert (card.model, card.family, card.classes, card.output) == (
        "squeezenet_v1_1",
        "squeezenet",
        1000,
        "probabilities",
    )
    assert card.recipe == recipe.find("int8")
    trained_for = square(224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert artifacts.read(exported["float32"]).card.input == trained_for
    assert msgspec.structs.replace(card.input, mean=trained_for.mean, std=trained_for.std) == trained_for
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
    for path in exported.values():
        found = inspection.inspect(path)
        assert found.left == []
        assert found.macs_delegated == 1.0
        assert found.golden == inspection.GoldenVerdict(True, "bit-exact")
    assert inspection.inspect(exported["float32"]).macs == 349_151_936


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


def test_an_export_does_not_depend_on_what_was_built_before(noise_folder, tmp_path):
    """Keras numbers layers without a name as long as the process lives."""
    spec = exports.find_model("mobilenet_v1_025", 10, 32)
    contents = []
    for folder in ("first", "again"):
        trained = exports.prepare(spec, "random")
        samples = exports.load_samples(noise_folder, trained.input, 10)
        chosen = recipe.find("float32"), recipe.find("int8_fast")
        made = [exports.export(trained, each, tmp_path / folder, samples) for each in chosen]
        contents.append([artifact.path.read_bytes() for artifact in made])
        models.outline(exports.find_model("mobilenet_v3_small"))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("family", sorted({spec.family for spec in models.specs()}))
def test_layers_are_named_as_in_a_new_process(family):
    specs = [spec for spec in models.specs() if spec.family == family]
    first, again = ([[layer.name for layer in models.outline(spec).layers] for spec in specs[:2]] for _ in range(2))
    assert first == again
    for names in first:
        assert len(set(names)) == len(names)


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
    assert trained.card.weights == artifacts.WeightsOrigin("mine.keras", artifacts.sha256_of(path))
    assert trained.labels == ()


def test_weights_that_do_not_say_how_their_input_is_made(tmp_path):
    spec = exports.find_model(*SMALL)
    path = tmp_path / "mine.keras"
    models.build(spec).save(path)
    (line,) = exports.prepare(spec, path).warnings
    assert line == "mine.keras does not say how images become its input; RGB on 0..255 is taken for granted"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(value, tmp_path):
    spec = exports.find_model(*SMALL)
    model = models.build(spec)
    kernel, bias = model.get_layer("conv1").get_weights()
    kernel[0, 0, 0, 0] = value
    model.get_layer("conv1").set_weights([kernel, bias])
    path = tmp_path / "mine.keras"
    model.save(path)
    with pytest.raises(DataError, match=r"squeezenet_v1_1: the weights of conv1 in mine\.keras hold infinite"):
        exports.prepare(spec, path)


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


def test_half_of_the_calibration_images_may_be_broken(noise_folder, tmp_path):
    for number, path in enumerate(sorted(noise_folder.iterdir())[:6]):
        (tmp_path / path.name).write_bytes(path.read_bytes() if number % 2 else b"nothing")
    samples = exports.load_samples(tmp_path, square(32))
    assert (len(samples.inputs), len(samples.skipped)) == (3, 3)
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"too many unreadable images, more than 50%: 00\.png"):
        exports.load_samples(tmp_path, square(32))


def test_calibration_images_that_show_nothing(tmp_path):
    """One flat colour each, in whatever number; a dark pixel in one of them is a picture."""
    for shade in range(12):
        Image.new("RGB", (40, 40), (20 * shade,) * 3).save(tmp_path / f"{shade:02}.png")
    with pytest.raises(DataError, match=f"calibration images of {tmp_path} hold no picture"):
        exports.load_samples(tmp_path, square(32))
    picture = Image.new("RGB", (40, 40), (9, 9, 9))
    picture.putpixel((20, 20), (255, 255, 255))
    picture.save(tmp_path / "picture.png")
    assert len(exports.load_samples(tmp_path, square(32)).inputs) == 13
    assert about_ranges(tmp_path) == []


def about_ranges(folder):
    """What is said of the ranges that the images of a folder give."""
    return [line for line in exports.load_samples(folder, square(32)).warnings if "ranges will be poor" in line]


@pytest.mark.parametrize(
    ("different", "copies", "said"),
    [
        (1, 1, "only 1 calibration image: activation ranges will be poor"),
        (9, 1, "only 9 calibration images: "),
        (10, 1, ""),
        (1, 12, "all 12 calibration images are identical: "),
        (3, 4, "only 3 of the 12 calibration images differ: "),
        (10, 2, ""),
    ],
)
def test_few_or_equal_calibration_images(different, copies, said, noise_folder, tmp_path):
    for path in sorted(noise_folder.iterdir())[:different]:
        for copy in range(copies):
            (tmp_path / f"{path.stem}-{copy}.png").hardlink_to(path)
    warnings = about_ranges(tmp_path)
    assert len(warnings) == bool(said)
    assert all(line.startswith(said) for line in warnings)


def test_images_equal_once_they_are_decoded_are_equal(noise_folder, tmp_path):
    """Other files, the same pixels."""
    picture = Image.open(next(noise_folder.iterdir()))
    for level in range(10):
        picture.save(tmp_path / f"{level}.png", compress_level=level)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) > 1
    (line,) = about_ranges(tmp_path)
    assert line.startswith("all 10 calibration images are identical")


def test_calibration_images_of_any_size_are_resized_and_cropped(tmp_path):
    """As the InputSpec says: an enlarged picture, of whatever width, gives the same input again."""
    spec = square(32)
    assert spec.resize_shorter == 37
    ramp = np.broadcast_to(np.arange(0, 5 * 37, 5, dtype=np.uint8)[:, np.newaxis, np.newaxis], (37, 50, 3))
    for times, width in ((1, 50), (2, 37), (8, 50)):
        Image.fromarray(ramp[:, :width].repeat(times, axis=0).repeat(times, axis=1)).save(tmp_path / f"{times}.png")
    exact, *resized = exports.load_samples(tmp_path, spec).inputs
    assert np.array_equal(exact[0], ramp[2:34, :32])
    for values in resized:
        assert values.shape == (1, 32, 32, 3)
        assert np.abs(values - exact).max() <= 2
