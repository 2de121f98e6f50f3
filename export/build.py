"""Builds every artifact of zoo.toml, judges it against its float model, and writes manifest.json.

Usage: python export/build.py [--output build/zoo] [--only MODEL]
What was observed, image by image, goes to benchmarks/results/quality.jsonl; the manifest has the figures.
Fails with exit code 10 at the first artifact beyond its limits; what was built before stays.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from edgekit import compare, dataset, evaluate, images, measurement, recipe, weights
from edgekit import export as exports
from edgekit.artifact import Artifact, atomic_write
from edgekit.errors import EdgekitError, QualityError
from edgekit.evaluate import Subject
from edgekit.measurement import Quality

HERE = Path(__file__).parent
MANIFEST = HERE / "manifest.json"
QUALITY = HERE.parent / "benchmarks" / "results" / "quality.jsonl"


class Entry(msgspec.Struct, frozen=True):
    """One published artifact; percentages with their number of images, `kl_nats` per image.

    `download_bytes` is what travels: the file by DEFLATE at its best, as HTTP and Android's packages have it.
    """

    name: str
    model: str
    recipe: str
    input_size: int
    sha256: str
    size_bytes: int
    download_bytes: int
    weights: str
    images: int
    top1: float
    top5: float
    agreement: float
    kl_nats: float
    tools: dict[str, str]


def main() -> int:
    """Runs the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("build/zoo"), help="where the artifacts go")
    parser.add_argument("--only", metavar="MODEL", help="build this model alone; the manifest keeps the others")
    arguments = parser.parse_args()
    try:
        _build(arguments.output, arguments.only)
    except EdgekitError as error:
        print(f"export/build.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _build(output: Path, only: str | None) -> None:
    zoo = _toml(HERE / "zoo.toml")
    entries = {entry.name: entry for entry in _read_manifest()} if only else {}
    qualities = {record.artifact_name: record for record in _read_qualities()} if only else {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for row in zoo["models"]:
            if only not in (None, row["name"]):
                continue
            for artifact, quality in _build_model(row, zoo["recipes"], output, progress):
                entries[artifact.name] = _entry(artifact, quality)
                qualities[artifact.name] = quality
    content = msgspec.json.format(msgspec.json.encode(list(entries.values())), indent=2)
    with atomic_write(MANIFEST) as file:
        file.write(content + b"\n")
    with atomic_write(QUALITY) as file:
        file.writelines(msgspec.json.encode(quality) + b"\n" for quality in qualities.values())


def _build_model(
    row: dict[str, Any], limits: dict[str, Any], output: Path, progress: Progress
) -> list[tuple[Artifact, Quality]]:
    spec = exports.find_model(row["name"])
    task = progress.add_task(spec.name, total=None)

    def report(stage: str, done: int, of: int) -> None:
        progress.update(task, description=f"{spec.name}: {stage}", completed=done, total=of)

    trained = exports.prepare(spec, progress=report)
    folder = weights.image_folder()
    samples = exports.load_samples(folder, trained.input, progress=report)
    made = [exports.export(trained, recipe.find(name), output, samples, report) for name in row["recipes"]]
    unseen = images.without(images.list_images(folder), samples.record.image_ids)
    judged = []
    for artifact in made:
        quality = _judge(artifact, made[0], unseen, limits, lambda done, of: report("judge", done, of))
        judged.append((artifact, quality))
    return judged


def _judge(
    artifact: Artifact, reference: Artifact, paths: Sequence[Path], limits: dict[str, Any], report: Any
) -> Quality:
    """The artifact beside its float model on the same images; QualityError beyond the recipe's limits."""
    card, float_card = artifact.card, reference.card
    assert card is not None and float_card is not None
    truths = dataset.truths(paths, dataset.ClassNames(card.classes, artifact.label_ids, artifact.labels))
    subject, float_subject = Subject(artifact, card.input), Subject(reference, float_card.input)
    own, floats = evaluate.evaluate(subject, paths, truths, float_subject, progress=report)
    entry = _entry(artifact, own)
    limit, float_top1 = limits[card.recipe.name], compare.top_k(floats.rank, 1)
    assert float_top1 is not None
    drop = 100 * float_top1.value - entry.top1
    if drop > limit["max_top1_drop"] or entry.agreement < limit["min_agreement"]:
        found = f"top-1 {entry.top1:.2f} % ({drop:+.2f} points lost), agreement {entry.agreement:.2f} %"
        raise QualityError(f"{artifact.name}: {found}; the limits are {limit}")
    return own


def _entry(artifact: Artifact, quality: Quality) -> Entry:
    row = compare.compare([quality]).rows[0]
    card = artifact.card
    assert card and row.top1 and row.top5 and row.agreement and row.kl_nats is not None
    return Entry(
        name=artifact.name,
        model=card.model,
        recipe=card.recipe.name,
        input_size=card.input.height,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        download_bytes=len(zlib.compress(artifact.path.read_bytes(), 9)),
        weights=card.weights.source,
        images=quality.images,
        top1=round(100 * row.top1.value, 2),
        top5=round(100 * row.top5.value, 2),
        agreement=round(100 * row.agreement.value, 2),
        kl_nats=round(row.kl_nats, 5),
        tools=card.tools,
    )


def _read_manifest() -> list[Entry]:
    return msgspec.json.decode(MANIFEST.read_bytes(), type=list[Entry]) if MANIFEST.exists() else []


def _read_qualities() -> list[Quality]:
    records = measurement.read([QUALITY]) if QUALITY.exists() else []
    return [record for record in records if isinstance(record, Quality)]


def _toml(path: Path) -> dict[str, Any]:
    return msgspec.toml.decode(path.read_bytes())  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
