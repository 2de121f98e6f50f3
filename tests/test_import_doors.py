"""Who may import whom: every import statement of the package, held against the table in docs/architecture.md."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgekit"
RECORDS = ("errors", "spec", "recipe", "fidelity", "artifact", "measurement")
# What the table calls by another name than the import statement does.
ALIASES = {
    "LiteRT's schema": ("ai_edge_litert.schema_py_generated",),
    "the TFLite runtime": ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"),
    "pillow": ("PIL",),
    "protobuf": ("google.protobuf",),
    "records": (*RECORDS, "msgspec"),
}
EVERYTHING = ("anything", "everything from models to artifact")
CLI_AT_TOP = {"errors", "typer"}
RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime")


@dataclass(frozen=True)
class Import:
    """One imported module: a path within the package ("models.layers"), or a foreign module's name."""

    file: str
    line: int
    target: str
    own: bool
    at_import: bool  # neither inside a function nor for type checkers alone

    @property
    def room(self) -> str:
        """The part of the package that the import stands in."""
        return self.file.removeprefix("edgekit/").removesuffix(".py").split("/")[0]

    def __str__(self) -> str:
        place = "at module level" if self.at_import else "inside a function"
        return f"{self.file}:{self.line} imports {self.target} {place}"


@dataclass(frozen=True)
class Door:
    """What one room may use anywhere, and what inside functions only."""

    anywhere: tuple[str, ...]
    inside: tuple[str, ...]

    def admits(self, found: Import) -> bool:
        allowed = self.anywhere if found.at_import else self.anywhere + self.inside
        return any(
            name in EVERYTHING or found.target == name or found.target.startswith(f"{name}.") for name in allowed
        )


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def imports() -> tuple[Import, ...]:
    """Every import of the package but those of the standard library."""
    return tuple(found for path in files() for found in _imports(path) if found.own or not _standard(found.target))


def _standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def _imports(path: Path) -> Iterator[Import]:
    name = str(path.relative_to(ROOT))
    for node, at_import in _statements(ast.parse(path.read_text("utf-8")), True):
        for target in _targets(node):
            own = target == "edgekit" or target.startswith("edgekit.")
            short = target.removeprefix("edgekit").removeprefix(".") if own else target
            if short:
                yield Import(name, node.lineno, short, own, at_import)


def _statements(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom | ast.Call):
            yield child, at_import
        apart = isinstance(child, ast.FunctionDef | ast.Lambda) or _for_type_checkers(child)
        yield from _statements(child, at_import and not apart)


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _targets(node: ast.stmt | ast.expr) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [_module(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names]
    if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
        return [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    return []


def _module(full: str, parent: str) -> str:
    """`full` where it is a module of ours, else the module that it is a name in."""
    if not full.startswith("edgekit."):
        return full if parent in ("ai_edge_litert", "google") else parent  # packages of nothing but modules
    path = ROOT / full.replace(".", "/")
    return full if path.is_dir() or path.with_suffix(".py").is_file() else parent


@functools.cache
def doors() -> dict[str, Door]:
    """The table of docs/architecture.md, room by room."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\S+) \| (.*?) ?\|$", text.partition("## Doors")[2].partition("\n## ")[0], re.MULTILINE)
    return {room: _door(cell) for room, cell in rows if room != "room"}


def _door(cell: str) -> Door:
    anywhere: list[str] = []
    inside: list[str] = []
    for part in cell.split(";"):
        names, lazily, _rest = part.strip().partition(" inside ")
        listed = [name for name in re.split(r", | and |,$", names) if name]
        (inside if lazily else anywhere).extend(_expanded(listed))
    return Door(tuple(anywhere), tuple(inside))


def _expanded(names: list[str]) -> list[str]:
    return [target for name in names for target in ALIASES.get(name, (name,))]


def test_the_table_has_every_room_and_no_other():
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if _is_room(path)}
    assert set(doors()) == rooms


def _is_room(path: Path) -> bool:
    return (path.suffix == ".py" and not path.name.startswith("__")) or (path / "__init__.py").is_file()


def test_the_table_names_only_what_exists():
    known = set(doors()) | {found.target for found in imports() if not found.own} | set(EVERYTHING)
    for room, door in doors().items():
        for name in door.anywhere + door.inside:
            used = any(one == name or one.startswith(f"{name}.") for one in known)
            assert used or _files_that_name((name,)), f"{room} may use {name}"


@pytest.mark.parametrize("room", sorted(doors()))
def test_every_import_goes_through_a_door(room):
    door = doors()[room]
    strangers = [
        str(found)
        for found in imports()
        if found.room == room
        and not (found.own and found.target.split(".")[0] == room)
        and not (room == "cli" and found.target in CLI_AT_TOP)
        and not door.admits(found)
    ]
    assert strangers == []


def test_the_table_keeps_the_promises_of_the_design():
    table = doors()
    for position, record in enumerate(RECORDS):
        assert set(table[record].anywhere) <= {*RECORDS[:position], "msgspec"}
        assert table[record].inside == (("compress",) if record == "artifact" else ())  # a file may be an .ekz
    frameworks = {
        "tensorflow": {"convert", "interop"},
        "keras": {"convert", "models"},
        "torch": {"interop", "weights"},
        "onnx2tf": {"interop"},
    }
    for framework, rooms in frameworks.items():
        assert {room for room, door in table.items() if framework in door.anywhere} == set()
        assert {room for room, door in table.items() if framework in door.inside} == rooms
    device_side = {"meters", "runtime", "bench", "devices", "evaluate", "images", "golden", "quantize"}
    left_half = {"models", "weights", "convert", "export", "quantize"}
    for room in device_side:
        assert not set(table[room].anywhere) & (left_half - {room})
    assert not {"numpy", "graph", "runtime"} & {*table["compare"].anywhere, *table["report"].anywhere}


def test_only_the_runtime_room_imports_a_runtime():
    named = {found.file for found in imports() if found.target.startswith(RUNTIMES)}
    assert named | _files_that_name(RUNTIMES) == {"edgekit/runtime.py"}


def test_only_two_files_import_tensorflow():
    named = {found.file for found in imports() if found.target.split(".")[0] == "tensorflow"}
    assert named == {"edgekit/convert.py", "edgekit/interop/_worker.py"}  # the worker has a TensorFlow of its own
    heavy = ("tensorflow", "keras", "torch", "onnx", "onnx2tf", "onnxruntime")
    assert not any(found.at_import for found in imports() if found.target.split(".")[0] in heavy)


def test_torch_is_imported_where_it_is_asked_for():
    named = {found.file for found in imports() if found.target.split(".")[0] in ("torch", "litert_torch")}
    assert named == {
        "edgekit/weights/state_dict.py",
        "edgekit/interop/torch_module.py",
        "edgekit/export/torch_modules.py",
    }


def test_what_runs_in_onnx2tfs_environment_knows_nothing_of_edgekit():
    assert not [str(found) for found in imports() if found.file == "edgekit/interop/_worker.py" and found.own]


def _files_that_name(modules: tuple[str, ...]) -> set[str]:
    """Files with such a module's name as a string, from which it might be imported."""
    return {
        str(path.relative_to(ROOT))
        for path in files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(modules)
    }


def test_only_the_command_line_prints():
    printing = {
        str(path.relative_to(ROOT))
        for path in files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    assert printing == {"edgekit/cli.py"}


def test_no_file_imports_itself_by_way_of_others():
    edges: dict[str, set[str]] = {}
    for found in imports():
        if found.own and found.at_import:
            edges.setdefault(_as_module(found.file), set()).add(found.target)
    assert [path for module in edges for path in _cycles(module, edges, (module,))] == []


def _as_module(file: str) -> str:
    return file.removeprefix("edgekit/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _cycles(start: str, edges: dict[str, set[str]], path: tuple[str, ...]) -> Iterator[str]:
    for target in sorted(edges.get(path[-1], ())):
        if target == start:
            yield " -> ".join((*path, start))
        elif target not in path and target > start:  # each cycle is told once, from its first module
            yield from _cycles(start, edges, (*path, target))
