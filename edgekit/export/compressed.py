"""From a float model to an .ekz: its weights chosen for few bytes, audited like any export, packed, and proved."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import multiprocessing
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

import edgekit
from edgekit import artifact as artifacts
from edgekit import dataset, isolate
from edgekit.artifact import Artifact
from edgekit.compress import codecs, packing, shrink, unpacking
from edgekit.compress.blocks import Section
from edgekit.compress.container import SUFFIX
from edgekit.compress.memory import Memory
from edgekit.compress.shrink import Attempt, Judges, LayerCost, Shrunk, Wish
from edgekit.errors import DataError, QualityError, UsageError
from edgekit.export.calibration import Samples
from edgekit.export.trained import Progress, Trained, ignore, unexpected
from edgekit.quantize import Quantized
from edgekit.recipe import Recipe
from edgekit.weights import deep_compression

_SILENT_SECONDS = 3600.0
_AUDIT_BYTES = 2600  # what the audit adds to a card, about, until it is known


@dataclass(frozen=True)
class Compressed:
    """An .ekz on disk and what it stands for: `int8_bytes` is the .tflite that it unpacks to.

    `others` are sizes of that .tflite by common compressors, None where one is not installed; `layers` and `attempts`
    are empty where a finished .tflite was only packed.
    """

    artifact: Artifact
    download_bytes: int
    float_bytes: int | None
    int8_bytes: int
    sections: tuple[Section, ...]
    others: dict[str, int | None]
    attempts: tuple[Attempt, ...] = ()
    layers: tuple[LayerCost, ...] = ()


def pack_file(source: Path, target: Path) -> Compressed:
    """Packs a .tflite or a Deep Compression .net as it is: the same file comes out of the .ekz, to the last byte."""
    content = artifacts.read_stored(source)
    net = deep_compression.known_layers(content) is not None
    if not net:
        content = artifacts.read_model(source)
    packed = packing.pack(content, "net" if net else "tflite")
    return _written(packed, content, target, None)


def compress(
    trained: Trained,
    recipe: Recipe,
    target: Path,
    samples: Samples,
    wish: Wish,
    least_agreement: float,
    finish: Callable[[Quantized, Path], Artifact],
    progress: Progress = ignore,
    cache: Path | None = None,
) -> Compressed:
    """Chooses weights, and writes `target` whole or not at all.

    `finish` audits a quantized model and writes it as an artifact. UsageError for a recipe that is not int8
    throughout; QualityError where the wish cannot be met. A run that was killed goes on from `cache`.
    """
    if recipe.weights != "int8" or recipe.activations != "int8":
        raise UsageError(f"the recipe {recipe.name} has no int8 grid; compress with int8, int8_full or int8_float_io")
    given = [trained.tflite, msgspec.json.encode((recipe, trained.input, edgekit.__version__))]
    memory = Memory(cache, given, samples.inputs)
    judges = Judges(samples.unseen or samples.inputs, _truths(trained, samples) if samples.unseen else ())
    work = functools.partial(
        shrink.shrink,
        trained.tflite,
        recipe,
        samples.inputs,
        judges,
        trained.input,
        wish,
        memory,
        _tail_bytes(trained),
        least_agreement,
    )
    found = _apart(trained, work, progress)
    with tempfile.TemporaryDirectory() as folder:
        made = finish(found.quantized, Path(folder, f"{target.name.removesuffix(SUFFIX)}.tflite"))
        content = made.path.read_bytes()
    progress("pack", 0, 1)
    packed = packing.pack(content)
    if wish.target_bytes is not None and len(packed.content) > wish.target_bytes:
        raise QualityError(
            f"{target} would have {len(packed.content)} bytes, and {wish.target_bytes} are asked for; ask for a little "
            "less"
        )
    written = _written(packed, content, target, len(trained.tflite))
    memory.forget()
    return Compressed(
        written.artifact,
        written.download_bytes,
        written.float_bytes,
        written.int8_bytes,
        written.sections,
        written.others,
        found.attempts,
        found.layers,
    )


def _written(packed: packing.Packed, content: bytes, target: Path, float_bytes: int | None) -> Compressed:
    """The file, once it has been unpacked again and was found to be the same."""
    back = b"".join(unpacking.unpack(io.BytesIO(packed.content), str(target)))
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()
    with artifacts.atomic_write(target) as file:
        file.write(packed.content)
    made = Artifact(target, hashlib.sha256(content).hexdigest(), len(content), download_bytes=len(packed.content))
    return Compressed(
        made if content[4:8] != b"TFL3" else artifacts.read(target),
        len(packed.content),
        float_bytes,
        len(content),
        packed.sections,
        packing.by_others(content),
    )


def _truths(trained: Trained, samples: Samples) -> list[int | None]:
    """The judging images' classes, as far as their names tell."""
    names = dataset.ClassNames(trained.card.classes, trained.label_ids, trained.labels)
    try:
        return dataset.truths(samples.unseen_paths, names)
    except DataError:
        return []


def _tail_bytes(trained: Trained) -> int:
    """What labels, ids, card and golden vector will take in the file, about."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as tail:
        tail.writestr(artifacts.CARD, msgspec.json.encode(trained.card))
        tail.writestr(artifacts.LABELS, "\n".join(trained.labels))
        tail.writestr(artifacts.LABEL_IDS, "\n".join(trained.label_ids))
    golden = artifacts.GOLDEN_SIZE**2 * 3 + min(trained.card.classes, 4096)
    return len(codecs.smallest(stream.getvalue())[1]) + golden + _AUDIT_BYTES


def _apart(trained: Trained, work: Callable[[Progress], Shrunk], progress: Progress) -> Shrunk:
    """In a child process where the model came as a file of unknown origin."""
    if trained.source is None:
        return work(progress)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with unexpected(trained.source), receiver:
        pending = isolate.start(str(trained.source), _SILENT_SECONDS, _report, sender, work)
        sender.close()
        with contextlib.suppress(EOFError):
            while receiver.poll(_SILENT_SECONDS):
                progress(*receiver.recv())
        return pending()


def _report(sender: Connection, work: Callable[[Progress], Shrunk]) -> Shrunk:
    """Runs in a child process, and reports from there."""
    with sender:
        return work(lambda *done: sender.send(done))
