"""Files that the installed Keras writes, and older layouts written with h5py."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import FileFormatError
from edgekit.weights import keras_h5

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore:.*__array__ implementation", "ignore:Layer Input")]
h5py: Any
keras: Any


@pytest.fixture(autouse=True, scope="module")
def _import_keras() -> None:
    global h5py, keras  # takes seconds, so not when the tests are merely collected
    h5py, keras = pytest.importorskip("h5py"), pytest.importorskip("keras")


def network() -> Any:
    """Names that sort differently from the order of the layers; more than ten convs; a nested model."""
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(4, 3, name="zebra")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="ant")(x)
    x = layers.BatchNormalization(name="norm")(x)
    for number in range(11):
        x = layers.Conv2D(4, 1, use_bias=number % 2 == 0, name=f"conv{number}")(x)
    x = layers.BatchNormalization(scale=False, epsilon=0.01, name="no_scale")(x)
    x = layers.Dropout(0.5)(x)
    x = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(2, 1, name="inner")], name="nested")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(3, name="fc")(x), name="net")
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.1, 1, array.shape) for array in model.get_weights()])
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def model(_import_keras) -> Any:
    return network()


def expected(model: Any) -> dict[str, list[np.ndarray]]:
    flat = [layer for outer in model.layers for layer in getattr(outer, "layers", [outer])]
    return {layer.name: layer.get_weights() for layer in flat if layer.get_weights()}


def save(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


@pytest.mark.parametrize("name", ["net.keras", "net.weights.h5", "net.h5"])
def test_every_array_of_every_layer(model, tmp_path: Path, name: str) -> None:
    weights = keras_h5.read(save(model, tmp_path / name))
    found = {layer.name: layer for layer in weights.layers}
    assert found.keys() == expected(model).keys()
    order = {"batch_norm": ["gamma", "beta", "mean", "variance"]}
    for layer_name, arrays in expected(model).items():
        layer = found[layer_name]
        named = [name for name in order.get(layer.kind, ["kernel", "bias"]) if name in layer.arrays]
        assert len(named) == len(layer.arrays)
        for got, want in zip((layer.arrays[name] for name in named), arrays, strict=True):
            np.testing.assert_array_equal(got, want)
    kinds = {"zebra": "conv", "ant": "depthwise", "norm": "batch_norm", "inner": "conv", "fc": "dense"}
    assert {layer_name: found[layer_name].kind for layer_name in kinds} == kinds
    assert set(found["no_scale"].arrays) == {"beta", "mean", "variance"}


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_network_order_where_there_is_a_configuration(model, tmp_path: Path, name: str) -> None:
    weights = keras_h5.read(save(model, tmp_path / name))
    assert [layer.name for layer in weights.layers] == list(expected(model))
    epsilons = {layer.name: layer.epsilon for layer in weights.layers if layer.kind == "batch_norm"}
    assert epsilons == {"norm": 0.001, "no_scale": 0.01}


def test_order_within_each_kind_where_there_is_none(model, tmp_path: Path) -> None:
    weights = keras_h5.read(save(model, tmp_path / "net.weights.h5"))
    convs = [layer.name for layer in weights.layers if layer.kind == "conv"]
    assert convs == ["zebra", *(f"conv{number}" for number in range(11)), "inner"]
    assert weights.layers[-1].epsilon is None


def test_file_without_layer_names(tmp_path: Path) -> None:
    path = tmp_path / "old.weights.h5"
    with h5py.File(path, "w") as file:
        for number in (10, 2):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group["0"] = np.full((1, 1, 2, 3), number, np.float16)
            group["1"] = np.zeros(3, np.float32)
    layers = keras_h5.read(path).layers
    assert [layer.name for layer in layers] == ["conv2d_2", "conv2d_10"]
    assert layers[0].kernel.dtype == np.float32 and layers[0].kernel.max() == 2


def test_weights_of_keras_2(tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    arrays = {
        "conv/kernel:0": np.ones((3, 3, 2, 4)),
        "conv/bias:0": np.ones(4),
        "dw/depthwise_kernel:0": np.ones((3, 3, 4, 1)),
        "bn/beta:0": np.ones(4),
        "bn/moving_mean:0": np.full(4, 2.0),
        "bn/moving_variance:0": np.full(4, 3.0),
        "fc/kernel:0": np.ones((4, 5)),
    }
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input", b"conv", b"dw", b"bn", b"fc"]
        for name in ("input", "conv", "dw", "bn", "fc"):
            mine = [key for key in arrays if key.startswith(f"{name}/")]
            group = file.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in mine]
            for key in mine:
                group[key] = arrays[key].astype(np.float32)
    layers = keras_h5.read(path).layers
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("conv", "conv"),
        ("dw", "depthwise"),
        ("bn", "batch_norm"),
        ("fc", "dense"),
    ]
    assert set(layers[2].arrays) == {"beta", "mean", "variance"} and layers[2].arrays["mean"][0] == 2


def test_subclassed_model_is_read_by_shapes(tmp_path: Path) -> None:
    path = tmp_path / "sub.weights.h5"
    with h5py.File(path, "w") as file:
        for name, shapes in {"stem": [(3, 3, 1, 2), (2,)], "norm": [(2,)] * 4, "head": [(2, 5), (5,)]}.items():
            group = file.create_group(f"{name}/vars")
            for number, shape in enumerate(shapes):
                group[str(number)] = np.zeros(shape, np.float32)
    kinds = {layer.name: layer.kind for layer in keras_h5.read(path).layers}
    assert kinds == {"stem": "conv", "norm": "batch_norm", "head": "dense"}


@pytest.mark.parametrize("layer", ["Conv2DTranspose", "SeparableConv2D", "PReLU"])
def test_layers_that_cannot_be_read(tmp_path: Path, layer: str) -> None:
    arguments = {"PReLU": {}}.get(layer, {"filters": 2, "kernel_size": 3})
    model = keras.Sequential([keras.Input((8, 8, 3)), getattr(keras.layers, layer)(**arguments, name="odd")])
    for name in ("net.keras", "net.weights.h5"):
        with pytest.raises(FileFormatError, match=r"layer odd of class .* is of no known kind"):
            keras_h5.read(save(model, tmp_path / name))


def test_quantized_model_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    model.quantize("int8")
    with pytest.raises(FileFormatError, match="fc"):
        keras_h5.read(save(model, tmp_path / "net.keras"))


@pytest.mark.parametrize("name", ["net.keras", "net.weights.h5", "net.h5"])
@pytest.mark.parametrize("keep", [4, 100, 0.3, 0.9, 0.999])
def test_truncated(model, tmp_path: Path, name: str, keep: float) -> None:
    path = save(model, tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(FileFormatError, match="cannot be read as a Keras file") as caught:
        keras_h5.read(path)
    assert "\n" not in str(caught.value)


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({}))
    with pytest.raises(FileFormatError, match=r"the zip has no model\.weights\.h5"):
        keras_h5.read(path)


def test_file_without_layers(tmp_path: Path) -> None:
    path = tmp_path / "empty.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("layers")
    with pytest.raises(FileFormatError, match="holds no Keras layer with weights"):
        keras_h5.read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the child must inherit what the test replaced")
@pytest.mark.parametrize("fate", ["crash", "hang"])
def test_library_that_does_not_survive_the_file(model, tmp_path: Path, monkeypatch, fate: str) -> None:
    def die(content: bytes) -> None:
        if fate == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    path = save(model, tmp_path / "net.weights.h5")
    monkeypatch.setattr(keras_h5, "_stored_layers", die)
    monkeypatch.setattr(keras_h5, "TIMEOUT_S", 0.5)
    reason = "SIGKILL" if fate == "crash" else "no answer after"
    with pytest.raises(FileFormatError, match=rf"net\.weights\.h5 cannot be read as a Keras file .*{reason}"):
        keras_h5.read(path)
