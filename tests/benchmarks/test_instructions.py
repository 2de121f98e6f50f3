"""Real Arm kernels under qemu: the exported models reach the dot-product instructions."""

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest

from edgekit import export, recipe, weights
from edgekit.errors import MissingError

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.emulated, pytest.mark.export, pytest.mark.assets, pytest.mark.slow]


@pytest.fixture(scope="module")
def counter():
    if platform.machine() != "x86_64" or os.geteuid() or not all(map(shutil.which, ("apt-get", "gcc", "pip"))):
        pytest.skip("the emulated Arm root is made with apt, gcc and pip by root on an x86-64 Debian machine")
    spec = importlib.util.spec_from_file_location("instructions", ROOT / "benchmarks" / "instructions.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        module.set_up(ROOT / "build" / "emulated_pi")
    except MissingError as error:
        if os.environ.get("EDGEKIT_REQUIRE_ASSETS"):
            raise
        pytest.skip(str(error))
    return lambda path, core: module.count(ROOT / "build" / "emulated_pi", path, core)


@pytest.fixture(scope="module")
def mobilenet(assets, tmp_path_factory):
    trained = export.prepare(export.find_model("mobilenet_v1_050"))
    samples = export.load_samples(weights.image_folder(), trained.input, count=10)
    return export.export(trained, recipe.find("int8"), tmp_path_factory.mktemp("zoo"), samples)


def test_int8_mobilenet_takes_at_most_12_million_instructions_on_a_cortex_a76(counter, mobilenet):
    found = counter(mobilenet.path, "cortex-a76")
    assert found.instructions <= 12_000_000
    assert found.dot_products * 16 >= 70_000_000  # of 76.5 M MACs, 16 to a dot product


def test_a_count_repeats_to_the_instruction(counter, mobilenet):
    assert counter(mobilenet.path, "cortex-a76") == counter(mobilenet.path, "cortex-a76")


def test_without_dot_products_a_cortex_a72_needs_more(counter, mobilenet):
    found = counter(mobilenet.path, "cortex-a72")
    assert found.dot_products == 0
    assert found.instructions > 20_000_000


def test_the_published_uint8_file_never_reaches_the_dot_products(counter, assets):
    found = counter(assets / "tflite" / "mobilenet_v1_0.5_160_quant.tflite", "cortex-a76")
    assert found.dot_products == 0
    assert round(found.instructions / 1e6, 1) == 32.1
