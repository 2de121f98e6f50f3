"""What is declared in tools.toml: models, environments and tools, as records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

import edgekit
from edgekit import runtime
from edgekit.errors import FileFormatError, UnknownNameError

DECLARATION = Path(__file__).parent / "tools.toml"
# What edgekit's quantizer is made of: a change of any of these files makes its rows due again.
_QUANTIZER = ("quantize/*.py", "export/*.py", "graph.py", "recipe.py", "runtime.py")

Settings = dict[str, bool | int | float | str]


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One quantizer with its settings; `peer` is a script in `peers`, without `environment` in the driver's Python."""

    name: str
    peer: str
    note: str
    environment: str | None = None
    settings: Settings = {}
    needs_keras: bool = False


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that one run compares; an environment is a list of pinned requirements."""

    models: tuple[str, ...]
    environments: dict[str, tuple[str, ...]]
    tools: tuple[Tool, ...]

    def pins(self, tool: Tool) -> tuple[str, ...]:
        """The versions that a row of this tool stands for."""
        return own_versions() if tool.environment is None else self.environments[tool.environment]


def declared(path: Path = DECLARATION) -> Declaration:
    """The declaration; FileFormatError if it does not hold together."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Declaration)
    except (OSError, msgspec.DecodeError) as error:
        raise FileFormatError(f"{path}: {error}") from None
    for tool in found.tools:
        if tool.environment is not None and tool.environment not in found.environments:
            raise FileFormatError(
                f"{path}: {tool.name} names the environment {tool.environment}, which is not declared"
            )
    return found


def named(kind: str, known: Sequence[str], asked: Iterable[str]) -> list[str]:
    """What was asked for, in declared order; all of it if nothing was; UnknownNameError for what is not declared."""
    names = [part for text in asked for part in text.split(",") if part]
    for name in names:
        if name not in known:
            raise UnknownNameError.among(kind, name, known)
    return [name for name in known if not names or name in names]


def own_versions() -> tuple[str, ...]:
    """edgekit's quantizer by the content of its files, for its version number says nothing between releases."""
    package = Path(edgekit.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _QUANTIZER for path in package.glob(pattern)):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"edgekit source {digest.hexdigest()[:12]}", " ".join(runtime.version())
