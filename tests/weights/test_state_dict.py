"""PyTorch checkpoints: every way in which trainers wrap a state dict, and nothing that would run code."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import FileFormatError, MissingError
from edgekit.weights import read, state_dict

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs PyTorch: pip install 'edgekit[torch]'")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


def module(torch: Any) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_layers_come_in_the_makers_order(legacy: bool, torch: Any, path: Path) -> None:
    torch.save(module(torch).state_dict(), path, _use_new_zipfile_serialization=not legacy)
    found = read(path)
    assert [(layer.name, layer.kind) for layer in found.layers] == [("0", "conv"), ("1", "batch_norm"), ("2", "dense")]
    assert found.ordered
    kernel = module(torch).state_dict()["0.weight"].numpy()
    np.testing.assert_array_equal(found.layers[0].kernel, kernel.transpose(2, 3, 1, 0))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda found: {"state_dict": found, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda found: {"model": {"state_dict": found}},
        lambda found: {"model_state_dict": {f"module.{name}": tensor for name, tensor in found.items()}},
        lambda found: {f"module.model.{name}": tensor for name, tensor in found.items()},
        lambda found: {f"_orig_mod.{name}": tensor.half() for name, tensor in found.items()},
    ],
    ids=["state_dict", "model", "module", "both", "compiled-half"],
)
def test_wrappers(wrap: Any, torch: Any, path: Path) -> None:
    torch.save(wrap(module(torch).state_dict()), path)
    found = read(path)
    assert [layer.name for layer in found.layers] == ["0", "1", "2"]
    kernel = module(torch).state_dict()["2.weight"].numpy().T
    assert found.layers[2].kernel.dtype == np.float32
    assert np.abs(found.layers[2].kernel - kernel).max() < 1e-3


def test_bfloat16_and_double(torch: Any, path: Path) -> None:
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    torch.save({"a.weight": weight.bfloat16(), "b.weight": weight.double()}, path)
    for layer in read(path).layers:
        np.testing.assert_array_equal(layer.kernel, weight.numpy().T)


@pytest.mark.parametrize("how", ["pickle", "torch", "legacy", "nested"])
def test_a_malicious_pickle_is_refused_and_not_run(how: str, torch: Any, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "made-by-the-pickle"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Harmful(target)))
    elif how == "nested":
        torch.save({"state_dict": module(torch).state_dict(), "extra": [Harmful(target)]}, path)
    else:
        torch.save(Harmful(target), path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(FileFormatError, match="refused and nothing was run") as caught:
        read(path)
    assert how == "pickle" or "system" in str(caught.value)
    assert not target.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert target.exists()  # so it would have been


def test_a_whole_pickled_module_is_refused(torch: Any, path: Path) -> None:
    torch.save(module(torch), path)
    with pytest.raises(FileFormatError, match=r"torch\.nn\..*save model\.state_dict\(\)"):
        read(path)


def test_torchscript_says_what_to_save(torch: Any, path: Path) -> None:
    torch.jit.trace(module(torch)[0], torch.zeros(1, 3, 8, 8)).save(str(path))
    with pytest.raises(FileFormatError, match="TorchScript"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"epoch": 3}, "a mapping with 'epoch' and no state dict"), ([1, 2], "a list and no state dict"), ({}, "nothing")],
)
def test_no_state_dict(content: Any, message: str, torch: Any, path: Path) -> None:
    torch.save(content, path)
    with pytest.raises(FileFormatError, match=message):
        read(path)


def test_integers_are_refused_by_name(torch: Any, path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2, dtype=torch.int8)}, path)
    with pytest.raises(FileFormatError, match=r"fc\.weight is int8"):
        read(path)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_truncated_files(keep: float, torch: Any, path: Path) -> None:
    torch.save(module(torch).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(FileFormatError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path.write_bytes(b"anything")
    with pytest.raises(MissingError, match=r"pip install 'edgekit\[torch\]'"):
        read(path)
    with pytest.raises(MissingError):
        state_dict.write(path.with_name("out.pth"), {})
    assert not path.with_name("out.pth").exists()
