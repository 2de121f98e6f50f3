"""The table of pretrained weights against the real files, and through them into the real networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit import images, models
from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec
from edgekit.weights import Pretrained, assign, imagenet_labels, load, pretrained, store
from edgekit.weights.pretrained import ROWS

NATIVE = {
    "squeezenet_v1_0": 227,
    "squeezenet_v1_1": 224,
    "mobilenet_v1_025": 128,
    "mobilenet_v1_050": 160,
    "mobilenet_v1_075": 192,
    "mobilenet_v2": 224,
}


def test_each_row_has_its_own_size_and_any_other() -> None:
    assert {row.model: row.input.height for row in ROWS} == NATIVE
    for name, size in NATIVE.items():
        row = pretrained(name)
        assert row is not None and row == pretrained(name, size)
        half = pretrained(name, size // 2)
        assert half is not None and half.assets == row.assets
        assert (half.input.height, half.input.width) == (size // 2, size // 2)
        assert half.input.resize_shorter == pytest.approx(row.input.resize_shorter / 2, abs=1)
        assert (half.input.mean, half.input.std, half.input.channels) == (
            row.input.mean,
            row.input.std,
            row.input.channels,
        )


def test_models_without_weights_have_none() -> None:
    assert pretrained("vgg16") is None
    assert pretrained("mobilenet_v1_100", 128) is None


def test_every_row_names_a_model_and_assets() -> None:
    for row in ROWS:
        assert models.find(row.model, input_size=row.input.height).classes == 1000
        for name in (*row.assets, row.labels):
            assert store.find(name).licence is not None


def test_preprocessing() -> None:
    def spec(name: str) -> InputSpec:
        row = pretrained(name)
        assert row is not None
        return row.input

    assert spec("squeezenet_v1_0") == InputSpec(227, 227, 256, "BGR", (104.0, 117.0, 123.0))
    torch = spec("squeezenet_v1_1")
    assert (torch.resize_shorter, torch.channels) == (256, "RGB")
    assert [value / 255 for value in torch.mean] == pytest.approx([0.485, 0.456, 0.406])
    assert [value / 255 for value in torch.std] == pytest.approx([0.229, 0.224, 0.225])
    assert spec("mobilenet_v1_050") == InputSpec(160, 160, 183, "RGB", (127.5,) * 3, (127.5,) * 3)


@pytest.mark.assets
def test_labels(assets: Path) -> None:
    ids, labels = imagenet_labels()
    assert len(ids) == len(labels) == len(set(ids)) == 1000 and list(ids) == sorted(ids)
    assert (ids[0], labels[0]) == ("n01440764", "tench, Tinca tinca")
    assert (ids[999], labels[999]) == ("n15075141", "toilet tissue, toilet paper, bathroom tissue")
    # The MobileNets' own list has the background first and then the same classes.
    theirs = (assets / "tflite/imagenet_labels.txt").read_text().splitlines()
    assert theirs[0] == "background" and theirs[1] == labels[0] and theirs[1000] == labels[999]


def test_wrong_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels").write_text("n1 one\nn2 two\n")
    monkeypatch.setattr(store, "asset", lambda name, progress: tmp_path / "labels")
    with pytest.raises(FileFormatError, match="has 2 labels; 1000 were expected"):
        imagenet_labels()


@pytest.mark.assets
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
def test_loaded_weights_say_where_they_are_from(assets: Path, row: Pretrained) -> None:
    weights = load(row)
    origin = store.find(row.assets[0])
    assert (weights.source, weights.sha256) == (origin.source, origin.sha256)
    assert weights.input == row.input
    assert weights.layers[-1].kernel.shape[-1] == weights.layers[-1].arrays["bias"].size == 1000


def dev_images(assets: Path, count: int) -> tuple[list[bytes], np.ndarray]:
    """`count` sample images that do not calibrate (those are every fifth), and their classes."""
    paths = [path for index, path in enumerate(images.list_images(assets / "imagenet-sample")) if index % 5]
    chosen = images.evenly_spaced(paths, count)
    ids, _ = imagenet_labels()
    return [path.read_bytes() for path in chosen], np.array([ids.index(path.name.split("_")[0]) for path in chosen])


def answers(row: Pretrained, contents: list[bytes]) -> np.ndarray:
    """What the Keras model with these weights says: (n, 1000)."""
    pytest.importorskip("keras")
    model = models.build(models.find(row.model, input_size=row.input.height))
    assign(model, load(row))
    batch = np.concatenate([images.normalise(images.crop(content, row.input), row.input) for content in contents])
    return np.asarray(model(batch, training=False))  # predict() would first spend seconds on tracing


@pytest.mark.assets
@pytest.mark.export
@pytest.mark.parametrize("name", ["squeezenet_v1_0", "squeezenet_v1_1"])
def test_squeezenets_recognise_images(assets: Path, name: str) -> None:
    row = pretrained(name)
    assert row is not None
    contents, truth = dev_images(assets, 40)
    ranked = np.argsort(-answers(row, contents), axis=1)
    assert np.mean(ranked[:, 0] == truth) > 0.5
    assert np.mean((ranked[:, :5] == truth[:, None]).any(axis=1)) > 0.7


@pytest.mark.assets
@pytest.mark.export
@pytest.mark.parametrize("name", ["mobilenet_v1_050", "mobilenet_v2"])
def test_mobilenets_agree_with_their_file(assets: Path, name: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    row = pretrained(name)
    assert row is not None
    contents, _ = dev_images(assets, 20)
    ours = answers(row, contents).argmax(axis=1)
    interpreter = Interpreter(str(assets / row.assets[0]), num_threads=2)
    interpreter.allocate_tensors()
    theirs = []
    for content in contents:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images.crop(content, row.input)[None])
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        theirs.append(int(output[1:].argmax()))
    assert np.mean(ours == theirs) >= 0.85
