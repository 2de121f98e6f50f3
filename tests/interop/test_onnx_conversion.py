"""ONNX in and out through the real converter and onnxruntime: meaning stays, and what is lost is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from edgekit import export as exports
from edgekit import images
from edgekit.errors import FileFormatError, QualityError, UsageError
from edgekit.foreign import Preprocessing
from edgekit.interop import onnx_in
from edgekit.runtime import Runner

pytestmark = [pytest.mark.interop, pytest.mark.slow]
SAID = Preprocessing(mean="0", std="255")
SPLIT = ("squeezenet_v1_0", "squeezenext_23_g", "mobilenet_v3_small", "mobilenet_v2_torch", "alexnet")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def normalising(net):
    mean = net.constant("means", np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
    std = net.constant("stds", np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))
    net.node("Sub", ["image", mean], "centred")
    return net.node("Div", ["centred", std], "normal")


def test_means_move_into_the_card_and_answers_stay(onnx2tf, classifier, pictures, tmp_path):
    path = classifier(front=normalising).write(tmp_path / "net.onnx")
    made = exports.from_onnx(path, SAID, pictures=pictures)
    assert made.input.mean == pytest.approx((123.675, 116.28, 103.53), rel=1e-5)
    assert made.input.std == pytest.approx((58.395, 57.12, 57.375), rel=1e-5)
    assert (made.stem, made.card.weights.source, made.source) == ("net", "net.onnx", path)
    assert set(made.card.tools) >= {"onnx2tf", "onnxruntime", "tensorflow"}
    pixels = images.crop((pictures / "0.png").read_bytes(), made.input)
    given = pixels[np.newaxis].transpose(0, 3, 1, 2).astype(np.float32) / 255
    (wanted,) = onnx_in.answers(path, given, lambda *done: None)
    assert np.abs(Runner(made.tflite).run(images.normalise(pixels, made.input)) - wanted).max() <= 1e-4


def test_open_sizes_are_fixed_by_a_flag(onnx2tf, classifier, pictures, tmp_path):
    path = classifier(("N", 3, "h", "w")).write(tmp_path / "net.onnx")
    assert exports.from_onnx(path, SAID, pictures=pictures, input_size=48).input.height == 48


def shuffling(net):
    """Channels dealt anew: what convolutions cannot take over."""
    kernel = net.constant("first", np.random.default_rng(1).normal(size=(6, 3, 1, 1)))
    net.node("Conv", ["image", kernel], "six", kernel_shape=[1, 1])
    net.node("Reshape", ["six", net.constant("split", [1, 2, 3, 32, 32])], "groups")
    net.node("Transpose", ["groups"], "dealt", perm=[0, 2, 1, 3, 4])
    net.node("Reshape", ["dealt", net.constant("joined", [1, 6, 32, 32])], "shuffled")
    last = net.constant("second", np.random.default_rng(2).normal(size=(3, 6, 1, 1)))
    return net.node("Conv", ["shuffled", last], "three", kernel_shape=[1, 1])


def test_moved_values_are_counted_and_above_the_limit_refused(onnx2tf, classifier, pictures, tmp_path):
    path = classifier(front=shuffling).write(tmp_path / "net.onnx")
    made = exports.from_onnx(path, SAID, pictures=pictures, max_transposes=9)
    assert "TRANSPOSE" in " ".join(made.warnings)
    with pytest.raises(QualityError, match=r"ONNX nodes .*the_\w+.*--max-transposes"):
        exports.from_onnx(path, SAID, pictures=pictures, max_transposes=0)


def test_an_unknown_operator_is_named_with_its_node(onnx2tf, classifier, pictures, tmp_path):
    net = classifier()
    net.node("Entangle", ["flat"], "odd")
    with pytest.raises(FileFormatError, match="the_Entangle") as caught:
        exports.from_onnx(net.write(tmp_path / "net.onnx"), SAID, pictures=pictures)
    assert "\n" not in str(caught.value)


def test_no_preprocessing_is_no_guess(classifier, pictures, tmp_path):
    with pytest.raises(UsageError, match="say --mean and --std on 0"):
        exports.from_onnx(classifier().write(tmp_path / "net.onnx"), pictures=pictures)


@pytest.mark.export
@pytest.mark.parametrize("name", SPLIT)
def test_networks_go_out_as_onnx(name, onnx2tf, tmp_path):
    """Parity is checked on the way, and the file says how it is fed."""
    spec = exports.find_model(name, 10, 64)
    trained = exports.prepare(spec, "random")
    path = exports.to_onnx(trained, tmp_path)
    from edgekit.interop import onnx_file

    found = onnx_file.plan(path)
    assert found.shape == (1, 3, 64, 64)
    assert found.outputs == ("probabilities",)
    assert json.loads(found.metadata["edgekit.input"])["height"] == 64


@pytest.mark.export
def test_out_and_in_again(onnx2tf, pictures, tmp_path):
    trained = exports.prepare(exports.find_model("squeezenet_v1_1", 10, 64), "random")
    back = exports.from_onnx(exports.to_onnx(trained, tmp_path), pictures=pictures)
    assert back.input == trained.input
    sample = images.normalise(images.crop((pictures / "1.png").read_bytes(), trained.input), trained.input)
    assert np.abs(Runner(back.tflite).run(sample) - Runner(trained.tflite).run(sample)).max() <= 1e-5


@pytest.mark.torch
def test_a_torch_module(onnx2tf, torch, pictures):
    torch.manual_seed(0)
    layers = torch.nn
    module = layers.Sequential(
        layers.Conv2d(3, 8, 3, 2, 1),
        layers.BatchNorm2d(8),
        layers.ReLU(),
        layers.AdaptiveAvgPool2d(1),
        layers.Flatten(),
        layers.Linear(8, 4),
    )
    module.train()
    made = exports.from_torch(module, torch.zeros(1, 3, 32, 32), "small", SAID, pictures=pictures, back_end="onnx2tf")
    assert module.training  # as it was
    assert (made.stem, made.source, made.card.weights.source) == ("small", None, "torch module Sequential")
    sample = images.normalise(images.crop((pictures / "1.png").read_bytes(), made.input), made.input)
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(sample.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.abs(Runner(made.tflite).run(sample) - wanted).max() <= 1e-4


@pytest.mark.torch
def test_a_module_that_cannot_be_traced(torch, pictures):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(FileFormatError, match="cannot trace Odd"):
        exports.from_torch(Odd(), torch.zeros(1, 3, 32, 32), "odd", SAID, pictures=pictures, back_end="onnx2tf")
    with pytest.raises(UsageError, match=r"example input is \(1, 1, 8, 8\)"):
        exports.from_torch(Odd(), torch.zeros(1, 1, 8, 8), "odd", SAID, pictures=pictures)
