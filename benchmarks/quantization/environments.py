"""One virtual environment per tool, made on first use from pinned requirements."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import MissingError


def python_of(name: str, requirements: Sequence[str], folder: Path) -> Path:
    """The environment's interpreter; MissingError with pip's last line if the environment cannot be made."""
    place = folder / name
    python, stamp = place / "bin" / "python", place / "requirements.txt"
    content = "\n".join(requirements) + "\n"
    if not (stamp.exists() and stamp.read_text() == content):
        _run(name, sys.executable, "-m", "venv", "--clear", str(place))
        _run(name, str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
        stamp.write_text(content)
    return python


def _run(name: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise MissingError(f"cannot make the environment {name}: {last}")
