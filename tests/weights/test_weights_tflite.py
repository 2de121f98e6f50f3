"""Weights out of .tflite files: built by hand, made by TensorFlow's converter, and the real uint8 MobileNets."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import FileFormatError
from edgekit.weights import LayerWeights, Weights, drop_background, tflite

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
FLOAT32, FLOAT16, INT32, UINT8, INT8, INT4 = 0, 1, 2, 3, 9, 17


class Builder:
    """A .tflite with one subgraph."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.model.operatorCodes = []

    def tensor(self, shape, kind=FLOAT32, data=None, scale=None, zero=None, axis=0, name="t") -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), kind
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.float32(scale))
            tensor.quantization.zeroPoint = np.atleast_1d(np.int64(zero))
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: list[int], outputs: list[int]) -> None:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        self.model.operatorCodes.append(entry)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        self.graph.operators.append(operator)

    def write(self, path: Path, inputs: list[int]) -> Path:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = inputs, [len(self.graph.tensors) - 1]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def int8_network() -> tuple[Builder, int]:
    """Input, per-channel int8 conv, uint8 depthwise with multiplier 2, float16 conv behind DEQUANTIZE, float dense."""
    b = Builder()
    image = b.tensor([1, 8, 8, 3], INT8, scale=0.5, zero=-128)
    kernel = b.tensor([2, 1, 2, 3], INT8, np.arange(12, dtype=np.int8), [0.5, 0.25], [0, 0], 0, "conv;folded")
    bias = b.tensor([2], INT32, np.array([10, 20], np.int32), [0.25, 0.125], [0, 0])
    b.operator(3, [image, kernel, bias], [b.tensor([1, 8, 8, 2])])
    stored = np.arange(4, dtype=np.uint8)
    b.operator(4, [3, b.tensor([1, 1, 1, 4], UINT8, stored, 2.0, 1, name="dw"), -1], [b.tensor([1, 8, 8, 4])])
    half = b.tensor([2, 1, 1, 4], FLOAT16, np.arange(8, dtype=np.float16), name="half")
    full = b.tensor([2, 1, 1, 4])
    b.operator(6, [half], [full])
    b.operator(3, [5, full], [b.tensor([1, 8, 8, 2])])
    matrix = b.tensor([5, 2], FLOAT32, np.arange(10, dtype=np.float32), name="fc")
    b.operator(9, [8, matrix, -1], [b.tensor([1, 5])])
    return b, image


def test_every_storage_and_layout(tmp_path: Path) -> None:
    builder, image = int8_network()
    weights = tflite.read(builder.write(tmp_path / "net.tflite", [image]))
    conv, depthwise, half, dense = weights.layers
    assert [layer.name for layer in weights.layers] == ["conv", "dw", "half", "fc"]
    assert [layer.kind for layer in weights.layers] == ["conv", "depthwise", "conv", "dense"]
    stored = np.arange(12).reshape(2, 1, 2, 3)
    np.testing.assert_array_equal(conv.kernel[..., 0], stored[0] * 0.5)
    np.testing.assert_array_equal(conv.kernel[..., 1], stored[1] * 0.25)
    np.testing.assert_array_equal(conv.arrays["bias"], [2.5, 2.5])
    np.testing.assert_array_equal(depthwise.kernel, [[[[-2, 0], [2, 4]]]])
    np.testing.assert_array_equal(half.kernel[0, 0], np.arange(8).reshape(2, 4).T)
    np.testing.assert_array_equal(dense.kernel, np.arange(10).reshape(5, 2).T)
    assert all("bias" not in layer.arrays for layer in (depthwise, half, dense))


def test_input_of_a_quantized_image_model(tmp_path: Path) -> None:
    builder, image = int8_network()
    spec = tflite.read(builder.write(tmp_path / "net.tflite", [image])).input
    assert spec is not None  # pixel p is stored as p - 128 and means (p - 128 + 128) * 0.5
    assert (spec.height, spec.mean, spec.std) == (8, (0.0,) * 3, (2.0,) * 3)
    builder.graph.tensors[image].type = FLOAT32
    assert tflite.read(builder.write(tmp_path / "net.tflite", [image])).input is None


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(0, 3), st.booleans(), st.sampled_from([np.int8, np.uint8, np.int32, np.int16])
)
def test_dequantize_undoes_quantize(seed: int, axis: int, per_channel: bool, dtype) -> None:
    random = np.random.default_rng(seed)
    shape = random.integers(1, 5, 4)
    count = shape[axis] if per_channel else 1
    scale = random.uniform(1e-6, 2, count).astype(np.float32)
    zero = random.integers(-5, 6, count)
    limits = np.iinfo(dtype)
    stored = random.integers(max(limits.min, -(2**20)), min(limits.max, 2**20), shape).astype(dtype)
    real = tflite.dequantize(stored, scale, zero, axis)
    along = [1, 1, 1, 1]
    along[axis] = count
    again = np.rint(real.astype(np.float64) / scale.reshape(along)) + zero.reshape(along)
    np.testing.assert_array_equal(again, stored)


def test_computed_or_unknown_kernels_are_refused(tmp_path: Path) -> None:
    for kind, data in ((FLOAT32, None), (INT4, np.zeros(2, np.uint8))):
        b = Builder()
        image = b.tensor([1, 2, 2, 2])
        b.operator(3, [image, b.tensor([1, 1, 1, 2], kind, data, name="odd")], [b.tensor([1, 2, 2, 1])])
        with pytest.raises(FileFormatError, match="cannot read the weights of odd"):
            tflite.read(b.write(tmp_path / "net.tflite", [image]))


def test_model_without_weights(tmp_path: Path) -> None:
    b = Builder()
    image = b.tensor([1, 2, 2, 2])
    b.operator(25, [image], [b.tensor([1, 2, 2, 2])])
    with pytest.raises(FileFormatError, match="no weights to read"):
        tflite.read(b.write(tmp_path / "net.tflite", [image]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, data) -> None:
    builder, image = int8_network()
    path = builder.write(tmp_path_factory.mktemp("tflite") / "net.tflite", [image])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        tflite.read(path)
    except FileFormatError as error:
        assert "\n" not in str(error)


def test_background_is_the_first_class_of_the_last_layer() -> None:
    def layer(name: str) -> LayerWeights:
        arrays = {"kernel": np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4), "bias": np.arange(4, dtype=np.float32)}
        return LayerWeights(name, "conv", arrays)

    dropped = drop_background(Weights((layer("a"), layer("b")), "file", "00"))
    assert dropped.layers[0].kernel.shape == (1, 1, 2, 4)
    np.testing.assert_array_equal(dropped.layers[1].kernel[0, 0], [[1, 2, 3], [5, 6, 7]])
    np.testing.assert_array_equal(dropped.layers[1].arrays["bias"], [1, 2, 3])


def mobilenet_v1_values(alpha: float) -> int:
    """Kernels and folded biases of MobileNet v1, 1001 classes, after the paper's Table 1."""
    widths = [int(alpha * width) for width in (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
    blocks = sum(9 * a + a + a * b + b for a, b in itertools.pairwise(widths))
    return 28 * widths[0] + blocks + 1001 * (widths[-1] + 1)


REAL = [
    ("mobilenet_v1_0.25_128", 28, mobilenet_v1_values(0.25)),
    ("mobilenet_v1_0.5_160", 28, mobilenet_v1_values(0.5)),
    ("mobilenet_v1_0.75_192", 28, mobilenet_v1_values(0.75)),
    # Keras's 3,504,872 trainable values less 17,056 gammas, and 1281 for the background
    ("mobilenet_v2_1.0_224", 53, 3_504_872 - 17_056 + 1281),
]


@pytest.mark.assets
@pytest.mark.parametrize(("name", "layers", "values"), REAL)
def test_real_mobilenets(assets: Path, name: str, layers: int, values: int) -> None:
    weights = tflite.read(assets / f"tflite/{name}_quant.tflite")
    assert len(weights.layers) == layers
    assert sum(array.size for layer in weights.layers for array in layer.arrays.values()) == values
    kinds = [layer.kind for layer in weights.layers]
    assert kinds.count("depthwise") == (13 if "v1" in name else 17)
    assert set(kinds) == {"conv", "depthwise"}
    assert weights.layers[-1].kernel.shape[-1] == 1001
    assert all(np.isfinite(array).all() for layer in weights.layers for array in layer.arrays.values())
    assert weights.input is not None and weights.input.mean == weights.input.std == (128.0,) * 3


@pytest.fixture(scope="module")
def keras_model():
    keras = pytest.importorskip("keras")
    image = keras.Input((9, 9, 3))
    x = keras.layers.Conv2D(70, 3, name="conv")(image)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2D(8, (1, 3), groups=4, name="grouped")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(128, name="dense")(x))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=array.shape) for array in model.get_weights()])
    return model


@pytest.mark.export
@pytest.mark.parametrize("storage", ["float32", "float16", "int8 weights", "int8"])
def test_files_of_the_converter(keras_model, tmp_path: Path, storage: str) -> None:
    tf = pytest.importorskip("tensorflow")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(lambda image: keras_model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 9, 9, 3), tf.float32))
    frozen = convert_variables_to_constants_v2(concrete)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], keras_model)
    if storage != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if storage == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if storage == "int8":
        image = np.random.default_rng(1).normal(size=(1, 9, 9, 3)).astype(np.float32)
        converter.representative_dataset = lambda: iter([[image]])
    path = tmp_path / "net.tflite"
    path.write_bytes(converter.convert())
    found = tflite.read(path).layers
    layers = [layer for layer in keras_model.layers if layer.get_weights()]
    assert [layer.kind for layer in found] == ["conv", "depthwise", "conv", "dense"]
    for layer, want in zip(found, layers, strict=True):
        kernel, bias = want.get_weights()
        step = {"float32": 0, "float16": 2**-8}.get(storage, np.abs(kernel).max() / 127)
        np.testing.assert_allclose(layer.kernel, kernel, atol=step)
        np.testing.assert_allclose(layer.arrays["bias"], bias, atol=max(step, 0.001))
