"""The file that travels: what is written is what is read, by us, by a stock runtime and by unzip, or it is nowhere."""

from __future__ import annotations

import hashlib
import io
import resource
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import artifact as artifacts
from edgekit import recipe
from edgekit.artifact import Calibration, Card, Golden, WeightsOrigin
from edgekit.errors import FileFormatError, OutputError
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

MEMBERS = ["edgekit.json", "labels.txt", "label_ids.txt", "golden_pixels.bin", "golden_output.bin"]
MODEL = b"\x1c\x00\x00\x00TFL3 and so on"  # to artifact.py a model is bytes with a mark
CARD = Card(
    model="m",
    family="f",
    classes=2,
    input=InputSpec(8, 6, 10, "BGR", (1.5, 2.25, -3.0), (0.5, 1.0, 2.0)),
    recipe=recipe.find("int16x8"),
    weights=WeightsOrigin("somewhere", "ab" * 32),
    options={"deep": True, "blocks": 4, "ratio": 0.125, "kind": "complex"},
    calibration=Calibration(("01234567", "89abcdef"), "folder"),
    tools={"edgekit": "0"},
    output="logits",
)


def files_in(folder):
    return [path.name for path in folder.iterdir()]


label = st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(labels=st.lists(label).map(tuple), pixels=st.binary(min_size=1), output=st.binary(min_size=1))
def test_what_is_written_is_read_back(labels, pixels, output, tmp_path):
    ids = tuple(f"n{number:08}" for number in range(len(labels)))
    written = artifacts.write(tmp_path / "m.tflite", MODEL, CARD, labels, ids, Golden(pixels, output))
    read = artifacts.read(tmp_path / "m.tflite")
    assert read == written
    assert (read.card, read.labels, read.label_ids, read.golden) == (CARD, labels, ids, Golden(pixels, output))
    content = read.path.read_bytes()
    assert content.startswith(MODEL)
    assert (read.sha256, read.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert read.name == "m"


def test_the_same_input_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / "a.tflite", tmp_path / "b.tflite"]
    for path in paths:
        artifacts.write(path, MODEL, CARD, ("x", "y"), (), None)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_artifact_without_labels_and_golden_vector(tmp_path):
    read = artifacts.write(tmp_path / "m.tflite", MODEL, CARD, (), (), None)
    assert (read.labels, read.label_ids, read.golden) == ((), (), None)


def test_a_foreign_file_has_no_card(tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(MODEL)
    read = artifacts.read(path)
    assert read == artifacts.Artifact(path, hashlib.sha256(MODEL).hexdigest(), len(MODEL))


def test_a_stock_runtime_does_not_see_the_tail(tiny, tiny_float):
    from ai_edge_litert.interpreter import Interpreter

    for artifact in (tiny, tiny_float):
        interpreter = Interpreter(model_path=str(artifact.path))
        interpreter.allocate_tensors()
        pixels = np.zeros((1, 32, 32, 3), interpreter.get_input_details()[0]["dtype"])
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert np.array_equal(found, Runner(artifact.path.read_bytes()).run(pixels))


def test_the_tail_is_a_plain_zip(tiny):
    with zipfile.ZipFile(tiny.path) as tail:
        assert tail.namelist() == MEMBERS
        assert tail.testzip() is None
        assert tail.read("labels.txt").decode().split("\n") == ["red", "green", "blue", "grey"]
        assert msgspec.json.decode(tail.read("edgekit.json"), type=Card) == tiny.card


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_lists_and_extracts_the_tail(tiny, tmp_path):
    listed = subprocess.run(["unzip", "-l", tiny.path], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in listed.stdout.splitlines()[3:-2]] == MEMBERS
    assert not listed.stderr
    extracted = subprocess.run(["unzip", tiny.path, "-d", tmp_path], capture_output=True, text=True, check=True)
    assert "warning" not in extracted.stdout + extracted.stderr
    assert (tmp_path / "labels.txt").read_text() == "red\ngreen\nblue\ngrey"
    assert stat.S_IMODE((tmp_path / "labels.txt").stat().st_mode) & 0o400  # its owner may read it


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "is empty"), (b"\x89PNG\r\n\x1a\n" * 9, "is not a .tflite file"), (b"abc", "TFL3")]
)
def test_what_is_no_tflite_is_refused(content, complaint, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=complaint):
        artifacts.read(path)


def test_a_folder_or_nothing_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="is a folder"):
        artifacts.read(tmp_path)
    with pytest.raises(FileFormatError, match="No such file"):
        artifacts.read(tmp_path / "none.tflite")


def test_every_truncation_of_the_tail_is_noticed(tiny, tmp_path):
    content = tiny.path.read_bytes()
    start = content.index(b"PK\x03\x04")
    path = tmp_path / "cut.tflite"
    for length in range(start + 30 + len("edgekit.json"), len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"truncated|damaged"):
            artifacts.read(path)


def test_damage_in_the_tail_is_an_error_or_harmless(tiny, tmp_path):
    content = tiny.path.read_bytes()
    start = content.index(b"PK\x03\x04")
    path = tmp_path / "damaged.tflite"
    generator = np.random.default_rng(0)
    refused = 0
    for position in range(start, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read = artifacts.read(path)
        except FileFormatError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert read.card in (tiny.card, None)
    assert refused > (len(content) - start) / 9


def rewritten(source: Path, target: Path, member: str, content: bytes) -> Path:
    """A copy of an artifact with one member of its tail replaced."""
    whole = source.read_bytes()
    stream = io.BytesIO(whole[: whole.index(b"PK\x03\x04")])
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(stream, "a") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    target.write_bytes(stream.getvalue())
    return target


def test_a_card_of_a_later_edgekit_is_refused(tiny, tmp_path):
    later = msgspec.json.encode({"schema": artifacts.CARD_SCHEMA + 1, "all": "else is different"})
    with pytest.raises(FileFormatError, match=r"newer.*update edgekit"):
        artifacts.read(rewritten(tiny.path, tmp_path / "later.tflite", "edgekit.json", later))


def test_a_card_of_this_schema_with_an_unknown_field_is_read(tiny, tmp_path):
    content = msgspec.json.encode(msgspec.to_builtins(tiny.card) | {"remark": "unknown"})
    assert artifacts.read(rewritten(tiny.path, tmp_path / "m.tflite", "edgekit.json", content)).card == tiny.card


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema": 1}', b'{"schema": "\xff"}', b"[" * 100_000])
def test_a_broken_card_is_refused(content, tiny, tmp_path):
    with pytest.raises(FileFormatError, match="the card cannot be read"):
        artifacts.read(rewritten(tiny.path, tmp_path / "m.tflite", "edgekit.json", content))


def test_labels_in_another_encoding_are_refused(tiny, tmp_path):
    with pytest.raises(FileFormatError, match="labels cannot be read"):
        artifacts.read(rewritten(tiny.path, tmp_path / "m.tflite", "labels.txt", "rød".encode("latin-1")))


def test_atomic_write_replaces_the_whole_file(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"first", b"second"):
        with artifacts.atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert files_in(path.parent) == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), artifacts.atomic_write(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert files_in(tmp_path) == ["file"]


def test_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), artifacts.atomic_write(tmp_path / "file" / "m.tflite"):
        pass


def test_where_a_folder_is_in_the_way(tmp_path):
    (tmp_path / "m.tflite").mkdir()
    with pytest.raises(OutputError, match="cannot write"), artifacts.atomic_write(tmp_path / "m.tflite") as file:
        file.write(b"content")
    assert files_in(tmp_path) == ["m.tflite"]


WRITE_A_MEGABYTE = """
import sys
from pathlib import Path
from edgekit import artifact
with artifact.atomic_write(Path(sys.argv[1])) as file:
    file.write(bytes(500_000))
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
    file.write(bytes(500_000))
"""


def test_a_full_disk_leaves_nothing(tmp_path):
    path = tmp_path / "m.tflite"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_A_MEGABYTE, path],
        input="\n",
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000)),
    )
    assert done.stdout == "half\n"
    assert f"OutputError: cannot write {path}: File too large" in done.stderr
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_write_leaves_what_was_there(sent, old, tmp_path):
    path = tmp_path / "m.tflite"
    if old is not None:
        path.write_bytes(old)
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_A_MEGABYTE, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a job in the background ignores it
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(sent)
        process.wait(timeout=30)
    assert process.returncode != 0
    assert (path.read_bytes() if path.exists() else None) == old
    if sent == signal.SIGINT:
        assert files_in(tmp_path) == ([] if old is None else ["m.tflite"])


def test_sha256_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 9000)
    assert artifacts.sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
