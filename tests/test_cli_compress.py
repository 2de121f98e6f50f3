"""The verbs compress and decompress on files: sizes asked for, what comes back, and what cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from float_graphs import RELU, Net

from edgekit import artifact as artifacts
from edgekit import cli
from edgekit.artifact import Artifact, Card, WeightsOrigin
from edgekit.recipe import find
from edgekit.spec import InputSpec


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A float classifier of some thousand weights, 32 pixels wide."""
    net = Net((1, 32, 32, 3), seed=5)
    first = net.conv(net.graph.inputs[0], 16, 3, strideH=2, strideW=2, fusedActivationFunction=RELU)
    second = net.conv(first, 24, 3, strideH=2, strideW=2, fusedActivationFunction=RELU)
    maps = net.conv(second, 4)
    mean = net.add("MEAN", [maps, net.constant([1, 2], "int32")], (1, 4))
    model = net.done(net.add("SOFTMAX", [mean], (1, 4)))
    spec = InputSpec(height=32, width=32, resize_shorter=32, mean=(127.5,) * 3, std=(127.5,) * 3)
    card = Card("little", "little", 4, spec, find("float32"), WeightsOrigin("random numbers"))
    path = tmp_path_factory.mktemp("little") / "little-float32.tflite"
    return artifacts.write(path, model, card, ("red", "green", "blue", "grey"), (), None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of noise, each brighter in one corner; their folders say nothing that the network knows."""
    from PIL import Image

    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for number in range(60):
        pixels = random.integers(0, 256, (40, 40, 3)).astype(np.float64)
        pixels[: 5 + number % 30, : 5 + number % 20] *= random.random(3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_float_file_becomes_a_small_one_of_the_size_asked_for(
    capsys, network: Artifact, pictures: Path, tmp_path: Path, own_cache: Path
) -> None:
    packed = tmp_path / "little.ekz"
    code, out, err = run(
        capsys, "compress", network.path, "--target", "8KB", "--images", pictures,
        "--calibration-images", 20, "--least-agreement", 30, "-o", packed, "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert packed.stat().st_size == found["download_bytes"] <= 8000
    assert found["int8_bytes"] > found["download_bytes"]
    read = artifacts.read(packed)
    assert read.card is not None and read.card.recipe.name == "int8" and read.golden is not None
    assert not list((own_cache / "edgekit" / "compress").glob("*"))  # nothing is left once it is written
    code, out, err = run(capsys, "decompress", packed, "-o", tmp_path / "back.tflite", "--json")
    assert code == 0, err
    back = artifacts.read(tmp_path / "back.tflite")
    assert (back.sha256, back.card) == (read.sha256, read.card)
    assert run(capsys, "inspect", packed)[0] == 0
    assert run(capsys, "eval", packed, "--images", pictures, "--json")[0] == 0


def test_a_size_that_cannot_be_says_the_smallest(capsys, network: Artifact, pictures: Path, tmp_path: Path) -> None:
    code, _out, err = run(
        capsys, "compress", network.path, "--target", "1KB", "--images", pictures,
        "--calibration-images", 20, "-o", tmp_path / "little.ekz",
    )  # fmt: skip
    assert code == 10, err
    assert "1000 bytes are fewer than possible: the smallest reached" in err and "agrees on" in err
    assert not (tmp_path / "little.ekz").exists()


def test_a_finished_file_is_packed_as_it_is(capsys, tiny: Artifact, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekz"
    code, out, err = run(capsys, "compress", tiny.path, "-o", packed)
    assert code == 0 and "the file under zip" in out, err
    assert run(capsys, "decompress", packed)[0] == 0
    assert (tmp_path / "tiny.tflite").read_bytes() == tiny.path.read_bytes()
    code, _out, err = run(capsys, "compress", tiny.path, "--target", "1KB", "-o", packed)
    assert code == 2 and "without loss" in err


def test_a_killed_run_goes_on(
    capsys, network: Artifact, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit.compress import gradients, ratedistortion, shrink

    arguments = (
        "compress", network.path, "--max-drop", 50, "--images", pictures,
        "--calibration-images", 20, "--least-agreement", 0,
    )  # fmt: skip
    chosen: list[str] = []
    really = ratedistortion.Chooser.choose

    def counted(self, graph, layer, *rest):  # type: ignore[no-untyped-def]
        chosen.append(ratedistortion.layer_name(graph, layer))
        if len(chosen) == 2:
            raise KeyboardInterrupt
        return really(self, graph, layer, *rest)

    def in_place(trained, work, progress):  # type: ignore[no-untyped-def]
        return work(progress)

    monkeypatch.setattr("edgekit.export.compressed._apart", in_place)
    monkeypatch.setattr(ratedistortion.Chooser, "choose", counted)
    assert run(capsys, *arguments, "-o", tmp_path / "a.ekz")[0] == 130
    first = list(chosen)
    monkeypatch.setattr(gradients, "curvatures", None)  # they are known by now
    monkeypatch.setattr(shrink, "FIRST_PRICE", shrink.FIRST_PRICE)
    code, _out, err = run(capsys, *arguments, "-o", tmp_path / "a.ekz")
    assert code == 0, err
    assert first[0] not in chosen[2:]


def test_the_papers_tables_stand_beside_ours(capsys) -> None:
    code, out, err = run(capsys, "compress", "--table")
    assert code == 0, err
    assert "421,098" in out and "243.9" in out and "0.47" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compress"], "name a network"),
        (["compress", "squeezenet_v1_1", "--target", "1KB", "--max-drop", "1"], "two wishes"),
        (["compress", "squeezenet_v1_1", "--target", "small"], "takes a size"),
        (["decompress", __file__], "not a compressed model"),
    ],
)
def test_what_is_asked_wrongly_is_told(capsys, arguments: list[str], said: str) -> None:
    code, _out, err = run(capsys, *arguments)
    assert code in (2, 3) and said in err


@pytest.mark.assets
def test_the_authors_file_is_packed_and_comes_back(capsys, assets: Path, tmp_path: Path) -> None:
    source, packed = assets / "weights" / "compressed_SqueezeNet.net", tmp_path / "authors.ekz"
    code, _out, err = run(capsys, "compress", source, "-o", packed)
    assert code == 0, err
    assert packed.stat().st_size < 545_000
    assert run(capsys, "decompress", packed)[0] == 0
    assert (tmp_path / "authors.net").read_bytes() == source.read_bytes()


def test_noise_is_not_taken_for_a_network(capsys, tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    code, _out, err = run(capsys, "compress", path, "-o", tmp_path / "noise.ekz")
    assert code == 3, err
