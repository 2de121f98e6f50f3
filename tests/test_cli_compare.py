"""compare and choose at the command line: what a user types and sees, and what a CI job reads off the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgekit import cli, measurement
from edgekit.artifact import Artifact
from edgekit.measurement import Measurement, Quality

FRAMEWORKS = ("numpy", "ai_edge_litert", "tensorflow", "keras", "matplotlib", "vl_convert")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
MANIFEST = RESULTS.parents[1] / "export" / "manifest.json"
COUNTED = [str(RESULTS / "cortex-a76-emulated" / "measurements.jsonl"), str(RESULTS / "quality.jsonl")]
TIMED = str(RESULTS / "amd-epyc-2-cores" / "measurements.jsonl")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_best_within_limits_comes_first_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    limits = ("--device", "a76", "--max-size", "2MB", "--max-instructions", "40")
    code, out, _ = run(capsys, "choose", *COUNTED, *limits, "--json")
    found = json.loads(out)
    assert code == 0
    assert [item["row"]["artifact_name"] for item in found[:2]] == [
        "mobilenet_v1_050-160-int8",
        "squeezenet_v1_1-224-int8",
    ]
    assert found[0]["reason"] == "wins, most accurate of 4 that fit"
    assert found[1]["reason"].startswith("no significant difference, -2.25 points")
    assert all(item["reason"] for item in found)
    _, table, _ = run(capsys, "choose", *COUNTED, *limits)
    assert "Best models on Cortex-A76 (emulated), by measured accuracy" in table and "2 MB are allowed" in table


def test_sizes_are_written_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    places = []
    for size in ("1.4MB", "1400kB", "1400000", "1.33514404296875MiB"):
        _, out, _ = run(capsys, "choose", *COUNTED, "--device", "a76", "--max-size", size, "--json")
        places.append([item["row"]["artifact_name"] for item in json.loads(out) if item["place"]])
    assert places[0] == places[1] == places[2] == places[3] != []
    code, _, err = run(capsys, "choose", *COUNTED, "--device", "a76", "--max-size", "small")
    assert code == 2 and "--max-size takes a size such as 2MB" in err


def test_several_devices_must_be_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "choose", *COUNTED, TIMED)
    assert code == 2 and "say which with --device" in err
    code, _, err = run(capsys, "choose", *COUNTED, "--device", "pi4")
    assert code == 4 and "no device of these results is called 'pi4'" in err


def test_a_manifest_adds_what_travels_and_names_strangers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    limits = ("--device", "a76", "--max-download", "0.7MB", "--manifest")
    _, out, _ = run(capsys, "choose", *COUNTED, *limits, MANIFEST, "--json")
    assert json.loads(out)[0]["row"]["artifact_name"] == "squeezenet_v1_0-227-int8"
    few = tmp_path / "manifest.json"
    few.write_bytes(msgspec.json.encode(msgspec.json.decode(MANIFEST.read_bytes())[1:]))
    _, out, _ = run(capsys, "compare", *COUNTED, "--manifest", few, "--json")
    assert "lists no file with the hash of squeezenet_v1_1-224-float32 (771c486a)" in " ".join(json.loads(out)["notes"])
    few.write_text("{}")
    code, _, err = run(capsys, "compare", *COUNTED, "--manifest", few)
    assert code == 3 and "is no list of published files" in err


def test_lines_that_are_no_results_are_skipped_only_when_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(Path(COUNTED[1]).read_text() + "nonsense\n" + '{"torn')
    code, _, err = run(capsys, "compare", path)
    assert code == 3 and "2 lines are no result and can be skipped with --lenient" in err
    code, out, err = run(capsys, "compare", path, "--lenient", "--json")
    assert code == 0 and len(json.loads(out)["rows"]) == 25
    assert err.count("warning: skipped") == 2 and "line 26: not a result" in err and "line 27: torn" in err


def changed(path: Path, factor: float, lost: int = 0) -> Path:
    """The published results, with latencies and accuracies changed."""
    records = measurement.read([Path(TIMED), Path(COUNTED[1])])
    for record in records:
        if isinstance(record, Measurement):
            latencies = tuple(round(factor * value) for value in record.latency_ns)
            measurement.append(path, msgspec.structs.replace(record, latency_ns=latencies))
        elif isinstance(record, Quality):
            hits = [place for place, position in enumerate(record.rank) if position == 0][:lost]
            rank = tuple(9 if place in hits else position for place, position in enumerate(record.rank))
            measurement.append(path, msgspec.structs.replace(record, rank=rank))
    return path


def test_the_same_results_are_no_regression(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old = changed(tmp_path / "old.jsonl", 1.0)
    assert run(capsys, "compare", old, old, "--fail-on-regression", "0%")[0] == 0


@pytest.mark.parametrize(
    ("factor", "lost", "words"),
    [(1.25, 0, "Latency, ms +25.0%"), (1.0, 60, "top-1, %")],
)
def test_ci_fails_on_a_regression(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, factor: float, lost: int, words: str
) -> None:
    old, new = changed(tmp_path / "old.jsonl", 1.0), changed(tmp_path / "new.jsonl", factor, lost)
    code, out, err = run(capsys, "compare", old, new, "--fail-on-regression", "5%")
    assert code == 10 and "worse by more than 5.0%" in err and words in err
    assert "figures compared" in out
    assert run(capsys, "compare", new, old, "--fail-on-regression", "5%")[0] == 0
    code, _, err = run(capsys, "compare", old, "--fail-on-regression", "5%")
    assert code == 2 and "takes two results, old and new; got 1" in err


def test_pictures_for_papers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="the picture needs vl-convert: pip install 'edgekit[report]'")
    code, _, _ = run(capsys, "compare", *COUNTED, "--picture", tmp_path / "a.svg", "--cost", "instructions")
    assert code == 0 and (tmp_path / "a.svg").read_text().startswith("<svg")
    run(capsys, "compare", *COUNTED, "--picture", tmp_path / "a.png", "--cost", "size")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = run(capsys, "compare", TIMED, COUNTED[1], "--picture", tmp_path / "b.svg")
    assert code == 2 and "draws one device" in err
    code, _, err = run(capsys, "compare", *COUNTED, "--picture", tmp_path / "b.svg", "--cost", "love")
    assert code == 4 and "no cost is called 'love'" in err
    code, _, err = run(capsys, "compare", *COUNTED, "--picture", tmp_path / "b.svg", "--cost", "energy")
    assert code == 6 and "no row has both this cost and an accuracy" in err


def test_a_terminal_shows_a_hundred_rows_and_says_of_more(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    judged = measurement.read([Path(COUNTED[1])])[0]
    path = tmp_path / "many.jsonl"
    many = [msgspec.structs.replace(judged, artifact_sha256=f"{number:064}") for number in range(130)]
    measurement.append(path, *many)
    _, out, _ = run(capsys, "compare", path)
    assert "30 rows more; --csv and --html have them all." in out


def test_comparing_imports_no_framework() -> None:
    script = (
        f"import sys; from edgekit import cli; cli.run(sys.argv[1:]); assert not set({FRAMEWORKS}) & set(sys.modules)"
    )
    for verb in (["compare", *COUNTED], ["choose", *COUNTED, "--device", "a76"]):
        assert subprocess.run([sys.executable, "-c", script, *verb], capture_output=True).returncode == 0


def test_files_at_hand_are_shown_layer_by_layer(
    tiny: Artifact, colour_images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results, page = tmp_path / "results.jsonl", tmp_path / "page.html"
    assert run(capsys, "eval", tiny.path, "--images", colour_images, "-o", results)[0] == 0
    folder = ("--artifacts", tiny.path.parent)
    code, _, err = run(capsys, "compare", results, "--html", page, *folder, "--images", colour_images)
    assert code == 0, err
    text = page.read_text()
    assert "Model by model" in text and "CONV_2D" in text and "classes have images" in text
    wrong = "Worst confusions" in text
    assert ("data:image/jpeg;base64," in text) == wrong
    code, _, err = run(capsys, "compare", COUNTED[1], "--html", page, *folder)
    assert code == 6 and "is in the results, by its hash" in err
    assert run(capsys, "compare", results, *folder)[0] == 2


def test_other_images_are_not_shown_for_those_that_were_judged(
    tiny: Artifact, colour_images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results, page, others = tmp_path / "results.jsonl", tmp_path / "page.html", tmp_path / "others"
    run(capsys, "eval", tiny.path, "--images", colour_images, "-o", results)
    others.mkdir()
    first = next(path for path in sorted(colour_images.rglob("*")) if path.is_file())
    (others / first.name).write_bytes(first.read_bytes())
    code, _, err = run(capsys, "compare", results, "--html", page, "--artifacts", tiny.path.parent, "--images", others)
    assert code == 0 and "are not those that were judged, so none is shown" in err
    assert "data:image/jpeg" not in page.read_text()
