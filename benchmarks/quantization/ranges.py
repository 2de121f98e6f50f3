"""Where an int8 .tflite cuts activations off: the range of each beside what the calibration images reached.

Usage: python benchmarks/quantization/ranges.py build/quantization/MODEL TOOL
Tensors are found by their names, so the tool must keep those of the float .tflite.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from edgekit import graph
from edgekit.errors import DataError, EdgekitError
from edgekit.graph import Graph, Quantization, Tensor
from edgekit.runtime import Array, Runner


@dataclass(frozen=True)
class Reach:
    """One activation: the largest value that its file can hold, and the largest of each image."""

    name: str
    kind: str
    limit: float
    largest: Array

    @property
    def share(self) -> float:
        """The limit as a part of what was reached; below 1 something is cut off."""
        return self.limit / float(self.largest.max())

    @property
    def cut(self) -> int:
        """How many images go beyond the limit by more than a step."""
        return int((self.largest > self.limit * (1 + 1 / 255)).sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line per activation, in graph order; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="what run.py left for one model")
    parser.add_argument("tool", help="one of its tools that writes a .tflite")
    options = parser.parse_args(arguments)
    try:
        model = _only_tflite(options.folder / options.tool)
        found = reaches((options.folder / "float.tflite").read_bytes(), model, _images(options.folder))
    except OSError as error:
        print(f"benchmarks/quantization/ranges.py: {error}; run run.py first", file=sys.stderr)
        return 3
    except EdgekitError as error:
        print(f"benchmarks/quantization/ranges.py: {error}", file=sys.stderr)
        return error.exit_code
    for line in lines(found):
        print(line)
    return 0


def reaches(float_model: bytes, quantized: bytes, images: Array) -> list[Reach]:
    """Every int8 activation of `quantized` that the float model has too; DataError if there is none."""
    plain, runner = graph.load(float_model), Runner(float_model, threads=2, keep_tensors=True)
    limits = dict(_limits(graph.load(quantized)))
    watched = [(index, kind, name) for index, kind, name in _outputs(plain) if name in limits]
    if not watched:
        raise DataError("the two files have no activation of the same name")
    largest = np.array([_largest(runner, image[np.newaxis], [index for index, *_ in watched]) for image in images])
    return [Reach(name, kind, limits[name], largest[:, n]) for n, (_index, kind, name) in enumerate(watched)]


def lines(found: Sequence[Reach]) -> Iterator[str]:
    """The table, and its sum in the last line."""
    yield "activation | operator | limit | reached | share | images cut off"
    for reach in found:
        reached = f"{reach.limit:.2f} | {reach.largest.max():.2f} | {reach.share:.2f}"
        yield f"{reach.name.split('/')[-2:][0]} | {reach.kind} | {reached} | {reach.cut} of {len(reach.largest)}"
    below = sum(reach.cut > 0 for reach in found)
    yield f"{below} of {len(found)} activations cut something off; median share {median(r.share for r in found):.2f}"


def _only_tflite(folder: Path) -> bytes:
    found = sorted(folder.glob("*.tflite"))
    if len(found) != 1:
        raise DataError(f"{folder} holds {len(found)} .tflite files; one was expected, as run.py leaves it")
    return found[0].read_bytes()


def _images(folder: Path) -> Array:
    images: Array = np.load(folder / "calibration.npy", mmap_mode="r")
    return images


def _largest(runner: Runner, image: Array, indices: Sequence[int]) -> list[float]:
    runner.run(image)
    return [float(runner.tensor(index).max()) for index in indices]


def _outputs(network: Graph) -> Iterator[tuple[int, str, str]]:
    for operator in network.operators:
        for index in operator.outputs:
            yield index, operator.kind, network.tensors[index].name


def _limits(network: Graph) -> Iterator[tuple[str, float]]:
    for index, _kind, name in _outputs(network):
        tensor = network.tensors[index]
        if tensor.dtype == "int8" and tensor.quantization is not None:
            yield name, _top(tensor, tensor.quantization)


def _top(tensor: Tensor, quantization: Quantization) -> float:
    return float((np.iinfo(tensor.dtype).max - quantization.zero_point[0]) * quantization.scale[0])


if __name__ == "__main__":
    sys.exit(main())
