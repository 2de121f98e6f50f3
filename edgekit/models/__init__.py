"""Networks by name: every architecture of this folder, as specs, as Keras models and as counts.

The folder is the registry. A file with `VARIANTS`, a tuple of ModelSpec whose family is the file's name, and
`build(spec)` adds a family; `parse(name)` gives it open-ended names, `published(spec)` accuracies beside those of
its variants, and `torch_names(spec, layers)` the modules of its PyTorch twin, of which `TORCH_MATRICES` are linear
layers in the place of convolutions. Listing imports no Keras.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from edgekit.errors import UnknownNameError, UsageError
from edgekit.models import layers
from edgekit.models.counts import count, layer_table
from edgekit.spec import ModelSpec, Published

if TYPE_CHECKING:
    from keras import Model

__all__ = [
    "build",
    "count",
    "find",
    "for_torch",
    "has_torch_twin",
    "layer_table",
    "outline",
    "published",
    "specs",
    "torch_matrices",
    "torch_names",
    "torch_twins",
]

Option = bool | int | float | str

# Every network here still has a map of one pixel at its end.
SMALLEST_INPUT = 32


class Family(Protocol):
    """What a file of this folder offers; the others, which it may also have, are looked up where used."""

    VARIANTS: tuple[ModelSpec, ...]

    def build(self, spec: ModelSpec) -> Model: ...


def specs() -> list[ModelSpec]:
    """Every named variant, family by family, the family that starts smallest first."""
    families = sorted(_families().values(), key=lambda family: family.VARIANTS[0].params or 0)
    return [spec for family in families for spec in family.VARIANTS]


def published() -> dict[tuple[str, int], Published]:
    """Every published accuracy by name and input size, of each named variant at its own size and the usual ones."""
    sizes = (96, 128, 160, 192, 224)
    asked = [find(spec.name, input_size=size) for spec in specs() for size in {spec.input_size, *sizes}]
    return {(spec.name, spec.input_size): spec.published for spec in asked if spec.published}


def find(
    name: str,
    *,
    classes: int | None = None,
    input_size: int | None = None,
    options: Mapping[str, Option] | None = None,
) -> ModelSpec:
    """The variant `name`, or a name such as mobilenet_v1_035, changed where arguments say so.

    A changed variant has no counts, and keeps an accuracy only if that was published for its new input size.
    UnknownNameError for a name of no network, UsageError for an option it does not have or a value out of range.
    """
    own = _named(name)
    spec = msgspec.structs.replace(
        own,
        classes=_at_least(1, "classes", own.classes if classes is None else classes),
        input_size=_at_least(SMALLEST_INPUT, "input_size", own.input_size if input_size is None else input_size),
        options={**own.options, **_checked(own, options or {})},
    )
    if spec == own:
        return own
    return msgspec.structs.replace(spec, params=None, macs=None, published=_published(own, spec))


def build(spec: ModelSpec) -> Model:
    """The untrained network: float32 images (batch, size, size, 3) named "image" -> probabilities (batch, classes)."""
    families = _families()
    if spec.family not in families:
        raise UnknownNameError.among("family", spec.family, families)
    return families[spec.family].build(spec)


def outline(spec: ModelSpec) -> Model:
    """The network without its weights, for `count` and `layer_table`: VGG-16 takes no half gigabyte for those."""
    with layers.without_weights():
        return build(spec)


def for_torch(name: str) -> str:
    """The variant that PyTorch's weights fit: `<name>_torch` where there is one, else `name` itself."""
    twin = f"{name}_torch"
    return twin if any(spec.name == twin for spec in specs()) else name


def torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str]:
    """The module of the PyTorch twin for each layer with weights; empty if the network has no twin."""
    return _torch_names(spec, layer_names) or {}


def torch_matrices(spec: ModelSpec) -> frozenset[str]:
    """The convolutions that are linear layers in the PyTorch twin."""
    found: frozenset[str] = getattr(_families()[spec.family], "TORCH_MATRICES", frozenset())
    return found


def has_torch_twin(spec: ModelSpec) -> bool:
    """Whether a PyTorch module is known that computes the same."""
    return _torch_names(spec, ()) is not None


def torch_twins() -> list[str]:
    """The variants that have one."""
    return [spec.name for spec in specs() if has_torch_twin(spec)]


def _torch_names(spec: ModelSpec, layer_names: Sequence[str]) -> dict[str, str] | None:
    names: Callable[[ModelSpec, Sequence[str]], dict[str, str] | None] | None
    names = getattr(_families()[spec.family], "torch_names", None)
    return names(spec, layer_names) if names else None


@functools.cache
def _families() -> dict[str, Family]:
    """The files of this folder that have variants, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: cast(Family, module) for name, module in modules.items() if hasattr(module, "VARIANTS")}


def _named(name: str) -> ModelSpec:
    known = {spec.name: spec for spec in specs()}
    if name in known:
        return known[name]
    for family in _families().values():
        parse: Callable[[str], ModelSpec | None] | None = getattr(family, "parse", None)
        if parse and (spec := parse(name)):
            return spec
    raise UnknownNameError.among("model", name, known)


def _at_least(least: int, what: str, value: int) -> int:
    if type(value) is not int or value < least:
        raise UsageError(f"{what} is a whole number of {least} or more; found {value!r}")
    return value


def _checked(own: ModelSpec, options: Mapping[str, Option]) -> dict[str, Option]:
    """`options` with whole numbers made float where the variant's own value is one."""
    valid = ", ".join(f"{key} ({type(value).__name__})" for key, value in own.options.items()) or "none"
    checked: dict[str, Option] = {}
    for key, value in options.items():
        wanted = type(own.options.get(key))
        value = float(value) if wanted is float and type(value) is int else value
        if key not in own.options or type(value) is not wanted:
            raise UsageError(f"{own.name} does not take the option {key}={value!r}; its options: {valid}")
        checked[key] = value
    return checked


def _published(own: ModelSpec, spec: ModelSpec) -> Published | None:
    """The accuracy published for a changed variant: that of another point of its family, if there is a table."""
    published: Callable[[ModelSpec], Published | None] | None = getattr(_families()[own.family], "published", None)
    return published(spec) if published and spec.classes == own.classes else None
