"""SqueezeNet v1.1 with its real weights through every way in: do four int8 models come out, or one?

Ways: Keras directly; its state dict written and read again; its ONNX form written and converted back; a torch module
with that state dict. Runs where torch, Keras and onnx2tf's environment are: `agreement.py IMAGES FOLDER`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from edgekit import artifact as artifacts
from edgekit import export, graph, images, recipe
from edgekit.artifact import Artifact
from edgekit.export import Trained
from edgekit.foreign import Preprocessing
from edgekit.runtime import Runner

ROOT = Path(__file__).parents[2]
NETWORK, SIZE = "squeezenet_v1_1", 224
SAID = Preprocessing(mean="123.675,116.28,103.53", std="58.395,57.12,57.375")


def main() -> None:
    """Makes those of the four that are not there, judges all on what calibrated none, writes `agreement.json`."""
    pictures, folder = Path(sys.argv[1]), Path(sys.argv[2])
    ways = {"keras": _keras, "state dict": _state_dict, "onnx": _onnx, "module": _module}
    made = {way: _made(way, float_model, pictures, folder) for way, float_model in ways.items()}
    answers = {way: _answers(artifact, pictures) for way, artifact in made.items()}
    rows = [_row(way, artifact) for way, artifact in made.items()]
    pairs = [
        {"ways": [one, other], "agree": sum(a == b for a, b in zip(answers[one], answers[other], strict=True))}
        for one, other in itertools.combinations(made, 2)
    ]
    result = {"images": len(next(iter(answers.values()))), "models": rows, "pairs": pairs}
    (folder / "agreement.json").write_text(json.dumps(result, indent=1))


def _keras(pictures: Path, folder: Path) -> Trained:
    return export.prepare(export.find_model(NETWORK))


def _state_dict(pictures: Path, folder: Path) -> Trained:
    return export.prepare(export.find_model(NETWORK), _checkpoint(folder))


def _onnx(pictures: Path, folder: Path) -> Trained:
    written = export.to_onnx(_keras(pictures, folder), folder)
    return export.from_onnx(written, pictures=pictures)


def _module(pictures: Path, folder: Path) -> Trained:
    import torch

    module = _networks().SqueezeNet("1_1", 1000)
    module.load_state_dict(torch.load(_checkpoint(folder), weights_only=True))
    # edgekit's networks answer with probabilities, torch's with what a softmax makes them of
    whole = torch.nn.Sequential(module, torch.nn.Softmax(1))
    example = torch.zeros(1, 3, SIZE, SIZE)
    return export.from_torch(whole, example, NETWORK, SAID, pictures=pictures)


def _checkpoint(folder: Path) -> Path:
    """The real weights as PyTorch has them."""
    path = folder / f"{NETWORK}-{SIZE}.pth"
    return path if path.exists() else export.to_state_dict(export.find_model(NETWORK), "torch", folder)


def _networks() -> ModuleType:
    """torchvision's networks as the tests have them, so that no torchvision is needed."""
    path = ROOT / "tests" / "models" / "torchvision_networks.py"
    spec = importlib.util.spec_from_file_location("torchvision_networks", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _made(way: str, float_model: Callable[[Path, Path], Trained], pictures: Path, folder: Path) -> Artifact:
    """The int8 model of a way, as an earlier run left it or made now."""
    for path in (folder / way).glob("*.tflite"):
        return artifacts.read(path)
    trained = float_model(pictures, folder)
    made = export.export(trained, recipe.find("int8"), folder / way, export.load_samples(pictures, trained.input))
    print(way, made.path, flush=True)
    return made


def _answers(artifact: Artifact, pictures: Path) -> list[int]:
    """The class of each image that calibrated nothing."""
    assert artifact.card is not None and artifact.card.calibration is not None
    paths = images.without(images.list_images(pictures), artifact.card.calibration.image_ids)
    runner = Runner(artifacts.read_model(artifact.path))
    prepare = images.Preprocessor(artifact.card.input, runner.input)
    crops = (images.crop(path.read_bytes(), artifact.card.input) for path in paths)
    return [int(runner.run(prepare(crop)).argmax()) for crop in crops]


def _model_bytes(path: Path) -> int:
    """The size without the card and the labels behind it, which not every way brings along."""
    with zipfile.ZipFile(path) as tail:
        return min(member.header_offset for member in tail.infolist())


def _row(way: str, artifact: Artifact) -> dict[str, object]:
    operators = [operator.kind for operator in graph.load(artifacts.read_model(artifact.path)).operators]
    return {
        "way": way,
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "size_bytes": _model_bytes(artifact.path),
        "operators": dict(sorted(Counter(operators).items())),
        "order": operators,
        "input": artifact.card and {"mean": artifact.card.input.mean, "std": artifact.card.input.std},
    }


if __name__ == "__main__":
    main()
