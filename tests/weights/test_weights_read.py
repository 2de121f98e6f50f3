"""One door for every format: the right reader, or one line about why not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import FileFormatError, MissingError
from edgekit.weights import READERS, read

REAL = [
    ("weights/compressed_SqueezeNet.net", 26),
    ("weights/squeezenet_v1.1.ncnn.bin", 26),
    ("weights/squeezenet_v1.1.ncnn.param", 26),
    ("tflite/mobilenet_v1_0.25_128_quant.tflite", 28),
]


@pytest.mark.assets
@pytest.mark.parametrize(("name", "layers"), REAL)
def test_reads_real_files(assets: Path, name: str, layers: int) -> None:
    assert len(read(assets / name).layers) == layers


@pytest.mark.assets
def test_reads_by_content_where_the_suffix_says_nothing(assets: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.download"
    path.write_bytes((assets / "tflite/mobilenet_v1_0.25_128_quant.tflite").read_bytes())
    assert len(read(path).layers) == 28


@pytest.mark.export
def test_knows_keras_files_by_how_they_begin(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), np.float32)
    (tmp_path / "plain").write_bytes(stored.getvalue())
    with zipfile.ZipFile(tmp_path / "zipped", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", stored.getvalue())
    for name in ("plain", "zipped"):
        (layer,) = read(tmp_path / name).layers
        assert (layer.name, layer.kind, layer.kernel.shape) == ("dense", "dense", (2, 3))


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize(
    "content", [None, b"", b"\x00", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"7767517\n", b"x" * 5000]
)
def test_missing_empty_truncated_and_foreign_files(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix in (".pth", ".pt"):
        pytest.importorskip("torch", reason="needs PyTorch: pip install 'edgekit[torch]'")
    for name in {path, path.with_suffix(".bin"), path.with_suffix(".param")} if content is not None else ():
        name.write_bytes(content or b"")
    with pytest.raises(FileFormatError, match="weights") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", READERS)
def test_folder(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.mkdir()
    with pytest.raises(FileFormatError, match="weights"):
        read(path)


def test_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    with pytest.raises(FileFormatError, match="cannot read"):
        read(path)
    path.write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(FileFormatError, match=r"no known weights format; known suffixes: \.net, \.bin"):
        read(path)


@pytest.mark.parametrize(("suffix", "package"), [(".h5", "h5py"), (".caffemodel", "google.protobuf")])
def test_missing_package_says_what_to_install(tmp_path: Path, monkeypatch, suffix: str, package: str) -> None:
    from edgekit.weights import caffe

    caffe._net_parameter.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, package, None)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(MissingError, match=r"pip install [\"']edgekit\[export\][\"']"):
        read(path)
