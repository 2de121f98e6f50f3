"""Any float .tflite as the source of an export: what is passed on, what is refused, and that no framework is asked."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from float_graphs import Net, operator
from PIL import Image

import edgekit
from edgekit import artifact as artifacts
from edgekit import cli, foreign, graph, images, isolate, recipe
from edgekit import export as exports
from edgekit.artifact import Card
from edgekit.errors import DataError, EdgekitError, FileFormatError, UsageError
from edgekit.foreign import Preprocessing
from edgekit.runtime import Runner
from edgekit.spec import square

SHAPE = (1, 32, 32, 3)
SAID = Preprocessing("BGR", "120, 125,130", "64")
SAYING = ("--channels", "BGR", "--mean", "120, 125,130", "--std", "64", "--calibration-images", "10")
SPEC = square(32, channels="BGR", mean=(120.0, 125.0, 130.0), std=(64.0,) * 3)
CLOSE = 0.06  # of probabilities that lie far from each other: their noise over the pictures is larger
FRAMEWORKS = ("tensorflow", "keras", "torch", "h5py", "google.protobuf")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """12 images of noise, of several sizes; the command lines calibrate on 10 of them and so can judge on two."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (40 + number, 50, 3), np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def write(tmp_path):
    """`write(content, name)`: a .tflite in a folder of its own."""

    def write(content, name="net.tflite"):
        path = tmp_path / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def failing(capfd, pictures, tmp_path):
    """`failing(exit code, *sources, more=SAYING)`: the last line of an export that writes nothing."""

    def fail(code, *sources, more=SAYING):
        out = tmp_path / "out"
        arguments = ["export", *sources, "--calibration", pictures, "-o", out, *more]
        assert cli.run([str(argument) for argument in arguments]) == code
        complaints = capfd.readouterr().err.splitlines()
        assert "Traceback" not in "".join(complaints)
        assert not out.exists() or not list(out.iterdir())
        return complaints[-1].removeprefix("edgekit: ")

    return fail


def classifier(net, data, classes=4):
    """Ends a network in mean, dense layer and softmax; returns the probabilities."""
    channels = net.graph.tensors[data].shape[-1]
    mean = net.add("MEAN", [data, net.constant([1, 2], "int32")], (1, channels))
    logits = net.add("FULLY_CONNECTED", [mean, net.weights(classes, channels, spread=2)], (1, classes))
    return net.add("SOFTMAX", [logits], (1, classes))


def plain(shape=SHAPE, signature=None, classes=4):
    """A convolution and a classifier."""
    net = Net(shape)
    net.graph.tensors[0].shape_signature = signature
    classifier(net, net.conv(0, 8, 3), classes)
    return net.done()


def with_operator(kind, **options):
    """A network with an operator between two convolutions."""
    net = Net(SHAPE)
    data = net.add(kind, [net.conv(0, 8, 3)], (1, 32, 32, 8), **options)
    classifier(net, net.conv(data, 8, 3))
    return net.done()


def cast(net, data, dtype):
    """Appends a CAST, which float_graphs has no use for."""
    source = net.graph.tensors[data]
    target = net.graph.add_tensor(graph.Tensor("cast", source.shape, dtype))
    types = {"inDataType": source.dtype, "outDataType": dtype}
    options = {name: graph.constant("TensorType", kind.upper()) for name, kind in types.items()}
    table = graph.new_options("CastOptions", **options)
    net.graph.operators.append(
        graph.Operator("CAST", [data], [target], table, graph.constant("BuiltinOptions", "CastOptions"))
    )
    return target


def by_way_of(dtype):
    """A network whose values are of another type for a while."""
    net = Net(SHAPE)
    classifier(net, cast(net, cast(net, net.conv(0, 8, 3), dtype), "float32"))
    return net.done()


def with_input(dtype):
    """A network with an input of another type."""
    net = Net(SHAPE)
    net.graph.tensors[0].dtype = dtype
    classifier(net, net.conv(cast(net, 0, "float32"), 8, 3))
    return net.done()


def with_constant(value, kind="ADD"):
    """A network that adds a constant of one value; `kind` CONV_2D puts it into the kernel."""
    net = Net(SHAPE)
    data = net.conv(0, 8, 3)
    if kind == "CONV_2D":
        net.graph.tensors[1].data[3, 1, 1, 1] = value
    else:
        data = net.add(kind, [data, net.constant([value] * 8)], (1, 32, 32, 8))
    classifier(net, data)
    return net.done()


def two_inputs():
    net = Net(SHAPE, SHAPE)
    classifier(net, net.add("ADD", [0, 1], SHAPE))
    return net.done()


def two_outputs():
    net = Net(SHAPE)
    data = net.conv(0, 8, 3)
    return net.done(classifier(net, data), classifier(net, data, 3))


def custom():
    net = Net(SHAPE)
    target = net.graph.add_tensor(graph.Tensor("custom", SHAPE, "float32"))
    net.graph.operators.append(graph.Operator("CUSTOM", [0], [target], custom_code="OfNobody"))
    return net.done()


def strings():
    net = Net(SHAPE)
    net.graph.tensors[0].dtype = "string"
    target = net.graph.add_tensor(graph.Tensor("out", SHAPE, "string"))
    net.graph.operators.append(operator("RESHAPE", [0, net.constant(SHAPE, "int32")], [target]))
    return net.done()


def two_subgraphs():
    """The plain network with an empty second subgraph."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromPackedBuf(plain(), 0)
    model.subgraphs.append(schema.SubGraphT())
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def recursive():
    """A branch that is the graph itself: the runtime dies of it."""
    tensors = [graph.Tensor("in", SHAPE, "float32"), graph.Tensor("condition", (1,), "bool", np.ones(1, bool))]
    tensors.append(graph.Tensor("out", SHAPE, "float32"))
    options = graph.new_options("IfOptions", thenSubgraphIndex=0, elseSubgraphIndex=0)
    branch = graph.Operator("IF", [1, 0], [2], options, graph.constant("BuiltinOptions", "IfOptions"))
    return graph.dump(graph.Graph(tensors, [branch], [0], [2]))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A float32 artifact with all that a card can say."""
    card = Card(
        model="toy",
        family="toys",
        classes=4,
        input=SPEC,
        recipe=recipe.find("float32"),
        weights=artifacts.WeightsOrigin("a public address", "0" * 64),
        options={"alpha": 0.5},
        tools={"edgekit": "0.0.1", "keras": "3.9.0"},
    )
    path = tmp_path_factory.mktemp("own") / "toy-32-float32.tflite"
    return artifacts.write(path, plain(), card, ("a", "b", "c", "d"), ("1", "2", "3", "4"), None)


def export(path, name, folder, pictures, said=SAID):
    trained = exports.from_tflite(path, said)
    return exports.export(trained, recipe.find(name), folder, exports.load_samples(pictures, trained.input))


def largest_difference(path, made, pictures, said=SAID):
    """Between the probabilities of a float model and those of the int8 artifact made of it."""
    wanted = foreign.input_spec(artifacts.read(path), said)
    reference, runner = Runner(path.read_bytes()), Runner(made.path.read_bytes())
    ways = images.Preprocessor(wanted, reference.input), images.Preprocessor(made.card.input, runner.input)
    worst = 0.0
    for picture in pictures.iterdir():
        pixels = images.crop(picture.read_bytes(), wanted)
        expected = reference.run(ways[0](pixels))
        found = runner.output.dequantize(runner.run(ways[1](pixels)))
        if made.card.output == "logits":
            powers = np.exp(found - found.max())
            found = powers / powers.sum()
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


# What is passed on.


def test_a_file_without_a_card(write, pictures, tmp_path):
    """Its name becomes the model's, its hash the origin of the weights, and what was said its preprocessing."""
    path = write(plain(), "mine-float32.tflite")
    made = export(path, "int8", tmp_path, pictures)
    assert made.path == tmp_path / "mine-int8.tflite"
    card = made.card
    assert (card.model, card.classes) == ("mine", 4)
    assert card.weights == artifacts.WeightsOrigin("mine-float32.tflite", artifacts.sha256_of(path))
    assert (made.labels, made.label_ids, card.options) == ((), (), {})
    assert set(card.tools) == {"edgekit", "ai-edge-litert", "numpy"}
    assert len(card.calibration.image_ids) == 12
    assert largest_difference(path, made, pictures) < CLOSE
    assert export(path, "int8_weights", tmp_path, pictures).card.input == SPEC


@pytest.mark.parametrize("name", ["net.tflite", "net-float32.tflite", "net_float32.tflite", "net.TFLITE"])
def test_the_stem(name):
    assert exports.is_file_name(name)
    assert exports.stem(Path("folder") / name) == "net"


def test_labels_that_were_given(write, pictures, tmp_path):
    trained = exports.from_tflite(write(plain()), SAID, labels=("a", "b", "c", "d"))
    made = exports.export(trained, recipe.find("float32"), tmp_path)
    assert made.labels == ("a", "b", "c", "d")
    with pytest.raises(DataError, match=r"3 labels were given, but .*net\.tflite has 4 classes"):
        exports.from_tflite(write(plain()), SAID, labels=("a", "b", "c"))


def test_the_card_of_a_file_is_passed_on(own, pictures, tmp_path):
    made = export(own.path, "int8", tmp_path, pictures, said=Preprocessing())
    assert made.path.name == "toy-32-int8.tflite"
    assert (made.labels, made.label_ids) == (own.labels, own.label_ids)
    for name in ("model", "family", "classes", "weights", "options"):
        assert getattr(made.card, name) == getattr(own.card, name)
    assert made.card.recipe == recipe.find("int8")
    assert made.card.tools["keras"] == "3.9.0"
    assert made.card.tools["edgekit"] == edgekit.__version__
    assert largest_difference(own.path, made, pictures) < CLOSE


def test_a_card_comes_before_what_is_said(own):
    trained = exports.from_tflite(own.path, Preprocessing(mean="1"))
    assert trained.input == SPEC
    (line,) = trained.warnings
    assert line == f"{own.path} has a card; its preprocessing holds, not --channels, --mean and --std"


def test_labels_of_a_card_that_do_not_fit(own, tmp_path):
    wrong = artifacts.write(tmp_path / "m.tflite", plain(), own.card, ("red", "green"), (), None)
    with pytest.raises(DataError, match=r"2 labels were given, but .* has 4 classes"):
        exports.from_tflite(wrong.path)


def test_a_card_whose_preprocessing_does_not_fit(own, tmp_path):
    card = msgspec.structs.replace(own.card, input=square(64))
    wrong = artifacts.write(tmp_path / "m.tflite", plain(), card, (), (), None)
    with pytest.raises(DataError, match=r"the model's input is \(1, 32, 32, 3\), the preprocessing makes \(1, 64"):
        exports.from_tflite(wrong.path)


def test_a_float_artifact_gives_what_its_network_gives(own, pictures, tmp_path):
    """To the last byte, whether the float model has just been made or comes from its file."""
    samples = exports.load_samples(pictures, SPEC)
    made = exports.Trained(plain(), own.card, exports.stem(own.path), own.labels, own.label_ids)
    for chosen in recipe.RECIPES:
        direct = exports.export(made, chosen, tmp_path / "direct", samples)
        again = export(own.path, chosen.name, tmp_path / "again", pictures)
        assert again.path.name == direct.path.name == f"toy-32-{chosen.name}.tflite"
        assert again.path.read_bytes() == direct.path.read_bytes()


@pytest.mark.export
def test_a_file_of_tensorflows_own_converter(write, pictures, tmp_path):
    """With an unknown batch size, batch normalisation and a dropout."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        ]
    )
    path = write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    assert graph.load(path.read_bytes()).tensors[0].shape_signature == (-1, 32, 32, 3)
    made = export(path, "int8", tmp_path, pictures)
    assert exports.float_operators(made) == ()
    assert largest_difference(path, made, pictures) < CLOSE


# Networks that ask for more than the plain one.


@pytest.mark.parametrize(
    ("content", "said", "left"),
    [
        (plain(signature=(-1, 32, 32, 3)), SAID, ()),
        (with_operator("EXP"), SAID, ("EXP",)),
        (by_way_of("float64"), SAID, ("CAST", "CAST")),
        (by_way_of("complex64"), SAID, ("CAST", "CAST")),
        (with_input("uint8"), Preprocessing(mean="0"), ("CAST",)),
    ],
    ids=["unknown batch", "exp", "float64", "complex64", "uint8 input"],
)
def test_what_has_no_integer_kernel_stays_float(content, said, left, write, pictures, tmp_path):
    """And the kernels do not; the answers are the float model's."""
    path = write(content)
    made = export(path, "int8", tmp_path, pictures, said)
    assert exports.float_operators(made) == left
    quantized = graph.load(made.path.read_bytes())
    weights = [quantized.tensors[operator.inputs[1]] for operator in quantized.operators if operator.has_weights]
    assert {tensor.dtype for tensor in weights} == {"int8"}
    assert largest_difference(path, made, pictures, said) < CLOSE


def test_the_command_line_says_which_operators_stay_float(write, pictures, run_edgekit, tmp_path):
    path = write(with_operator("EXP"))
    wanted = ["export", path, "-r", "int8,int8_float_io,float32", "--calibration", pictures, *SAYING, "-o", tmp_path]
    done = run_edgekit(*wanted, "--json")
    assert done.returncode == 0, done.stderr
    assert [row["float_operators"] for row in json.loads(done.stdout)] == [["EXP"], ["EXP"], []]
    assert done.stderr.splitlines() == [
        f"warning: {tmp_path / name}: without an integer kernel and so left in float: 1 EXP"
        for name in ("net-int8.tflite", "net-int8_float_io.tflite")
    ]


def test_channels_that_are_dead(write, pictures, tmp_path):
    """Kernels of nothing but zeros, with and without a bias."""
    net = Net(SHAPE)
    data = net.conv(0, 8, 3)
    kernel, bias = (net.graph.tensors[index].data for index in (1, 2))
    kernel[2:5], bias[2:4] = 0, 0
    classifier(net, net.conv(data, 8, 3))
    path = write(net.done())
    made = export(path, "int8", tmp_path, pictures)
    assert largest_difference(path, made, pictures) < CLOSE


def test_several_outputs_are_said_to_be_judged_by_the_first(write, pictures, tmp_path):
    path = write(two_outputs())
    (line,) = exports.from_tflite(path, SAID).warnings
    assert line.endswith("has 2 outputs; labels, classes and the golden vector are of the first")
    made = export(path, "int8", tmp_path, pictures)
    assert made.card.classes == 4
    assert [info.shape for info in Runner(made.path.read_bytes()).outputs] == [(1, 4), (1, 3)]


# What is refused.


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (
            plain((1, 1, 1, 3), (-1, -1, -1, 3)),
            3,
            "has no fixed size (-1, -1, -1, 3): build the model on an input of one",
        ),
        (two_subgraphs(), 3, "has 2 subgraphs, as control flow (IF, WHILE) makes them"),
        (two_inputs(), 2, "has 2 inputs; only models with one, an image, are known"),
        (plain((1, 24, 32, 3)), 2, "only square RGB images, (1, size, size, 3), are known"),
        (plain((8, 32, 32, 3)), 6, "the model's input is (8, 32, 32, 3), the preprocessing makes (1, 32, 32, 3)"),
        (with_input("float64"), 3, "the input 'input0' is float64; only float32 and uint8 inputs are known"),
        (strings(), 3, "the input 'input0' is string; only float32"),
        (custom(), 3, "the runtime cannot run this model: Encountered unresolved custom op: OfNobody"),
        (with_constant(np.nan, "CONV_2D"), 6, "the constant 'constant1' holds undefined values (NaN)"),
        (with_constant(np.nan), 6, "the constant 'constant4' holds undefined values (NaN)"),
        (with_constant(np.inf, "CONV_2D"), 6, "the weights 'constant1' hold infinite"),
        (with_constant(np.inf), 6, "the float model itself gives infinite or undefined values, first at 'add"),
        (recursive(), 9, "the runtime died (SIGSEGV); the file is damaged"),
        (plain((1, 60_000, 60_000, 3)), 3, ""),
    ],
    ids=lambda value: None if isinstance(value, int) else "" if isinstance(value, bytes) else value[:30],
)
def test_a_model_that_cannot_be_exported(content, code, said, write, failing):
    path = write(content)
    line = failing(code, path)
    assert line.startswith(str(path))
    assert said in line


def test_an_input_that_is_no_image(write, failing):
    net = Net((1, 64))
    net.add("FULLY_CONNECTED", [0, net.weights(4, 64)], (1, 4))
    assert "takes (1, 64); only square RGB images" in failing(2, write(net.done()))


def test_a_float_file_that_nobody_explains(write, failing):
    line = failing(2, write(plain()), more=())
    assert "has no card and its input is float32; say --mean and --std" in line


@pytest.mark.parametrize(("name", "stored"), [("int8", "int32"), ("int8_weights", "2 int8"), ("float16", "3 float16")])
def test_a_file_that_is_quantized_already(name, stored, write, pictures, tmp_path, failing):
    """It names the types that were found, and the recipe where a card does."""
    made = export(write(plain()), name, tmp_path, pictures)
    line = failing(3, made.path, more=())
    assert "the model is quantized already (" in line
    assert f"{stored} tensors, the recipe {name}); give the float32 .tflite that it was made from" in line


@pytest.mark.assets
def test_a_published_file_that_is_quantized_already(assets, failing):
    line = failing(3, assets / "tflite/mobilenet_v1_0.25_128_quant.tflite", more=())
    assert "the model is quantized already (60 uint8, 28 int32 tensors); give the float32 .tflite" in line


def test_damaged_files(own, write, failing):
    content = own.path.read_bytes()
    for wrong, said in (
        (b"", "is empty"),
        (b"GIF89a, not a model", "is not a .tflite file"),
        (content[:300], "damaged"),
        (content[:-50], "truncated"),
        (content[:100] + bytes(200) + content[300:], ""),
    ):
        path = write(wrong)
        line = failing(3, path, more=())
        assert str(path) in line
        assert said in line
    assert "No such file" in failing(3, path.with_name("none.tflite"))


def test_a_file_damaged_anywhere_is_exported_or_refused(write, pictures, tmp_path):
    """Never anything but an EdgekitError, whatever bytes are changed."""
    sound = with_operator("EXP")
    chance = random.Random(0)
    refused = 0
    for _ in range(24):
        content = bytearray(sound)
        for _ in range(chance.choice((1, 4))):
            place = chance.randrange(len(content) - 4)
            content[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", chance.randbytes(4)))
        try:
            export(write(bytes(content)), "int8", tmp_path, pictures)
        except EdgekitError:
            refused += 1
    assert 6 < refused < 24


def test_a_file_is_never_loaded_in_this_process(write, pictures, tmp_path, monkeypatch):
    """Examined, quantized, audited and asked for its golden output in children: what dies there, dies there."""
    called = []
    apart, load, parent = isolate.start, Runner.__init__, os.getpid()

    def start(what, timeout_s, function, *args):
        called.append(function.__name__)
        return apart(what, timeout_s, function, *args)

    def load_apart(self, *args, **kwargs):
        assert os.getpid() != parent
        load(self, *args, **kwargs)

    monkeypatch.setattr(isolate, "start", start)
    monkeypatch.setattr(Runner, "__init__", load_apart)
    export(write(plain()), "int8", tmp_path, pictures)
    assert [called[0], called[1], called[-1]] == ["_examine", "_quantize_apart", "answer"]


def test_progress_is_reported_from_the_child(write, pictures, tmp_path):
    seen = []
    trained = exports.from_tflite(write(plain()), SAID)
    samples = exports.load_samples(pictures, trained.input)
    exports.export(trained, recipe.find("int8"), tmp_path, samples, lambda *report: seen.append(report))
    done = {stage: (count, of) for stage, count, of in seen}
    assert done
    assert all(count == of for count, of in done.values())


# The command line.


@pytest.fixture
def without_frameworks(run_edgekit, tmp_path):
    """`run(*arguments)`: a command line on which no framework can be imported, and those that it asked for."""
    log = tmp_path / "asked.txt"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Bar:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {FRAMEWORKS!r}:\n"
        f"            with open({str(log)!r}, 'a') as log:\n"
        "                log.write(name + '\\n')\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Bar())\n"
    )

    def run(*arguments):
        log.write_text("")
        done = run_edgekit(*arguments, env={"PYTHONPATH": str(tmp_path)})
        return done, log.read_text().split()

    return run


def test_it_needs_no_framework(write, pictures, without_frameworks, tmp_path):
    """Nor asks for one, from the first look to the finished files of every recipe."""
    recipes = ",".join(chosen.name for chosen in recipe.RECIPES)
    out = tmp_path / "out"
    wanted = [write(plain()), "--recipe", recipes, "--calibration", pictures, *SAYING, "-o", out]
    done, asked = without_frameworks("export", *wanted)
    assert (done.returncode, done.stderr, asked) == (0, "", [])
    assert {path.name for path in out.iterdir()} == {f"net-{chosen.name}.tflite" for chosen in recipe.RECIPES}
    done, asked = without_frameworks("export", "squeezenet_v1_1", "--weights", "random", "-o", out)
    assert done.returncode == 7
    assert "keras" in asked


@pytest.mark.parametrize("place", ["none", "file.png", "empty"])
def test_a_calibration_folder_is_looked_at_before_a_network_is_built(place, without_frameworks, tmp_path):
    (tmp_path / "file.png").touch()
    (tmp_path / "empty").mkdir()
    wanted = ["export", "squeezenet_v1_1", "--weights", "random", "--calibration", tmp_path / place]
    done, asked = without_frameworks(*wanted)
    assert (done.returncode, asked) == (6, [])
    said = "no images below" if place == "empty" else "is not a folder"
    assert done.stderr.startswith("edgekit: ")
    assert said in done.stderr


def test_what_a_weak_calibration_folder_is_told(write, run_edgekit, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in (0, 1, 2, 9):
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no image")
    wanted = ["export", write(plain()), "--calibration", folder, *SAYING[:-1], 4, "-o", tmp_path / "out"]
    done = run_edgekit(*wanted)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "1 unreadable images were skipped: 3.png: no image of a known format",
        "warning: only 3 calibration images: activation ranges will be poor; give 100 of what the model will see",
    ]


def test_options_without_an_effect_are_refused(write, failing):
    path = write(plain())
    for more in (["--classes", "7"], ["--input-size", "64"], ["--weights", "random"], ["--set", "alpha=1"]):
        assert failing(2, path, more=more) == f"{more[0]} would change a network, but {path} is taken as it is"
    assert "are for files without a card" in failing(2, "squeezenet_v1_1", more=["--mean", "3"])
    assert "--channels is RGB or BGR" in failing(2, path, more=["--mean", "3", "--channels", "GRB"])


def test_a_file_that_is_no_tflite(pictures, failing):
    line = failing(3, next(pictures.iterdir()), more=())
    assert line.endswith("give weights with --weights and their network's name, or convert the model first")


def test_two_files_of_one_name(write, tmp_path, failing):
    other = tmp_path / "other" / "net-float32.tflite"
    other.parent.mkdir()
    other.write_bytes(plain())
    assert "2 of the models would be written as net-" in failing(2, write(plain()), other)


def test_the_source_is_not_overwritten(write, tmp_path):
    path = write(plain(), "net-float32.tflite")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="would overwrite the file it is made from"):
        exports.export(exports.from_tflite(path, SAID), recipe.find("float32"), path.parent / ".")
    assert path.read_bytes() == before


def test_what_was_made_before_a_failure_stays_and_is_shown(write, pictures, run_edgekit, tmp_path):
    first, second = write(plain()), write(b"no model", "second.tflite")
    wanted = ["export", first, second, "--calibration", pictures, *SAYING, "-o", tmp_path / "out"]
    done = run_edgekit(*wanted, "--json")
    assert done.returncode == 3
    assert done.stderr.startswith(f"edgekit: {second} is not a .tflite file")
    (row,) = json.loads(done.stdout)
    assert [str(path) for path in (tmp_path / "out").iterdir()] == [row["path"]]
    assert artifacts.read(tmp_path / "out" / "net-int8.tflite").sha256 == row["sha256"]


def test_where_nothing_can_be_written(write, pictures, tmp_path, capfd):
    (tmp_path / "file").touch()
    wanted = ["export", write(plain()), "--calibration", pictures, *SAYING, "-o", tmp_path / "file"]
    assert cli.run([str(argument) for argument in wanted]) == 8
    assert capfd.readouterr().err.startswith(f"edgekit: cannot write {tmp_path / 'file' / 'net-int8.tflite'}")


def test_a_full_disk_leaves_nothing(write, pictures, edgekit_environment, tmp_path):
    """No file may grow beyond 2,000 bytes; the artifact of 4 kB would."""
    wanted = [write(plain()), "--calibration", pictures, *SAYING, "-o", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "export", *map(str, wanted)],
        env=edgekit_environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 8
    assert done.stderr.startswith("edgekit: cannot write ")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unexpected_failure_in_a_child_is_about_the_file(write, monkeypatch):
    def fail(*args):
        raise KeyError("something")

    monkeypatch.setattr("edgekit.quantize.quantize", fail)
    path = write(plain())
    with pytest.raises(FileFormatError, match=rf"{path}: damaged, or of a form that is not known here \(KeyError"):
        exports.from_tflite(path, SAID)
