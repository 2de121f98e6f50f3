"""Android's standard metadata, read by Android's own reader: `tensorflow-lite-metadata` from Maven Central, on Java."""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import msgspec
import pytest

from edgekit import artifact as artifacts
from edgekit import graph, tflite_metadata
from edgekit.runtime import Runner
from edgekit.spec import InputSpec

READER = "org.tensorflow:tensorflow-lite-metadata:0.4.4"
JARS = (
    "org/tensorflow/tensorflow-lite-metadata/0.4.4/tensorflow-lite-metadata-0.4.4.jar",
    "com/google/flatbuffers/flatbuffers-java/1.12.0/flatbuffers-java-1.12.0.jar",
    "org/checkerframework/checker-qual/2.5.8/checker-qual-2.5.8.jar",
)


@pytest.fixture(scope="module")
def classpath():
    """The reader's jars, fetched by Maven if they are not in its repository yet."""
    for tool in ("java", "javac", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, so Android's reader cannot run")
    jars = [Path.home() / ".m2/repository" / jar for jar in JARS]
    if not all(jar.is_file() for jar in jars):
        got = subprocess.run(["mvn", "-q", "dependency:get", f"-Dartifact={READER}"], capture_output=True, text=True)
        if got.returncode != 0:
            pytest.skip(f"Maven cannot fetch {READER}: {got.stdout[:200]}")
    return ":".join(map(str, jars))


@pytest.fixture(scope="module")
def android(classpath, tmp_path_factory):
    """`android(path)`: what the reader finds in a file, values by key; labels and files as lists."""
    compiled = tmp_path_factory.mktemp("java")
    source = Path(__file__).parent / "java" / "Read.java"
    subprocess.run(["javac", "-cp", classpath, "-d", compiled, source], check=True)

    def read(path):
        command = ["java", "-cp", f"{compiled}:{classpath}", "-Dfile.encoding=UTF-8", "Read", path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = {"label": [], "file": []}
        for line in done.stdout.splitlines():
            key, _tab, value = line.partition("\t")
            if key in ("label", "file"):
                found[key].append(value)
            else:
                found[key] = value
        return found

    return read


def floats(text):
    return tuple(float(part) for part in text.split(","))


def check(found, artifact):
    """What the reader found is what our card and the runtime say."""
    card, runner = artifact.card, Runner(artifact.path.read_bytes())
    assert found["satisfied"] == found["input.is_image"] == found["input.is_normalization"] == "true"
    assert found["name"] == card.model
    assert card.recipe.name in found["description"]
    assert (found["input.name"], found["output.name"]) == ("image", card.output)
    assert (found["input.height"], found["input.width"]) == (str(card.input.height), str(card.input.width))
    assert found["input.color_space"] == ("1" if card.input.channels == "RGB" else "0")
    assert floats(found["input.mean"]) == pytest.approx(card.input.mean)
    assert floats(found["input.std"]) == pytest.approx(card.input.std)
    for end, tensor in (("input", runner.input), ("output", runner.output)):
        assert found[f"{end}.shape"] == ",".join(map(str, tensor.shape))
        assert float(found[f"{end}.scale"]) == pytest.approx(tensor.scale)
        assert int(found[f"{end}.zero_point"]) == tensor.zero_point
    assert found["output.file"] == "labels.txt"
    assert tuple(found["label"]) == artifact.labels


def with_metadata(artifact, path, **changes):
    """A copy of an artifact with a changed input and the standard metadata of its card."""
    card = msgspec.structs.replace(artifact.card, input=msgspec.structs.replace(artifact.card.input, **changes))
    parsed = graph.load(artifact.path.read_bytes())
    parsed.metadata[tflite_metadata.KEY] = tflite_metadata.classifier_metadata(card, -1.5, 2.25, bool(artifact.labels))
    return artifacts.write(path, graph.dump(parsed), card, artifact.labels, artifact.label_ids, artifact.golden)


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_the_reader_finds_what_the_card_says(channels, tiny, android, tmp_path):
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    made = with_metadata(tiny, tmp_path / "m.tflite", channels=channels, mean=mean, std=std)
    found = android(made.path)
    check(found, made)
    assert (floats(found["input.min"]), floats(found["input.max"])) == ((-1.5,), (2.25,))
    assert sorted(found["file"]) == sorted(zipfile.ZipFile(made.path).namelist())


def test_without_labels_no_file_is_named(tiny, android, tmp_path):
    made = with_metadata(msgspec.structs.replace(tiny, labels=(), label_ids=()), tmp_path / "m.tflite")
    found = android(made.path)
    assert found["output.files"] == "0"
    assert "labels.txt" not in found["file"]


def test_the_reader_does_not_inflate(tiny, android, tmp_path):
    """Why labels.txt is stored: compressed, its raw bytes come out."""
    made = with_metadata(tiny, tmp_path / "m.tflite")
    content = made.path.read_bytes()
    stream = io.BytesIO(content[: content.index(b"PK\x03\x04")])
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as tail:
        tail.writestr("labels.txt", "\n".join(tiny.labels))
    made.path.write_bytes(stream.getvalue())
    found = android(made.path)
    assert found["file"] == ["labels.txt"]
    assert "red" not in "".join(found["label"])


def test_strings_in_every_script_survive(tiny, android, tmp_path):
    labels = ("été", "緑", "голубой", 'a "quoted" one, with more')
    made = with_metadata(msgspec.structs.replace(tiny, labels=labels), tmp_path / "m.tflite")
    assert tuple(android(made.path)["label"]) == labels


def test_the_buffer_says_what_it_is(tiny):
    card = msgspec.structs.replace(tiny.card, input=InputSpec(32, 32, 37))
    content = tflite_metadata.classifier_metadata(card, 0.0, 255.0, True)
    assert content[4:8] == b"M001"


@pytest.mark.assets
@pytest.mark.export
def test_the_reader_finds_the_labels_of_an_exported_artifact(exported, android):
    artifact = artifacts.read(exported["int8"])
    found = android(artifact.path)
    check(found, artifact)
    assert len(found["label"]) == 1000
    assert (found["label"][0], found["label"][999]) == ("tench", "toilet tissue")
    assert floats(found["input.mean"]) == (0.0, 0.0, 0.0)  # folded into the first layer: pixels go in as they are
    assert floats(found["input.std"]) == (1.0, 1.0, 1.0)
    assert (floats(found["input.min"]), floats(found["input.max"])) == ((0.0,), (255.0,))
