"""Files that carry no card: what can be known about their input and classes, and what the user must say."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import artifact as artifacts
from edgekit import evaluate, foreign, graph, images, quantize, recipe
from edgekit.errors import DataError, UsageError
from edgekit.foreign import Preprocessing
from edgekit.spec import square

NOTHING_SAID = Preprocessing()


@pytest.fixture
def bare(tmp_path):
    """`bare(content)`: a file of that content, read as an artifact without a card."""

    def write(content):
        path = tmp_path / "foreign.tflite"
        path.write_bytes(content)
        read = artifacts.read(path)
        assert read.card is None
        return read

    return write


def without_tail(artifact):
    content = artifact.path.read_bytes()
    return content[: content.index(b"PK\x03\x04")]


def test_a_card_is_obeyed(tiny):
    said = Preprocessing("BGR", "1", "2")
    assert foreign.input_spec(tiny, said) == tiny.card.input


def test_an_int8_input_takes_pixels_as_they_are(tiny, bare):
    """Whatever the scale: pixel 0 is stored as -128, pixel 255 as 127."""
    artifact = bare(without_tail(tiny))
    spec = foreign.input_spec(artifact, NOTHING_SAID)
    assert (spec.height, spec.width, spec.channels) == (32, 32, "RGB")
    tensor = evaluate.Runner(artifact.path.read_bytes()).input
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = images.Preprocessor(spec, tensor)(pixels)[0]
    assert np.array_equal(found, (pixels.astype(int) - 128).astype(np.int8))


def test_a_float_input_must_be_explained(tiny_float, bare):
    artifact = bare(without_tail(tiny_float))
    with pytest.raises(UsageError, match="no card and its input is float32; say --mean"):
        foreign.input_spec(artifact, NOTHING_SAID)
    said = Preprocessing("BGR", "104, 117,123", "2")
    assert foreign.input_spec(artifact, said) == square(
        32, channels="BGR", mean=(104.0, 117.0, 123.0), std=(2.0, 2.0, 2.0)
    )
    assert foreign.input_spec(artifact, Preprocessing(mean="127.5")).std == (1.0, 1.0, 1.0)


def test_an_int16_input_must_be_explained(colour_network, colour_input, bare):
    samples = [np.random.default_rng(0).random((1, 32, 32, 3), np.float32)]
    artifact = bare(quantize.quantize(colour_network(), recipe.find("int16x8"), samples).model)
    with pytest.raises(UsageError, match="its input is int16"):
        foreign.input_spec(artifact, NOTHING_SAID)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (Preprocessing("GBR", "0"), "--channels is RGB or BGR, not 'GBR'"),
        (Preprocessing(mean="a lot"), "--mean takes one number or three"),
        (Preprocessing(mean="1,2"), "--mean takes one number or three"),
        (Preprocessing(mean="nan"), "--mean takes one number or three"),
        (Preprocessing(mean="0", std="1,2,3,4"), "--std takes one number or three"),
        (Preprocessing(mean="0", std="1,0,1"), "--std divides"),
    ],
)
def test_what_the_user_says_must_make_sense(said, complaint, tiny_float, bare):
    with pytest.raises(UsageError, match=complaint):
        foreign.input_spec(bare(without_tail(tiny_float)), said)


@pytest.mark.parametrize("shape", [(1, 4), (1, 32, 16, 3), (1, 32, 32, 1)])
def test_an_input_that_is_no_square_image(shape, bare):
    tensors = [graph.Tensor(name, shape, "float32") for name in ("in", "out")]
    model = graph.dump(graph.Graph(tensors, [graph.Operator("RELU", [0], [1])], [0], [1]))
    with pytest.raises(UsageError, match="only square RGB images"):
        foreign.input_spec(bare(model), Preprocessing(mean="0"))


def test_more_than_one_input(bare):
    tensors = [graph.Tensor(name, (1, 32, 32, 3), "float32") for name in ("a", "b", "sum")]
    options = graph.new_options("AddOptions"), graph.constant("BuiltinOptions", "AddOptions")
    model = graph.dump(graph.Graph(tensors, [graph.Operator("ADD", [0, 1], [2], *options)], [0, 1], [2]))
    with pytest.raises(UsageError, match="has 2 inputs"):
        foreign.input_spec(bare(model), Preprocessing(mean="0"))


def test_class_names_of_a_card(tiny):
    names = foreign.class_names(tiny)
    assert [names.number(name) for name in ("blue", "n00000004", "3", "4")] == [2, 3, 3, None]


def test_class_names_of_a_foreign_file_are_numbers(tiny, bare):
    names = foreign.class_names(bare(without_tail(tiny)))
    assert [names.number(name) for name in ("blue", "3", "4")] == [None, 3, None]


def test_labels_that_do_not_fit_the_outputs(tiny, tmp_path):
    wrong = artifacts.write(tmp_path / "m.tflite", without_tail(tiny), tiny.card, ("red", "green"), (), None)
    with pytest.raises(DataError, match="the model has 4 classes, but 2 labels"):
        foreign.class_names(wrong)


@pytest.mark.assets
def test_a_thousand_outputs_are_imagenet(assets, colour_network, bare, monkeypatch):
    monkeypatch.setenv("EDGEKIT_ASSETS", str(assets))
    names = foreign.class_names(bare(colour_network(np.ones((1000, 3), np.float32))))
    assert [names.number(name) for name in ("n01440764", "tench", "toilet tissue", "n99999999")] == [0, 0, 999, None]


@pytest.mark.assets
def test_the_published_uint8_mobilenet(assets, monkeypatch):
    """Known without one flag: 1001 classes with a background, pixels as they are."""
    monkeypatch.setenv("EDGEKIT_ASSETS", str(assets))
    artifact = artifacts.read(assets / "tflite/mobilenet_v1_0.5_160_quant.tflite")
    spec = foreign.input_spec(artifact, NOTHING_SAID)
    assert spec == square(160, mean=(128.0,) * 3, std=(128.0,) * 3)
    names = foreign.class_names(artifact)
    assert [names.number(name) for name in ("background", "n01440764", "n15075141")] == [0, 1, 1000]
