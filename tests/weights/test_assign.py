"""Weights into small Keras models: every way to match, and every way not to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.errors import WeightsMismatchError
from edgekit.weights import LayerWeights, Weights, assign

pytestmark = pytest.mark.export
keras: Any
layers: Any


@pytest.fixture(autouse=True, scope="module")
def _import_keras() -> None:
    global keras, layers  # takes seconds, so not when the tests are merely collected
    keras = pytest.importorskip("keras")
    layers = keras.layers


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def entry(name: str, kernel: np.ndarray, bias: np.ndarray | None = None, kind: Any = "conv") -> LayerWeights:
    return LayerWeights(name, kind, {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias})


def norm(name: str, channels: int, after: str = "", epsilon: float | None = None, seed: int = 9) -> LayerWeights:
    arrays = {key: values(channels, seed=seed + i) for i, key in enumerate(("gamma", "beta", "mean"))}
    return LayerWeights(
        name, "batch_norm", {**arrays, "variance": np.abs(values(channels, seed=seed + 3))}, after, epsilon
    )


def record(*entries: LayerWeights, channels_first: bool = False) -> Weights:
    return Weights(entries, "file", "00", channels_first=channels_first)


def fire_module() -> Any:
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(2, 1, name="squeeze")(image)
    x = layers.Concatenate()(
        [layers.Conv2D(4, 1, name="expand1x1")(x), layers.Conv2D(4, 3, padding="same", name="expand3x3")(x)]
    )
    return keras.Model(image, layers.Conv2D(5, 1, name="last")(x))


def fire_entries(prefix: str = "") -> list[LayerWeights]:
    return [
        entry(f"{prefix}squeeze", values(1, 1, 3, 2), values(2)),
        entry(f"{prefix}expand1x1", values(1, 1, 2, 4, seed=1), values(4, seed=1)),
        entry(f"{prefix}expand3x3", values(3, 3, 2, 4, seed=2), values(4, seed=2)),
        entry(f"{prefix}last", values(1, 1, 8, 5, seed=3), values(5, seed=3)),
    ]


def assert_holds(model: Any, entries: list[LayerWeights], names: list[str]) -> None:
    for name, layer in zip(names, entries, strict=True):
        kernel, bias = model.get_layer(name).get_weights()
        np.testing.assert_array_equal(kernel, layer.kernel)
        np.testing.assert_array_equal(bias, layer.arrays["bias"])


FIRE = ["squeeze", "expand1x1", "expand3x3", "last"]


def test_by_name_whatever_the_order() -> None:
    model, entries = fire_module(), fire_entries()
    assign(model, record(*reversed(entries)))
    assert_holds(model, entries, FIRE)


def test_by_order_where_names_differ() -> None:
    model, entries = fire_module(), fire_entries("other_")
    assign(model, record(*entries))
    assert_holds(model, entries, FIRE)


def refused(model: Any, weights: Weights, message: str) -> None:
    """The error says `message` in one line, and the model is as it was."""
    before = model.get_weights()
    with pytest.raises(WeightsMismatchError, match=message) as caught:
        assign(model, weights)
    assert "\n" not in str(caught.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_first_layer_that_does_not_fit_is_named_with_both_shapes() -> None:
    entries = fire_entries("other_")
    entries[2], entries[3] = entries[3], entries[2]
    shapes = r"expand3x3 \(conv\) is \(3, 3, 2, 4\), the file's other_last \(conv\) is \(1, 1, 8, 5\)"
    refused(fire_module(), record(*entries), shapes)


def test_missing_and_surplus_layers_are_named() -> None:
    refused(fire_module(), record(*fire_entries()[:2]), "no weights for the model's expand3x3, last")
    refused(fire_module(), record(*fire_entries("x_")[:3]), "no weights for the model's last")
    refused(fire_module(), record(*fire_entries(), entry("more", values(1, 1, 5, 5))), "no layer for the file's more")


def test_one_class_too_many_points_to_the_background() -> None:
    entries = [*fire_entries()[:3], entry("last", values(1, 1, 8, 6), values(6))]
    refused(fire_module(), record(*entries), "one class more, so perhaps a background to drop with drop_background")
    narrow = [*fire_entries()[:3], entry("last", values(1, 1, 8, 4), values(4))]
    with pytest.raises(WeightsMismatchError) as caught:
        assign(fire_module(), record(*narrow))
    assert "background" not in str(caught.value)


def test_biases_must_agree() -> None:
    with_bias = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 1, name="a")])
    without = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 1, use_bias=False, name="a")])
    kernel = values(1, 1, 2, 3)
    refused(with_bias, record(entry("a", kernel)), r"model's a has a bias of \(3,\), the file's has none")
    refused(with_bias, record(entry("a", kernel, values(2))), r"model's a has a bias of \(3,\), the file \(2,\)")
    refused(without, record(entry("a", kernel, values(3))), "file's a has a bias of .* the model's a has none")
    assign(without, record(entry("a", kernel)))
    np.testing.assert_array_equal(without.get_layer("a").get_weights()[0], kernel)


def normalised(use_bias: bool = False, epsilon: float = 0.001, **options: Any) -> Any:
    image = keras.Input((5, 5, 3))
    x = layers.Conv2D(4, 3, use_bias=use_bias, name="conv")(image)
    x = layers.BatchNormalization(epsilon=epsilon, name="norm", **options)(x)
    x = layers.DepthwiseConv2D(2, use_bias=use_bias, name="dw")(layers.ReLU()(x))
    return keras.Model(image, layers.BatchNormalization(epsilon=epsilon, name="norm2", **options)(x))


def conv2d(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A valid convolution of one image, by its definition."""
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(0, 1))
    return np.einsum("yxcij,ijco->yxo", windows, kernel)


def reference(image: np.ndarray, entries: list[LayerWeights], epsilon: float) -> np.ndarray:
    """What the entries compute, one after the other, with a ReLU before the depthwise layer."""
    x = image
    for layer in entries:
        if layer.kind == "batch_norm":
            a = layer.arrays
            x = (x - a["mean"]) / np.sqrt(a["variance"] + epsilon) * a["gamma"] + a["beta"]
            continue
        kernel = layer.kernel
        if layer.kind == "depthwise":
            x, kernel = np.maximum(x, 0), np.einsum("hwcm,cd->hwcd", kernel, np.eye(kernel.shape[2]))
        x = conv2d(x, kernel) + layer.arrays.get("bias", 0)
    return x


def assert_computes(model: Any, entries: list[LayerWeights], epsilon: float = 0.001) -> None:
    image = values(5, 5, 3, seed=42)
    got = keras.ops.convert_to_numpy(model(image[None], training=False))[0]
    np.testing.assert_allclose(got, reference(image, entries, epsilon), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("names", [("conv", "dw"), ("x", "y")])
def test_folded_normalisation(names: tuple[str, str], use_bias: bool) -> None:
    entries = [
        entry(names[0], values(3, 3, 3, 4), values(4)),
        entry(names[1], values(2, 2, 4, 1), values(4, seed=1), "depthwise"),
    ]
    model = normalised(use_bias=use_bias)
    assign(model, record(*entries))
    assert_computes(model, entries)


@pytest.mark.parametrize("bias", [None, values(4, seed=5)])
@pytest.mark.parametrize("how", ["after", "name", "order"])
def test_separate_normalisation_of_another_epsilon(how: str, bias: np.ndarray | None) -> None:
    first, second = ("norm", "norm2") if how == "name" else ("a", "b")
    behind = ("conv", "dw") if how == "after" else ("", "")
    entries = [
        entry("conv", values(3, 3, 3, 4), bias),
        norm(first, 4, behind[0], epsilon=0.1),
        entry("dw", values(2, 2, 4, 1), bias, "depthwise"),
        norm(second, 4, behind[1], epsilon=0.1, seed=20),
    ]
    listed = list(entries) if how == "order" else [entries[0], entries[2], entries[3], entries[1]]
    model = normalised(epsilon=0.001)
    assign(model, record(*listed))
    assert_computes(model, entries, epsilon=0.1)


def test_order_within_each_kind_is_enough() -> None:
    entries = [
        entry("x", values(3, 3, 3, 4)),
        norm("a", 4),
        entry("y", values(2, 2, 4, 1), None, "depthwise"),
        norm("b", 4, seed=20),
    ]
    model = normalised()
    assign(model, record(entries[2], entries[0], entries[1], entries[3]))
    assert_computes(model, entries)


def test_normalisations_that_do_not_pair_up() -> None:
    conv, depthwise = entry("conv", values(3, 3, 3, 4)), entry("dw", values(2, 2, 4, 1), None, "depthwise")
    refused(
        normalised(), record(conv, depthwise), "no weights for the model's norm, and no bias that it was folded into"
    )
    one = record(conv, norm("a", 4), depthwise)
    refused(normalised(), one, r"file normalises 1 times \(a is the first without a partner\), the model 2 times")
    wide = record(conv, norm("norm", 5), depthwise, norm("norm2", 4))
    refused(normalised(), wide, r"model's norm has a gamma of \(4,\), the file \(5,\)")
    refused(
        normalised(scale=False), record(conv, norm("norm", 4), depthwise, norm("norm2", 4)), "file's norm has a gamma"
    )
    refused(
        normalised(center=False),
        record(entry("conv", conv.kernel, values(4)), entry("dw", depthwise.kernel, values(4), "depthwise")),
        "has a beta",
    )


def test_normalisation_without_scale() -> None:
    plain = [
        LayerWeights(n.name, n.kind, {**n.arrays, "gamma": np.ones(4, np.float32)})
        for n in (norm("norm", 4), norm("norm2", 4))
    ]
    entries = [
        entry("conv", values(3, 3, 3, 4)),
        plain[0],
        entry("dw", values(2, 2, 4, 1), None, "depthwise"),
        plain[1],
    ]
    model = normalised(scale=False)
    assign(model, record(*entries))
    assert_computes(model, entries)


def test_dense_and_pointwise_kernels_are_interchangeable() -> None:
    conv = keras.Sequential([keras.Input((1, 1, 6)), layers.Conv2D(3, 1, name="a")])
    dense = keras.Sequential([keras.Input((6,)), layers.Dense(3, name="a")])
    matrix, bias = values(6, 3), values(3)
    assign(conv, record(entry("a", matrix, bias, "dense")))
    np.testing.assert_array_equal(conv.get_layer("a").get_weights()[0][0, 0], matrix)
    assign(dense, record(entry("a", matrix.reshape(1, 1, 6, 3), bias)))
    np.testing.assert_array_equal(dense.get_layer("a").get_weights()[0], matrix)
    refused(
        dense,
        record(entry("a", values(1, 2, 3, 3), bias)),
        r"a \(dense\) is \(6, 3\), the file's a \(conv\) is \(1, 2, 3, 3\)",
    )


def test_depthwise_is_no_conv_of_the_same_shape() -> None:
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(1, 3, name="a")])
    refused(model, record(entry("a", values(3, 3, 2, 1), values(1), "depthwise")), r"\(conv\) is .*\(depthwise\) is")


def test_dense_kernel_over_a_flattened_map_of_channels_first() -> None:
    model = keras.Sequential(
        [
            keras.Input((2, 3, 4)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, name="a"),
            layers.Dense(5, name="b"),
        ]
    )
    kernel, second = values(24, 5), values(5, 5, seed=1)
    entries = [
        entry("a", kernel, np.zeros(5, np.float32), "dense"),
        entry("b", second, np.zeros(5, np.float32), "dense"),
    ]
    feature_map = values(2, 3, 4, seed=7)
    assign(model, record(*entries, channels_first=True))
    got = keras.ops.convert_to_numpy(model(feature_map[None], training=False))[0]
    np.testing.assert_allclose(got, feature_map.transpose(2, 0, 1).ravel() @ kernel @ second, rtol=1e-4, atol=1e-5)
    assign(model, record(*entries))
    got = keras.ops.convert_to_numpy(model(feature_map[None], training=False))[0]
    np.testing.assert_allclose(got, feature_map.ravel() @ kernel @ second, rtol=1e-4, atol=1e-5)


def test_nested_models_are_opened() -> None:
    inner = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Conv2D(3, 1, use_bias=False, name="a"), layers.BatchNormalization(name="n")]
    )
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, layers.Conv2D(1, 1, name="b")(inner(image)))
    first, second = entry("a", values(1, 1, 2, 3), values(3)), entry("b", values(1, 1, 3, 1), values(1))
    assign(model, record(first, second))
    np.testing.assert_array_equal(inner.get_layer("a").get_weights()[0], first.kernel)
    np.testing.assert_array_equal(inner.get_layer("n").get_weights()[1], first.arrays["bias"])


def test_layers_that_nothing_can_be_given_to() -> None:
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 1, name="a"), layers.PReLU(name="odd")])
    refused(model, record(entry("a", values(1, 1, 2, 3), values(3))), "model's odd is a PReLU")
