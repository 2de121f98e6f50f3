"""`.safetensors` state dicts: read without torch, every type that weights have, and nothing that lies about itself."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import FileFormatError, OutputError, WeightsMismatchError
from edgekit.weights import assign, read, write_state_dict

Arrays = dict[str, np.ndarray]


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def state_dict() -> Arrays:
    """Two convolutions, one of them depthwise, a norm and a dense layer."""
    return {
        "a.weight": values(4, 3, 5, 2),
        "a.bias": values(4),
        "norm.weight": values(4, seed=1),
        "norm.bias": values(4, seed=2),
        "norm.running_mean": values(4, seed=3),
        "norm.running_var": np.abs(values(4, seed=4)),
        "norm.num_batches_tracked": np.array(7),
        "dw.weight": values(4, 1, 3, 3),
        "head.1.weight": values(10, 4),
    }


def file(path: Path, header: Any, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def one(dtype: str, stored: np.ndarray, path: Path) -> np.ndarray:
    """What comes of a dense layer stored in a type."""
    content = stored.tobytes()
    entry = {"dtype": dtype, "shape": list(stored.shape), "data_offsets": [0, len(content)]}
    return read(file(path, {"fc.weight": entry, "__metadata__": {"format": "pt"}}, content)).layers[0].kernel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def test_what_is_written_is_read_in_keras_layouts(path: Path) -> None:
    given_ = state_dict()
    write_state_dict(path, given_)
    read_ = read(path)
    found = {layer.name: layer for layer in read_.layers}
    assert {name: layer.kind for name, layer in found.items()} == {
        "a": "conv",
        "norm": "batch_norm",
        "dw": "depthwise",
        "head.1": "dense",
    }
    np.testing.assert_array_equal(found["a"].kernel, given_["a.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(found["a"].arrays["bias"], given_["a.bias"])
    np.testing.assert_array_equal(found["dw"].kernel[..., 0], given_["dw.weight"][:, 0].transpose(1, 2, 0))
    np.testing.assert_array_equal(found["norm"].arrays["variance"], given_["norm.running_var"])
    np.testing.assert_array_equal(found["head.1"].kernel, given_["head.1.weight"].T)
    assert (read_.ordered, read_.implied_input) == (False, True)


@pytest.mark.parametrize(("dtype", "numpy_type"), [("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2")])
def test_every_width_becomes_float32(dtype: str, numpy_type: str, path: Path) -> None:
    stored = values(3, 4).astype(numpy_type)
    kernel = one(dtype, stored, path)
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, stored.astype(np.float32).T)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
@settings(max_examples=50)
def test_bfloat16_is_the_upper_half_of_float32(tmp_path_factory: Any, numbers: list[float]) -> None:
    exact = np.array(numbers, np.float32).reshape(2, 2)
    upper = (exact.view(np.uint32) >> 16).astype(np.uint16)
    kernel = one("BF16", upper, tmp_path_factory.mktemp("bf16") / "net.safetensors")
    np.testing.assert_array_equal(kernel.T.copy().view(np.uint32), exact.view(np.uint32) & 0xFFFF0000)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "net.model."])
def test_prefixes_that_all_share_are_taken_off(prefix: str, path: Path) -> None:
    write_state_dict(path, {f"{prefix}{name}": array for name, array in state_dict().items()})
    assert {layer.name for layer in read(path).layers} == {"a", "norm", "dw", "head.1"}


def test_a_prefix_of_some_is_a_name(path: Path) -> None:
    write_state_dict(path, {"model.a.weight": values(2, 2), "b.weight": values(2, 2)})
    assert [layer.name for layer in read(path).layers] == ["model.a", "b"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"norm.weight": values(4), "norm.bias": values(4)}, r"norm has weight \(4,\), bias \(4,\), which is no conv"),
        ({"up.weight": values(2, 2, 2)}, r"up has weight \(2, 2, 2\)"),
        ({"cls_token": values(1, 1, 4)}, r"the top level has cls_token \(1, 1, 4\)"),
        ({"norm.num_batches_tracked": np.array(1)}, "holds no weights"),
        ({}, "holds no weights"),
    ],
)
def test_tensors_of_no_known_layer(tensors: Arrays, message: str, path: Path) -> None:
    write_state_dict(path, tensors)
    with pytest.raises(FileFormatError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F8_E4M3", "shape": [1, 1], "data_offsets": [0, 1]}, "of type F8_E4M3"),
        ({"dtype": "F32", "shape": [1, 3], "data_offsets": [0, 8]}, r"8 bytes, which does not make \(1, 3\)"),
        ({"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]}, "outside of the file"),
        ({"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}, "outside of the file"),
        ({"dtype": "F32", "shape": [1, 2], "data_offsets": [8, 0]}, "outside of the file"),
        ({"dtype": "F32", "shape": [1, 2]}, "data_offsets"),
        ([1, 2], "Expected"),
        ({"dtype": "I8", "shape": [2, 4], "data_offsets": [0, 8]}, "fc.weight is int8; only floating-point"),
    ],
)
def test_headers_that_lie(entry: Any, message: str, path: Path) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        read(file(path, {"fc.weight": entry}, bytes(8)))
    assert "\n" not in str(caught.value)


def test_damage_is_an_error_and_nothing_else(path: Path) -> None:
    write_state_dict(path, state_dict())
    content, generator = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content[: generator.choice((len(content), generator.randrange(len(content))))])
        for _ in range(generator.randrange(1, 8)):
            if damaged:
                damaged[generator.randrange(min(len(damaged), 900))] = generator.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(FileFormatError):
            assert read(path).layers


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where a folder should be")
    with pytest.raises(OutputError):
        write_state_dict(tmp_path / "folder" / "net.safetensors", state_dict())
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.export
def test_without_an_order_names_must_tell(path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="x", use_bias=False)])
    write_state_dict(path, {"y.weight": values(3, 4)})
    with pytest.raises(WeightsMismatchError, match="no layer for the file's y, only x and the like"):
        assign(model, read(path))
    assign(model, read(path), {"x": "y"})
    np.testing.assert_array_equal(model.get_layer("x").get_weights()[0], read(path).layers[0].kernel)
