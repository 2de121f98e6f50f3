"""The gate: every integer export is audited on images it has not seen, and a degraded one is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edgekit import artifact as artifacts
from edgekit import recipe
from edgekit.artifact import Card, WeightsOrigin
from edgekit.errors import QualityError
from edgekit.fidelity import Audit
from edgekit.spec import InputSpec


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        pixels = random.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def save(tmp_path: Path, colour_network, colour_input: InputSpec):
    """Writes a colour network as a float file with a card."""

    def write(kernel: np.ndarray) -> Path:
        path = tmp_path / "colours-float32.tflite"
        card = Card("colours", "colours", len(kernel), colour_input, recipe.find("float32"), WeightsOrigin("by hand"))
        artifacts.write(path, colour_network(kernel), card, (), (), None)
        return path

    return write


@pytest.fixture
def alike() -> np.ndarray:
    """200 classes so much alike that eight bits cannot tell them apart."""
    kernel: np.ndarray = 8 + 0.002 * np.random.default_rng(0).normal(0, 1, (200, 3)).astype(np.float32)
    return kernel


def test_an_audit_on_unseen_images_is_in_the_card(save, colour_kernel, pictures, tmp_path, run_edgekit):
    options = ("--calibration", pictures, "--calibration-images", "12", "-o", tmp_path, "--recipe", "int8")
    done = run_edgekit("export", save(colour_kernel), *options)
    assert done.returncode == 0, done.stderr
    card = artifacts.read(tmp_path / "colours-int8.tflite").card
    assert card is not None
    assert card.audit is not None
    assert card.audit.samples == 18  # the other images
    assert card.audit.agreement.hits >= 17
    assert card.audit.layers
    assert "agrees with float" in done.stdout
    assert "agrees with float on" in run_edgekit("inspect", tmp_path / "colours-int8.tflite").stdout


def test_a_degraded_model_is_refused_with_the_layers_to_blame(save, alike, pictures, tmp_path, run_edgekit):
    options = ("--calibration", pictures, "-o", tmp_path, "--recipe", "int8_fast")
    done = run_edgekit("export", save(alike), *options)
    assert done.returncode == QualityError.exit_code
    assert "colours-int8_fast.tflite was not written" in done.stderr
    assert "80% are asked for; the noisiest layers are" in done.stderr
    assert "try --recipe int8," in done.stderr
    assert not (tmp_path / "colours-int8_fast.tflite").exists()


def test_the_limit_can_be_moved_or_lifted(save, alike, colour_kernel, pictures, tmp_path, run_edgekit):
    options = ("--calibration", pictures, "-o", tmp_path, "--recipe", "int8_fast")
    assert run_edgekit("export", save(alike), *options, "--allow-degraded").returncode == 0
    assert (tmp_path / "colours-int8_fast.tflite").exists()
    assert run_edgekit("export", save(alike), *options, "--least-agreement", "0").returncode == 0
    assert run_edgekit("export", save(colour_kernel), *options, "--least-agreement", "90").returncode == 0


def test_where_every_image_calibrates_the_audit_takes_those(save, colour_kernel, pictures, tmp_path, run_edgekit):
    done = run_edgekit("export", save(colour_kernel), "--calibration", pictures, "-o", tmp_path, "--recipe", "int8")
    card = artifacts.read(tmp_path / "colours-int8.tflite").card
    assert done.returncode == 0, done.stderr
    assert card is not None
    assert card.audit is not None
    assert card.audit.samples == 30
    assert "is left to judge on; the audit takes those that calibrate" in done.stderr


def test_explain_draws_a_page_of_every_layer(save, colour_kernel, pictures, tmp_path, run_edgekit):
    options = ("--calibration", pictures, "-o", tmp_path, "--recipe", "int8_fast", "--explain", tmp_path / "why")
    done = run_edgekit("export", save(colour_kernel), *options)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "why" / "colours-int8_fast" / "index.html"
    assert f"see {page}" in done.stderr
    assert "data:image/svg+xml" in page.read_text()


def test_gains_travel_in_the_file_and_the_audit_undoes_them(exported, run_edgekit):
    done = run_edgekit("inspect", exported["int8"], "--errors", exported["float32"], "--count", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Audit)
    assert found.matched >= 36
    assert all(layer.own_sqnr_db is None or layer.own_sqnr_db > 20 for layer in found.layers)
