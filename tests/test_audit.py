"""The audit of a quantized model: who is to blame, what is told, and which pairs are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from edgekit import artifact as artifacts
from edgekit import audit, evaluate, fidelity, images, quantize, recipe
from edgekit import graph as graphs
from edgekit.audit import gains
from edgekit.audit.noise import Noise, Tally
from edgekit.audit.pairs import MOVING
from edgekit.errors import DataError, FileFormatError, UsageError
from edgekit.fidelity import LARGEST_DB, Audit
from edgekit.graph import NO_TENSOR, Array, Graph, Tensor
from edgekit.runtime import Runner
from tests.float_graphs import RELU, VALID, Net, noise

SHAPE = (1, 16, 16, 3)
SAMPLES = noise(*SHAPE, count=6)


# As plain as they can be: nothing is rescaled, folded or corrected.
PLAIN = {
    "int8": recipe.Recipe("int8", weights="int8", activations="int8", io="int8"),
    "int8_float_io": recipe.Recipe("int8_float_io", weights="int8", activations="int8", io="float32"),
    "int16x8": recipe.Recipe("int16x8", weights="int8", activations="int16", io="int16"),
    "int8_weights": recipe.Recipe("int8_weights", weights="int8", activations="float32", io="float32"),
    "float16": recipe.Recipe("float16", weights="float16", activations="float32", io="float32"),
}


def int8(model: bytes, name: str = "int8", samples: list[Array] = SAMPLES) -> bytes:
    return quantize.quantize(model, PLAIN[name], samples).model


def chain() -> Net:
    """Six weighted layers of three kinds one after the other, a mean and a softmax; done but for the file."""
    net = Net(SHAPE, seed=3)
    data = net.conv(0, 8, 3, fusedActivationFunction=RELU)
    kernel, bias = net.weights(1, 3, 3, 8), net.weights(8)
    data = net.add("DEPTHWISE_CONV_2D", [data, kernel, bias], (1, 16, 16, 8), fusedActivationFunction=RELU)
    data = net.conv(data, 16, 1, fusedActivationFunction=RELU)
    data = net.conv(data, 8, 1)
    data = net.conv(data, 16, 3, fusedActivationFunction=RELU, strideH=2, strideW=2)
    data = net.add("MEAN", [data, net.constant([1, 2], "int32")], (1, 16))
    data = net.add("FULLY_CONNECTED", [data, net.weights(5, 16), net.weights(5)], (1, 5))
    net.add("SOFTMAX", [data], (1, 5))
    return net


@pytest.fixture(scope="module")
def model() -> bytes:
    return chain().done()


@pytest.fixture(scope="module")
def sound(model: bytes) -> Audit:
    return audit.audit(model, int8(model), SAMPLES)


def own(found: Audit) -> dict[str, float | None]:
    return {layer.name: layer.own_sqnr_db for layer in found.layers}


def edited(model: bytes, edit: Callable[[Graph], object]) -> bytes:
    graph = graphs.load(model)
    edit(graph)
    return graphs.dump(graph)


def scaled(graph: Graph, index: int, factor: float) -> None:
    """Multiplies a tensor's scale and leaves what it holds."""
    quantization = graph.tensors[index].quantization
    assert quantization is not None
    quantization.scale = (quantization.scale * factor).astype(np.float32)


# What a sound model looks like.


def test_every_layer_of_a_sound_model_is_found_and_quiet(sound: Audit) -> None:
    assert (sound.operators, sound.matched, sound.named) == (7, 7, 7)
    assert [layer.kind for layer in sound.layers] == [
        *("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED")
    ]
    assert all(layer.own_sqnr_db is not None and 25 < layer.own_sqnr_db < LARGEST_DB for layer in sound.layers)
    assert not any(layer.expected_scale for layer in sound.layers)
    assert (sound.samples, sound.own_samples) == (6, 6)


def test_own_noise_does_not_grow_on_the_way_but_all_noise_does(sound: Audit) -> None:
    """The first layer has nothing before it but its input's rounding; the last conv has five noisy layers."""
    first, last = sound.layers[0], sound.layers[4]
    assert last.sqnr_db < first.sqnr_db - 3
    assert last.sqnr_db < last.own_sqnr_db - 3


def test_the_worst_come_first(sound: Audit) -> None:
    figures = [layer.own_sqnr_db for layer in sound.ranked]
    assert figures == sorted(figures)
    assert sound.worst == tuple(layer.name for layer in sound.ranked[: audit.WORST])


def test_all_noise_is_the_difference_of_the_two_models(model: bytes, sound: Audit) -> None:
    """Computed once more, the long way, for one layer."""
    quantized = int8(model)
    graph, reference = graphs.load(quantized), graphs.load(model)
    index = graph.operators[2].outputs[0]
    other = next(number for number, t in enumerate(reference.tensors) if t.name == graph.tensors[index].name)
    runners = [Runner(content, keep_tensors=True) for content in (model, quantized)]
    signal = difference = 0.0
    for sample in SAMPLES:
        for runner in runners:
            runner.run(runner.input.quantize(sample))
        expected = runners[0].tensor(other).astype(np.float64)
        quantization = graph.tensors[index].quantization
        found = (runners[1].tensor(index).astype(np.float64) - quantization.zero_point) * quantization.scale
        signal, difference = signal + (expected**2).sum(), difference + ((expected - found) ** 2).sum()
    assert sound.layers[2].sqnr_db == pytest.approx(10 * math.log10(signal / difference), abs=0.01)


def test_operators_that_only_move_values_are_exact() -> None:
    net = Net(SHAPE)
    branches = [net.conv(0, 4, size, fusedActivationFunction=RELU) for size in (1, 3)]
    joined = net.add("CONCATENATION", branches, (1, 16, 16, 8), axis=3)
    options = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2}
    net.add("MAX_POOL_2D", [joined], (1, 8, 8, 8), **options)
    content = net.done()
    found = audit.audit(content, int8(content), SAMPLES)
    exact = {layer.kind: layer.own_sqnr_db for layer in found.layers[-2:]}
    assert exact == {"CONCATENATION": LARGEST_DB, "MAX_POOL_2D": LARGEST_DB}
    assert found.layers[-1].sqnr_db < 60


# Who is to blame: one scale is made wrong, in every layer in turn.


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 6])
def test_a_wrong_scale_of_weights_is_blamed_on_their_layer(model: bytes, position: int, factor: float) -> None:
    graph = graphs.load(int8(model))
    scaled(graph, graph.operators[position].inputs[1], factor)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    worst, second = found.ranked[:2]
    assert worst.index == position
    assert worst.own_sqnr_db < 13
    assert second.own_sqnr_db > worst.own_sqnr_db + 6


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_wrong_scale_of_an_output_is_blamed_on_its_layer(model: bytes, position: int, factor: float) -> None:
    """What goes wrong is the next layer's bias; the next layer is not at fault."""
    graph = graphs.load(int8(model))
    index = graph.operators[position].outputs[0]
    right = float(graph.tensors[index].quantization.scale[0])
    scaled(graph, index, factor)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    worst, second = found.ranked[:2]
    assert worst.index == position
    assert worst.expected_scale == pytest.approx(right, rel=1e-3)
    assert second.own_sqnr_db > worst.own_sqnr_db + 6
    assert [layer.index for layer in found.layers if layer.expected_scale] == [position]


@pytest.mark.parametrize("factor", [16, 1 / 16])
@pytest.mark.parametrize("position", [4, 5, 6])
def test_a_scale_that_nothing_contradicts_shows_once_it_is_far_too_coarse_or_fine(
    model: bytes, position: int, factor: float
) -> None:
    """A mean, or the reader of the output, has no bias that knows better."""
    graph = graphs.load(int8(model))
    scaled(graph, graph.operators[position].outputs[0], factor)
    if position == 5:  # the dense layer after the mean does have a bias
        bias = graph.operators[6].bias
        steps = graph.tensors[bias].data / factor
        graph.tensors[bias].data = np.rint(steps).astype(np.int32)
        scaled(graph, bias, factor)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    assert found.ranked[0].index == position
    assert found.ranked[0].expected_scale is None


def test_tensors_that_share_a_wrong_scale_are_traced_to_where_it_is_made() -> None:
    """A pool only moves what the convolution made."""
    net = Net(SHAPE, seed=1)
    data = net.conv(0, 8, 3, fusedActivationFunction=RELU)
    pooled = net.add(
        "MAX_POOL_2D", [data], (1, 8, 8, 8), filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=VALID
    )
    net.conv(pooled, 8, 3, fusedActivationFunction=RELU)
    model = net.done()
    graph = graphs.load(int8(model))
    for operator in graph.operators[:2]:
        scaled(graph, operator.outputs[0], 1.5)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    assert found.ranked[0].kind == "CONV_2D" and found.ranked[0].index == 0
    assert found.layers[1].own_sqnr_db == LARGEST_DB


def test_a_bias_whose_scale_is_mislabelled_but_read_rightly_is_no_error(model: bytes, sound: Audit) -> None:
    graph = graphs.load(int8(model))
    scaled(graph, graph.operators[3].bias, 1.5)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    assert own(found) == pytest.approx(own(sound), abs=0.1)
    assert not any(layer.expected_scale for layer in found.layers)


def relabelled(graph: Graph, index: int, factor: float) -> None:
    """Rewrites the scales of the biases of all that read a tensor, as if they had been made for it."""
    for reader in graph.consumers(index):
        if reader.has_weights and reader.data == index and reader.bias != NO_TENSOR:
            scaled(graph, reader.bias, factor)


def corrected(graph: Graph) -> None:
    """Gives every bias a share that has nothing to do with the float one, and is larger: what a correction may do."""
    random = np.random.default_rng(1)
    for operator in graph.operators:
        if operator.has_weights:
            bias = graph.tensors[operator.bias]
            bias.data = (bias.data + random.normal(0, 3 * bias.data.std(), bias.shape)).astype(np.int32)


def test_bias_scales_that_mean_nothing_are_no_evidence(model: bytes) -> None:
    """Some tools leave 1 there; others leave 0."""
    for label in (0.0, 1.0):
        graph = graphs.load(edited(int8(model), corrected))
        for operator in graph.operators:
            if operator.has_weights:
                quantization = graph.tensors[operator.bias].quantization
                quantization.scale = np.full_like(quantization.scale, label)
        found = audit.audit(model, graphs.dump(graph), SAMPLES)
        assert not any(layer.expected_scale for layer in found.layers)


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_wrong_scale_of_an_output_is_named_by_its_readers_bias_whatever_that_holds(
    model: bytes, position: int, factor: float
) -> None:
    """A corrected bias says nothing about sizes any more; its own scale still does."""
    quantized = edited(int8(model), corrected)
    assert not any(layer.expected_scale for layer in audit.audit(model, quantized, SAMPLES).layers)
    graph = graphs.load(quantized)
    index = graph.operators[position].outputs[0]
    right = float(graph.tensors[index].quantization.scale[0])
    scaled(graph, index, factor)
    found = {layer.index: layer.expected_scale for layer in audit.audit(model, graphs.dump(graph), SAMPLES).layers}
    assert {index for index, scale in found.items() if scale} == {position}
    assert found[position] == pytest.approx(right, rel=1e-3)


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_rewritten_bias_scales_do_not_hide_a_wrong_scale(model: bytes, position: int, factor: float) -> None:
    """Nothing in the file contradicts it, but its readers' biases are not the float model's."""
    graph = graphs.load(int8(model))
    index = graph.operators[position].outputs[0]
    right = float(graph.tensors[index].quantization.scale[0])
    scaled(graph, index, factor)
    relabelled(graph, index, factor)
    found = audit.audit(model, graphs.dump(graph), SAMPLES)
    assert found.ranked[0].index == position
    assert found.ranked[0].expected_scale == pytest.approx(right, rel=0.1)
    assert found.ranked[1].own_sqnr_db > found.ranked[0].own_sqnr_db + 6


def test_a_scale_that_the_runtime_refuses_is_named() -> None:
    """What is concatenated must share one scale, or no kernel takes the model."""
    net = Net(SHAPE)
    branches = [net.conv(0, 4, size, fusedActivationFunction=RELU) for size in (1, 3)]
    net.add("CONCATENATION", branches, (1, 16, 16, 8), axis=3)
    content = net.done()
    graph = graphs.load(int8(content))
    wrong = graph.operators[1].outputs[0]
    scaled(graph, wrong, 1.5)
    with pytest.raises(FileFormatError, match=f"must share one scale do not: '{graph.tensors[wrong].name}' has"):
        audit.audit(content, graphs.dump(graph), SAMPLES)


@pytest.mark.parametrize("what", ["nothing", "weights", "output", "output, biases rewritten"])
def test_a_first_layer_that_was_rewritten_is_found(what: str) -> None:
    """Its pixels are folded into channels, and its map is wider than the float one; the pool overlooks that."""
    net = Net((1, 63, 63, 3), seed=1)
    kernel, bias = net.weights(64, 3, 3, 3), net.weights(64)
    options = {"padding": VALID, "strideH": 2, "strideW": 2}
    data = net.add("CONV_2D", [0, kernel, bias], (1, 31, 31, 64), fusedActivationFunction=RELU, **options)
    data = net.add("MAX_POOL_2D", [data], (1, 15, 15, 64), filterHeight=3, filterWidth=3, **options)
    net.conv(data, 64, 3)
    model = net.done()
    samples = noise(1, 63, 63, 3, count=4)
    graph = graphs.load(quantize.quantize(model, recipe.find("int8_fast"), samples).model)
    pool = next(operator for operator in graph.operators if operator.kind == "MAX_POOL_2D")
    convolution = next(operator for operator in graph.operators if operator.has_weights)
    assert graph.tensors[pool.inputs[0]].shape == (1, 31, 32, 64)
    if what == "weights":
        scaled(graph, convolution.inputs[1], 1.5)
    elif what != "nothing":
        for index in joined(graph, pool.inputs[0]):
            scaled(graph, index, 1.5)
            if "rewritten" in what:
                relabelled(graph, index, 1.5)
    found = audit.audit(model, graphs.dump(graph), samples)
    assert [layer.kind for layer in found.layers] == ["CONV_2D", "MAX_POOL_2D", "CONV_2D"]
    if what == "nothing":
        assert all(layer.own_sqnr_db > 35 for layer in found.layers)
    else:
        assert found.ranked[0] == found.layers[0]
        assert found.ranked[0].own_sqnr_db < 13 < found.ranked[1].own_sqnr_db - 10


def joined(graph: Graph, index: int) -> list[int]:
    """The tensors that must have one scale with this one."""
    found = {index}
    for _ in graph.operators:
        for operator in graph.operators:
            ends = {*operator.activations, *operator.outputs}
            if operator.kind in MOVING and ends & found:
                found |= {end for end in ends if graph.tensors[end].quantization is not None}
    return sorted(found)


def broken(quantized: bytes, layer: str, what: str, factor: float = 1.5) -> tuple[bytes, list[str]]:
    """A model with one wrong scale, and the names of the tensors that may be named for it."""
    graph = graphs.load(quantized)
    operator = next(
        each for each in graph.operators if each.has_weights and layer in graph.tensors[each.outputs[0]].name
    )
    if what == "weights":
        scaled(graph, operator.inputs[1], factor)
    members = joined(graph, operator.outputs[0])
    for index in members if what != "weights" else ():
        scaled(graph, index, factor)
        if "rewritten" in what:
            relabelled(graph, index, factor)
    named = members if what != "weights" or layer == "conv1_" else operator.outputs
    return graphs.dump(graph), [graph.tensors[index].name for index in named]


@pytest.mark.export
@pytest.mark.assets
@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
@pytest.mark.parametrize(
    ("layer", "what"),
    [
        *((layer, "weights") for layer in ("conv1_", "fire4_squeeze1x1", "fire7_expand3x3", "conv10")),
        *((layer, "output") for layer in ("conv1_", "fire2_squeeze1x1", "fire6_expand1x1", "fire9_squeeze1x1")),
        *((layer, "output, biases rewritten") for layer in ("conv1_", "fire2_squeeze1x1", "fire2_expand3x3")),
    ],
)
def test_a_wrong_scale_in_squeezenet_is_named(
    layer: str, what: str, factor: float, exported: dict[str, Path], assets: Path
) -> None:
    float_model, quantized = (artifacts.read_model(exported[name]) for name in ("float32", "int8"))
    specs = [artifacts.read(exported[name]).card.input for name in ("float32", "int8")]
    paths = images.evenly_spaced(images.list_images(assets / "imagenet-sample"), 2)
    samples, own_samples = ([images.normalise(images.crop(p.read_bytes(), s), s) for p in paths] for s in specs)
    content, names = broken(quantized, layer, what, factor)
    found = audit.audit(float_model, content, samples, quantized_samples=own_samples)
    assert found.ranked[0].name in names
    assert found.matched >= 36


@pytest.fixture(scope="module")
def mobilenet(assets: Path) -> tuple[bytes, bytes, list[Array]]:
    """MobileNet v1 0.25 as float, as int8_fast of it, and four samples."""
    content = in_float((assets / "tflite/mobilenet_v1_0.25_128_quant.tflite").read_bytes())
    paths = images.evenly_spaced(images.list_images(assets / "imagenet-sample"), 12)
    pixels = [images.crop(path.read_bytes(), images.InputSpec(128, 128, 146)) for path in paths]
    samples = [((image.astype(np.float32) - 128) / 128)[np.newaxis] for image in pixels]
    return content, quantize.quantize(content, recipe.find("int8_fast"), samples).model, samples[:4]


@pytest.mark.assets
@pytest.mark.parametrize("what", ["weights", "output", "output, biases rewritten"])
@pytest.mark.parametrize("number", [1, 4, 13, 22, 26])
def test_a_wrong_scale_in_mobilenet_is_named(
    number: int, what: str, mobilenet: tuple[bytes, bytes, list[Array]]
) -> None:
    float_model, quantized, samples = mobilenet
    graph = graphs.load(quantized)
    layers = [operator for operator in graph.operators if operator.has_weights]
    content, names = broken(quantized, graph.tensors[layers[number].outputs[0]].name, what)
    found = audit.audit(float_model, content, samples)
    assert found.ranked[0].name in names


# Clipping.


def test_clipped_values_are_counted(model: bytes) -> None:
    """The scale of the first layer's output is cut to a quarter; numpy counts what no longer fits."""
    graph = graphs.load(int8(model))
    index = graph.operators[0].outputs[0]
    scaled(graph, index, 0.25)
    found = audit.audit(model, graphs.dump(graph), SAMPLES).layers[0]
    runner, reference = Runner(model, keep_tensors=True), graphs.load(model)
    values = []
    for sample in SAMPLES:
        runner.run(sample)
        values.append(runner.tensor(reference.operators[0].outputs[0]))
    largest = (127.5 - found.zero_point) * found.scale
    assert found.clipped == pytest.approx(float((np.stack(values) > largest).mean()), rel=1e-3)
    assert found.clipped > 0.001


# Other forms of quantization.


@pytest.mark.parametrize("name", ["int8_float_io", "int16x8"])
def test_other_integer_recipes(name: str, model: bytes, sound: Audit) -> None:
    found = audit.audit(model, int8(model, name), SAMPLES)
    assert (found.operators, found.matched) == (7, 7)
    better = 10 if name == "int16x8" else -1  # what a mean rounds; elsewhere the weights hide it
    assert found.layers[5].own_sqnr_db > sound.layers[5].own_sqnr_db + better


@pytest.mark.parametrize(("name", "least_db"), [("int8_weights", 30), ("float16", 60)])
def test_models_with_small_weights_only(name: str, least_db: float, model: bytes) -> None:
    """Activations stay float: layers have noise, but no scale and nothing to clip."""
    found = audit.audit(model, int8(model, name), SAMPLES)
    assert found.activations == ({"float32": 9} if name == "int8_weights" else found.activations)
    assert [layer.kind for layer in found.layers] == [
        *("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "CONV_2D", "CONV_2D", "FULLY_CONNECTED")
    ]
    assert all(layer.own_sqnr_db > least_db and layer.scale is None and not layer.clipped for layer in found.layers)


def test_float_islands_are_counted() -> None:
    net = Net(SHAPE)
    data = net.conv(0, 8, 3, fusedActivationFunction=RELU)
    data = net.add("LOCAL_RESPONSE_NORMALIZATION", [data], (1, 16, 16, 8), radius=2, bias=1.0, alpha=0.1, beta=0.75)
    net.conv(data, 8, 1)
    model = net.done()
    found = audit.audit(model, int8(model), SAMPLES)
    assert found.islands == ("LOCAL_RESPONSE_NORMALIZATION",)
    assert (found.float_islands, found.dequantizes, found.quantizes, found.transposes) == (1, 1, 1, 0)
    assert found.activations == {"int8": 4, "float32": 2}
    assert all(30 < layer.own_sqnr_db < 60 for layer in found.layers)
    assert {layer.kind for layer in found.layers} == {"CONV_2D", "LOCAL_RESPONSE_NORMALIZATION"}


def test_a_float_softmax_at_the_end_is_no_island(model: bytes) -> None:
    found = audit.audit(model, int8(model, "int8_float_io"), SAMPLES)
    assert found.float_islands == 0
    assert found.dequantizes == 1


def test_the_share_of_macs_that_the_delegate_takes(model: bytes, sound: Audit) -> None:
    graph = graphs.load(int8(model))
    taken = Runner(graphs.dump(graph)).delegated()
    macs = [graph.macs(operator) for operator in graph.operators]
    assert sound.macs_delegated == sum(macs[position] for position in taken) / sum(macs)


def test_padding_that_only_the_float_model_does_apart(sound: Audit) -> None:
    """The quantizer lets the convolution pad by itself; its float form is the two operators together."""
    net = Net(SHAPE)
    padded = net.add("PAD", [0, net.constant([[0, 0], [0, 1], [0, 1], [0, 0]], "int32")], (1, 17, 17, 3))
    kernel, bias = net.weights(8, 3, 3, 3), net.weights(8)
    net.add("CONV_2D", [padded, kernel, bias], (1, 8, 8, 8), padding=VALID, strideH=2, strideW=2)
    model = net.done()
    quantized = int8(model)
    assert [operator.kind for operator in graphs.load(quantized).operators] == ["CONV_2D"]
    (layer,) = audit.audit(model, quantized, SAMPLES).layers
    assert 30 < layer.own_sqnr_db < 60


# Foreign pairs: other names, other types.


def renamed(graph: Graph) -> None:
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"t{number}"


def test_layers_without_a_common_name_are_found_by_their_kernels(model: bytes, sound: Audit) -> None:
    found = audit.audit(model, edited(int8(model), renamed), SAMPLES)
    assert (found.operators, found.matched, found.named) == (7, 7, 0)
    assert list(own(found).values()) == pytest.approx(list(own(sound).values()), abs=0.01)


def test_branches_in_another_order_are_found() -> None:
    """Two convolutions of one shape beside each other, and what joins them, in the other order in the other file."""
    net = Net(SHAPE, seed=2)
    branches = [net.conv(0, 8, 3, fusedActivationFunction=RELU) for _ in range(2)]
    net.add("ADD", branches, (1, 16, 16, 8))
    model = net.done()

    def swap(graph: Graph) -> None:
        renamed(graph)
        graph.operators[:2] = reversed(graph.operators[:2])

    found = audit.audit(model, edited(int8(model), swap), SAMPLES)
    assert found.matched == 3
    assert all(layer.own_sqnr_db > 30 for layer in found.layers)


def test_an_activation_function_that_only_one_file_fuses() -> None:
    net = Net(SHAPE, seed=2)
    data = net.conv(0, 8, 3)
    net.add("RELU", [data], (1, 16, 16, 8))
    apart = net.done()
    net = Net(SHAPE, seed=2)
    net.conv(0, 8, 3, fusedActivationFunction=RELU)
    fused = edited(net.done(), renamed)
    for reference, quantized in ((apart, int8(fused)), (fused, edited(int8(apart), renamed))):
        found = audit.audit(reference, quantized, SAMPLES)
        assert all(layer.own_sqnr_db > 30 for layer in found.layers)
        assert found.layers[-1].sqnr_db > 30


def in_float(quantized: bytes) -> bytes:
    """The float model that a quantized one stands for: every tensor as the real values of what it holds."""
    graph = graphs.load(quantized)
    for tensor in graph.tensors:
        if tensor.quantization is not None:
            if tensor.data is not None:
                tensor.data = real(tensor)
            tensor.dtype, tensor.quantization = "float32", None
    for operator in graph.operators:
        operator.version = 1
    renamed(graph)
    return graphs.dump(graph)


def real(tensor: Tensor) -> Array:
    quantization = tensor.quantization
    assert tensor.data is not None and quantization is not None
    shape = [1] * tensor.data.ndim
    if quantization.per_channel:
        shape[quantization.axis] = -1
    steps = tensor.data.astype(np.float64) - quantization.zero_point.reshape(shape)
    return (steps * quantization.scale.reshape(shape)).astype(np.float32)


@pytest.mark.assets
def test_the_published_uint8_mobilenet_against_its_own_float_form(assets: Path) -> None:
    """uint8, weights per tensor, an own softmax, 1001 classes: found by kernels alone, for the names are others."""
    quantized = (assets / "tflite/mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    paths = images.evenly_spaced(images.list_images(assets / "imagenet-sample"), 4)
    pixels = [images.crop(path.read_bytes(), images.InputSpec(128, 128, 146)) for path in paths]
    samples = [((image.astype(np.float32) - 128) / 128)[np.newaxis] for image in pixels]
    found = audit.audit(in_float(quantized), quantized, samples)
    assert (found.operators, found.matched, found.named) == (31, 31, 0)
    assert found.agreement.hits >= 3
    assert found.activations == {"uint8": 32}
    assert all(layer.own_sqnr_db > 25 for layer in found.layers)


# Rescaled channels and other inputs.


def equalized(net: Net) -> tuple[bytes, dict[str, Array]]:
    """The chain with the channels of its first two outputs rescaled, which changes no answer, and by how much."""
    graph = net.graph
    scales = [np.exp2(net.random.uniform(-2, 2, 8)).astype(np.float32) for _ in range(2)]
    first, depthwise, third = graph.operators[:3]
    values = [graph.tensors[index] for index in (*first.inputs[1:], *depthwise.inputs[1:], third.inputs[1])]
    values[0].data = values[0].data / scales[0].reshape(-1, 1, 1, 1)
    values[1].data = values[1].data / scales[0]
    values[2].data = values[2].data * (scales[0] / scales[1])
    values[3].data = values[3].data / scales[1]
    values[4].data = values[4].data * scales[1]
    names = [graph.tensors[operator.outputs[0]].name for operator in (first, depthwise)]
    return graphs.dump(graph), dict(zip(names, scales, strict=True))


def test_gains_put_rescaled_channels_right(model: bytes) -> None:
    net = chain()
    net.done()
    rescaled, factors = equalized(net)
    quantized = int8(rescaled)
    found = audit.audit(model, quantized, SAMPLES, factors)
    assert all(layer.own_sqnr_db > 25 for layer in found.layers)
    assert all(layer.sqnr_db > 15 for layer in found.layers)
    without = audit.audit(model, quantized, SAMPLES, {})
    assert without.layers[0].sqnr_db < 10


def test_the_gains_of_the_quantizer(model: bytes) -> None:
    """What its equalization says it did is what the audit needs to know."""
    by = recipe.Recipe("equalized", weights="int8", activations="int8", io="int8", equalization=0.5)
    made = quantize.quantize(model, by, SAMPLES)
    assert made.gains
    found = audit.audit(model, made.model, SAMPLES, made.gains)
    assert all(layer.own_sqnr_db > 25 for layer in found.layers)
    assert found.layers[0].sqnr_db > 30


@pytest.mark.parametrize("name", ["", "same"])
def test_the_gains_of_a_model_without_names(model: bytes, name: str) -> None:
    """The float file has no names to keep gains by; both sides give it the same ones."""

    def unnamed(graph: Graph) -> None:
        for tensor in graph.tensors:
            tensor.name = name

    plain = edited(model, unnamed)
    by = recipe.Recipe("equalized", weights="int8", activations="int8", io="int8", equalization=0.5)
    made = quantize.quantize(plain, by, SAMPLES)
    assert len(made.gains) >= 2
    found = audit.audit(plain, made.model, SAMPLES, made.gains)
    assert (found.matched, found.named) == (7, 7)
    assert all(layer.own_sqnr_db > 25 for layer in found.layers)
    assert found.layers[0].sqnr_db > 30


def test_the_file_may_carry_its_gains(model: bytes) -> None:
    net = chain()
    net.done()
    rescaled, factors = equalized(net)
    carrying = edited(int8(rescaled), lambda graph: graph.metadata.update({gains.KEY: gains.pack(factors)}))
    stored = {name: values.astype(np.float16).astype(np.float32) for name, values in factors.items()}
    assert audit.audit(model, carrying, SAMPLES) == audit.audit(model, int8(rescaled), SAMPLES, stored)
    damaged = edited(carrying, lambda graph: graph.metadata.update({gains.KEY: b"{]"}))
    with pytest.raises(FileFormatError, match="gains of the channels cannot be read"):
        audit.audit(model, damaged, SAMPLES)
    with pytest.raises(UsageError, match="gains of 'conv_2d3' have the shape"):
        audit.audit(model, carrying, SAMPLES, {"conv_2d3": np.ones(3, np.float32)})


def test_a_wrong_scale_is_blamed_on_its_layer_in_a_rescaled_model_too(model: bytes) -> None:
    net = chain()
    net.done()
    rescaled, factors = equalized(net)
    for position, output in ((1, False), (2, False), (0, True), (1, True)):
        graph = graphs.load(int8(rescaled))
        operator = graph.operators[position]
        scaled(graph, operator.outputs[0] if output else operator.inputs[1], 1.5)
        found = audit.audit(model, graphs.dump(graph), SAMPLES, factors)
        assert found.ranked[0].index == position


def test_normalisation_that_the_quantized_model_does_itself() -> None:
    """Its inputs are pixels, BGR where the float model has RGB: (pixel - mean) / std is in its first kernel."""
    mean, std = np.array([104, 117, 123], np.float32), np.array([58, 57, 57], np.float32)
    net = Net(SHAPE, seed=5)
    net.conv(0, 8, 3, padding=VALID, fusedActivationFunction=RELU)
    net.graph.tensors[-1].shape = (1, 14, 14, 8)
    model = net.done()
    first = net.graph.operators[0]
    kernel, bias = (net.graph.tensors[index] for index in first.inputs[1:])
    bias.data = bias.data - (kernel.data * (mean / std)).sum((1, 2, 3))
    kernel.data = (kernel.data / std)[..., ::-1]
    pixels = list(np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.float32))
    samples = [(values[..., ::-1] - mean) / std for values in pixels]
    quantized = int8(graphs.dump(net.graph), samples=pixels)
    (layer,) = audit.audit(model, quantized, samples, quantized_samples=pixels).layers
    assert layer.own_sqnr_db > 30
    assert layer.sqnr_db == pytest.approx(layer.own_sqnr_db, abs=1)


# Answers.


def test_a_softmax_that_the_quantized_model_lacks(model: bytes, sound: Audit) -> None:
    """Agreement and divergence as `evaluate` tells them."""
    quantized = int8(model)
    runners = [Runner(content) for content in (model, quantized)]
    agrees, kl_nats = 0, []
    for sample in SAMPLES:
        answers = [runner.output.dequantize(runner.run(runner.input.quantize(sample)))[0] for runner in runners]
        agrees += answers[0].argmax() == answers[1].argmax()
        kl_nats.append(evaluate.divergence(answers[0], evaluate.probabilities(answers[1], "logits")))
    assert (sound.agreement.hits, sound.agreement.of) == (agrees, len(SAMPLES))
    assert sound.kl_nats == pytest.approx(np.mean(kl_nats), rel=0.05)
    assert 0 < sound.kl_nats < 0.1


def test_a_model_held_against_itself_disagrees_nowhere(model: bytes) -> None:
    found = audit.audit(model, int8(model, "float16"), SAMPLES)
    assert found.agreement.hits == len(SAMPLES)
    assert found.kl_nats < 1e-3


def test_right_answers_are_counted_where_classes_are_known(model: bytes, sound: Audit) -> None:
    assert (sound.top1, sound.float_top1) == (None, None)
    runner = Runner(model)
    truths: list[int | None] = [int(runner.run(sample).argmax()) for sample in SAMPLES]
    truths[0], truths[1] = None, (truths[1] + 1) % 5
    found = audit.audit(model, int8(model), SAMPLES, truths=truths)
    assert found.float_top1 == fidelity.Hits(4, 5)
    assert found.top1.of == 5


def test_progress_is_told(model: bytes) -> None:
    told = []
    audit.audit(model, int8(model), SAMPLES[:2], progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


# Histograms.


def test_histograms_hold_every_value_of_the_chosen_samples(model: bytes, sound: Audit) -> None:
    found, histograms = audit.audit_with_histograms(model, int8(model), SAMPLES)
    assert found == sound
    assert set(histograms) == {layer.name for layer in found.layers}
    graph = graphs.load(model)
    elements = {tensor.name: tensor.elements for tensor in graph.tensors}
    for layer in found.layers:
        histogram = histograms[layer.name]
        for counts in (histogram.values, histogram.error, histogram.own_error):
            assert sum(counts.counts) == elements[layer.name] * len(SAMPLES)
        assert histogram.range == pytest.approx(tuple((end - layer.zero_point) * layer.scale for end in (-128, 127)))
        assert histogram.values.low <= histogram.range[0] and histogram.range[1] <= histogram.values.high


def test_what_a_layer_only_rounds_is_off_by_about_half_a_step(model: bytes) -> None:
    """A mean adds nothing but its output's rounding, and a little where the kernel rounds its multiplier."""
    found, histograms = audit.audit_with_histograms(model, int8(model), SAMPLES)
    errors = histograms[found.layers[5].name].own_error
    width = (errors.high - errors.low) / len(errors.counts)
    beyond = [n for number, n in enumerate(errors.counts) if abs(errors.low + width * (number + 0.5)) > 0.8]
    assert sum(beyond) == 0


# What is refused.


def test_a_float_model_has_answers_but_no_noise(model: bytes) -> None:
    found = audit.audit(model, model, SAMPLES)
    assert (found.operators, found.layers, found.worst) == (0, (), ())
    assert (found.agreement.hits, found.kl_nats) == (len(SAMPLES), 0)


def test_pairs_that_are_none(model: bytes, sound: Audit) -> None:
    quantized = int8(model)
    with pytest.raises(FileFormatError, match="the reference is quantized itself"):
        audit.audit(quantized, quantized, SAMPLES)
    with pytest.raises(DataError, match="needs samples"):
        audit.audit(model, quantized, [])
    with pytest.raises(DataError, match=r"a sample is \(4, 4, 3\)"):
        audit.audit(model, quantized, [np.zeros((4, 4, 3), np.float32)])


def test_a_float_form_of_unknown_size(model: bytes) -> None:
    def unknown(graph: Graph) -> None:
        graph.tensors[0].shape_signature = (1, -1, -1, 3)

    with pytest.raises(FileFormatError, match=r"the float model's input 'input0' has no fixed size \(1, -1, -1, 3\)"):
        audit.audit(edited(model, unknown), int8(model), SAMPLES)


def test_dead_layers_are_no_sign_of_another_network() -> None:
    net = Net(SHAPE)
    data = net.conv(0, 8, 3)
    for _ in range(3):
        data = net.conv(data, 8, 3)
        for index in net.graph.operators[-1].inputs[1:]:
            net.graph.tensors[index].data *= 0
    model = net.done()
    assert audit.audit(model, int8(model), SAMPLES).matched == 4


def test_other_networks(model: bytes) -> None:
    net = Net((1, 8, 8, 3))
    net.conv(0, 8, 3)
    with pytest.raises(UsageError, match=r"the float one takes \(1, 8, 8, 3\), the quantized one \(1, 16, 16, 3\)"):
        audit.audit(net.done(), int8(model), SAMPLES)
    net = Net(SHAPE)
    net.conv(0, 8, 3)
    with pytest.raises(UsageError, match="the float one gives 2048 values, the quantized one 5"):
        audit.audit(net.done(), int8(model), SAMPLES)
    other = Net(SHAPE, seed=9)
    other.conv(0, 8, 3)
    for change in (lambda graph: None, renamed):  # by name they are found, and found to be others
        with pytest.raises(UsageError, match="different networks"):
            audit.audit(net.graph and graphs.dump(net.graph), edited(int8(other.done()), change), SAMPLES)


def test_a_float_model_that_gives_no_numbers() -> None:
    net = Net(SHAPE)
    data = net.conv(0, 4, 1)
    net.add("MUL", [data, net.constant(1.0)], (1, 16, 16, 4))
    model = net.done()
    quantized = int8(model)
    broken = edited(
        model, lambda graph: setattr(graph.tensors[graph.operators[1].inputs[1]], "data", np.float32(np.inf))
    )
    with pytest.raises(DataError, match="infinite or undefined"):
        audit.audit(broken, quantized, SAMPLES)


# Arithmetic and records.

VALUES = arrays(np.float32, some.integers(1, 50), elements=some.floats(-1000, 1000, width=32))


@given(VALUES, some.integers(0, 2**32 - 1), some.floats(0.01, 100))
def test_noise_in_decibels(expected: Array, seed: int, factor: float) -> None:
    """Adds up over samples; does not depend on the unit; a tenth of the amplitude is 20 dB."""
    error = np.random.default_rng(seed).normal(0, 1, expected.shape).astype(np.float32)
    whole, halves, other = Noise(), Noise(), Noise()
    whole.add(expected, error)
    for part in (slice(None, None, 2), slice(1, None, 2)):
        halves.add(expected[part], error[part])
    other.add(expected * np.float32(factor), error * np.float32(factor))
    assert -LARGEST_DB <= whole.db <= LARGEST_DB
    assert halves.db == pytest.approx(whole.db, abs=0.01)
    assert other.db == pytest.approx(whole.db, abs=0.01)
    tenth = Noise()
    tenth.add(expected, expected / np.float32(10))
    assert tenth.db == pytest.approx(20, abs=0.01) if np.abs(expected).max() > 1e-10 else True


def test_noise_at_its_ends() -> None:
    values = np.ones(3, np.float32)
    quiet, dead, huge = Noise(), Noise(), Noise()
    quiet.add(values, values * 0)
    dead.add(values * 0, values)
    huge.add(values * np.float32(1e30), values)  # whose square float32 does not hold
    assert (quiet.db, dead.db, huge.db) == (LARGEST_DB, -LARGEST_DB, LARGEST_DB)
    assert huge.signal == pytest.approx(3e60)
    assert Tally().clipped == 0


def test_an_audit_can_be_written_down(sound: Audit) -> None:
    assert msgspec.json.decode(msgspec.json.encode(sound), type=Audit) == sound


NAMES = some.lists(some.text("ab/;_1", max_size=12), unique=True, max_size=8)


@settings(max_examples=300)
@given(NAMES)
def test_short_names_stay_apart(names: list[str]) -> None:
    short = fidelity.short_names(names)
    assert len(short) == len(set(short)) == len(names)
    assert all(len(new) <= len(old) for new, old in zip(short, names, strict=True))


def test_short_names_of_converters() -> None:
    keras = ["net_1/conv1_1/Relu;net_1/conv1_1/BiasAdd", "net_1/pool1_1/MaxPool2d", "net_1/fire2_1/concat", "Identity"]
    assert fidelity.short_names(keras) == ["conv1", "pool1", "fire2", "Identity"]
    slim = [f"MobilenetV1/MobilenetV1/Conv2d_{number}/Relu6" for number in range(3)]
    assert fidelity.short_names(slim) == ["Conv2d_0", "Conv2d_1", "Conv2d_2"]
