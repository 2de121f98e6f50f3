"""What is wrong with an ONNX file is said before anything is installed, converted or opened."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest

from edgekit.errors import EdgekitError, FileFormatError, MissingError, UsageError
from edgekit.interop import onnx_file

pytest.importorskip("google.protobuf")


def test_a_plain_classifier(classifier, tmp_path):
    found = onnx_file.plan(classifier().write(tmp_path / "net.onnx"))
    assert (found.input_name, found.shape, found.channels_first) == ("image", (1, 3, 32, 32), True)
    assert (found.opset, found.outputs, found.external, found.metadata) == (17, ("output",), (), {})


def test_channels_last_and_open_sizes(classifier, tmp_path):
    last = onnx_file.plan(classifier((1, 32, 32, 3)).write(tmp_path / "last.onnx"))
    assert (last.shape, last.channels_first) == ((1, 32, 32, 3), False)
    batch = onnx_file.plan(classifier(("batch", 3, 32, 32)).write(tmp_path / "batch.onnx"))
    assert batch.shape == (1, 3, 32, 32)
    path = classifier(("N", 3, "height", "width")).write(tmp_path / "open.onnx")
    assert onnx_file.plan(path, size=64).shape == (1, 3, 64, 64)
    with pytest.raises(UsageError, match=r"leaves its input's size open, \(N, 3, height, width\); say it with --input"):
        onnx_file.plan(path)


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((4, 3, 32, 32), None, "takes 4 images at once"),
        ((1, 3, 32), None, r"takes \(1, 3, 32\)"),
        ((1, 3, 32, 32), 64, r"takes \(1, 3, 32, 32\) and nothing else, but --input-size says 64"),
    ],
)
def test_sizes_that_cannot_be(shape, size, message, classifier, tmp_path):
    with pytest.raises(UsageError, match=message):
        onnx_file.plan(classifier(shape).write(tmp_path / "net.onnx"), size)


def test_several_inputs_are_named(classifier, tmp_path):
    net = classifier()
    net.value(net.graph.input, "mask", (1, 1))
    net.value(net.graph.input, "kernel", (8, 3, 3, 3))  # an initializer may be listed too, as old exporters do
    with pytest.raises(UsageError, match=r"has 2 inputs \(image, mask\)"):
        onnx_file.plan(net.write(tmp_path / "net.onnx"))


def test_an_input_of_integers(classifier, tmp_path):
    net = classifier()
    net.graph.input[0].type.tensor_type.elem_type = 7
    with pytest.raises(FileFormatError, match=r"input 'image' is no float32 \(ONNX type 7\)"):
        onnx_file.plan(net.write(tmp_path / "net.onnx"))


@pytest.mark.parametrize(("opset", "age"), [(5, "old"), (8, "old"), (24, "new"), (99, "new")])
def test_opsets_out_of_range(opset, age, classifier, tmp_path):
    with pytest.raises(FileFormatError, match=rf"of opset {opset}, which is too {age}: 9 to 23 .* opset_version=18"):
        onnx_file.plan(classifier(opset=opset).write(tmp_path / "net.onnx"))


def test_operators_of_other_domains_are_named_with_their_node(classifier, tmp_path):
    net = classifier()
    net.node("FusedThing", ["map"], "odd", domain="com.microsoft")
    with pytest.raises(FileFormatError, match=r"'the_FusedThing' is a com\.microsoft\.FusedThing"):
        onnx_file.plan(net.write(tmp_path / "net.onnx"))
    net.made.functions.add(name="FusedThing", domain="com.microsoft")  # then it is made of ONNX's own
    assert onnx_file.plan(net.write(tmp_path / "net.onnx")).opset == 17


def external(net, place):
    tensor = net.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value=place)
    return net


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "inner/../../secret.bin", "..\\secret.bin", ""])
def test_weights_outside_of_the_folder_are_refused(place, classifier, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileFormatError, match="outside of its own folder; that is refused"):
        onnx_file.plan(external(classifier(), place).write(folder / "net.onnx"))


def test_a_link_out_of_the_folder_is_refused(classifier, tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(FileFormatError, match="outside of its own folder"):
        onnx_file.plan(external(classifier(), "weights.bin").write(folder / "net.onnx"))


def test_weights_beside_the_file(classifier, tmp_path):
    path = external(classifier(), "weights.bin").write(tmp_path / "net.onnx")
    with pytest.raises(MissingError, match=r"weights in 'weights\.bin', which is not beside it"):
        onnx_file.plan(path)
    (tmp_path / "weights.bin").write_bytes(np.zeros(216, np.float32).tobytes())
    assert onnx_file.plan(path).external == ("weights.bin",)


def test_a_constant_inside_a_branch_is_looked_at_too(classifier, tmp_path):
    net = classifier()
    branch = net.graph.node.add(op_type="If", input=["flat"], output=["odd"], name="the_If").attribute.add(name="then")
    tensor = branch.g.node.add(op_type="Constant", output=["c"]).attribute.add(name="value").t
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="../secret.bin")
    with pytest.raises(FileFormatError, match="outside of its own folder"):
        onnx_file.plan(net.write(tmp_path / "net.onnx"))


@pytest.mark.parametrize("content", [None, b"", b"\x00", b"PK\x03\x04", b"x" * 5000, b"\x08\x08"])
def test_files_that_are_none(content, tmp_path):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"net\.onnx") as caught:
        onnx_file.plan(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_none(tmp_path):
    with pytest.raises(FileFormatError, match="is a folder"):
        onnx_file.plan(tmp_path)


def test_damage_is_an_error_and_nothing_else(classifier, tmp_path):
    path = classifier().write(tmp_path / "net.onnx")
    content, generator = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content[: generator.choice((len(content), generator.randrange(len(content))))])
        for _ in range(generator.randrange(1, 8)):
            if damaged:
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(EdgekitError):
            onnx_file.plan(path)
