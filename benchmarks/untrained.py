"""Sizes and instruction counts of networks without public weights, which hardly depend on what the weights are.

Usage: python benchmarks/untrained.py [--output build/untrained]
Exports each with random weights and counts it on both emulated cores. What is found goes to results/<core>/
untrained.jsonl and results/untrained.json; accuracy beside it can only be the published one. A second start goes on
where the first one stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from edgekit import artifact as artifacts
from edgekit import bench, devices, measurement, recipe, weights
from edgekit import export as exports
from edgekit.artifact import Artifact, atomic_write
from edgekit.devices.emulated import CORES, Emulated
from edgekit.errors import EdgekitError
from edgekit.measurement import Instructions, Session

HERE = Path(__file__).parent
RECIPE = "int8"
NETWORKS = (
    ("squeezenext_23_v5", 227),
    ("squeezenext_23", 227),
    ("mobilenet_v1_025", 224),
    ("mobilenet_v1_050", 224),
    ("mobilenet_v1_050", 192),
    ("mobilenet_v1_050", 128),
    ("mobilenet_v1_025", 192),
    ("mobilenet_v1_025", 160),
    ("mobilenet_v1_075", 128),
    ("mobilenet_v1_075", 160),
    ("mobilenet_v1_075", 224),
    ("squeezenext_23_g", 227),
    ("mobilenet_v1", 128),
    ("mobilenet_v1", 160),
    ("mobilenet_v1", 192),
    ("mobilenet_v1", 224),
    ("mobilenet_v2_035", 224),
    ("mobilenet_v2_050", 224),
    ("mobilenet_v2_075", 224),
    ("mobilenet_v3_small_minimalistic", 224),
    ("mobilenet_v3_small", 224),
    ("mobilenet_v3_large", 224),
    ("squeezenet_v1_0_simple_bypass", 227),
    ("squeezenext_23_w2", 227),
    ("squeezenext_23_v5_w2", 227),
)


class Untrained(msgspec.Struct, frozen=True):
    """A file with random weights: what of it would be the same with trained ones."""

    name: str
    model: str
    recipe: str
    input_size: int
    sha256: str
    size_bytes: int
    weights: str = exports.RANDOM


def main() -> int:
    """Exports and counts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("build/untrained"), help="where the artifacts go")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where the results are kept")
    options = parser.parse_args()
    try:
        for model, input_size in NETWORKS:
            _take(_exported(model, input_size, options.output), options.results)
    except EdgekitError as error:
        print(f"benchmarks/untrained.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _exported(model: str, input_size: int, folder: Path) -> Artifact:
    path = folder / f"{model}-{input_size}-{RECIPE}.tflite"
    if path.exists():
        return artifacts.read(path)
    spec = exports.find_model(model, None, input_size)
    trained = exports.prepare(spec, exports.RANDOM)
    samples = exports.load_samples(weights.image_folder(), trained.input)
    return exports.export(trained, recipe.find(RECIPE), folder, samples)


def _take(artifact: Artifact, results: Path) -> None:
    """Counts the file on every core where it has not been counted, and writes it into the list."""
    for core in CORES:
        place = devices.find(f"emulated:{core}")
        assert isinstance(place, Emulated)
        path = results / f"{core}-emulated" / "untrained.jsonl"
        if artifact.sha256 not in _counted(path):
            measurement.append(path, *place.count([artifact], Session(bench.find_protocol("quick"))))
    _list(artifact, results / "untrained.json")


def _counted(path: Path) -> set[str]:
    records = measurement.read([path]) if path.exists() else []
    return {record.artifact_sha256 for record in records if isinstance(record, Instructions)}


def _list(artifact: Artifact, path: Path) -> None:
    card = artifact.card
    assert card is not None
    known = msgspec.json.decode(path.read_bytes(), type=list[Untrained]) if path.exists() else []
    row = Untrained(
        artifact.name, card.model, card.recipe.name, card.input.height, artifact.sha256, artifact.size_bytes
    )
    rows = [*(entry for entry in known if entry.name != row.name), row]
    with atomic_write(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
