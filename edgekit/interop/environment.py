"""The environment in which onnx2tf lives: made once, in edgekit's cache, from pinned packages, and removed by command.

onnx2tf pins every package that it uses to versions of its own, TensorFlow among them, so it shares none with edgekit.
Once made it needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from edgekit.errors import MissingError, OutputError

Progress = Callable[[str, int, int], None]  # (stage, done, of)
NAME, PINS = "onnx2tf", "onnx2tf.txt"
PYTHONS = ((3, 11), (3, 10))  # those that its pins exist for
_STAMP, _LOCK = "ready", "onnx2tf.lock"
_STEPS = re.compile(r"(Collecting|Installing collected packages)")


def home() -> Path:
    """The folder that holds the environments."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgekit")) / "interop"


def place() -> Path:
    """Where the environment of this edgekit's pins is, or would be."""
    return home() / f"{NAME}-{hashlib.sha256(_pins().encode()).hexdigest()[:12]}"


def is_ready() -> bool:
    """Whether it is there, complete."""
    return (place() / _STAMP).is_file()


def python(progress: Progress) -> Path:
    """The environment's interpreter; it is set up first if need be, which takes minutes and a network.

    MissingError if there is no Python that its packages exist for, or pip could not install them; OutputError if the
    cache cannot be written.
    """
    folder = place()
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not is_ready():
        with _alone():
            if not is_ready():
                _make(folder, interpreter, progress)
    return interpreter


def remove() -> list[Path]:
    """Deletes every environment, of older pins too; returns what was there."""
    found = sorted(path for path in home().glob(f"{NAME}-*") if path.is_dir())
    try:
        for path in found:
            shutil.rmtree(path)
    except OSError as error:
        raise OutputError(f"cannot remove {error.filename}: {error.strerror or error}") from error
    return found


def size_bytes(folder: Path) -> int:
    """What a folder holds."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _pins() -> str:
    return resources.files("edgekit.interop").joinpath(PINS).read_text("utf-8")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two processes do not make it at once; the lock ends with its process."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        file = (home() / _LOCK).open("a")
    except OSError as error:
        raise OutputError(f"cannot write {home()}: {error.strerror or error}") from error
    with file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, interpreter: Path, progress: Progress) -> None:
    """An environment that is complete, or none: without its stamp it is made anew."""
    base = _base_python()
    pins = folder / PINS
    try:
        progress("set up onnx2tf", 0, 1)
        _run([base, "-m", "venv", "--clear", str(folder)])
        pins.write_text(_pins(), "utf-8")
        arguments = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input", "--progress-bar=off"]
        command = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", *arguments, "-r", str(pins)]
        _install(command, progress)
        (folder / _STAMP).write_text("")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _base_python() -> str:
    """This Python if the pinned packages exist for it, else one of those versions from the path."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    found = next((path for major, minor in PYTHONS if (path := shutil.which(f"python{major}.{minor}"))), None)
    if found is None:
        raise MissingError(
            "ONNX is converted by onnx2tf in an environment of its own, whose packages exist for Python 3.10 and 3.11; "
            f"this is {sys.version_info[0]}.{sys.version_info[1]} and neither is on the path: install python3.11 "
            "beside it"
        )
    return found


def _install(command: list[str], progress: Progress) -> None:
    """Runs pip and counts what it collects."""
    of = len(re.findall(r"^[a-z].*==", _pins(), re.MULTILINE))
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if step := _STEPS.match(line):
                    collected = sum(other.startswith("Collecting") for other in lines)
                    what = "download" if step[1] == "Collecting" else "install"
                    progress(f"set up onnx2tf, {what}", min(collected, of), of)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise MissingError(_failure(lines))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(_failure([*done.stdout.splitlines(), *done.stderr.splitlines()]))


def _failure(lines: list[str]) -> str:
    errors = [line for line in lines if line.lower().startswith("error")] or [line for line in lines if line]
    reason = errors[-1] if errors else "no message"
    if any("NewConnectionError" in line or "Max retries" in line or "Temporary failure" in line for line in lines):
        reason = "the package index cannot be reached"
    return f"cannot set up the environment for ONNX: {reason}; it takes a network once, and nothing was left behind"
