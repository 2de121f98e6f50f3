"""What the command line says of PyTorch and ONNX files before anything is converted."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import cli, weights

WEIGHTS = "net.safetensors"


@pytest.fixture
def failing(tmp_path, capsys, monkeypatch):
    """`failing(code, *arguments)`: the line of an export that writes nothing."""
    monkeypatch.chdir(tmp_path)
    weights.write_state_dict(tmp_path / WEIGHTS, {"features.0.weight": np.zeros((64, 3, 3, 3), np.float32)})
    (tmp_path / "net.onnx").write_bytes(b"no model")

    def fail(code: int, *arguments: str) -> str:
        assert cli.run(["export", *arguments, "-o", "out"]) == code
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    return fail


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WEIGHTS,), "net.safetensors holds weights alone; say their network with --model"),
        (("squeezenet_v1_1", "--model", "squeezenet_v1_1"), "--model says what network"),
        ((WEIGHTS, "--model", "squeezenet_v1_1", "--weights", "random"), "are both weights; give one of them"),
        (("net.onnx", "--classes", "10"), "--classes would change a network, but net.onnx is taken as it is"),
        (("squeezenet_v1_1", "--mean", "0"), "--channels, --mean and --std are for files without a card"),
        (("squeezenet_v1_0", "--format", "torch"), "its PyTorch form is squeezenet_v1_0_torch"),
        (("alexnet", "--format", "torch", "--weights", "random"), "those are squeezenext_23_torch"),
        (("net.onnx", "--format", "torch", "--mean", "0"), "writes the weights of a network of edgekit's"),
    ],
)
def test_what_contradicts_itself(arguments, message, failing):
    assert message in failing(2, *arguments)


def test_unknown_names_suggest_the_nearest(failing):
    assert "squeezenet_v1_1" in failing(4, WEIGHTS, "--model", "squeezenet_v11")
    assert "onnx" in failing(4, "squeezenet_v1_1", "--format", "onxx")


def test_files_that_are_not_there(failing):
    assert "no such file" in failing(3, "none.pth", "--model", "squeezenet_v1_1")
    assert "cannot read none.onnx" in failing(3, "none.onnx", "--mean", "0")


@pytest.mark.assets
def test_a_damaged_onnx_file(failing):
    assert "net.onnx" in failing(3, "net.onnx", "--mean", "0")


@pytest.mark.export
def test_weights_of_another_network_name_both_shapes(failing):
    line = failing(5, WEIGHTS, "--model", "squeezenet_v1_0")
    assert "conv1 (conv) is (7, 7, 3, 96), the file's features.0 (conv) is (3, 3, 3, 64)" in line


@pytest.mark.export
def test_a_checkpoint_becomes_the_network_that_pytorch_has(failing, tmp_path, capsys):
    network = ("mobilenet_v2", "--classes", "5", "--input-size", "32")
    written = ("mobilenet_v2_torch", *network[1:], "--weights", "random", "--format", "safetensors", "-o", "made")
    assert cli.run(["export", *written]) == 0
    assert capsys.readouterr().out.strip() == "made/mobilenet_v2_torch-32.safetensors"
    again = ("made/mobilenet_v2_torch-32.safetensors", "--model", *network, "-r", "float32", "-o", "back")
    assert cli.run(["export", *again]) == 0
    assert "torchvision's normalisation is taken for granted" in capsys.readouterr().err
    assert (tmp_path / "back" / "mobilenet_v2_torch-32-float32.tflite").exists()
    assert cli.run(["export", *again, "--mean", "127.5", "--std", "127.5"]) == 0
    assert "granted" not in capsys.readouterr().err
