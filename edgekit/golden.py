"""The known answer that an artifact carries: a 16 x 16 miniature that fills the input, and the output it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.artifact import GOLDEN_SIZE, Golden
from edgekit.errors import FileFormatError
from edgekit.images import Preprocessor
from edgekit.runtime import Array, Runner
from edgekit.spec import InputSpec

_FLOAT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Verdict:
    """How a model's answer here compares with the one in the file."""

    passed: bool
    exact: bool
    largest_difference: float
    detail: str


def noise() -> Array:
    """A miniature for models that see no image on their way: seeded noise, (16, 16, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (GOLDEN_SIZE, GOLDEN_SIZE, 3), dtype=np.uint8)


def shrink(pixels: Array) -> Array:
    """The miniature of an RGB image: each of its 16 x 16 pixels is one of the image's, (16, 16, 3) uint8."""
    rows = (np.arange(GOLDEN_SIZE) * 2 + 1) * pixels.shape[0] // (2 * GOLDEN_SIZE)
    columns = (np.arange(GOLDEN_SIZE) * 2 + 1) * pixels.shape[1] // (2 * GOLDEN_SIZE)
    return np.ascontiguousarray(pixels[rows][:, columns])


def enlarge(miniature: Array, spec: InputSpec) -> Array:
    """(16, 16, 3) to (height, width, 3): row i shows row i * 16 // height."""
    rows = np.arange(spec.height) * GOLDEN_SIZE // spec.height
    columns = np.arange(spec.width) * GOLDEN_SIZE // spec.width
    enlarged: Array = miniature[rows][:, columns]
    return enlarged


def answer(model: bytes, spec: InputSpec, miniature: Array) -> bytes:
    """The output tensor's bytes for a miniature."""
    return _run(Runner(model), spec, miniature).tobytes()


def check(model: bytes, spec: InputSpec, golden: Golden) -> Verdict:
    """Runs the golden input and compares; integers may differ by one step, floats by 0.1 % of the largest value.

    FileFormatError if the stored vectors do not fit the model, DataError if the preprocessing does not.
    """
    runner = Runner(model)
    size_bytes = runner.output.dtype.itemsize * math.prod(runner.output.shape)
    if len(golden.pixels) != GOLDEN_SIZE**2 * 3 or len(golden.output) != size_bytes:
        raise FileFormatError("the golden input or output has another size than the model's; export it again")
    miniature = np.frombuffer(golden.pixels, np.uint8).reshape(GOLDEN_SIZE, GOLDEN_SIZE, 3)
    expected = np.frombuffer(golden.output, runner.output.dtype)
    found = _run(runner, spec, miniature).reshape(-1)
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    largest, exact = float(difference.max()), bool((found == expected).all())
    if found.dtype.kind == "f":
        passed = largest <= _FLOAT_TOLERANCE * float(np.abs(expected).max())
        return Verdict(passed, exact, largest, "bit-exact" if exact else f"largest difference {largest:.2g}")
    changed = int((found != expected).sum())
    detail = "bit-exact" if exact else f"{changed} of {expected.size} values differ, by {largest:.0f} steps at most"
    return Verdict(largest <= 1, exact, largest, detail)


def _run(runner: Runner, spec: InputSpec, miniature: Array) -> Array:
    return runner.run(Preprocessor(spec, runner.input)(enlarge(miniature, spec)))
