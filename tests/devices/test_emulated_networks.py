"""Real Arm kernels under qemu: the exported models reach the dot-product instructions."""

import pytest

from edgekit import artifact as artifacts
from edgekit import bench, export, recipe, weights
from edgekit.devices.emulated import Emulated
from edgekit.measurement import Session

pytestmark = [pytest.mark.emulated, pytest.mark.export, pytest.mark.assets, pytest.mark.slow]


@pytest.fixture(scope="module")
def counter(emulation):
    return lambda path, core: Emulated(core, emulation).count([artifacts.read(path)], Session(bench.QUICK))[0]


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
    once, again = (counter(mobilenet.path, "cortex-a76") for _ in range(2))
    assert (once.instructions, once.simd, once.dot_products) == (again.instructions, again.simd, again.dot_products)


def test_without_dot_products_a_cortex_a72_needs_more(counter, mobilenet):
    found = counter(mobilenet.path, "cortex-a72")
    assert found.dot_products == 0
    assert found.instructions > 20_000_000


def test_the_published_uint8_file_never_reaches_the_dot_products(counter, assets):
    found = counter(assets / "tflite" / "mobilenet_v1_0.5_160_quant.tflite", "cortex-a76")
    assert found.dot_products == 0
    assert round(found.instructions / 1e6, 1) == 32.1
