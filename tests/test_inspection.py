"""What `inspect` says of a file, ours or not, and that no damage to a file takes the process down."""

from __future__ import annotations

import os

import msgspec
import numpy as np
import pytest

from edgekit import artifact as artifacts
from edgekit import graph, inspection
from edgekit.artifact import Golden
from edgekit.errors import FileFormatError, ModelCrashError
from edgekit.inspection import Inspection
from edgekit.spec import square


def test_a_float_model(tiny_float):
    found = inspection.inspect(tiny_float.path)
    assert (found.path, found.sha256) == (str(tiny_float.path), tiny_float.sha256)
    assert found.size_bytes == tiny_float.path.stat().st_size
    assert [row.kind for row in found.operators] == ["CONV_2D", "RELU", "MEAN", "SOFTMAX"]
    assert [row.output_shape for row in found.operators] == [(1, 32, 32, 4), (1, 32, 32, 4), (1, 4), (1, 4)]
    assert [row.macs for row in found.operators] == [32 * 32 * 4 * 3, 0, 0, 0]
    assert found.macs == 32 * 32 * 4 * 3
    assert found.weight_bytes == 4 * (4 * 3 + 4 + 2)  # kernel, bias and the axes of MEAN
    assert found.peak_activation_bytes == 4 * 2 * 32 * 32 * 4  # what goes into RELU and what comes out
    assert found.dtypes == {"float32": 5}
    assert (found.delegate, found.left, found.macs_delegated) == ("XNNPACK", [], 1.0)
    assert found.refused is None
    assert (found.card, found.labels) == (tiny_float.card, 4)
    assert found.golden == inspection.GoldenVerdict(True, "bit-exact")


def test_the_quantization_of_every_tensor(tiny):
    found = inspection.inspect(tiny.path)
    image = found.tensors[found.inputs[0]]
    assert (image.dtype, image.scales, image.zero_point, image.axis) == ("int8", 1, -128, None)
    assert image.scale == pytest.approx((255 / 256 / 255,) * 2)
    kernel = next(row for row in found.tensors if row.constant and row.dtype == "int8")
    assert (kernel.scales, kernel.axis, kernel.zero_point) == (4, 0, 0)
    assert kernel.scale == pytest.approx((4 / 127, 8 / 127))  # grey's largest weight is half of the others'
    bias = next(row for row in found.tensors if row.constant and row.scales == 4 and row.dtype == "int32")
    assert bias.size_bytes == 16
    axes = next(row for row in found.tensors if row.constant and row.shape == (2,))
    assert (axes.scales, axes.scale, axes.zero_point, axes.axis) == (0, None, None, None)


def write(path, tensors, operators, inputs, outputs):
    path.write_bytes(graph.dump(graph.Graph(tensors, operators, inputs, outputs)))
    return path


def test_a_foreign_file(tmp_path):
    tensors = [graph.Tensor(name, (1, 8), "float32") for name in ("in", "middle", "out")]
    operators = [graph.Operator("RELU", [0], [1]), graph.Operator("SIGN", [1], [2])]
    found = inspection.inspect(write(tmp_path / "m.tflite", tensors, operators, [0], [2]))
    assert (found.card, found.labels, found.golden) == (None, 0, None)
    assert [row.delegated for row in found.operators] == [True, False]
    assert found.left == ["SIGN"]
    assert found.macs_delegated is None


def test_a_model_that_the_runtime_refuses_is_described_all_the_same(tmp_path):
    tensors = [graph.Tensor(name, (1, 8), "float32") for name in ("in", "out")]
    operators = [graph.Operator("CUSTOM", [0], [1], custom_code="Teleport")]
    found = inspection.inspect(write(tmp_path / "m.tflite", tensors, operators, [0], [1]))
    assert found.refused is not None
    assert "Teleport" in found.refused
    assert "\n" not in found.refused
    assert (found.delegate, found.macs_delegated) == (None, None)
    assert [(row.kind, row.delegated) for row in found.operators] == [("Teleport", None)]


def test_a_kernel_without_a_shape(tmp_path):
    tensors = [graph.Tensor(name, (1, 8), "float32") for name in ("in", "out")]
    tensors.append(graph.Tensor("kernel", (), "float32", np.ones((), np.float32)))
    path = write(tmp_path / "m.tflite", tensors, [graph.Operator("FULLY_CONNECTED", [0, 2], [1])], [0], [1])
    with pytest.raises(FileFormatError, match="damaged flatbuffer"):
        inspection.inspect(path)


def test_a_model_that_loads_and_fails_when_it_runs(tiny_float, tmp_path):
    """It looks up a row that is not there."""
    tensors = [graph.Tensor("image", (1, 32, 32, 3), "float32"), graph.Tensor("out", (1, 32, 32, 3), "float32")]
    tensors.append(graph.Tensor("rows", (1,), "int32", np.array([10**6], np.int32)))
    options = graph.new_options("GatherOptions"), graph.constant("BuiltinOptions", "GatherOptions")
    model = graph.dump(graph.Graph(tensors, [graph.Operator("GATHER", [0, 2], [1], *options)], [0], [1]))
    known = Golden(tiny_float.golden.pixels, bytes(4 * 32 * 32 * 3))
    path = artifacts.write(tmp_path / "m.tflite", model, tiny_float.card, (), (), known).path
    with pytest.raises(FileFormatError, match="gather index out of bounds"):
        inspection.inspect(path)


def test_a_model_beyond_this_machine_is_described_without_loading_it(tmp_path):
    tensors = [graph.Tensor(name, (1, 2_000_000_000, 2_000), "float32") for name in ("in", "out")]
    found = inspection.inspect(write(tmp_path / "m.tflite", tensors, [graph.Operator("RELU", [0], [1])], [0], [1]))
    assert "its activations need 32,000.0 GB at once" in found.refused
    assert found.operators[0].delegated is None


def test_json_holds_everything(tiny):
    found = inspection.inspect(tiny.path)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Inspection) == found


def rewritten(artifact, path, **changes):
    changed = msgspec.structs.replace(artifact, **changes)
    content = artifact.path.read_bytes()
    model = content[: content.index(b"PK\x03\x04")]
    return artifacts.write(path, model, changed.card, changed.labels, changed.label_ids, changed.golden).path


def test_a_golden_vector_that_fails(tiny, tmp_path):
    output = bytes(value ^ 0x40 for value in tiny.golden.output)
    path = rewritten(tiny, tmp_path / "m.tflite", golden=Golden(tiny.golden.pixels, output))
    verdict = inspection.inspect(path).golden
    assert not verdict.passed
    assert "4 of 4 values differ" in verdict.detail


@pytest.mark.parametrize("what", ["vector", "preprocessing"])
def test_a_card_that_does_not_fit_the_model(what, tiny, tmp_path):
    changes = {"golden": Golden(tiny.golden.pixels, b"\0" * 7)}
    if what == "preprocessing":
        changes = {"card": msgspec.structs.replace(tiny.card, input=square(64))}
    verdict = inspection.inspect(rewritten(tiny, tmp_path / "m.tflite", **changes)).golden
    assert not verdict.passed
    assert verdict.detail


def test_a_damaged_weight_fails_the_golden_vector(tiny, tmp_path):
    """The flatbuffer is sound, its answer is another."""
    content = tiny.path.read_bytes()
    kernel = np.asarray(next(tensor.data for tensor in graph.load(content).tensors if tensor.name == "kernel"))
    place = content.index(kernel.tobytes())
    path = tmp_path / "m.tflite"
    path.write_bytes(content[:place] + bytes(len(kernel.tobytes())) + content[place + len(kernel.tobytes()) :])
    assert not inspection.inspect(path).golden.passed


def test_every_truncation_is_an_error(tiny, tmp_path):
    content = tiny.path.read_bytes()
    model_bytes = content.index(b"PK\x03\x04")
    path = tmp_path / "cut.tflite"
    for length in range(0, model_bytes, 41):
        path.write_bytes(content[:length])
        with pytest.raises((FileFormatError, ModelCrashError)) as caught:
            inspection.inspect(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_flatbuffer_is_an_error_or_a_model(seed, tiny, tiny_float, tmp_path):
    """Bytes, words and whole stretches of the flatbuffer are overwritten: nothing kills or hangs this process."""
    generator = np.random.default_rng(seed)
    artifact = (tiny, tiny_float)[seed % 2]
    content = artifact.path.read_bytes()
    end = content.index(b"PK\x03\x04")
    path = tmp_path / "damaged.tflite"
    outcomes = {"described": 0, "refused": 0}
    for _ in range(75):
        damaged = bytearray(content)
        length = int(generator.choice([1, 1, 2, 4, 4, 16]))
        start = int(generator.integers(8, end - length))
        new = (
            generator.integers(0, 256, length, np.uint8) if generator.random() < 0.7 else np.full(length, 255, np.uint8)
        )
        damaged[start : start + length] = new.tobytes()
        path.write_bytes(damaged)
        try:
            found = inspection.inspect(path)
        except (FileFormatError, ModelCrashError) as error:
            outcomes["refused"] += 1
            assert str(path) in str(error)
            assert "\n" not in str(error)
        else:
            outcomes["described"] += 1
            assert msgspec.json.encode(found)
    assert min(outcomes.values()) > 5, outcomes


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "macs"), [("mobilenet_v1_0.25_128_quant", 13_600_000), ("mobilenet_v2_1.0_224_quant", 300_800_000)]
)
def test_the_published_files(name, macs, assets):
    found = inspection.inspect(assets / f"tflite/{name}.tflite")
    assert found.macs == pytest.approx(macs, rel=0.005)
    assert found.tensors[found.inputs[0]].dtype == "uint8"
    assert found.refused is None
    assert found.card is None


def test_nobody_stays_behind(tiny, tmp_path):
    """No child process is left when a file was refused."""
    path = tmp_path / "cut.tflite"
    path.write_bytes(tiny.path.read_bytes()[:200])
    with pytest.raises(FileFormatError):
        inspection.inspect(path)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
