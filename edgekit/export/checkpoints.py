"""A network's weights as a PyTorch state dict: the way out that matches `weights.state_dict`."""

from __future__ import annotations

from pathlib import Path

from edgekit import convert, models, weights
from edgekit.errors import UnknownNameError, UsageError
from edgekit.export.networks import loaded_for
from edgekit.export.trained import Progress, ignore, stem
from edgekit.spec import ModelSpec

SUFFIXES = (".pth", ".pt", ".safetensors")
FORMATS = {"torch": ".pth", "safetensors": ".safetensors"}


def is_checkpoint(name: str) -> bool:
    """Whether what is to be exported is meant as PyTorch weights."""
    return name.lower().endswith(SUFFIXES)


def check_twin(spec: ModelSpec) -> None:
    """UsageError for a network that no PyTorch module is known for, naming those that there are."""
    if not models.has_torch_twin(spec):
        twin = models.for_torch(spec.name)
        hint = f"its PyTorch form is {twin}" if twin != spec.name else f"those are {', '.join(models.torch_twins())}"
        raise UsageError(f"{spec.name} is not built as any PyTorch network is, so no state dict fits; {hint}")


def to_state_dict(
    spec: ModelSpec, kind: str, folder: Path, source: str | Path | None = None, progress: Progress = ignore
) -> Path:
    """Writes `<stem>.pth` or `<stem>.safetensors` by the names of the network's PyTorch twin.

    `kind` is a key of FORMATS. UsageError if the network has no twin, MissingError for .pth without torch.
    """
    if kind not in FORMATS:
        raise UnknownNameError.among("format", kind, FORMATS)
    check_twin(spec)
    progress("build", 0, 2)
    convert.import_keras()
    model = models.build(spec)
    if (found := loaded_for(spec, source, progress)) is not None:
        weights.assign(model, found, models.torch_names(spec, weights.layer_names(model)))
    progress("write", 1, 2)
    names = models.torch_names(spec, weights.layer_names(model))
    tensors = weights.state_dict_of(model, names, models.torch_matrices(spec))
    path = folder / f"{stem(spec)}{FORMATS[kind]}"
    weights.write_state_dict(path, tensors)
    progress("write", 2, 2)
    return path
