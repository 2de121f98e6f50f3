"""What an ONNX file says of itself, and whether that can be converted, found out before anything is installed or run.

Reads the few fields that it needs; numbers are those of onnx.proto (github.com/onnx/onnx). Knows no converter.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgekit import messages
from edgekit.errors import FileFormatError, MissingError, UsageError

OLDEST_OPSET, NEWEST_OPSET = 9, 23
INPUT_SPEC = "edgekit.input"  # the metadata under which edgekit's own ONNX files carry their InputSpec
_FLOAT, _EXTERNAL = 1, 1
_LARGEST = 1 << 31  # protobuf's own limit
_STANDARD = ("", "ai.onnx")
SCHEMA: messages.Schema = {
    "Entry": {"key": (1, "string"), "value": (2, "string")},
    "Opset": {"domain": (1, "string"), "version": (2, "int64")},
    "Dimension": {"dim_value": (1, "int64"), "dim_param": (2, "string")},
    "Shape": {"dim": (1, "*Dimension")},
    "TensorType": {"elem_type": (1, "int32"), "shape": (2, "Shape")},
    "Type": {"tensor_type": (1, "TensorType")},
    "Value": {"name": (1, "string"), "type": (2, "Type")},
    "Tensor": {
        "dims": (1, "*int64"),
        "data_type": (2, "int32"),
        "name": (8, "string"),
        "raw_data": (9, "bytes"),
        "external_data": (13, "*Entry"),
        "data_location": (14, "int32"),
    },
    "Attribute": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "t": (5, "Tensor"),
        "g": (6, "Graph"),
        "ints": (8, "*int64"),
        "tensors": (10, "*Tensor"),
        "graphs": (11, "*Graph"),
        "type": (20, "int32"),
    },
    "Node": {
        "input": (1, "*string"),
        "output": (2, "*string"),
        "name": (3, "string"),
        "op_type": (4, "string"),
        "attribute": (5, "*Attribute"),
        "domain": (7, "string"),
    },
    "Graph": {
        "node": (1, "*Node"),
        "name": (2, "string"),
        "initializer": (5, "*Tensor"),
        "input": (11, "*Value"),
        "output": (12, "*Value"),
    },
    "Function": {"name": (1, "string"), "domain": (10, "string")},
    "Model": {
        "ir_version": (1, "int64"),
        "producer_name": (2, "string"),
        "producer_version": (3, "string"),
        "graph": (7, "Graph"),
        "opset_import": (8, "*Opset"),
        "metadata_props": (14, "*Entry"),
        "functions": (25, "*Function"),
    },
}


@dataclass(frozen=True)
class Plan:
    """What is to be converted: the file, its one input, and the sizes that the input will have.

    `channels_first` says in which order they are; `outputs` are the names of what it computes, `external` the files
    beside it that hold weights, `metadata` what its maker wrote into it.
    """

    path: Path
    input_name: str
    shape: tuple[int, ...]
    channels_first: bool
    outputs: tuple[str, ...]
    opset: int
    external: tuple[str, ...]
    metadata: dict[str, str]


@functools.cache
def message() -> Any:
    """The message class of an ONNX model."""
    return messages.message_class("onnx", SCHEMA, "Model", ".onnx")


def plan(path: Path, size: int | None = None) -> Plan:
    """What there is to convert in an ONNX file; `size` is the height and width where it leaves them open.

    The batch becomes 1 where it is open. FileFormatError if the file is missing, damaged, of an unknown opset, with
    operators of other domains, or with weights in files that are not there or not in its own folder; UsageError if it
    has not one image as input, or `size` is needed or contradicts it.
    """
    model = messages.parse(message(), _content(path), path, ".onnx")
    if not model.graph.node:
        raise FileFormatError(f"{path} is no .onnx file, or one without operators")
    opset = _opset(path, model)
    _refuse_other_domains(path, model)
    external = _external(path, model)
    value = _input(path, model.graph)
    shape, channels_first = _shape(path, value, size)
    return Plan(
        path,
        value.name,
        shape,
        channels_first,
        tuple(output.name for output in model.graph.output),
        opset,
        external,
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder; an .onnx file was expected")
    try:
        if path.stat().st_size >= _LARGEST:
            raise FileFormatError(f"{path} has more than 2 GB, which is no ONNX file; save its weights beside it")
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
    if not content:
        raise FileFormatError(f"{path} is empty; an .onnx file was expected")
    return content


def _opset(path: Path, model: Any) -> int:
    found = next((int(opset.version) for opset in model.opset_import if opset.domain in _STANDARD), None)
    if found is None:
        raise FileFormatError(f"{path} names no opset, so it is no ONNX model; export it again")
    if not OLDEST_OPSET <= found <= NEWEST_OPSET:
        age = "old" if found < OLDEST_OPSET else "new"
        raise FileFormatError(
            f"{path} is of opset {found}, which is too {age}: {OLDEST_OPSET} to {NEWEST_OPSET} are known; export it "
            "with opset_version=18"
        )
    return found


def _refuse_other_domains(path: Path, model: Any) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model.graph):
        if node.domain not in _STANDARD and (node.domain, node.op_type) not in own:
            raise FileFormatError(
                f"{path}: the node {node.name or node.output[0]!r} is a {node.domain}.{node.op_type}, which is no "
                "operator of ONNX itself; export the network without it"
            )


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _external(path: Path, model: Any) -> tuple[str, ...]:
    """The files beside the model that hold weights, once they are known to be there and nowhere else."""
    found: dict[str, None] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location != _EXTERNAL:
            continue
        place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if place not in found:
            _check_inside(path, tensor.name, place)
            found[place] = None
    return tuple(found)


def _check_inside(path: Path, tensor: str, place: str) -> None:
    parts = PurePosixPath(place.replace("\\", "/"))
    target, home = path.parent / parts, path.parent.resolve()
    if not place or parts.is_absolute() or ".." in parts.parts or not target.resolve().is_relative_to(home):
        raise FileFormatError(
            f"{path} keeps the weights {tensor!r} in {place!r}, outside of its own folder; that is refused, since a "
            "file could so be made to read any other; put both into one folder and export again"
        )
    if not target.is_file():
        raise MissingError(f"{path} keeps its weights in {place!r}, which is not beside it; put both into one folder")


def _input(path: Path, graph: Any) -> Any:
    """The one input that is no weight."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UsageError(f"{path} has {len(inputs)} inputs ({names}); only models with one, an image, are known")
    kind = inputs[0].type.tensor_type.elem_type
    if kind != _FLOAT:
        raise FileFormatError(f"{path}: its input {inputs[0].name!r} is no float32 (ONNX type {kind}); make it one")
    return inputs[0]


def _shape(path: Path, value: Any, size: int | None) -> tuple[tuple[int, ...], bool]:
    """The input's sizes, and whether the channels come first among them."""
    declared = [(int(dim.dim_value), dim.dim_param) for dim in value.type.tensor_type.shape.dim]
    shown = ", ".join(name or str(number or "?") for number, name in declared)
    if len(declared) != 4:
        raise UsageError(f"{path} takes ({shown}); only images, (1, 3, size, size), are known")
    sizes = [number if number > 0 else None for number, _name in declared]
    channels_first = sizes[3] != 3 or sizes[1] == 3
    places = (2, 3) if channels_first else (1, 2)
    if sizes[0] not in (None, 1):
        raise UsageError(f"{path} takes {sizes[0]} images at once; export it for one, or leave the batch open")
    for place in places:
        if sizes[place] is None and size is None:
            raise UsageError(f"{path} leaves its input's size open, ({shown}); say it with --input-size PX")
        if size is not None and sizes[place] not in (None, size):
            raise UsageError(f"{path} takes ({shown}) and nothing else, but --input-size says {size}")
    known = [1, 3, size, size] if channels_first else [1, size, size, 3]
    return tuple(found or wanted or 0 for found, wanted in zip(sizes, known, strict=True)), channels_first
