"""Counts the instructions of one inference on emulated Arm cores; a count, never a time: no caches, no pipeline.

Usage: python benchmarks/instructions.py FILE.tflite... [--root build/emulated_pi]
The first call makes the emulated root (one minute, 0.8 GB, Debian's apt on x86-64). Results go to
results/instructions.json, one entry per file and core; an entry for the same file and core is replaced.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import msgspec
from rich.progress import track

from edgekit import artifact
from edgekit.artifact import atomic_write
from edgekit.errors import EdgekitError, MissingError

HERE = Path(__file__).parent
SCRIPTS = HERE / "emulated_pi"
RESULTS = HERE / "results" / "instructions.json"
CORES = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}


class Count(msgspec.Struct, frozen=True):
    """Guest instructions of one inference on one thread, and how many of them are SIMD and dot products."""

    artifact_name: str
    artifact_sha256: str
    core: str
    instructions: int
    simd: int
    dot_products: int


def main() -> int:
    """Counts every file on every core; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.tflite")
    parser.add_argument("--root", type=Path, default=Path("build/emulated_pi"), help="where the emulated root lies")
    arguments = parser.parse_args()
    try:
        set_up(arguments.root)
        pairs = [(path, core) for path in arguments.files for core in CORES]
        counts = [count(arguments.root, path, core) for path, core in track(pairs, "counting")]
    except EdgekitError as error:
        print(f"benchmarks/instructions.py: {error}", file=sys.stderr)
        return error.exit_code
    _store(counts)
    for found in counts:
        millions = f"{found.instructions / 1e6:.2f} M instructions, {found.dot_products / 1e6:.2f} M dot products"
        print(f"{found.artifact_name} on {found.core}: {millions}")
    return 0


def set_up(root: Path) -> None:
    """Makes the emulated root where it is missing; MissingError with the script's last line if that fails."""
    if (root / "insn_count.so").exists():
        return
    made = subprocess.run(["bash", str(SCRIPTS / "setup.sh"), str(root)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise MissingError(f"cannot set up the emulated Arm root in {root}: {_last_line(made.stderr)}")


def count(root: Path, model: Path, core: str) -> Count:
    """Instructions of the second inference; FileFormatError for no .tflite, MissingError if the emulator fails."""
    found = artifact.read(model)
    command = ["bash", str(SCRIPTS / "count.sh"), str(root), core, str(model)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    numbers = re.search(r"mark 1 insns (\d+) simd (\d+) dot (\d+)", run.stdout)
    if numbers is None:
        raise MissingError(f"no count for {model} on {core}: {_last_line(run.stderr)}")
    instructions, simd, dot = map(int, numbers.groups())
    return Count(found.name, found.sha256, core, instructions, simd, dot)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _store(counts: list[Count]) -> None:
    known = msgspec.json.decode(RESULTS.read_bytes(), type=list[Count]) if RESULTS.exists() else []
    merged = {(entry.artifact_name, entry.core): entry for entry in [*known, *counts]}
    content = msgspec.json.encode([merged[key] for key in sorted(merged)])
    with atomic_write(RESULTS) as file:
        file.write(msgspec.json.format(content, indent=2) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
