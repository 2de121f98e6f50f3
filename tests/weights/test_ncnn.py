""".param and .bin: files of our own in every storage that can be read, the real pair, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import FileFormatError
from edgekit.weights import ncnn

TAGS = {"float16": 0x01306B47, "float32": 0, "scaled": 0x0002C056}


def tagged(values: np.ndarray, storage: str) -> bytes:
    content = values.astype("<f2" if storage == "float16" else "<f4").tobytes()
    return TAGS[storage].to_bytes(4, "little") + content + bytes(-len(content) % 4)


def write(folder: Path, lines: list[str], content: bytes) -> Path:
    text = "\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""])
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(content)
    return folder / "net.bin"


def conv_line(out: int, height: int, width: int, size: int, more: str = "5=1") -> str:
    return f"Convolution conv 1 1 a b 0={out} 1={width} 11={height} 6={size} {more}"


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(TAGS)), st.booleans())
def test_convolution_of_any_size(tmp_path_factory, data, storage: str, has_bias: bool) -> None:
    out, channels, height, width = (data.draw(st.integers(1, 5)) for _ in range(4))
    random = np.random.default_rng(out * channels)
    kernel = random.normal(size=(out, channels, height, width)).astype(np.float16)
    bias = random.normal(size=out).astype(np.float32)
    content = tagged(kernel, storage) + (bias.tobytes() if has_bias else b"")
    line = conv_line(out, height, width, kernel.size, f"5={int(has_bias)}")
    (layer,) = ncnn.read(write(tmp_path_factory.mktemp("ncnn"), [line], content)).layers
    assert (layer.name, layer.kind, layer.kernel.dtype) == ("conv", "conv", np.float32)
    np.testing.assert_array_equal(layer.kernel, kernel.transpose(2, 3, 1, 0))
    assert ("bias" in layer.arrays) == has_bias
    if has_bias:
        np.testing.assert_array_equal(layer.arrays["bias"], bias)


def test_grouped_depthwise_and_dense_layers_keep_file_order(tmp_path: Path) -> None:
    grouped = np.arange(6 * 2 * 1 * 3, dtype=np.float32).reshape(6, 2, 1, 3)  # 3 groups of 2 inputs
    depthwise = np.arange(8 * 9, dtype=np.float32).reshape(8, 1, 3, 3)  # 4 channels, multiplier 2
    dense = np.arange(15, dtype=np.float32).reshape(5, 3)
    lines = [
        "Input in0 0 1 in0",
        "ConvolutionDepthWise g 1 1 in0 a 0=6 1=3 11=1 5=0 6=36 7=3",
        "Split s 1 2 a b c",
        "ConvolutionDepthWise d 1 1 b e 0=8 1=3 5=0 6=72 7=4 -23309=2,0.1,0.2",
        "InnerProduct f 1 1 e out 0=5 1=1 2=15",
    ]
    bias = np.arange(5, dtype=np.float32)
    content = tagged(grouped, "float32") + tagged(depthwise, "float32") + tagged(dense, "float16") + bias.tobytes()
    path = write(tmp_path, lines, content)
    layers = ncnn.read(path).layers
    assert [(layer.name, layer.kind) for layer in layers] == [("g", "conv"), ("d", "depthwise"), ("f", "dense")]
    np.testing.assert_array_equal(layers[0].kernel, grouped.transpose(2, 3, 1, 0))
    for channel in range(4):
        for copy in range(2):
            np.testing.assert_array_equal(layers[1].kernel[:, :, channel, copy], depthwise[2 * channel + copy, 0])
    np.testing.assert_array_equal(layers[2].kernel, dense.T)
    np.testing.assert_array_equal(layers[2].arrays["bias"], bias)
    assert ncnn.read(path.with_suffix(".param")).sha256 == ncnn.read(path).sha256


@pytest.mark.parametrize("tag", [0x000D4B38, 0x01020304])
def test_quantized_storage_is_refused(tmp_path: Path, tag: int) -> None:
    path = write(tmp_path, [conv_line(1, 1, 1, 4)], tag.to_bytes(4, "little") + bytes(20))
    with pytest.raises(FileFormatError, match=rf"Convolution conv: its weights are stored as 0x{tag:08X}"):
        ncnn.read(path)


@pytest.mark.parametrize(
    ("lines", "content", "message"),
    [
        ([conv_line(1, 1, 1, 4)], bytes(23), "4 bytes are wanted at 20, the file has 23"),
        ([conv_line(1, 1, 1, 4)], bytes(3), "4 bytes are wanted at 0"),
        ([conv_line(1, 1, 1, 4), "BatchNorm bn 1 1 b c 0=1"], bytes(24 + 16), "one of these has weights: BatchNorm"),
        ([conv_line(3, 1, 1, 4)], bytes(4 + 16 + 12), "cannot reshape"),
        ([conv_line(0, 1, 1, 4)], bytes(4 + 16), "0 kernels of 1 x 1"),
        ([conv_line(1, 1, 1, -4)], bytes(4 + 16), "-16 bytes are wanted"),
    ],
)
def test_bin_that_does_not_fit(tmp_path: Path, lines: list[str], content: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        ncnn.read(write(tmp_path, lines, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1234\n0 0\n", "does not begin with 7767517"),
        ("7767517", "cannot be read"),
        ("7767517\nx y\n", "cannot be read"),
        ("7767517\n2 2\nInput a 0 1 a\n", "announces 2 layers and lists 1"),
        ("7767517\n1 1\nInput a\n", "cannot be read"),
        ("7767517\n1 1\nConvolution a 1 1 b c 0:64\n", "cannot be read"),
        ("7767517\n1 1\nConvolution a 1 1 b c 0=x\n", "does not fit"),
        ("\xff\xfe", "is not text"),
    ],
)
def test_damaged_param(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "net.param").write_bytes(text.encode("latin-1"))
    (tmp_path / "net.bin").write_bytes(bytes(8))
    with pytest.raises(FileFormatError, match=message) as caught:
        ncnn.read(tmp_path / "net.bin")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".bin", ".param"])
def test_one_of_the_pair_is_missing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net.v2{suffix}"
    path.write_bytes(b"7767517\n0 0\n")
    with pytest.raises(FileFormatError, match=r"needs net\.v2\.(bin|param) beside it"):
        ncnn.read(path)


@pytest.mark.assets
def test_real_squeezenet(assets: Path) -> None:
    weights = ncnn.read(assets / "weights/squeezenet_v1.1.ncnn.param")
    assert len(weights.layers) == 26
    assert sum(array.size for layer in weights.layers for array in layer.arrays.values()) == 1_235_496
    assert weights.sha256.startswith("3de9f2f9") and weights.source == "squeezenet_v1.1.ncnn.bin"
    kernels = [layer.kernel.shape for layer in weights.layers]
    assert kernels[:4] == [(3, 3, 3, 64), (1, 1, 64, 16), (1, 1, 16, 64), (3, 3, 16, 64)]
    assert kernels[-1] == (1, 1, 512, 1000)
