"""Operator profiles: cuts of a real network, their sum beside the whole, and logs of benchmark_model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graphs import Net

from edgekit import graph as graphs
from edgekit import profile
from edgekit.errors import FileFormatError, UnsupportedModelError
from edgekit.profile import OperatorTime, Profile
from edgekit.runtime import Runner

HEAD = "============================== Run Order =============================="


def network() -> bytes:
    """A heavy and a light branch, joined again: an input that is read twice, and a cut with two live tensors."""
    net = Net((1, 48, 48, 8))
    heavy = net.add("CONV_2D", [0, net.weights(32, 3, 3, 8), net.weights(32)], (1, 48, 48, 32))
    light = net.add("CONV_2D", [0, net.weights(32, 1, 1, 8), net.weights(32)], (1, 48, 48, 32))
    joined = net.add("ADD", [heavy, light], (1, 48, 48, 32))
    axes = net.constant([1, 2], "int32")
    return net.done(net.add("MEAN", [joined, axes], (1, 32)))


def test_every_cut_runs_and_gives_what_the_network_gives_there() -> None:
    content = network()
    parsed = graphs.load(content)
    whole = Runner(content, keep_tensors=True)
    whole.resting_inputs()
    whole.invoke()
    for last, operator in enumerate(parsed.operators):
        short = Runner(profile.cut(parsed, last))
        short.resting_inputs()
        short.invoke()
        found = short.get_output(len(short.outputs) - 1)
        assert short.outputs[-1].name == parsed.tensors[operator.outputs[0]].name
        np.testing.assert_allclose(found, whole.tensor(operator.outputs[0]), rtol=1e-4, atol=1e-5)


def test_a_cut_keeps_what_is_read_later_and_drops_the_rest() -> None:
    parsed = graphs.load(network())
    names = [info.name for info in Runner(profile.cut(parsed, 1)).outputs]
    assert names == [parsed.tensors[parsed.operators[number].outputs[0]].name for number in (0, 1)]
    assert len(Runner(profile.cut(parsed, 2)).outputs) == 1
    assert len(profile.cut(parsed, 0)) < len(profile.cut(parsed, 1)) < len(network()) + 1000


def test_a_real_network_is_timed_operator_by_operator() -> None:
    shares: list[float] = []
    found = profile.profile(network(), progress=shares.append)
    assert [operator.kind for operator in found.operators] == ["CONV_2D", "CONV_2D", "ADD", "MEAN"]
    assert [operator.macs for operator in found.operators] == [48 * 48 * 32 * 72, 48 * 48 * 32 * 8, 0, 0]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert found.whole_ns is not None and found.whole_ns > 0 and found.difference is not None
    heavy = max(found.operators, key=lambda operator: operator.time_ns)
    assert heavy.index == 0
    assert found.method == profile.METHOD and found.threads == 1


@pytest.mark.parametrize(("parts", "agrees"), [((60.0, 45.0), True), ((60.0, 20.0), False), ((60.0, 60.0), False)])
def test_the_sum_is_held_against_the_whole(parts: tuple[float, float], agrees: bool) -> None:
    times = tuple(OperatorTime(number, "ADD", "x", part, 3.0) for number, part in enumerate(parts))
    found = Profile("by hand", 1, times, 100.0)
    assert found.agrees is agrees
    assert found.difference == pytest.approx(sum(parts) / 100 - 1)
    assert found.scatter_ns == pytest.approx(18**0.5)


def test_a_sum_without_a_whole_is_not_judged() -> None:
    assert Profile("by hand", 1, (OperatorTime(0, "ADD", "x", 1.0),)).agrees is None


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(FileFormatError):
        profile.profile(b"1234TFL3 and no more")


# In the layout of TFLite 2.17's benchmark_model with a delegate: two profiles, no [start], calls counted. The numbers
# are invented.
NEW_LOG = f"""INFO: STARTING!
INFO: Inference timings in us: Init: 30000, First inference: 19000, Warmup (avg): 16000, Inference (avg): 1500.5
INFO: Profiling Info for Benchmark Initialization:
{HEAD}
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 ModifyGraphWithDelegate\t    6.348\t    6.348\t 55.640%\t 55.640%\t  7148.000\t        1\tModifyGraphWithDelegate/0

INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
{HEAD}
                 [node type]          [first]        [avg ms]            [%]          [cdf%]          [mem KB]        [times called]  [Name]
                    QUANTIZE            0.199           0.200        13.333%         13.333%             0.000                1       [tfl.quantize]:0
  Convolution (NHWC, QC8) DWConv        0.428           0.050        43.333%         56.667%             0.000               13       Delegate/Convolution (NHWC, QC8) DWConv:1
                     SOFTMAX            0.650           0.640        43.333%        100.000%             0.000                1       [a;b/Softmax]:30

============================== Top by Computation Time ==============================
                 [node type]          [first]        [avg ms]            [%]          [cdf%]          [mem KB]        [times called]  [Name]
                     SOFTMAX            0.650           0.640        43.333%         43.333%             0.000                1       [a;b/Softmax]:30
"""  # noqa: E501

# In the layout of an older tool, as TensorFlow's README shows it: [start] is there and calls are not counted.
OLD_LOG = f"""
{HEAD}
\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t    0.000\t    4.200\t    4.300\t  0.107%\t  0.107%\t     0.000\t        0\t[Net/Conv2d_0/Relu6]
\t       DEPTHWISE_CONV_2D\t    4.270\t    2.150\t    2.100\t  0.054%\t  0.161%\t     0.000\t        0\t[Net/Conv2d_1/Relu6]

"""  # noqa: E501

# In the layout of LiteRT's benchmark tool: milliseconds, rows of the runtime itself. The numbers are invented.
LITERT_LOG = f"""INFO: [./litert/tools/benchmark_litert_model.h:88] Inference (avg):      0.46 ms (2112 runs)
{HEAD}
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t        LiteRT::Run[buffer registration]\t    0.020\t    0.014\t  3.309%\t  3.309%\t     0.000\t        1\tLiteRT::Run[buffer registration]/0
\t         Fully Connected (NC, PF32) GEMM\t    0.538\t    0.382\t 92.948%\t 97.018%\t     0.000\t        1\tDelegate/Fully Connected (NC, PF32) GEMM:1
"""  # noqa: E501


def test_a_log_with_a_delegate_is_read() -> None:
    found = profile.parse_benchmark_model(NEW_LOG)
    assert [(row.kind, round(row.time_ns), row.calls) for row in found.operators] == [
        ("QUANTIZE", 200_000, 1),
        ("Convolution (NHWC, QC8) DWConv", 650_000, 13),  # the log's average is of one call
        ("SOFTMAX", 640_000, 1),
    ]
    assert [row.name for row in found.operators][::2] == ["tfl.quantize", "a;b/Softmax"]
    assert [row.delegated for row in found.operators] == [None, True, None]
    assert found.whole_ns == pytest.approx(1_500_500) and found.agrees


def test_an_older_log_is_read() -> None:
    found = profile.parse_benchmark_model(OLD_LOG)
    assert [(row.kind, row.name, round(row.time_ns)) for row in found.operators] == [
        ("CONV_2D", "Net/Conv2d_0/Relu6", 4_300_000),
        ("DEPTHWISE_CONV_2D", "Net/Conv2d_1/Relu6", 2_100_000),
    ]
    assert found.whole_ns is None


def test_a_log_of_litert_is_read() -> None:
    found = profile.parse_benchmark_model(LITERT_LOG)
    assert [round(row.time_ns) for row in found.operators] == [14_000, 382_000]
    assert found.whole_ns == pytest.approx(460_000)


@pytest.mark.parametrize("log", ["", "INFO: STARTING!\n", f"{HEAD}\n", f"{HEAD}\nnonsense\n\n", NEW_LOG[:300]])
def test_a_log_without_a_profile_is_refused(log: str) -> None:
    with pytest.raises(FileFormatError, match="enable_op_profiling"):
        profile.parse_benchmark_model(log)


def test_more_than_one_subgraph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = graphs.load(network())
    parsed.subgraphs = 2
    monkeypatch.setattr(graphs, "load", lambda _: parsed)
    with pytest.raises(UnsupportedModelError, match="2 subgraphs"):
        profile.profile(network())


@pytest.mark.assets
def test_the_parts_of_a_real_network_are_most_of_it(assets: Path) -> None:
    found = profile.profile((assets / "tflite" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes())
    assert found.difference is not None and abs(found.difference) < 0.5  # a busy machine is no failure
    assert len(found.operators) == 31
