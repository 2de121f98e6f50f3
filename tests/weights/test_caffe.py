""".caffemodel files of both layer generations, written with a schema of the test's own after caffe.proto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import FileFormatError
from edgekit.weights import LayerWeights, caffe

pytestmark = pytest.mark.export
descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")

PROTO = """
BlobShape dim 1 repeated int64 packed
BlobProto num 1 optional int64
BlobProto channels 2 optional int64
BlobProto height 3 optional int64
BlobProto width 4 optional int64
BlobProto data 5 repeated float packed
BlobProto diff 6 repeated float packed
BlobProto shape 7 optional .BlobShape
BlobProto double_data 8 repeated double packed
ConvolutionParameter num_output 1 optional uint32
ConvolutionParameter group 5 optional uint32
BatchNormParameter eps 3 optional float
InputParameter shape 1 repeated .BlobShape
TransformationParameter scale 1 optional float
TransformationParameter crop_size 3 optional uint64
TransformationParameter mean_value 5 repeated float
LayerParameter name 1 optional string
LayerParameter type 2 optional string
LayerParameter bottom 3 repeated string
LayerParameter top 4 repeated string
LayerParameter blobs 7 repeated .BlobProto
LayerParameter phase 10 optional int32
LayerParameter transform_param 100 optional .TransformationParameter
LayerParameter convolution_param 106 optional .ConvolutionParameter
LayerParameter batch_norm_param 139 optional .BatchNormParameter
LayerParameter input_param 143 optional .InputParameter
V1LayerParameter bottom 2 repeated string
V1LayerParameter top 3 repeated string
V1LayerParameter name 4 optional string
V1LayerParameter type 5 optional int32
V1LayerParameter blobs 6 repeated .BlobProto
V1LayerParameter blobs_lr 7 repeated float
NetParameter name 1 optional string
NetParameter layers 2 repeated .V1LayerParameter
NetParameter input 3 repeated string
NetParameter input_dim 4 repeated int64
NetParameter input_shape 8 repeated .BlobShape
NetParameter layer 100 repeated .LayerParameter
"""


def new_net() -> Any:
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="written.proto", package="written", syntax="proto2")
    messages: dict[str, Any] = {}
    for line in PROTO.split("\n")[1:-1]:
        message, name, number, label, kind, *packed = line.split()
        if message not in messages:
            messages[message] = file.message_type.add(name=message)
        field = messages[message].field.add(name=name, number=int(number), label=f"LABEL_{label.upper()}")
        if kind[0] == ".":
            field.type, field.type_name = field.TYPE_MESSAGE, f".written{kind}"
        else:
            field.type = getattr(field, f"TYPE_{kind.upper()}")
        field.options.packed = bool(packed)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("written.NetParameter"))()


def put(layer: Any, *blobs: np.ndarray, legacy: bool = False, double: bool = False) -> None:
    for values in blobs:
        blob = layer.blobs.add()
        (blob.double_data if double else blob.data).extend(values.ravel().tolist())
        if legacy:
            shape = (1,) * (4 - values.ndim) + values.shape
            blob.num, blob.channels, blob.height, blob.width = shape
        else:
            blob.shape.dim.extend(values.shape)


def add(net: Any, name: str, kind: str, bottom: str, top: str, *blobs: np.ndarray) -> Any:
    layer = net.layer.add(name=name, type=kind, bottom=[bottom], top=[top])
    put(layer, *blobs)
    return layer


def save(net: Any, folder: Path) -> Path:
    path = folder / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def squeezenet_shaped() -> Any:
    net = new_net()
    add(net, "data", "Input", "none", "data").input_param.shape.add(dim=[10, 3, 227, 227])
    add(net, "conv1", "Convolution", "data", "conv1", values(8, 3, 3, 3), values(8))
    add(net, "relu_conv1", "ReLU", "conv1", "conv1")
    add(net, "fire2/squeeze1x1", "Convolution", "conv1", "fire2/squeeze1x1", values(2, 8, 1, 1, seed=1), values(2))
    add(net, "fire2/expand1x1", "Convolution", "fire2/squeeze1x1", "e1", values(4, 2, 1, 1, seed=2), values(4))
    add(net, "fire2/expand3x3", "Convolution", "fire2/squeeze1x1", "e3", values(4, 2, 3, 3, seed=3), values(4))
    return net


def test_squeezenet_of_the_modern_generation(tmp_path: Path) -> None:
    weights = caffe.read(save(squeezenet_shaped(), tmp_path))
    names = ["conv1", "fire2_squeeze1x1", "fire2_expand1x1", "fire2_expand3x3"]
    assert [layer.name for layer in weights.layers] == names
    assert {layer.kind for layer in weights.layers} == {"conv"}
    np.testing.assert_array_equal(weights.layers[0].kernel, values(8, 3, 3, 3).transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(weights.layers[3].arrays["bias"], values(4))
    assert weights.channels_first
    spec = weights.input
    assert spec is not None
    assert (spec.height, spec.width, spec.resize_shorter, spec.channels) == (227, 227, 256, "BGR")
    assert (spec.mean, spec.std) == ((104.0, 117.0, 123.0), (1.0, 1.0, 1.0))


def test_old_generation_with_four_dimensions_for_everything(tmp_path: Path) -> None:
    net = new_net()
    net.input_dim.extend([1, 3, 64, 64])
    conv = net.layers.add(name="conv/1", type=4, bottom=["data"], top=["c"], blobs_lr=[1, 2])
    put(conv, values(4, 3, 5, 5), values(4), legacy=True)
    net.layers.add(name="relu", type=18, bottom=["c"], top=["c"])
    dense = net.layers.add(name="fc", type=14, bottom=["c"], top=["fc"])
    put(dense, values(7, 16, seed=1), values(7, seed=2), legacy=True)
    weights = caffe.read(save(net, tmp_path))
    assert [(layer.name, layer.kind) for layer in weights.layers] == [("conv_1", "conv"), ("fc", "dense")]
    np.testing.assert_array_equal(weights.layers[0].kernel, values(4, 3, 5, 5).transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(weights.layers[1].kernel, values(7, 16, seed=1).T)
    np.testing.assert_array_equal(weights.layers[1].arrays["bias"], values(7, seed=2))
    assert weights.input is not None and weights.input.height == 64


def test_squeezenext_with_normalisation_in_place_and_beside(tmp_path: Path) -> None:
    net = new_net()
    layers = net.layer.add(name="data", type="Data", top=["data"])
    layers.transform_param.crop_size = 96
    layers.transform_param.scale = 0.017
    layers.transform_param.mean_value.extend([103.9, 116.7, 123.6])
    add(net, "conv1", "Convolution", "data", "conv1", values(4, 3, 1, 3))
    mean, variance = values(4, seed=1), np.abs(values(4, seed=2))
    add(net, "conv1_bn", "BatchNorm", "conv1", "conv1", mean * 50, variance * 50, np.array([50], np.float32))
    add(net, "conv1_scale", "Scale", "conv1", "conv1", values(4, seed=3), values(4, seed=4))
    add(net, "relu1", "ReLU", "conv1", "conv1")
    add(net, "conv2", "Convolution", "conv1", "conv2", values(2, 4, 1, 1), values(2))
    norm = add(net, "bn2", "BatchNorm", "conv2", "bn2", values(2), np.abs(values(2)), np.array([0], np.float32))
    norm.batch_norm_param.eps = 0.001
    add(net, "scale2", "Scale", "bn2", "scaled", values(2, seed=5))
    weights = caffe.read(save(net, tmp_path))
    conv1, norm1, conv2, norm2 = weights.layers
    assert [layer.kind for layer in weights.layers] == ["conv", "batch_norm"] * 2
    assert (norm1.name, norm1.after, norm2.after) == ("conv1_bn", "conv1", "conv2")
    assert norm1.epsilon == pytest.approx(1e-5) and norm2.epsilon == pytest.approx(0.001)
    assert conv1.kernel.shape == (1, 3, 3, 4) and "bias" not in conv1.arrays and "bias" in conv2.arrays
    np.testing.assert_allclose(norm1.arrays["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(norm1.arrays["variance"], variance, rtol=1e-6)
    np.testing.assert_array_equal(norm1.arrays["gamma"], values(4, seed=3))
    np.testing.assert_array_equal(norm1.arrays["beta"], values(4, seed=4))
    np.testing.assert_array_equal(norm2.arrays["mean"], [0, 0])
    assert "beta" not in norm2.arrays
    spec = weights.input
    assert spec is not None and spec.height == 96
    assert spec.mean == pytest.approx((103.9, 116.7, 123.6)) and spec.std == pytest.approx((1 / 0.017,) * 3)


def test_groups_doubles_and_depthwise(tmp_path: Path) -> None:
    net = new_net()
    grouped = net.layer.add(name="g", type="Convolution", bottom=["data"], top=["g"])
    grouped.convolution_param.group = 2
    put(grouped, values(6, 2, 1, 1), double=True)
    depthwise = net.layer.add(name="d", type="Convolution", bottom=["g"], top=["d"])
    depthwise.convolution_param.group = 6
    put(depthwise, values(6, 1, 3, 3))
    g, d = caffe.read(save(net, tmp_path)).layers
    assert (g.kind, g.kernel.shape, g.kernel.dtype) == ("conv", (1, 1, 2, 6), np.float32)
    np.testing.assert_array_equal(g.kernel, values(6, 2, 1, 1).transpose(2, 3, 1, 0))
    assert (d.kind, d.kernel.shape) == ("depthwise", (3, 3, 6, 1))
    np.testing.assert_array_equal(d.kernel[:, :, 4, 0], values(6, 1, 3, 3)[4, 0])


@pytest.mark.parametrize(
    ("kind", "blobs", "message"),
    [
        ("PReLU", [values(3)], r"layer odd of type PReLU has weights \(3,\)"),
        ("Convolution", [values(3, 3)], r"layer odd of type Convolution has weights \(3, 3\)"),
        ("Scale", [values(3)], "Scale odd does not follow a BatchNorm"),
        ("BatchNorm", [values(3), values(3)], "BatchNorm odd has 2 blobs"),
    ],
)
def test_layers_that_cannot_be_read(tmp_path: Path, kind: str, blobs: list[np.ndarray], message: str) -> None:
    net = squeezenet_shaped()
    add(net, "odd", kind, "e1", "e1", *blobs)
    with pytest.raises(FileFormatError, match=message):
        caffe.read(save(net, tmp_path))


def test_blob_whose_values_do_not_fill_its_shape(tmp_path: Path) -> None:
    net = squeezenet_shaped()
    net.layer[1].blobs[0].shape.dim[0] = 9
    with pytest.raises(FileFormatError, match=r"layer conv1 has 216 values for shape \(9, 3, 3, 3\)"):
        caffe.read(save(net, tmp_path))


@pytest.mark.parametrize("content", [b"layer { name: 'conv1' }", b"\x00" * 64, b"\x89HDF\r\n\x1a\n"])
def test_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"not a \.caffemodel file") as caught:
        caffe.read(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, data) -> None:
    path = save(squeezenet_shaped(), tmp_path_factory.mktemp("caffe"))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        layers = caffe.read(path).layers
    except FileFormatError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(layer, LayerWeights) for layer in layers)
