"""The comparison of quantizers: its arithmetic, its table, what it measures again, and tools that fail."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from edgekit import export, images, recipe, weights
from edgekit.errors import DataError, FileFormatError, MissingError, UnknownNameError
from edgekit.foreign import Preprocessing

ROOT = Path(__file__).parents[2]
COLOURS = ("red", "green", "blue", "grey")
sys.path.insert(0, str(ROOT / "benchmarks"))

from quantization import given as givens  # noqa: E402
from quantization import measure, ranges, results, run, table, tools  # noqa: E402
from quantization.given import Given, Sample  # noqa: E402
from quantization.results import FLOAT, Row  # noqa: E402
from quantization.tools import Declaration  # noqa: E402

DECLARATION = """
models = ["colours"]
environments = {}
tools = [
    { name = "bad", peer = "own_recipe", note = "asks for what is not there", settings = { recipe = "int9" } },
    { name = "good", peer = "own_recipe", note = "works", settings = { recipe = "int8_fast" } },
]
"""
DECLARED = msgspec.toml.decode(DECLARATION, type=Declaration)
PAGE = f"# Title\n\nWords.\n\n{table.BEGIN}\nold\n{table.END}\n\nMore words.\n"
IMAGES = "e" * 64


def row(tool: str, **fields: object) -> Row:
    plain = Row("colours", tool, "f" * 64, IMAGES, "2026-01-02T03:04:05+00:00", "a machine", rank=(0, 0, 1, 7))
    return msgspec.structs.replace(plain, **fields)


def rows(*found: Row) -> dict[tuple[str, str], Row]:
    return {item.place: item for item in found}


def cells(text: str, tool: str) -> list[list[str]]:
    """Every table line of a tool, without its name."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {tool} |")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """40 images, 10 of each colour, in class folders: brighter on the left, each in a shade of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(COLOURS):
        (folder / name).mkdir()
        for shade in range(10):
            pixels = np.zeros((40, 50, 3), np.uint8)
            pixels[..., :] = 60 + 5 * shade
            pixels[:, :25] += 75
            if name != "grey":
                pixels[..., [channel for channel in range(3) if channel != number]] = 0
            Image.fromarray(pixels).save(folder / name / f"{shade}.png")
    return folder


@pytest.fixture(scope="session")
def colours(colour_network, pictures, tmp_path_factory) -> tuple[export.Trained, export.Samples]:
    """The colour network as a float model with labels, and 4 images that set ranges."""
    path = tmp_path_factory.mktemp("float") / "colours.tflite"
    path.write_bytes(colour_network())
    trained = export.from_tflite(path, Preprocessing(mean="0", std="256"), COLOURS)
    return trained, export.load_samples(pictures, trained.input, count=4)


@pytest.fixture(scope="session")
def prepared(colours, pictures, tmp_path_factory) -> Given:
    """The colour network with 4 images that set ranges and 36 that judge, as run.py hands them to a peer."""
    paths = images.list_images(pictures)
    found = Sample(pictures, tuple(paths[::10]), tuple(path for path in paths if path not in paths[::10]), IMAGES)
    folder = tmp_path_factory.mktemp("out") / "colours"
    return givens.hand_out("colours", *colours, found, folder, export.ignore)


@pytest.fixture
def start(prepared, tmp_path, monkeypatch, pictures):
    """`start(*arguments)`: one run over the colour network in place of the zoo's; its exit code."""
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "tools.toml").write_text(DECLARATION)
    monkeypatch.setattr(givens, "sample", lambda folder: Sample(folder, (), (), IMAGES))
    monkeypatch.setattr(givens, "prepare", lambda *_, **__: prepared)
    places = ["--results", tmp_path / "results.jsonl", "--page", tmp_path / "page.md", "--out", tmp_path]
    places += ["--declaration", tmp_path / "tools.toml", "--images", pictures]

    def begin(*arguments: str) -> int:
        return run.main([*map(str, places), *arguments])

    return begin


def stored(tmp_path: Path) -> dict[tuple[str, str], Row]:
    return results.read(tmp_path / "results.jsonl")


# what is computed of the answers


@for_any(arrays(np.float32, (36, 4), elements=st.floats(-8, 8, width=32)))
@settings(max_examples=25, deadline=None)
def test_logits_and_their_softmax_are_judged_alike(prepared: Given, logits: np.ndarray) -> None:
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    distribution = powers / powers.sum(1, keepdims=True)
    first = measure.judged(row("one"), prepared, logits, "logits")
    second = measure.judged(row("two"), prepared, distribution, "probabilities")
    assert first.kl_nats == pytest.approx(second.kl_nats, abs=1e-6)
    agreed = logits.argmax(1) == prepared.reference.argmax(1)
    assert table.agreement(first) == pytest.approx(100 * agreed.mean())
    assert [rank == 0 for rank in first.rank] == (logits.argmax(1) == prepared.truths).tolist()


def test_the_float_models_own_answers_agree_wholly(prepared: Given) -> None:
    judged = measure.judged(row("one"), prepared, prepared.reference, "probabilities")
    assert table.agreement(judged) == 100
    assert table.divergence(judged) == pytest.approx(0, abs=1e-9)
    assert judged.outputs_sha256 == measure.float_row(prepared).outputs_sha256
    taken_for_logits = measure.judged(row("one"), prepared, prepared.reference, "logits")
    assert table.divergence(taken_for_logits) > 0.01


@pytest.mark.parametrize("spoil", [lambda answers: answers[:-1], lambda answers: answers * np.nan])
def test_answers_that_cannot_be_compared_are_refused(prepared: Given, spoil) -> None:
    with pytest.raises(DataError):
        measure.judged(row("one"), prepared, spoil(prepared.reference), "probabilities")


# the table


def test_the_table_says_what_the_rows_say() -> None:
    found = rows(
        row(FLOAT, size_bytes=4000),
        row("bad", agrees=(True, False, True, True), kl_nats=(0.1, 0.2, 0.3, 0.4), seconds=3.25, size_bytes=1234567),
        row("good", agrees=(True,) * 4, kl_nats=(0.01,) * 4, peak_rss_bytes=5_000_000, seconds=2.0, cpu_seconds=2.6),
    )
    text = table.render(DECLARED, found)
    assert cells(text, FLOAT) == [["50.00", "75.00", "-", "-", "4,000", "-", "-", "-"]]
    assert cells(text, "bad")[:3] == [
        ["75.00"],
        ["0.2500"],
        ["50.00", "75.00", "75.00", "0.2500", "1,234,567", "3.2", "-", "-"],
    ]
    assert cells(text, "good")[:3] == [
        ["**100.00**"],
        ["**0.0100**"],
        ["50.00", "75.00", "100.00", "0.0100", "-", "2.0", "2.6", "5"],
    ]


def test_what_a_converter_needs_for_the_float_form_stands_beside_its_time() -> None:
    fields = {"seconds": 9.0, "float_conversion_seconds": 2.5, "agrees": (True,), "kl_nats": (0.1,)}
    text = table.render(DECLARED, rows(row(FLOAT), row("good", **fields)))
    assert "9.0 (2.5)" in cells(text, "good")[2]


def test_a_failure_is_shown_with_its_reason() -> None:
    text = table.render(DECLARED, rows(row(FLOAT), row("bad", error="no such | thing", rank=())))
    assert cells(text, "bad")[0] == ["failed"]
    assert "bad on colours: no such \\| thing" in text


@pytest.mark.parametrize("field", ["float_sha256", "images_sha256"])
def test_rows_of_different_networks_or_images_make_no_table(field: str) -> None:
    with pytest.raises(DataError, match=r"colours: good .*--models colours --tools good"):
        table.render(DECLARED, rows(row(FLOAT), row("bad"), row("good", **{field: "0" * 64})))


def test_a_page_keeps_its_words_and_one_without_marks_is_refused() -> None:
    page = table.replaced(PAGE, "new\n")
    assert page.startswith("# Title\n\nWords.\n") and page.endswith("\nMore words.\n")
    assert "new" in page and "old" not in page
    assert table.replaced(page, "new\n") == page
    with pytest.raises(FileFormatError, match="begin"):
        table.replaced("# Title\n", "new")


# what is measured, and what again


def test_a_tool_that_fails_leaves_a_row_and_the_others_go_on(start, tmp_path: Path, capfd) -> None:
    assert start() == 9
    found = stored(tmp_path)
    bad, good = found["colours", "bad"], found["colours", "good"]
    assert "int9" in str(bad.error) and str(ROOT) not in str(bad.error)
    assert good.error is None and len(good.agrees) == 36
    assert table.agreement(good) >= 75
    assert good.seconds and good.cpu_seconds and good.size_bytes
    assert (good.peak_rss_bytes or 10**9) > 10**7
    assert "failed" in (tmp_path / "page.md").read_text()
    assert "colours, good: agrees" in capfd.readouterr().err


def test_what_is_done_is_not_done_again_but_what_failed_is(start, tmp_path: Path, capfd) -> None:
    start()
    first = stored(tmp_path)
    capfd.readouterr()
    assert start() == 9
    shown = capfd.readouterr().err
    assert "colours, bad: failed" in shown and "colours, good:" not in shown
    assert stored(tmp_path)["colours", "good"] == first["colours", "good"]
    assert start("--tools", "good", "--again") == 0
    assert "answers as before" in capfd.readouterr().err


@pytest.mark.parametrize(
    "former", [{"settings": {"recipe": "int8_weights"}}, {"pins": ("other 1.0",)}, {"images_sha256": "0" * 64}]
)
def test_other_settings_versions_or_images_make_a_row_due(former, start, tmp_path: Path) -> None:
    start("--tools", "good")
    done = stored(tmp_path)["colours", "good"]
    outdated = msgspec.structs.replace(done, kl_nats=(9.0,) * 36, **former)
    results.store(tmp_path / "results.jsonl", outdated)
    assert start("--tools", "good") == 0
    assert stored(tmp_path)["colours", "good"].kl_nats == done.kl_nats


def test_check_tells_a_page_that_is_out_of_date(start, tmp_path: Path, capsys) -> None:
    assert start("--tools", "good") == 0
    assert start("--check") == 0
    page = tmp_path / "page.md"
    text = page.read_text().replace("More words", "Other words")
    page.write_text(text)
    assert start("--check") == 0  # what stands outside the marks is the author's
    page.write_text(text.replace("| good | **", "| good | **9", 1))
    assert start("--check") == 1
    page.write_text(text)
    results.store(
        tmp_path / "results.jsonl", msgspec.structs.replace(stored(tmp_path)["colours", "good"], seconds=77.0)
    )
    assert start("--check") == 1
    assert "run.py" in capsys.readouterr().err


def test_an_environment_that_cannot_be_made_is_a_row_too(prepared: Given) -> None:
    reason = MissingError(f"cannot make {ROOT}/build/envs/x:\n no network")
    found = measure.measure(DECLARED.tools[1], (), reason, prepared)
    assert found.error == "cannot make ./build/envs/x: no network"


def test_rows_are_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for item in (row("one"), row("two"), row("one", seconds=1.0)):
        results.store(path, item)
    assert results.read(path) == rows(row("one", seconds=1.0), row("two"))
    path.write_bytes(path.read_bytes() + b'{"model": 3}\n')
    with pytest.raises(FileFormatError, match="line 3"):
        results.read(path)


def test_names_are_looked_up_in_declared_order() -> None:
    known = ["one", "two", "three"]
    assert tools.named("tool", known, []) == known
    assert tools.named("tool", known, ["three,one"]) == ["one", "three"]
    with pytest.raises(UnknownNameError, match="three"):
        tools.named("tool", known, ["thre"])


def test_the_declaration_holds_together() -> None:
    """Every model has weights, every peer is there, every version is pinned, and no two tools share a name."""
    declaration = tools.declared()
    assert all(weights.pretrained(model) for model in declaration.models)
    peers = {path.stem for path in (ROOT / "benchmarks" / "quantization" / "peers").glob("*.py")}
    assert {tool.peer for tool in declaration.tools} <= peers
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pins in declaration.environments.values() for pin in pins)
    names = [tool.name for tool in declaration.tools]
    assert len(set(names)) == len(names)


# where activations are cut off


def test_ranges_shows_what_calibration_on_dull_images_cuts_off(colours, tmp_path: Path) -> None:
    trained, samples = colours
    bright = np.full((1, 32, 32, 3), 255.0, np.float32) / 256
    dull = dataclasses.replace(samples, inputs=[bright / 2])
    made = export.export(trained, recipe.find("int8_fast"), tmp_path, dull, least_agreement=0.0)
    both = np.concatenate([bright, bright, bright / 2])
    found = {reach.kind: reach for reach in ranges.reaches(trained.tflite, made.path.read_bytes(), both)}
    assert found["MEAN"].share == pytest.approx(0.5, abs=0.01)
    assert found["MEAN"].cut == 2
    *_, last = ranges.lines(list(found.values()))
    assert last.startswith(f"{len(found)} of {len(found)} activations")
