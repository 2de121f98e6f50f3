"""The flatbuffer as a graph: what is read from real files, what is written back, and what damaged bytes do."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import numpy as np
import pytest
from float_graphs import Net, answers, noise

from edgekit import graph as graphs
from edgekit import isolate
from edgekit.errors import FileFormatError, ModelCrashError, UnsupportedModelError
from edgekit.graph import NO_TENSOR, Graph, Operator, Quantization, Tensor
from edgekit.runtime import Runner

# Multiply-accumulates; Google publishes 14 M, 77 M, 233 M (without the first convolution) and 300 M.
UINT8_FILES = {
    "mobilenet_v1_0.25_128_quant": 13_570_304,
    "mobilenet_v1_0.5_160_quant": 76_525_312,
    "mobilenet_v1_0.75_192_quant": 239_274_240,
    "mobilenet_v2_1.0_224_quant": 300_775_552,
}


@pytest.fixture
def uint8_file(assets: Path):
    """`uint8_file(name)`: the bytes of one of Google's quantized MobileNets."""
    return lambda name: (assets / "tflite" / f"{name}.tflite").read_bytes()


@pytest.mark.assets
@pytest.mark.parametrize("name", UINT8_FILES)
def test_a_real_file_gives_the_same_answers_after_a_round_trip(uint8_file, name):
    content = uint8_file(name)
    original, rewritten = Runner(content), Runner(graphs.dump(graphs.load(content)))
    original.resting_inputs()
    rewritten.resting_inputs()
    original.invoke()
    rewritten.invoke()
    assert original.get_output().std() > 0
    assert (original.get_output() == rewritten.get_output()).all()


@pytest.mark.assets
@pytest.mark.parametrize("name", UINT8_FILES)
def test_what_was_written_once_is_written_the_same_again(uint8_file, name):
    written = graphs.dump(graphs.load(uint8_file(name)))
    assert graphs.dump(graphs.load(written)) == written


@pytest.mark.assets
def test_a_round_trip_keeps_metadata_description_names_and_scales(uint8_file):
    before = graphs.load(uint8_file("mobilenet_v1_0.25_128_quant"))
    after = graphs.load(graphs.dump(before))
    assert (after.description, after.metadata) == (before.description, before.metadata)
    assert before.metadata["TFLITE_METADATA"]
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in after.tensors] == [
        (tensor.name, tensor.shape, tensor.dtype) for tensor in before.tensors
    ]
    for one, other in zip(before.tensors, after.tensors, strict=True):
        assert (one.quantization is None) == (other.quantization is None)
        if one.quantization is not None and other.quantization is not None:
            assert one.quantization.scale.tobytes() == other.quantization.scale.tobytes()
            assert one.quantization.zero_point.tolist() == other.quantization.zero_point.tolist()


@pytest.mark.assets
@pytest.mark.parametrize(("name", "macs"), UINT8_FILES.items())
def test_macs_are_the_published_ones(uint8_file, name, macs):
    graph = graphs.load(uint8_file(name))
    assert sum(map(graph.macs, graph.operators)) == macs


@pytest.mark.assets
def test_memory_of_a_real_file(uint8_file):
    graph = graphs.load(uint8_file("mobilenet_v1_0.5_160_quant"))
    assert graph.peak_activation_bytes() == 80 * 80 * 16 + 80 * 80 * 32  # the second convolution's two maps
    kernels_and_biases = sum(graph.tensors[index].size_bytes for index in _weights(graph))
    assert graph.weight_bytes() == kernels_and_biases + 2 * 4  # and the shape that a RESHAPE asks for


def _weights(graph: Graph) -> list[int]:
    return [index for operator in graph.operators if operator.has_weights for index in operator.inputs[1:]]


def test_macs_of_every_kind_of_layer():
    net = Net((1, 8, 8, 4))
    net.conv(0, 6, 3)
    net.conv(0, 6, 3, groups=2)
    net.add("DEPTHWISE_CONV_2D", [0, net.weights(1, 3, 3, 8), net.weights(8)], (1, 8, 8, 8), depthMultiplier=2)
    shape = net.constant([1, 16, 16, 6], "int32")
    net.add("TRANSPOSE_CONV", [shape, net.weights(6, 3, 3, 4), 0], (1, 16, 16, 6), strideH=2, strideW=2)
    flat = net.add("RESHAPE", [0, net.constant([1, 256], "int32")], (1, 256))
    net.add("FULLY_CONNECTED", [flat, net.weights(10, 256), NO_TENSOR], (1, 10))
    macs = [net.graph.macs(operator) for operator in net.graph.operators]
    assert macs == [64 * 6 * 9 * 4, 64 * 6 * 9 * 2, 64 * 8 * 9, 64 * 4 * 9 * 6, 0, 2560]


def test_data_and_bias_of_operators_with_weights():
    conv, transposed = Operator("CONV_2D", [5, 6, 7], [8]), Operator("TRANSPOSE_CONV", [1, 2, 3, 4], [5])
    assert (conv.data, conv.bias, transposed.data, transposed.bias) == (5, 7, 3, 4)
    assert Operator("CONV_2D", [5, 6], [8]).bias == NO_TENSOR
    assert Operator("FULLY_CONNECTED", [5, 6, NO_TENSOR], [8]).bias == NO_TENSOR


def test_drop_unused_renumbers_and_keeps_the_answers():
    net = Net((1, 4, 4, 2))
    net.constant([1.0, 2.0])  # nothing reads it
    middle = net.conv(0, 3)
    net.constant([3.0])
    last = net.conv(middle, 2)
    before = net.done(last)
    tensors = len(net.graph.tensors)
    net.graph.drop_unused()
    assert len(net.graph.tensors) == tensors - 2
    assert all(operator.inputs[0] < len(net.graph.tensors) for operator in net.graph.operators)
    sample = noise(1, 4, 4, 2)[0]
    assert (answers(before, sample)[0] == answers(graphs.dump(net.graph), sample)[0]).all()


def test_drop_unused_keeps_absent_inputs_absent():
    net = Net((1, 4))
    net.constant([1.0])
    net.add("FULLY_CONNECTED", [0, net.weights(3, 4), NO_TENSOR], (1, 3))
    net.done()
    net.graph.drop_unused()
    assert net.graph.operators[0].inputs == [0, 1, NO_TENSOR]


def test_signatures_follow_their_tensors():
    net = Net((1, 4))
    net.constant([1.0])
    net.add("FULLY_CONNECTED", [0, net.weights(3, 4), NO_TENSOR], (1, 3))
    net.done()
    net.sign("scores")
    net.graph.drop_unused()
    loaded = graphs.load(graphs.dump(net.graph))
    (signature,) = loaded.signatures
    assert [(entry.name, entry.tensorIndex) for entry in signature.outputs] == [(b"scores", loaded.outputs[0])]
    assert [entry.tensorIndex for entry in signature.inputs] == loaded.inputs


def test_what_a_signature_names_is_not_dropped():
    net = Net((1, 4))
    spare = net.constant([1.0])
    net.add("RELU", [0], (1, 4))
    net.done()
    net.sign("scores")
    net.graph.signatures[0].outputs[0].tensorIndex = spare
    net.graph.drop_unused()
    assert net.graph.tensors[net.graph.signatures[0].outputs[0].tensorIndex].data == [1.0]


def test_peak_activation_of_a_chain_is_its_largest_pair():
    net = Net((1, 8, 8, 1))
    wide = net.add("CONCATENATION", [0, 0, 0], (1, 8, 8, 3), axis=3)
    net.add("MAX_POOL_2D", [wide], (1, 4, 4, 3), filterHeight=2, filterWidth=2, strideH=2, strideW=2)
    net.done()
    assert net.graph.peak_activation_bytes() == 4 * (64 + 192)


def test_peak_activation_counts_what_a_later_operator_needs():
    net = Net((1, 100))
    early = net.add("RELU", [0], (1, 100))
    middle = net.add("RELU", [early], (1, 100))
    last = net.add("RELU", [middle], (1, 100))
    net.add("ADD", [early, last], (1, 100))
    net.done()
    assert net.graph.peak_activation_bytes() == 4 * 300
    net.graph.operators[-1].inputs = [middle, last]
    assert net.graph.peak_activation_bytes() == 4 * 300  # middle, last and the sum
    net.graph.outputs = [early, net.graph.operators[-1].outputs[0]]
    assert net.graph.peak_activation_bytes() == 4 * 400


def test_peak_activation_depends_on_the_type():
    tensors = [Tensor("in", (1, 10), "int8"), Tensor("out", (1, 10), "int4")]
    graph = Graph(tensors, [Operator("RELU", [0], [1])], [0], [1])
    assert graph.peak_activation_bytes() == 15


def test_per_channel_scales_survive():
    scales = Quantization(np.array([0.5, 0.25], np.float32), np.zeros(2, np.int64), axis=3)
    kernel = Tensor("kernel", (1, 1, 1, 2), "int8", np.array([[[[3, -4]]]], np.int8), scales)
    tensors = [Tensor("in", (1, 1, 1, 2), "int8"), kernel]
    loaded = graphs.load(graphs.dump(Graph(tensors, [], [0], [0])))
    found = loaded.tensors[1].quantization
    assert found is not None
    assert found.per_channel
    assert (found.scale.tolist(), found.zero_point.tolist(), found.axis) == ([0.5, 0.25], [0, 0], 3)
    assert loaded.tensors[1].data is not None
    assert loaded.tensors[1].data.tolist() == [[[[3, -4]]]]


def test_scalars_dynamic_shapes_and_variables_survive():
    tensors = [
        Tensor("in", (1, 4), "float32", shape_signature=(-1, 4)),
        Tensor("scalar", (), "float32", np.array(2.5, np.float32)),
        Tensor("state", (1, 4), "float32", variable=True),
        Tensor("flag", (2,), "bool", np.array([True, False])),
    ]
    loaded = graphs.load(graphs.dump(Graph(tensors, [], [0], [0])))
    assert loaded.tensors[0].shape_signature == (-1, 4)
    assert loaded.tensors[1].data is not None
    assert (loaded.tensors[1].shape, float(loaded.tensors[1].data)) == ((), 2.5)
    assert [tensor.variable for tensor in loaded.tensors] == [False, False, True, False]
    assert loaded.tensors[3].data is not None
    assert loaded.tensors[3].data.tolist() == [True, False]


def test_versions_and_custom_operators_survive():
    tensors = [Tensor(name, (1,), "float32") for name in "abcd"]
    operators = [
        Operator("RELU", [0], [1], version=2),
        Operator("RELU", [1], [2], version=1),
        Operator("CUSTOM", [2], [3], custom_code="Mine", custom_options=np.array([7, 8], np.uint8)),
    ]
    loaded = graphs.load(graphs.dump(Graph(tensors, operators, [0], [3])))
    assert [operator.version for operator in loaded.operators] == [2, 1, 1]
    assert loaded.operators[2].custom_code == "Mine"
    assert bytes(loaded.operators[2].custom_options) == b"\7\10"


def test_constants_begin_at_multiples_of_16():
    content = _odd_sized_constants()
    graph = graphs.load(content)
    found = [tensor.data.tobytes() for tensor in graph.tensors if tensor.data is not None]
    assert len(found) == 5
    assert [content.index(data) % 16 for data in found] == [0] * 5


def _odd_sized_constants() -> bytes:
    net = Net((1, 4))
    for size in (17, 33, 5, 49, 21):
        net.constant(net.random.integers(0, 100, size), "int8")
    net.add("RELU", [0], (1, 4))
    return net.done()


def test_several_subgraphs_are_read_but_not_written():
    net = Net((1, 4))
    net.add("RELU", [0], (1, 4))
    schema_model = graphs._model(net.graph)
    schema_model.subgraphs.append(schema_model.subgraphs[0])
    loaded = graphs.load(_packed(schema_model))
    assert loaded.subgraphs == 2
    with pytest.raises(FileFormatError, match="2 subgraphs"):
        graphs.dump(loaded)


def _packed(schema_model) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(schema_model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_an_operator_that_names_a_tensor_that_is_not_there():
    net = Net((1, 4))
    net.add("RELU", [0], (1, 4))
    net.graph.operators[0].inputs = [99]
    net.graph.outputs = [1]
    with pytest.raises(FileFormatError, match="tensor 99 of 2"):
        graphs.load(graphs.dump(net.graph))


def test_bytes_that_are_no_flatbuffer():
    for content in (b"", b"TFL3", b"\xff" * 64):
        with pytest.raises(FileFormatError, match="damaged flatbuffer"):
            graphs.load(content)


def _verify_and_load(content: bytes) -> int:
    """As edgekit.inspection does it: the runtime looks first, and only what it verified is parsed."""
    with contextlib.suppress(UnsupportedModelError):
        Runner(content)
    return len(graphs.load(content).operators)


@functools.cache
def _small_model() -> bytes:
    net = Net((1, 8, 8, 4))
    pooled = net.add(
        "MAX_POOL_2D", [net.conv(0, 6, 3)], (1, 4, 4, 6), filterHeight=2, filterWidth=2, strideH=2, strideW=2
    )
    net.conv(pooled, 8, 1)
    return net.done()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_a_format_error(share):
    content = _small_model()
    with pytest.raises((FileFormatError, ModelCrashError)):
        isolate.call("cut", 30.0, _verify_and_load, content[: int(len(content) * share)])


def _mutants() -> list[tuple[str, str]]:
    """What becomes of 300 copies with a few random bytes changed: (error kind, message)."""
    content, random = _small_model(), np.random.default_rng(0)
    found = []
    for _ in range(300):
        mutant = bytearray(content)
        for position in random.integers(0, len(content), 3):
            mutant[position] = int(random.integers(256))
        try:
            _verify_and_load(bytes(mutant))
            found.append(("", ""))
        except Exception as error:
            found.append((type(error).__name__, str(error)))
    return found


def test_mutated_bytes_load_or_are_a_format_error():
    outcomes = isolate.call("mutants", 60.0, _mutants)
    kinds = {kind for kind, _message in outcomes}
    assert kinds <= {"", "FileFormatError"}, outcomes
    assert kinds == {"", "FileFormatError"}  # both happen among 300
