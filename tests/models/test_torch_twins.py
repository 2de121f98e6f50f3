"""Networks of PyTorch and their Keras twins: weights go both ways, and the answers are the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import models, weights
from edgekit.errors import WeightsMismatchError

ROOT = Path(__file__).parents[2]
CLASSES, SIZE = 10, 64
TWINS = [
    "squeezenet_v1_0_torch",
    "squeezenet_v1_1",
    "squeezenet_bn",
    "squeezenext_23_torch",
    "mobilenet_v2_torch",
    "mobilenet_v3_large_torch",
    "mobilenet_v3_small_torch",
]


def load(path: Path) -> Any:
    """A file that is no part of a package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs PyTorch: pip install 'edgekit[torch]'")


@pytest.fixture(scope="module")
def make(torch, images):
    """`make(name)`: the torch module of a twin, with weights of which each matters, and logits of up to 5."""
    own = load(ROOT / "examples" / "torch_networks.py")
    others = load(Path(__file__).parent / "torchvision_networks.py")
    makers = {
        "squeezenet_v1_0_torch": lambda: others.SqueezeNet("1_0", CLASSES),
        "squeezenet_v1_1": lambda: others.SqueezeNet("1_1", CLASSES),
        "squeezenet_bn": lambda: own.SqueezeNetBN(CLASSES),
        "squeezenext_23_torch": lambda: own.SqueezeNext23(CLASSES),
        "mobilenet_v2_torch": lambda: others.MobileNetV2(CLASSES),
        "mobilenet_v3_large_torch": lambda: others.MobileNetV3("large", CLASSES),
        "mobilenet_v3_small_torch": lambda: others.MobileNetV3("small", CLASSES),
    }

    def made(name: str) -> Any:
        module = others.randomised(makers[name]())
        last = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)][-1]
        with torch.no_grad():
            largest = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).abs().max()
            for parameter in last.parameters():
                parameter *= 5 / largest
        return module

    return made


def built(name: str) -> tuple[Any, dict[str, str]]:
    spec = models.find(name, classes=CLASSES, input_size=SIZE)
    model = models.build(spec)
    return model, models.torch_names(spec, weights.layer_names(model))


def logits(model: Any, images: np.ndarray) -> np.ndarray:
    """What a Keras network answers before its softmax, up to a summand for each image."""
    probabilities = np.asarray(model(images, training=False), np.float64)
    return np.log(probabilities)


def answers(torch: Any, module: Any, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.log_softmax(module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())), 1).numpy()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)


def test_the_list_of_twins():
    assert sorted(models.torch_twins()) == sorted(TWINS)
    assert models.for_torch("mobilenet_v2") == "mobilenet_v2_torch"
    assert models.for_torch("squeezenet_v1_1") == "squeezenet_v1_1"


@pytest.mark.torch
@pytest.mark.export
@pytest.mark.parametrize("name", TWINS)
def test_weights_go_both_ways_and_the_answers_stay(name, torch, make, images, tmp_path):
    module = make(name)
    wanted = answers(torch, module, images)
    assert np.ptp(wanted) > 0.5  # answers, not a uniform distribution
    torch.save(module.state_dict(), tmp_path / "net.pth")
    model, names = built(name)
    weights.assign(model, weights.read(tmp_path / "net.pth"), names)
    assert np.abs(logits(model, images) - wanted).max() <= 1e-4
    matrices = models.torch_matrices(models.find(name))
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"out{suffix}"
        weights.write_state_dict(path, weights.state_dict_of(model, names, matrices))
        zeroed = make(name)
        with torch.no_grad():
            for parameter in zeroed.parameters():
                parameter.zero_()
        zeroed.load_state_dict(loaded(torch, path), strict=True)
        assert np.abs(answers(torch, zeroed, images) - wanted).max() <= 1e-4
    weights.assign(model, weights.read(tmp_path / "out.safetensors"), names)  # by its names alone
    assert np.abs(logits(model, images) - wanted).max() <= 1e-4


def loaded(torch: Any, path: Path) -> Any:
    """A state dict as PyTorch's own users load it."""
    if path.suffix == ".pth":
        return torch.load(path, weights_only=True)
    return pytest.importorskip("safetensors.torch", reason="needs safetensors").load_file(path)


@pytest.mark.torch
@pytest.mark.export
def test_the_first_tensor_that_does_not_fit_is_named_with_both_shapes(torch, make, tmp_path):
    torch.save(make("squeezenet_v1_1").state_dict(), tmp_path / "net.pth")
    spec = models.find("squeezenet_v1_0_torch", classes=CLASSES, input_size=SIZE)
    model = models.build(spec)
    names = models.torch_names(spec, weights.layer_names(model))
    message = r"the model's conv1 \(conv\) is \(7, 7, 3, 96\), the file's features\.0 \(conv\) is \(3, 3, 3, 64\)"
    with pytest.raises(WeightsMismatchError, match=message):
        weights.assign(model, weights.read(tmp_path / "net.pth"), names)


@pytest.mark.export
def test_every_layer_of_a_twin_has_a_module_of_its_own():
    for name in TWINS:
        model, names = built(name)
        assert sorted(names) == sorted(weights.layer_names(model))
        assert len(set(names.values())) == len(names)
