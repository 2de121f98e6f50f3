"""Made golden.ekz once; a later version that gives other bytes is no reason to make it again.

Run with a target to see what today's encoder makes of the same content.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgekit.compress import blocks, container
from edgekit.compress.blocks import KERNEL, Piece


def content() -> tuple[bytes, list[Piece]]:
    """A little of everything: structure, words, a tail, an int8 and a uint8 kernel, and a float one with a palette."""
    generator = np.random.default_rng(7)
    spread = np.geomspace(0.5, 9, 40)[:, None]
    plain = np.rint(generator.laplace(0, 1, (40, 72)) * spread).clip(-127, 127).astype(np.int8)
    shifted = (np.rint(generator.laplace(0, 3, (8, 30))).astype(np.int64) + 131).clip(0, 255).astype(np.uint8)
    palette = tuple(float(value) for value in np.linspace(-1, 1, 9, dtype=np.float32))
    shared = np.array(palette, "<f4")[generator.integers(0, 9, (6, 20))]
    words = np.repeat(np.float32([0.5, 0.25, 0.125]), 20)
    parts = [
        (b"TFL3, or near enough " * 3, Piece(0, 63)),
        (plain.tobytes(), Piece(KERNEL, plain.nbytes, 40)),
        (words.tobytes(), Piece(1, words.nbytes)),
        (shifted.tobytes(), Piece(KERNEL, shifted.nbytes, 8, 131)),
        (shared.tobytes(), Piece(KERNEL, shared.nbytes, 6, 4, palette)),
        (b"goldfinch\nhouse finch\nindigo bunting", Piece(2, 36)),
    ]
    return b"".join(part for part, _ in parts), [piece for _, piece in parts]


def main() -> None:
    """Writes the file that it is given."""
    made, pieces = content()
    coded, sections = blocks.encode(made, pieces)
    Path(sys.argv[1]).write_bytes(container.pack("tflite", made, [(len(made), coded)]))
    for section in sections:
        print(section)  # noqa: T201


if __name__ == "__main__":
    main()
