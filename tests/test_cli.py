"""The command line: help, JSON, and what a user sees when something is wrong."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit import artifact as artifacts
from edgekit import cli, graph, quantize, recipe
from edgekit.images import normalise

VERBS = ("models", "export", "inspect", "eval", "bench", "profile", "compare", "choose", "doctor")


@pytest.fixture
def complaint(capfd):
    """`complaint(exit_code, *arguments)`: the one line on stderr of a command that fails as it should."""

    def complain(exit_code, *arguments):
        assert cli.run([str(argument) for argument in arguments]) == exit_code
        lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
        assert len(lines) == 1, lines
        assert lines[0].startswith("edgekit: ")
        return lines[0].removeprefix("edgekit: ")

    return complain


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(verb, capsys):
    assert cli.run([verb, "--help"]) == 0
    assert f"Example: edgekit {verb}" in capsys.readouterr().out


def test_help_lists_every_verb_and_every_exit_code(run_edgekit):
    done = run_edgekit("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for verb in VERBS:
        assert f"  {verb} " in done.stdout
    text = " ".join(done.stdout.split())
    for code in (*range(11), 130):
        assert f" {code} " in text.partition("Exit codes:")[2]


def test_version(run_edgekit):
    from edgekit import __version__

    assert run_edgekit("--version").stdout == f"edgekit {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["inspect"], ["inspect", "--nonsense", "x"], ["bench", "x", "--threads", "0"]]
)
def test_wrong_arguments(arguments, capsys):
    assert cli.run(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def parsed(done):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_models_as_json(run_edgekit):
    rows = {row["name"]: row for row in parsed(run_edgekit("models", "--json"))}
    assert rows["squeezenet_v1_0"]["params"] == 1_248_424
    assert set(rows["mobilenet_v2"]) >= {"family", "input_size", "classes", "macs", "published"}


@pytest.mark.export
def test_a_model_layer_by_layer_as_json(capsys):
    assert cli.run(["models", "squeezenet_v1_1", "--input-size", "64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["input_size"] == 64
    assert sum(layer["params"] for layer in found["layers"]) == 1_235_496


def test_inspect_as_json(tiny, run_edgekit):
    found = parsed(run_edgekit("inspect", tiny.path, "--json"))
    assert found["sha256"] == tiny.sha256
    assert found["card"]["recipe"]["name"] == "int8"
    assert found["golden"] == {"passed": True, "detail": "bit-exact"}


def test_the_noise_of_every_layer_as_json(tiny, tiny_float, colour_images, run_edgekit, tmp_path):
    """With node data for Model Explorer beside it, under the names that the file has."""
    nodes = tmp_path / "nodes.json"
    asked = ["inspect", tiny.path, "--errors", tiny_float.path, "--images", colour_images]
    found = parsed(run_edgekit(*asked, "--count", "12", "--node-data", nodes, "--json"))
    assert (found["samples"], found["matched"], found["operators"]) == (12, 3, 3)
    assert [layer["kind"] for layer in found["layers"]] == ["CONV_2D", "RELU", "MEAN"]
    assert found["agreement"]["of"] == 12
    assert found["float_top1"] == {"hits": 9, "of": 12}  # grey ties with the three others and comes last
    written = json.loads(nodes.read_text())
    assert set(written["results"]) == {layer["name"] for layer in found["layers"]}
    assert set(written["results"]) <= {tensor.name for tensor in graph.load(tiny.path.read_bytes()).tensors}


@pytest.fixture
def foreign_pair(colour_network, colour_input, tmp_path):
    """The colour network, float and int8, as files without a card; both take (pixel - 0) / 256."""
    model = colour_network()
    samples = [normalise(np.full((32, 32, 3), shade, np.uint8), colour_input) for shade in (0, 255)]
    plain = recipe.Recipe("int8", weights="int8", activations="int8", io="int8")
    paths = tmp_path / "float.tflite", tmp_path / "int8.tflite"
    for path, content in zip(paths, (model, quantize.quantize(model, plain, samples).model), strict=True):
        path.write_bytes(content)
    return paths


def test_the_noise_of_every_layer_for_people(foreign_pair, tiny_float, colour_images, run_edgekit, tmp_path):
    """The worst layer comes first and is named below."""
    broken = graph.load(foreign_pair[1].read_bytes())
    kernel = broken.tensors[broken.operators[0].inputs[1]]
    kernel.quantization.scale = kernel.quantization.scale * np.float32(2)
    path = tmp_path / "broken.tflite"
    path.write_bytes(graph.dump(broken))
    done = run_edgekit("inspect", path, "--errors", tiny_float.path, "--images", colour_images)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    table = [row for row in rows if len(row) > 3 and row[0].isdecimal()]
    assert table[0][:3] == ["0", "map", "CONV_2D"]
    assert "Most noise of their own: map (" in done.stdout
    assert "3 of 3 quantized operators found in the float model, all by name" in done.stdout


def test_noise_without_any_card(foreign_pair, tiny_float, colour_images, run_edgekit):
    """The float file's preprocessing is said, or taken from its card; the int8 file eats the same."""
    reference, quantized = foreign_pair
    said = ["--errors", reference, "--images", colour_images, "--mean", "0", "--std", "256"]
    found = parsed(run_edgekit("inspect", quantized, *said, "--json"))
    assert found["agreement"]["hits"] >= 30  # grey ties with the others
    assert found["top1"] is None  # nobody said what the classes are called
    card = ["--errors", tiny_float.path, "--images", colour_images]
    assert parsed(run_edgekit("inspect", quantized, *card, "--json"))["layers"] == found["layers"]


def test_a_float_file_against_its_float_form(tiny_float, colour_images, run_edgekit):
    """That it is merely not quantized is an answer, no error; what it answers is compared all the same."""
    arguments = ["inspect", tiny_float.path, "--errors", tiny_float.path, "--images", colour_images]
    done = run_edgekit(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Nothing in it is quantized" in done.stdout
    assert "agreement" in done.stdout
    found = parsed(run_edgekit(*arguments, "--json"))
    assert (found["operators"], found["layers"], found["worst"]) == (0, [], [])
    assert found["agreement"]["hits"] == found["agreement"]["of"]


def test_noise_that_cannot_be_told(tiny, tiny_float, colour_network, colour_images, complaint, tmp_path):
    def complain(code, *arguments):
        return complaint(code, "inspect", *arguments)

    images = ["--images", colour_images]
    assert "belong to --errors" in complain(2, tiny.path, *images)
    assert "the reference is quantized itself" in complain(3, tiny.path, "--errors", tiny.path, *images)
    other = tmp_path / "other.tflite"
    other.write_bytes(colour_network(np.ones((5, 3), np.float32)))
    said = ["--mean", "0", "--std", "256"]
    assert "these are different networks" in complain(2, tiny.path, "--errors", other, *images, *said)
    assert "no images below" in complain(6, tiny.path, "--errors", tiny_float.path, "--images", tmp_path)
    assert "No such file" in complain(3, tiny.path, "--errors", tmp_path / "none.tflite", *images)
    other.write_bytes(tiny_float.path.read_bytes()[:300])
    assert str(other) in complain(3, tiny.path, "--errors", other, *images)
    (tmp_path / "file").touch()
    nodes = ["--node-data", tmp_path / "file" / "nodes.json"]
    assert "cannot write" in complain(8, tiny.path, "--errors", tiny_float.path, *images, *nodes)


@pytest.mark.skipif(sys.platform != "linux", reason="a child that is not forked has the real audit")
def test_damage_that_an_audit_stumbles_over(tiny, tiny_float, colour_images, complaint, monkeypatch):
    def stumble(*_arguments):
        raise IndexError("tensor 99 of 12")

    monkeypatch.setattr("edgekit.audit.audit", stumble)
    line = complaint(3, "inspect", tiny.path, "--errors", tiny_float.path, "--images", colour_images)
    assert str(tiny.path) in line
    assert "(IndexError: tensor 99 of 12); one is damaged" in line


def test_doctor_as_json(run_edgekit):
    found = {row["what"]: row for row in parsed(run_edgekit("doctor", "--json"))}
    assert found["runtime"]["ok"]


def test_from_eval_and_bench_to_compare(tiny, tiny_float, colour_images, run_edgekit, tmp_path):
    """The whole right half of the design, file by file."""
    results = tmp_path / "results.jsonl"
    judging = ["eval", tiny.path, "--reference", tiny_float.path, "--images", colour_images, "-o", results, "--json"]
    own, reference = parsed(run_edgekit(*judging))
    assert (own["recipe"], reference["recipe"], own["images"]) == ("int8", "float32", 40)
    assert sum(rank == 0 for rank in reference["rank"]) == 30  # grey ties with the three others and comes last
    timed = parsed(run_edgekit("bench", tiny.path, tiny_float.path, "-o", results, "--json"))
    assert [record["artifact_sha256"] for record in timed] == [tiny.sha256, tiny_float.sha256]
    assert len(results.read_text().splitlines()) == 4
    pages = {kind: tmp_path / f"report.{kind}" for kind in ("markdown", "html", "csv")}
    options = [part for kind, path in pages.items() for part in (f"--{kind}", path)]
    assert parsed(run_edgekit("compare", results, *options, "--json"))["rows"]
    for path in pages.values():
        assert "int8" in path.read_text()
    table = run_edgekit("compare", results)
    assert table.returncode == 0
    assert "colours" in table.stdout


def test_screens_for_people(tiny, colour_images, run_edgekit):
    """Without --json: tables on stdout, nothing on stderr, and names are never taken for markup."""
    path = str(shutil.copy(tiny.path, tiny.path.parent / "a[bold]b[|red]:smile:.tflite"))
    for arguments in (
        ["models"],
        ["doctor"],
        ["inspect", path, "--tensors"],
        ["eval", path, "--images", colour_images],
    ):
        done = run_edgekit(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) > 3
    assert path in run_edgekit("inspect", path).stdout


def test_the_base_install_is_enough(tiny, tiny_float, colour_images, run_edgekit, tmp_path):
    """Where TensorFlow, Keras and h5py cannot be imported, only export is out of reach, and says what to install."""
    for name in ("tensorflow", "keras", "h5py", "torch"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here', name='{name}')\n")
    without = {"PYTHONPATH": str(tmp_path)}
    results = tmp_path / "results.jsonl"
    for arguments in (
        ["models"],
        ["inspect", tiny.path],
        ["inspect", tiny.path, "--errors", tiny_float.path, "--images", colour_images],
        ["eval", tiny.path, "--reference", tiny_float.path, "--images", colour_images, "-o", results],
        ["bench", tiny.path, "-o", results],
        ["compare", results],
        ["doctor"],
    ):
        done = run_edgekit(*arguments, env=without)
        assert done.returncode == 0, done.stderr
    done = run_edgekit("export", "squeezenet_v1_1", "--weights", "random", env=without)
    assert done.returncode == 7
    assert "pip install 'edgekit[export]'" in done.stderr
    assert "Traceback" not in done.stderr


# Bad input: one line, one exit code, no traceback.


def test_no_model_or_recipe_of_that_name(complaint):
    assert "did you mean squeezenet_v1_1" in complaint(4, "export", "squeezenet_v11")
    assert "did you mean mobilenet_v" in complaint(4, "models", "mobilenetv2")
    assert "did you mean int8" in complaint(4, "export", "squeezenet_v1_1", "--recipe", "int9")
    assert "known: float32, float16" in complaint(4, "export", "squeezenet_v1_1", "--recipe", "zzz")


@pytest.mark.parametrize("verb", ["inspect", "eval", "bench"])
def test_a_file_that_is_no_model(verb, tiny, complaint, tmp_path, colour_images):
    content = tiny.path.read_bytes()
    more = {"eval": ["--images", colour_images], "bench": ["-o", tmp_path / "r.jsonl"]}.get(verb, [])
    path = tmp_path / "m.tflite"
    for wrong, said in (
        (b"", "is empty"),
        (b"GIF89a, not a model", "is not a .tflite file"),
        (content[:300], "damaged"),
        (content[:-50], "truncated"),
        (content[:100] + bytes(200) + content[300:], ""),
    ):
        path.write_bytes(wrong)
        line = complaint(3, verb, path, *more)
        assert str(path) in line
        assert said in line
    assert "is a folder" in complaint(3, verb, tmp_path, *more)
    assert "No such file" in complaint(3, verb, tmp_path / "none.tflite", *more)


def test_a_crash_of_the_runtime_is_a_message(run_edgekit, colour_images, tmp_path):
    """A branch that is the graph itself sends the runtime into endless recursion."""
    tensors = [graph.Tensor(name, (1,), "bool") for name in ("condition", "out", "in")]
    options = graph.new_options("IfOptions", thenSubgraphIndex=0, elseSubgraphIndex=0)
    branch = graph.Operator("IF", [0, 2], [1], options, graph.constant("BuiltinOptions", "IfOptions"))
    path = tmp_path / "m.tflite"
    path.write_bytes(graph.dump(graph.Graph(tensors, [branch], [0], [1])))
    images = ["--images", colour_images]
    noise = ["inspect", path, "--errors", path, *images]
    for arguments in (["inspect", path], noise, ["eval", path, *images], ["bench", path]):
        done = run_edgekit(*arguments, cwd=tmp_path)
        assert done.returncode == 9
        assert done.stderr == f"edgekit: {path}: the runtime died (SIGSEGV); the file is damaged\n"


def test_a_golden_vector_that_fails(tiny, run_edgekit, tmp_path):
    """The screen is shown, and the exit code tells a script."""
    content = tiny.path.read_bytes()
    model = content[: content.index(b"PK\x03\x04")]
    wrong = artifacts.Golden(tiny.golden.pixels, bytes(4))
    made = artifacts.write(tmp_path / "m.tflite", model, tiny.card, tiny.labels, tiny.label_ids, wrong)
    done = run_edgekit("inspect", made.path)
    assert done.returncode == 10
    assert "FAILED" in done.stdout
    assert done.stderr.startswith(f"edgekit: {made.path}: the golden vector fails here: ")


def test_no_images(tiny, complaint, tmp_path):
    assert "no images below" in complaint(6, "eval", tiny.path, "--images", tmp_path)
    assert "is not a folder" in complaint(6, "eval", tiny.path, "--images", tmp_path / "none")


def test_unreadable_images(tiny, colour_images, run_edgekit, complaint, tmp_path):
    """2 of 42 are passed over, counted and named; a third is too many."""
    folder = shutil.copytree(colour_images, tmp_path / "images")
    (folder / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "blue" / "empty.jpg").touch()
    done = run_edgekit("eval", tiny.path, "--images", folder, "--json")
    assert done.returncode == 0
    assert done.stderr.startswith("2 unreadable images were skipped: empty.jpg: ")
    assert "broken.png: " in done.stderr
    assert "Traceback" not in done.stderr
    (quality,) = json.loads(done.stdout)
    assert (quality["images"], len(quality["skipped"])) == (40, 2)
    (folder / "third.png").touch()
    line = complaint(6, "eval", tiny.path, "--images", folder)
    assert "too many unreadable images, more than 5%" in line
    assert "third.png" in line


def test_labels_that_do_not_match(tiny, colour_images, complaint, tmp_path):
    rows = tmp_path / "labels.csv"
    rows.write_text("0.png,red\n1.png,mauve\n")
    wrong = complaint(6, "eval", tiny.path, "--images", colour_images, "--labels", rows)
    assert "'1.png' is labelled 'mauve', which is no class of the model" in wrong
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    assert "the model has no such class" in complaint(6, "eval", tiny.path, "--images", tmp_path)


def test_a_foreign_float_file_needs_to_be_explained(colour_network, colour_images, complaint, tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(colour_network())
    assert "say --mean and --std" in complaint(2, "eval", path, "--images", colour_images)
    assert "--std" in complaint(2, "eval", path, "--images", colour_images, "--mean", "0", "--std", "none")


def test_a_foreign_file_is_judged_once_it_is_explained(colour_network, colour_images, run_edgekit, tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(colour_network())
    rows = tmp_path / "labels.csv"
    names = ("red", "green", "blue", "grey")
    rows.write_text(
        "".join(f"{name}/{shade}.png,{number}\n" for number, name in enumerate(names) for shade in range(10))
    )
    said = ["--images", colour_images, "--labels", rows, "--mean", "0", "--std", "256"]
    (quality,) = parsed(run_edgekit("eval", path, *said, "--json"))
    assert quality["rank"] == [0] * 10 + [0] * 10 + [3] * 10 + [0] * 10  # blue, green, grey, red


@pytest.mark.export
@pytest.mark.assets
def test_weights_that_do_not_fit(assets, complaint, tmp_path):
    line = complaint(
        5, "export", "squeezenet_v1_1", "--weights", assets / "weights/compressed_SqueezeNet.net", "-o", tmp_path
    )
    assert "conv1" in line
    assert "(7, 7, 3, 96)" in line
    assert "(3, 3, 3, 64)" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.export
@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"some text, no weights", ""), (None, "No such file")])
def test_weights_that_cannot_be_read(content, said, complaint, tmp_path):
    path = tmp_path / "weights.net"
    if content is not None:
        path.write_bytes(content)
    assert said in complaint(3, "export", "squeezenet_v1_1", "--weights", path, "-o", tmp_path / "out")


@pytest.mark.export
def test_weights_with_another_hash(complaint, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    for name in ("squeezenet_v1.1.ncnn.bin", "squeezenet_v1.1.ncnn.param"):
        (tmp_path / "weights" / name).write_text("another file")
    monkeypatch.setenv("EDGEKIT_ASSETS", str(tmp_path))
    line = complaint(3, "export", "squeezenet_v1_1", "--recipe", "float32", "-o", tmp_path / "out")
    assert "sha256" in line


@pytest.mark.export
def test_a_model_without_known_weights(complaint):
    line = complaint(7, "export", "squeezenext_23")
    assert "no pretrained weights are known for squeezenext_23; give --weights" in line


@pytest.mark.parametrize("count", [3, 1001])
def test_labels_to_export_of_another_number(count, complaint, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(map(str, range(count))))
    line = complaint(6, "export", "squeezenet_v1_1", "--weights", "random", "--labels", labels)
    assert line == f"{count} labels were given, but squeezenet_v1_1 has 1000 classes"


def test_no_labels_file(complaint, tmp_path):
    assert "cannot read the labels" in complaint(6, "export", "squeezenet_v1_1", "--labels", tmp_path / "none.txt")


def test_options_that_make_no_sense(complaint):
    assert "KEY=VALUE" in complaint(2, "export", "squeezenet_v1_1", "--set", "nonsense")
    assert "does not take the option" in complaint(2, "models", "squeezenet_v1_1", "--set", "nonsense=3")


def test_results_that_are_none(complaint, tmp_path):
    path = tmp_path / "results.jsonl"
    assert "cannot read" in complaint(3, "compare", path)
    path.write_text('{"kind": "poem"}\n')
    assert "line 1" in complaint(3, "compare", path)


def test_where_nothing_can_be_written(tiny, colour_images, complaint, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "results.jsonl", tmp_path):
        assert "cannot append to" in complaint(8, "eval", tiny.path, "--images", colour_images, "-o", path)
    results = tmp_path / "results.jsonl"
    results.touch()
    assert "cannot write" in complaint(8, "compare", results, "--html", tmp_path / "file" / "page.html")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tiny, complaint, tmp_path):
    results = tmp_path / "results.jsonl"
    results.touch()
    tmp_path.chmod(0o555)
    assert "Permission denied" in complaint(8, "compare", results, "--html", tmp_path / "page.html")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_to_a_full_disk(more, tiny, edgekit_environment):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edgekit", "inspect", str(tiny.path), *more]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=edgekit_environment)
    assert (done.returncode, done.stderr) == (8, "edgekit: cannot print the result: No space left on device\n")


def test_a_reader_that_goes_away(edgekit_environment):
    command = [sys.executable, "-m", "edgekit", "models", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=edgekit_environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.export
def test_a_full_disk_leaves_no_artifact(complaint, tmp_path):
    """No file may grow beyond 200,000 bytes; the artifact of 2.9 MB would."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, usual[1]))
    try:
        wanted = ["squeezenet_v1_1", "--input-size", "32", "--classes", "10", "--weights", "random", "-r", "float32"]
        line = complaint(8, "export", *wanted, "-o", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert line.startswith("cannot write ")
    assert list((tmp_path / "out").iterdir()) == []


def test_debug_shows_the_traceback_and_keeps_the_exit_code(run_edgekit, tmp_path):
    for arguments in (["--debug", "inspect", tmp_path], ["inspect", tmp_path, "--debug"]):
        done = run_edgekit(*arguments)
        assert done.returncode == 3
        assert "Traceback (most recent call last)" in done.stderr
        assert done.stderr.splitlines()[-1] == f"edgekit: {tmp_path} is a folder; a .tflite file was expected"


# Ctrl-C, as a terminal sends it: to every process of the foreground group.


def interrupted(arguments, moment, environment):
    """Runs a command on a terminal and presses Ctrl-C when its progress bar shows `moment`: (exit code, screen)."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment | {"TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    screen = b""
    sent = False
    while True:
        try:
            new = os.read(terminal, 4096)
        except OSError:  # the last process has closed the terminal
            break
        screen += new
        if not sent and moment.encode() in screen:
            os.killpg(process.pid, signal.SIGINT)
            sent = True
        if not new:
            break
    os.close(terminal)
    assert sent, screen.decode()
    return process.wait(timeout=60), screen.decode()


@pytest.fixture
def many_images(tmp_path):
    """300 images that take a while."""
    folder = tmp_path / "many"
    folder.mkdir()
    first = folder / "000.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(first)
    for number in range(1, 300):
        (folder / f"{number:03}.jpg").hardlink_to(first)
    return folder


def test_ctrl_c_ends_an_evaluation(tiny, many_images, edgekit_environment, tmp_path):
    results = tmp_path / "results.jsonl"
    arguments = ["eval", tiny.path, "--images", many_images, "-o", results]
    code, screen = interrupted(arguments, "eval", edgekit_environment)
    assert code == 130
    assert "Traceback" not in screen
    assert not results.exists()


@pytest.mark.export
@pytest.mark.parametrize("moment", ["build", "quantize"])
def test_ctrl_c_ends_an_export(moment, many_images, edgekit_environment, tmp_path):
    """While TensorFlow is imported, and while the runtime works."""
    out = tmp_path / "out"
    arguments = ["export", "squeezenet_v1_1", "--weights", "random", "--calibration", many_images]
    arguments += ["--input-size", "64", "--calibration-images", "300", "-o", out]
    code, screen = interrupted(arguments, moment, edgekit_environment)
    assert code == 130
    assert "Traceback" not in screen
    assert not out.exists() or not list(out.iterdir())
