"""Counts the weights of SqueezeNet v1.0 that pruning left, layer by layer, for the report's first table.

Usage: python benchmarks/layers.py
Reads the authors' own file from the asset store and writes results/layers.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np

from edgekit import weights
from edgekit.artifact import atomic_write
from edgekit.errors import EdgekitError
from edgekit.weights import LayerWeights

OUTPUT = Path(__file__).parent / "results" / "layers.json"
ASSET = "weights/compressed_SqueezeNet.net"


class Module(msgspec.Struct, frozen=True):
    """A layer of the paper's table: all parameters, and those that are not zero."""

    name: str
    parameters: int
    left: int


def main() -> int:
    """Writes the counts; the exit code."""
    try:
        found = weights.read(weights.asset(ASSET))
    except EdgekitError as error:
        print(f"benchmarks/layers.py: {error}", file=sys.stderr)
        return error.exit_code
    modules: dict[str, list[LayerWeights]] = {}
    for layer in found.layers:
        modules.setdefault(layer.name.partition("_")[0], []).append(layer)
    rows = [_module(name, layers) for name, layers in modules.items()]
    content = {"file": ASSET, "sha256": found.sha256, "layers": rows}
    with atomic_write(OUTPUT) as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    return 0


def _module(name: str, layers: list[LayerWeights]) -> Module:
    arrays = [array for layer in layers for array in layer.arrays.values()]
    return Module(name, sum(array.size for array in arrays), sum(int(np.count_nonzero(array)) for array in arrays))


if __name__ == "__main__":
    sys.exit(main())
