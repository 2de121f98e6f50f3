"""`edgekit bench` and `edgekit profile` from the command line: sweeps, refusals, verdicts that fail, pictures."""

from __future__ import annotations

import json
import sys

import pytest

from edgekit import cli, measurement, validity
from edgekit.errors import UsageError
from edgekit.measurement import Protocol, Verdict


@pytest.fixture
def bench(capsys, tmp_path):
    """`bench(*arguments)`: (exit code, stdout, stderr, records) of one command line, run in this process."""

    def run(*arguments):
        results = tmp_path / "results.jsonl"
        code = cli.run(["bench", *map(str, arguments), "-o", str(results), "--meter", "none"])
        shown = capsys.readouterr()
        return code, shown.out, shown.err, measurement.read([results]) if results.exists() else []

    return run


@pytest.fixture
def short(monkeypatch):
    """The quick preset in a tenth of its time."""
    protocol = Protocol("quick", warmup_s=0.02, min_runs=20, min_seconds=0.1, warmup_most_s=0.1)
    monkeypatch.setattr("edgekit.bench.find_protocol", lambda _: protocol)


@pytest.fixture
def judged(monkeypatch):
    """`judged(word)`: every verdict from here on."""
    return lambda word: monkeypatch.setattr(
        validity, "judge", lambda _: Verdict(word, ("throttled",)[: word != "valid"])
    )


@pytest.mark.usefixtures("short")
def test_threads_are_swept_and_pairs_are_told_in_their_sessions(bench, tiny, tiny_float):
    code, out, _, records = bench(tiny.path, tiny_float.path, "--threads", "1,2", "--json")
    assert code == 0
    assert [record.threads for record in records] == [1, 1, 2, 2]
    assert len({record.session for record in records}) == 2
    assert [found["threads"] for found in json.loads(out)] == [1, 1, 2, 2]
    code, out, _, _ = bench(tiny.path, tiny_float.path)
    assert code == 0 and "times as long as" in out and "verdict" in out.lower()


@pytest.mark.usefixtures("short")
def test_strict_fails_on_anything_but_valid_and_keeps_the_record(bench, judged, tiny):
    judged("suspect")
    code, _, err, records = bench(tiny.path, "--strict")
    assert code == 10 and len(records) == 1
    assert "1 thread: the result is suspect: throttled" in err
    judged("valid")
    assert bench(tiny.path, "--strict")[0] == 0
    judged("invalid")
    assert bench(tiny.path)[0] == 0


@pytest.mark.usefixtures("short")
def test_full_delegation_can_be_required(bench, tiny):
    """XNNPACK leaves an operator of the colour network, so this is a real refusal."""
    code, _, err, records = bench(tiny.path, "--require-full-delegation")
    assert records[0].delegation.left
    assert code == 10 and f"left {', '.join(records[0].delegation.left)}" in err


@pytest.mark.usefixtures("short")
def test_a_session_can_be_drawn(bench, tiny, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "heat.svg"
    assert bench(tiny.path, "--picture", picture)[0] == 0
    assert picture.read_text().rstrip().endswith("</svg>") and "latency, ms" in picture.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "1,x"], "whole numbers of 1 or more"),
        (["--threads", "0"], "whole numbers of 1 or more"),
        (["--threads", ""], "whole numbers of 1 or more"),
        (["--cores", "a-b"], "numbers and ranges such as 4-7"),
        (["--cores", "7-4"], "from a smaller to a greater"),
        (["--cores", "0-99999999999"], "from a smaller to a greater"),
        (["--inputs", "ramdom"], "random, golden or images:FOLDER"),
        (["--threads", "1,2", "--picture", "x.svg"], "one session"),
        (["--picture", "x.jpg"], "a jpg picture"),
        (["--device", "emulated:cortex-a76", "--picture", "x.svg"], "has no time"),
    ],
)
def test_arguments_that_cannot_be_meant(bench, tiny, arguments, words):
    code, _, err, records = bench(tiny.path, *arguments)
    assert (code, records) == (2, [])
    assert words in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "cores"), [("", ()), ("3", (3,)), ("4-7", (4, 5, 6, 7)), ("0,2", (0, 2)), ("2,0-1,1", (0, 1, 2))]
)
def test_cores_are_written_as_the_kernel_writes_them(text, cores):
    assert cli._cores(text) == cores


def test_a_negative_core_is_no_range():
    with pytest.raises(UsageError):
        cli._cores("-1")


def test_a_profile_of_a_file_and_of_a_log(capsys, tiny, tmp_path):
    assert cli.run(["profile", str(tiny.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operators"][0]["kind"] == "CONV_2D"
    assert cli.run(["profile", str(tiny.path)]) == 0
    out = capsys.readouterr().out
    assert "prefix truncation" in out and "whole network takes" in out
    log = tmp_path / "log.txt"
    log.write_text(
        "Inference (avg): 1000\n==== Run Order ====\n  CONV_2D  0.5  1.0  100.0%  100.0%  0.0  1  [conv]:0\n"
    )
    assert cli.run(["profile", "--log", str(log)]) == 0
    assert "benchmark_model" in capsys.readouterr().out
    log.write_text("nothing")
    assert cli.run(["profile", "--log", str(log)]) == 3
    assert cli.run(["profile"]) == 2
    assert cli.run(["profile", str(tiny.path), "--log", str(log)]) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process on cores")
@pytest.mark.usefixtures("short")
def test_cores_reach_the_record(bench, tiny):
    import os

    core = min(os.sched_getaffinity(0))
    code, _, _, records = bench(tiny.path, "--cores", str(core))
    assert code == 0 and records[0].fingerprint.pinned == (core,)
