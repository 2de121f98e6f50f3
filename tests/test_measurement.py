"""Result files: what is appended is read back, whatever a crash, a full disk or a stranger did to the file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgekit
from edgekit import measurement
from edgekit.errors import FileFormatError, OutputError
from edgekit.measurement import Delegation, Energy, Fingerprint, Measurement, Protocol, Quality

TIMED = Measurement(
    artifact_sha256="a" * 64,
    artifact_name="squeezenet_v1_1-224-int8",
    model="squeezenet_v1_1",
    recipe="int8",
    size_bytes=1_363_080,
    device="Board",
    protocol=Protocol("quick", warmup_s=0.3, min_runs=50, min_seconds=1.0),
    threads=1,
    latency_ns=(1, 2, 3),
    load_ns=5,
    first_ns=6,
    delegation=Delegation("XNNPACK", operators=40, taken=38, left=("SOFTMAX", "MEAN")),
    fingerprint=Fingerprint("Board", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0"),
    started_utc="2026-01-01T10:00:00+00:00",
    energy=Energy(0.01, "RAPL", "cpu"),
    peak_rss_bytes=7,
)
JUDGED = Quality(
    artifact_sha256="a" * 64,
    artifact_name="squeezenet_v1_1-224-int8",
    model=None,
    recipe=None,
    size_bytes=1_363_080,
    images=2,
    images_sha256="1" * 64,
    rank=(0, None),
    started_utc="2026-01-01T10:00:00+00:00",
    agrees=(True, False),
    kl_nats=(0.1, 0.2),
)


def test_both_kinds_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "results.jsonl"
    for record in (TIMED, JUDGED, TIMED):
        measurement.append(path, record)
    assert measurement.read([path]) == [TIMED, JUDGED, TIMED]
    assert path.read_bytes().count(b"\n") == 3


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    measurement.append(first, TIMED)
    measurement.append(second, JUDGED)
    assert measurement.read([second, first]) == [JUDGED, TIMED]


@settings(deadline=None)
@given(cut=st.integers(1, 2000))
def test_a_line_torn_anywhere_is_passed_over_and_then_overwritten(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "results.jsonl"
    measurement.append(path, TIMED)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: min(cut, len(whole) - 1)])
    assert measurement.read([path]) == [TIMED]
    measurement.append(path, JUDGED)
    assert measurement.read([path]) == [TIMED, JUDGED]


def test_a_torn_line_of_any_length_goes(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    measurement.append(path, TIMED)
    long = msgspec.json.encode(msgspec.structs.replace(TIMED, latency_ns=tuple(range(10**6, 10**6 + 30_000))))
    assert len(long) > 200_000
    path.write_bytes(path.read_bytes() + long)
    measurement.append(path, JUDGED)
    assert measurement.read([path]) == [TIMED, JUDGED]


def test_a_file_that_is_one_torn_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(msgspec.json.encode(TIMED)[:100])
    assert measurement.read([path]) == []
    measurement.append(path, JUDGED)
    assert measurement.read([path]) == [JUDGED]


def test_empty_lines_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"\n" + msgspec.json.encode(TIMED) + b"\n\n  \n")
    assert measurement.read([path]) == [TIMED]


@pytest.mark.parametrize(
    "line", [b"{}", b"nonsense", b'{"kind": "simulation"}', b'{"kind": "quality"}', b"\xff\xfe", b"[1, 2]"]
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(msgspec.json.encode(TIMED) + b"\n" + line + b"\n")
    with pytest.raises(FileFormatError, match=r"results\.jsonl, line 2: not a result of this edgekit"):
        measurement.read([path])


def test_a_field_of_another_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(msgspec.json.encode(TIMED).replace(b'"threads":1', b'"threads":"one"') + b"\n")
    with pytest.raises(FileFormatError, match=r"\$\.threads"):
        measurement.read([path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot read .*none\.jsonl: No such file"):
        measurement.read([tmp_path / "none.jsonl"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot append to .*results\.jsonl: No space left on device"):
        measurement.append(path, TIMED)


def test_a_folder_in_the_place_of_the_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Is a directory"):
        measurement.append(tmp_path, TIMED)


def test_a_disk_that_fills_up_in_mid_line_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    measurement.append(path, TIMED)

    def fail(_: int) -> None:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        measurement.append(path, JUDGED)
    monkeypatch.undo()
    assert measurement.read([path]) == [TIMED]
    measurement.append(path, JUDGED)
    assert measurement.read([path]) == [TIMED, JUDGED]


def test_a_record_of_before_sessions_is_still_read(tmp_path: Path) -> None:
    """A line as the first release wrote it, without anything that has been added since."""
    added = {"session", "slices", "inputs", "input_ns", "loads_ns", "firsts_ns", "warmup", "memory", "states"}
    fields = msgspec.to_builtins(TIMED)
    fields = {name: value for name, value in fields.items() if name not in added | {"probe", "verdict", "modelled"}}
    fields["protocol"] = {"name": "quick", "warmup_s": 0.3, "min_runs": 50, "min_seconds": 1.0, "max_runs": 100000}
    first = ("board", "cpu", "cores", "arch", "os", "python", "runtime", "runtime_version")
    fields["fingerprint"] = {name: fields["fingerprint"][name] for name in first}
    path = tmp_path / "results.jsonl"
    path.write_bytes(msgspec.json.encode(fields) + b"\n")
    (found,) = measurement.read([path])
    assert found == TIMED
    assert isinstance(found, Measurement) and found.verdict is None and found.states == ()


def older(record: Measurement | Quality, **fields: object) -> bytes:
    """A line of schema 1, which said neither who wrote it, nor classes, nor what the processor can."""
    line = msgspec.to_builtins(record)
    line = {name: value for name, value in line.items() if name not in ("written_by", "truth", "answer")}
    if "fingerprint" in line:
        del line["fingerprint"]["features"]
    return msgspec.json.encode(line | {"schema": 1} | fields) + b"\n"


def test_lines_of_schema_1_come_as_those_of_today(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(older(TIMED) + older(JUDGED))
    timed, judged = measurement.read([path])
    assert timed == msgspec.structs.replace(TIMED, written_by=None)
    assert judged == msgspec.structs.replace(JUDGED, written_by=None)
    assert (timed.schema, judged.schema) == (measurement.SCHEMA, measurement.SCHEMA)


def test_what_is_published_here_is_of_schema_1_and_is_read() -> None:
    folder = Path(__file__).parents[1] / "benchmarks" / "results" / "amd-epyc-2-cores"
    lines = (folder / "measurements.jsonl").read_bytes().splitlines()
    assert {msgspec.json.decode(line)["schema"] for line in lines} == {1}
    assert len(measurement.read([folder / "measurements.jsonl"])) == len(lines)


@pytest.mark.parametrize("extra", [{}, {"threads": {"several": 2}}, {"kind": "dream"}])
def test_a_newer_schema_is_refused_with_the_version_to_install(tmp_path: Path, extra: dict[str, object]) -> None:
    """Whether this edgekit could make something of the line or not."""
    path = tmp_path / "results.jsonl"
    line = msgspec.to_builtins(TIMED) | {"schema": measurement.SCHEMA + 1, "written_by": "9.1.0"} | extra
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    for read in (measurement.read, lambda paths: list(measurement.scan(paths, []))):
        with pytest.raises(FileFormatError, match=r"line 1: schema 3 is newer than 2; .*'edgekit==9\.1\.0'"):
            read([path])


def test_flaws_are_counted_named_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    whole = msgspec.json.encode(TIMED) + b"\n"
    path.write_bytes(whole + b'{"kind": "poem"}\n\n' + whole + b"\xff\xfe\n" + whole[:100])
    flaws: list[measurement.Flaw] = []
    found = list(measurement.scan([path], flaws))
    assert [(stored.line, stored.file) for stored in found] == [(1, str(path)), (4, str(path))]
    assert [flaw.line for flaw in flaws] == [2, 5, 6] and flaws[-1].reason == measurement.TORN
    with pytest.raises(
        FileFormatError, match=r"^3 lines are no result .* --lenient: .*, line 2: .*line 5: .*line 6: torn"
    ):
        measurement.check(flaws)
    measurement.check([])


def test_a_record_says_who_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    measurement.append(path, TIMED)
    assert msgspec.json.decode(path.read_bytes())["written_by"] == edgekit.__version__
