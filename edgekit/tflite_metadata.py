"""TensorFlow Lite's standard model metadata, so that Android's own reader finds normalisation and labels.

Source: metadata_schema.fbs of TFLite Support, version 1.1.0 (identifier M001); the numbers below are its field
positions. Only what an image classifier needs is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.artifact import LABELS, Card

if TYPE_CHECKING:
    import flatbuffers

KEY = "TFLITE_METADATA"
_IDENTIFIER, _PARSER_VERSION = b"M001", "1.0.0"
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS, _RGB = 2, 1, 1, 2, 1


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table: values by field position; int fields carry their width in bytes."""

    fields: dict[int, Any]


@dataclass(frozen=True)
class _Int:
    value: int
    bytes: int


def classifier_metadata(card: Card, lowest: float, highest: float, with_labels: bool) -> bytes:
    """The metadata flatbuffer of an image classifier; `lowest` and `highest` bound the input's real values."""
    content = _Table({0: _Int(_IMAGE_PROPERTIES, 1), 1: _image_properties(card)})
    normalization = _Table({0: _Int(_NORMALIZATION, 1), 1: _Table({0: card.input.mean, 1: card.input.std})})
    order = f"{card.input.channels} pixels, shorter side {card.input.resize_shorter}, centre crop"
    stats = _Table({0: (highest,), 1: (lowest,)})
    image = _Table({0: "image", 1: order, 3: content, 4: [normalization], 5: stats})
    labels = [_Table({0: LABELS, 1: "one class a line", 2: _Int(_AXIS_LABELS, 1)})] if with_labels else []
    feature = _Table({0: _Int(_FEATURE_PROPERTIES, 1), 1: _Table({})})
    output = _Table({0: card.output, 1: f"{card.output} of {card.classes} classes", 3: feature, 6: labels})
    subgraph = _Table({2: [image], 3: [output]})
    description = f"{card.model}, recipe {card.recipe.name}"
    return _pack(_Table({0: card.model, 1: description, 3: [subgraph], 7: _PARSER_VERSION}))


def _image_properties(card: Card) -> _Table:
    size = _Table({0: _Int(card.input.width, 4), 1: _Int(card.input.height, 4)})
    color_space = _RGB if card.input.channels == "RGB" else 0  # the schema has no word for BGR
    return _Table({0: _Int(color_space, 1), 1: size})


def _pack(table: _Table) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, table), _IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes a string, a vector of floats or tables, or a table, and returns its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, _Table):
        return _write_table(builder, value)
    return _write_vector(builder, value)


def _write_vector(builder: flatbuffers.Builder, values: Sequence[Any]) -> int:
    if values and isinstance(values[0], float):
        builder.StartVector(4, len(values), 4)
        for number in reversed(values):
            builder.PrependFloat32(number)
        return int(builder.EndVector())
    offsets = [_write(builder, value) for value in values]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _write_table(builder: flatbuffers.Builder, table: _Table) -> int:
    offsets = {
        field: _write(builder, value) for field, value in table.fields.items() if not isinstance(value, _Int)
    }  # children first: a flatbuffer cannot nest while a table is open
    builder.StartObject(max(table.fields, default=-1) + 1)
    for field, value in table.fields.items():
        if not isinstance(value, _Int):
            builder.PrependUOffsetTRelativeSlot(field, offsets[field], 0)
        elif value.bytes == 1:
            builder.PrependInt8Slot(field, value.value, 0)
        else:
            builder.PrependUint32Slot(field, value.value, 0)
    return int(builder.EndObject())
