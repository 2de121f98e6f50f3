"""Protocol buffers from a table of fields: reading a format takes no generated code, and only what is read is named.

A schema is {message: {field: (number, type)}}; "*" before a type is repeated, "+" repeated and packed, and a type may
be another message of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.errors import FileFormatError, MissingError

Schema = Mapping[str, Mapping[str, tuple[int, str]]]


def message_class(package: str, schema: Schema, name: str, what: str) -> Any:
    """The class of one message; MissingError without protobuf, saying that `what` needs it."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise MissingError(f"{what} files need protobuf: pip install 'edgekit[export]'") from None
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for message, fields in schema.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            _declare(declared.field.add(name=field, number=number), kind, package, schema)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def parse(message: Any, content: bytes, path: object, what: str) -> Any:
    """A message read from a file; FileFormatError if it is truncated or something else."""
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(content)
    except DecodeError as error:
        raise FileFormatError(f"{path} is truncated or not a {what} file ({error}); fetch or save it again") from None


def _declare(field: Any, kind: str, package: str, schema: Schema) -> None:
    field.label = field.LABEL_REPEATED if kind[0] in "*+" else field.LABEL_OPTIONAL
    field.options.packed = kind[0] == "+"
    kind = kind.lstrip("*+")
    if kind in schema:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
