"""The one file that travels: a .tflite with its card, labels and golden vector in a zip tail.

A stock TFLite runtime reads the flatbuffer at the front and never sees the tail; `unzip -l` sees only the tail.
Knows nothing of the flatbuffer itself: to this file a model is bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgekit.errors import ChecksumError, FileFormatError, OutputError
from edgekit.fidelity import Audit
from edgekit.recipe import Recipe
from edgekit.spec import InputSpec

CARD_SCHEMA = 1
CARD, LABELS, LABEL_IDS = "edgekit.json", "labels.txt", "label_ids.txt"
GOLDEN_PIXELS, GOLDEN_OUTPUT = "golden_pixels.bin", "golden_output.bin"
GOLDEN_SIZE = 16
PACKED_MARK = b"\x89EKZ\r\n\x1a\n"  # how an .ekz begins
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first day: the same input gives the same bytes
_CARD_ENTRY = re.compile(rb"PK\x03\x04.{26}" + re.escape(CARD.encode()), re.DOTALL)


class WeightsOrigin(msgspec.Struct, frozen=True):
    """Where the weights came from: `source` is a public address, a file name, or "random"."""

    source: str
    sha256: str | None = None


class Calibration(msgspec.Struct, frozen=True):
    """Which images set the activation ranges.

    `image_ids` holds the first 8 hexadecimal digits of each file's sha256, so that nobody judges the model on the
    images that shaped it; `source` is the folder's name.
    """

    image_ids: tuple[str, ...]
    source: str


class Card(msgspec.Struct, frozen=True):
    """What a reader must know to use the file and to trust it.

    `output` says what the first output means: "probabilities" (a softmax), "scores" (a sigmoid, so that several
    classes can be true) or "logits". `audit` holds an integer model against its float form, on images that did not
    calibrate it.
    """

    model: str
    family: str
    classes: int
    input: InputSpec
    recipe: Recipe
    weights: WeightsOrigin
    options: dict[str, bool | int | float | str] = {}
    calibration: Calibration | None = None
    tools: dict[str, str] = {}
    output: str = "probabilities"
    audit: Audit | None = None
    schema: int = CARD_SCHEMA


class Golden(msgspec.Struct, frozen=True):
    """A known answer.

    `pixels` is a 16 x 16 RGB uint8 image; each pixel is repeated to fill the input (row i of the input shows
    row i * 16 // height), then normalised by the InputSpec and quantized by the input tensor. `output` holds the
    output tensor's bytes, little-endian.
    """

    pixels: bytes
    output: bytes


class Artifact(msgspec.Struct, frozen=True):
    """A model on disk, as .tflite or as .ekz; everything but the first three fields is empty for foreign files.

    `sha256` and `size_bytes` are of the .tflite, also where the file holds its compressed form, of which
    `download_bytes` is the size.
    """

    path: Path
    sha256: str
    size_bytes: int
    card: Card | None = None
    labels: tuple[str, ...] = ()
    label_ids: tuple[str, ...] = ()
    golden: Golden | None = None
    download_bytes: int | None = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.name.removesuffix(".tflite").removesuffix(".ekz")


def read(path: Path) -> Artifact:
    """The artifact at `path`, with its card where it has one; the flatbuffer is only recognised, not parsed.

    Raises FileFormatError if there is no file, it is empty or it is no .tflite, or the card is newer or broken.
    """
    content = read_model(path)
    artifact = Artifact(path, hashlib.sha256(content).hexdigest(), len(content), download_bytes=_packed_bytes(path))
    members = _read_tail(path, content)
    if CARD not in members:
        return artifact
    golden = None
    if GOLDEN_PIXELS in members and GOLDEN_OUTPUT in members:
        golden = Golden(members[GOLDEN_PIXELS], members[GOLDEN_OUTPUT])
    return msgspec.structs.replace(
        artifact,
        card=_decode_card(path, members[CARD]),
        labels=_lines(path, members.get(LABELS, b"")),
        label_ids=_lines(path, members.get(LABEL_IDS, b"")),
        golden=golden,
    )


def check_content(artifact: Artifact, content: bytes) -> None:
    """Raises ChecksumError unless these are the bytes of the file that was read before."""
    found = hashlib.sha256(content).hexdigest()
    if found != artifact.sha256:
        raise ChecksumError(
            f"{artifact.path} changed while it was waiting: sha256 {found[:12]}, {artifact.sha256[:12]} was expected"
        )


def read_model(path: Path) -> bytes:
    """The model's bytes, once they are known to begin like a .tflite; those of an .ekz are unpacked and checked."""
    content = read_stored(path)
    if content[: len(PACKED_MARK)] == PACKED_MARK:
        from edgekit.compress import unpacking

        content = unpacking.unpack_bytes(content, str(path))
    if content[4:8] != b"TFL3":
        found = content[:8].hex(" ")
        raise FileFormatError(f"{path} is not a .tflite file: it begins with {found}, without the mark TFL3")
    return content


@contextlib.contextmanager
def plain_file(artifact: Artifact) -> Iterator[Path]:
    """The artifact as a .tflite on disk, for programs that read nothing else; gone afterwards where it was unpacked."""
    if artifact.download_bytes is None:
        yield artifact.path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{artifact.name}.tflite")
        path.write_bytes(read_model(artifact.path))
        yield path


def _packed_bytes(path: Path) -> int | None:
    """The size of a compressed file, None for others."""
    with path.open("rb") as file:
        packed = file.read(len(PACKED_MARK)) == PACKED_MARK
    return path.stat().st_size if packed else None


def read_stored(path: Path) -> bytes:
    """The file's bytes as they are stored, be it a .tflite or an .ekz."""
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        raise FileFormatError(f"{path} is a folder; a .tflite file was expected") from None
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
    if not content:
        raise FileFormatError(f"{path} is empty; a .tflite file was expected")
    return content


def write(
    path: Path,
    model: bytes,
    card: Card,
    labels: tuple[str, ...],
    label_ids: tuple[str, ...],
    golden: Golden | None,
    deflate: bool = True,
) -> Artifact:
    """Writes the model with its tail, whole or not at all, and reads it back.

    A tail that will be compressed once more is smaller then without `deflate`.
    """
    packed = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    members: list[tuple[str, bytes, int]] = [(CARD, msgspec.json.encode(card), packed)]
    if labels:  # stored: Android's metadata reader does not inflate
        members.append((LABELS, "\n".join(labels).encode(), zipfile.ZIP_STORED))
    if label_ids:
        members.append((LABEL_IDS, "\n".join(label_ids).encode(), packed))
    if golden:
        members.append((GOLDEN_PIXELS, golden.pixels, packed))
        members.append((GOLDEN_OUTPUT, golden.output, packed))
    stream = io.BytesIO(model)
    with zipfile.ZipFile(stream, "a") as tail:
        for name, content, compression in members:
            info = zipfile.ZipInfo(name, _EPOCH)
            tail.writestr(info, content, compression)
    with atomic_write(path) as file:
        file.write(stream.getvalue())
    return read(path)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at `path` complete, or not at all; OutputError says why not."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; nothing was left there") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_tail(path: Path, content: bytes) -> dict[str, bytes]:
    stream = io.BytesIO(content)
    if not zipfile.is_zipfile(stream):
        if _CARD_ENTRY.search(content):
            raise FileFormatError(f"{path} is truncated: it holds a card without the end of it; export it again")
        return {}
    try:
        with zipfile.ZipFile(stream) as tail:
            return {info.filename: tail.read(info) for info in tail.infolist() if info.file_size < 1 << 24}
    except Exception as error:  # zipfile raises many kinds, struct.error and zlib.error among them
        raise FileFormatError(f"{path}: the zip tail with the card is damaged ({error}); export it again") from None


def _decode_card(path: Path, content: bytes) -> Card:
    try:
        schema = msgspec.json.decode(content).get("schema")
        if isinstance(schema, int) and schema > CARD_SCHEMA:
            raise FileFormatError(
                f"{path}: card schema {schema} is newer than {CARD_SCHEMA}; update edgekit to read it"
            )
        return msgspec.json.decode(content, type=Card)
    except (msgspec.DecodeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path}: the card cannot be read ({error}); export the model again") from None


def _lines(path: Path, content: bytes) -> tuple[str, ...]:
    try:
        return tuple(content.decode().split("\n")) if content else ()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: the labels cannot be read ({error}); export the model again") from None
