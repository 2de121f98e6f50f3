"""Models that run: real values in and out, what the delegate takes, refusals, threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from float_graphs import Net, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import graph as graphs
from edgekit import quantize, recipe, runtime
from edgekit.errors import FileFormatError, UnsupportedModelError
from edgekit.graph import Graph, Operator, Tensor
from edgekit.runtime import Runner, TensorInfo

INTEGERS = ("int8", "uint8", "int16")


def info(dtype: str, scale: float, zero_point: int) -> TensorInfo:
    return TensorInfo(0, "x", (1,), np.dtype(dtype), scale, zero_point)


@st.composite
def integer_tensors(draw) -> TensorInfo:
    dtype = draw(st.sampled_from(INTEGERS))
    limits = np.iinfo(dtype)
    scale = float(np.float32(draw(st.floats(1e-5, 100))))
    return info(dtype, scale, draw(st.integers(int(limits.min), int(limits.max))))


def real_limits(tensor: TensorInfo) -> tuple[float, float]:
    limits = np.iinfo(tensor.dtype)
    return (limits.min - tensor.zero_point) * tensor.scale, (limits.max - tensor.zero_point) * tensor.scale


@settings(deadline=None)
@given(integer_tensors(), st.floats(0, 1))
def test_a_value_in_range_comes_back_within_half_a_step(tensor, share):
    low, high = real_limits(tensor)
    value = np.array([low + share * (high - low)], np.float32)
    back = tensor.dequantize(tensor.quantize(value))
    slack = 4e-7 * max(abs(low), abs(high))  # float32
    assert abs(float(back[0]) - float(value[0])) <= tensor.scale / 2 + slack


@settings(deadline=None)
@given(integer_tensors())
def test_every_stored_value_comes_back_as_itself(tensor):
    limits = np.iinfo(tensor.dtype)
    stored = np.unique(np.linspace(limits.min, limits.max, 500).astype(tensor.dtype))
    assert (tensor.quantize(tensor.dequantize(stored)) == stored).all()


@settings(deadline=None)
@given(integer_tensors(), st.floats(-1e6, 1e6))
def test_values_beyond_the_range_stop_at_its_end(tensor, value):
    low, high = real_limits(tensor)
    (back,) = tensor.dequantize(tensor.quantize(np.array([value], np.float32)))
    assert low - 1e-4 * abs(low) <= back <= high + 1e-4 * abs(high)
    if not low <= value <= high:
        assert abs(back - np.clip(value, low, high)) <= tensor.scale * 0.51


@settings(deadline=None)
@given(integer_tensors())
def test_zero_is_stored_exactly(tensor):
    zero = tensor.quantize(np.zeros(1, np.float32))
    assert zero[0] == tensor.zero_point
    assert tensor.dequantize(zero)[0] == 0.0


def test_integers_without_a_scale_are_themselves():
    indices = info("int32", 0.0, 0)
    assert indices.quantize(np.array([0.0, 1.0, 7.4], np.float32)).tolist() == [0, 1, 7]
    assert indices.dequantize(np.array([3, -2], np.int32)).tolist() == [3.0, -2.0]


def test_float_tensors_are_themselves():
    values = np.array([0.1, -2.5], np.float32)
    assert (info("float32", 0.0, 0).quantize(values) == values).all()
    assert (info("float32", 0.0, 0).dequantize(values) == values).all()


def _relu(*shape: int) -> bytes:
    net = Net(shape)
    net.add("RELU", [0], shape)
    return net.done()


def test_a_runner_knows_its_ends():
    runner = Runner(_relu(1, 2, 3))
    assert (runner.input.name, runner.input.shape, runner.input.dtype) == ("input0", (1, 2, 3), np.dtype("float32"))
    assert (runner.output.shape, runner.output.scale) == ((1, 2, 3), 0.0)
    values = np.array([[[-1, 2, -3], [4, -5, 6]]], np.float32)
    assert runner.run(values).tolist() == [[[0, 2, 0], [4, 0, 6]]]
    assert runner.run(values[0]).tolist() == [[[0, 2, 0], [4, 0, 6]]]  # a sample without its batch


def test_an_output_is_a_copy():
    runner = Runner(_relu(1, 2))
    first = runner.run(np.array([[1, 2]], np.float32))
    runner.run(np.array([[3, 4]], np.float32))
    assert first.tolist() == [[1, 2]]


def test_tensors_inside_are_readable_when_kept():
    net = Net((1, 4))
    middle = net.add("RELU", [0], (1, 4))
    doubled = net.add("ADD", [middle, middle], (1, 4))
    net.add("MUL", [doubled, doubled], (1, 4))
    for delegate in (True, False):
        runner = Runner(net.done(), delegate=delegate, keep_tensors=True)
        runner.run(np.array([[-1, 1, 2, 3]], np.float32))
        assert runner.tensor(middle).tolist() == [[0, 1, 2, 3]]
        assert runner.tensor(doubled).tolist() == [[0, 2, 4, 6]]


def test_resting_inputs_are_seeded_and_fill_the_range():
    net = Net((1, 64), (1, 64))
    net.add("ADD", [0, 1], (1, 64))
    samples = [tuple(noise(1, 64, count=2, seed=seed)) for seed in range(3)]
    integer = quantize.quantize(net.done(), recipe.find("int8_fast"), samples).model
    found = []
    for seed in (0, 0, 1):
        runner = Runner(integer)
        runner.resting_inputs(seed)
        runner.invoke()
        found.append(runner.get_output())
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    assert np.ptp(found[0].astype(int)) > 127


def test_everything_is_delegated_or_nothing():
    net = Net((1, 4, 4, 2))
    net.conv(net.conv(0, 3), 2, 3)
    model = net.done()
    taken = Runner(model).delegation()
    assert (taken.delegate, taken.operators, taken.taken, taken.left) == ("XNNPACK", 2, 2, ())
    left = Runner(model, delegate=False).delegation()
    assert (left.delegate, left.operators, left.taken, left.left) == ("none", 2, 0, ("CONV_2D", "CONV_2D"))


def test_an_operator_in_the_middle_that_the_delegate_leaves():
    net = Net((1, 8, 8, 4))
    before = net.add("RELU", [net.conv(0, 4)], (1, 8, 8, 4))
    between = net.add("LOCAL_RESPONSE_NORMALIZATION", [before], (1, 8, 8, 4), radius=2, bias=1.0, alpha=0.1, beta=0.5)
    net.add("ADD", [net.conv(between, 4), before], (1, 8, 8, 4))  # reaches around what was left
    runner = Runner(net.done())
    assert runner.delegated() == {0, 1, 3, 4}
    delegation = runner.delegation()
    assert (delegation.operators, delegation.taken) == (5, 4)
    assert delegation.left == ("LOCAL_RESPONSE_NORMALIZATION",)


def test_several_branches_that_the_delegate_leaves():
    net = Net((1, 8, 8, 4))
    parts = [
        net.add("LOCAL_RESPONSE_NORMALIZATION", [net.conv(0, 4)], (1, 8, 8, 4), radius=radius, bias=1.0)
        for radius in (1, 2)
    ]
    net.add("CONCATENATION", parts, (1, 8, 8, 8), axis=3)
    runner = Runner(net.done())
    kinds = [operator.kind for operator in net.graph.operators]
    left = [kinds[index] for index in range(len(kinds)) if index not in runner.delegated()]
    assert left == ["LOCAL_RESPONSE_NORMALIZATION"] * 2
    assert runner.delegation().taken == 3


@pytest.mark.assets
def test_what_the_delegate_takes_of_a_real_file(assets: Path):
    content = (assets / "tflite" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    delegation = Runner(content).delegation()
    kinds = [operator.kind for operator in graphs.load(content).operators]
    assert delegation.operators == len(kinds) == 31
    assert delegation.taken + len(delegation.left) == 31
    assert {kinds[index] for index in Runner(content).delegated()} >= {"CONV_2D", "DEPTHWISE_CONV_2D"}


def test_the_runtime_has_a_name_and_a_version():
    package, version = runtime.version()
    assert package in ("ai-edge-litert", "tflite-runtime")
    assert version[0].isdigit()


def test_a_damaged_file_is_told_from_one_that_cannot_run():
    good = _relu(1, 4)
    with pytest.raises(FileFormatError, match="damaged or truncated") as damaged:
        Runner(good[: len(good) // 2])
    assert not isinstance(damaged.value, UnsupportedModelError)
    tensors = [Tensor("in", (1,), "float32"), Tensor("out", (1,), "float32")]
    custom = graphs.dump(Graph(tensors, [Operator("CUSTOM", [0], [1], custom_code="MyOp")], [0], [1]))
    with pytest.raises(UnsupportedModelError, match="MyOp"):
        Runner(custom)


def test_a_refusal_is_one_line_with_the_reason():
    net = Net((1, 8, 8, 4))
    net.add("CONV_2D", [0, net.weights(2, 1, 1, 3), net.weights(2)], (1, 8, 8, 2))  # 3 channels of 4
    with pytest.raises(UnsupportedModelError) as refusal:
        Runner(net.done(), delegate=False)
    message = str(refusal.value)
    assert message.startswith("the runtime cannot run this model: ")
    assert message.endswith(" / Node number 0 (CONV_2D) failed to prepare.")
    assert "\n" not in message
    assert "INFO" not in message


def test_a_name_that_is_no_text_is_a_format_error():
    content = bytearray(_relu(1, 4))
    content[content.index(b"input0")] = 0xFF
    with pytest.raises(FileFormatError, match="utf-8"):
        Runner(bytes(content))
    inner = Net((1, 4))
    inner.add("RELU", [inner.add("RELU", [0], (1, 4))], (1, 4))
    content = bytearray(inner.done())
    content[content.index(b"relu1")] = 0xFF
    with pytest.raises(FileFormatError, match="utf-8"):
        Runner(bytes(content)).delegation()


NOISY = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from edgekit.errors import UnsupportedModelError
from edgekit.runtime import Runner

sys.setswitchinterval(1e-6)  # the threads take turns within the shortest steps
good, bad = (Path(name).read_bytes() for name in sys.argv[1:])

def build(number):
    try:
        Runner(bad if number % 2 else good)
    except UnsupportedModelError as error:
        assert "failed to prepare" in str(error), error
        return 1
    return 0

with ThreadPoolExecutor(2) as pool:
    print(sum(pool.map(build, range(200))))
print("own line", file=sys.stderr)
"""


def test_native_messages_stay_off_stderr_with_two_threads(tmp_path):
    bad = Net((1, 8, 8, 4))
    bad.add("CONV_2D", [0, bad.weights(2, 1, 1, 3), bad.weights(2)], (1, 8, 8, 2))
    (tmp_path / "good").write_bytes(_relu(1, 4))
    (tmp_path / "bad").write_bytes(bad.done())
    command = [sys.executable, "-c", NOISY, str(tmp_path / "good"), str(tmp_path / "bad")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
    assert done.stderr == "own line\n"


def test_runners_in_parallel_threads_give_the_same_answers():
    net = Net((1, 32, 32, 8))
    net.conv(net.conv(0, 16, 3), 8, 3)
    model, samples = net.done(), noise(1, 32, 32, 8, count=16)
    alone = Runner(model)
    expected = [alone.run(sample) for sample in samples]

    def all_of_them(_number: int) -> list[bool]:
        runner = Runner(model)
        return [bool((runner.run(sample) == answer).all()) for sample, answer in zip(samples, expected, strict=True)]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(equal) for equal in pool.map(all_of_them, range(8)))


def test_two_threads_inside_give_the_same_answers():
    net = Net((1, 32, 32, 8))
    net.conv(net.conv(0, 16, 3), 8, 3)
    model, (sample,) = net.done(), noise(1, 32, 32, 8, count=1)
    np.testing.assert_allclose(Runner(model, 2).run(sample), Runner(model, 1).run(sample), rtol=1e-5, atol=1e-5)
