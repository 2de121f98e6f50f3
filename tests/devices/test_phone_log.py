"""benchmark_model's log as numbers: one recorded on a Raspberry Pi (google/XNNPACK#999), and later forms."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.devices import _phone_log
from edgekit.errors import FileFormatError
from edgekit.measurement import Delegation

RECORDED = (Path(__file__).parent / "phone" / "benchmark_raspberry_pi_2_4.log").read_text()
# tensorflow#56301 recorded the first line's form; the third is that of later sources.
NNAPI = (
    "05-30 15:16:44.857 I tflite  : Explicitly applied NNAPI delegate, and the model graph will be {} executed by it"
)
REPLACING = "VERBOSE: Replacing 30 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions"
PERCENTILES = "INFO: count=50 first=7989 curr=8010 min=7930 max=8300 avg=8000.46 std=52 p5=7938 median=7991 p95=8111"


def test_a_recorded_log_is_read() -> None:
    log = _phone_log.parse(RECORDED, operators=31)
    assert (log.init_ns, log.first_ns) == (18_777_000, 64_791_000)
    told = log.summary
    assert (told.runs, told.mean_ns, told.min_ns, told.max_ns) == (50, 55_043_200, 53_077_000, 60_727_000)
    assert (told.median_ns, told.p95_ns, told.std_ns) == (None, None, 1_562_000)
    assert log.delegation.delegate == "XNNPACK, share not told"
    assert log.peak_bytes is None


def test_the_measured_phase_counts_and_not_the_warm_up() -> None:
    newer = RECORDED.replace(RECORDED.splitlines()[14], PERCENTILES)
    told = _phone_log.parse(newer, 31).summary
    assert (told.runs, told.median_ns, told.p95_ns, told.mean_ns) == (50, 7_991_000, 8_111_000, 8_000_460)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (REPLACING, Delegation("XNNPack", 31, 30)),
        (NNAPI.format("completely"), Delegation("NNAPI", 31, 31)),
        (NNAPI.format("partially"), Delegation("NNAPI, share not told", 0, 0)),
    ],
)
def test_delegation_is_what_the_tool_says_and_no_more(line: str, expected: Delegation) -> None:
    assert _phone_log.parse(f"{line}\n{RECORDED}", 31).delegation == expected


def test_without_a_delegate_nothing_is_taken() -> None:
    plain = RECORDED.replace("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", "")
    assert _phone_log.parse(plain, 31).delegation == Delegation("none", 31, 0)


@given(st.integers(0, len(RECORDED)))
def test_a_log_that_ends_early_is_refused_or_whole(length: int) -> None:
    try:
        log = _phone_log.parse(RECORDED[:length], 31)
    except FileFormatError as error:
        assert "did not finish" in str(error)
    else:
        assert log.summary.runs == 50
