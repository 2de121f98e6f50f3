"""Which wheels a board needs, and how this machine comes by them; knows no link and no board's address."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

import edgekit
from edgekit.artifact import atomic_write
from edgekit.errors import MissingError

OLDEST_PYTHON = (3, 10)
NEWEST_TFLITE_RUNTIME = (3, 11)  # the last release, 2.14.0, has no wheels for a later Python
PIP_TIMEOUT_S = 600
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OLDEST_GLIBC_MINOR = 17


@dataclass(frozen=True)
class Target:
    """What decides about wheels: `arch` is that of the programs, not of the kernel; `glibc` is (2, minor)."""

    arch: str
    python: tuple[int, int]
    glibc: tuple[int, int]


def target(machine: str, bits: int, python: Sequence[int], glibc: str) -> Target:
    """The target of what a board says of itself.

    A Raspberry Pi with a 64-bit kernel may run 32-bit programs, hence `bits`. MissingError where no runtime exists.
    """
    arch = _arch(machine, bits)
    version = (python[0], python[1])
    if version < OLDEST_PYTHON:
        raise MissingError(
            f"the board's python3 is {version[0]}.{version[1]} and edgekit needs 3.10 or later; install a newer system"
            " (Raspberry Pi OS 12 has Python 3.11)"
        )
    if not glibc:
        raise MissingError("the board's system has no glibc (Alpine, say), and there is no TFLite runtime for others")
    if arch == "armv7l" and version > NEWEST_TFLITE_RUNTIME:
        raise MissingError(
            f"the board runs 32-bit programs with Python {version[0]}.{version[1]}, and the last 32-bit runtime is for"
            " 3.11; install the 64-bit system"
        )
    major, minor = glibc.split(".")[:2]
    return Target(arch, version, (int(major), int(minor)))


def _arch(machine: str, bits: int) -> str:
    if machine in ("aarch64", "arm64") and bits == 64:
        return "aarch64"
    if machine in ("aarch64", "arm64", "armv8l", "armv7l") and bits == 32:
        return "armv7l"
    if machine == "x86_64" and bits == 64:
        return "x86_64"
    raise MissingError(
        f"the board runs {bits}-bit programs on {machine}, and there is no TFLite runtime for that; there are some for"
        " aarch64, armv7l and x86_64"
    )


def requirements(board: Target) -> list[str]:
    """What edgekit needs to measure there, as pip has it; the rest of its requirements is for the command line."""
    if board.arch == "armv7l":
        return ["tflite-runtime>=2.14", "numpy>=1.23.2,<2", "msgspec>=0.19", "flatbuffers>=24.3"]
    return ["ai-edge-litert>=2.1", "numpy>=1.23.2", "msgspec>=0.19", "flatbuffers>=24.3"]


def modules(board: Target) -> list[str]:
    """What `requirements` are imported as."""
    return [text.split(">")[0].replace("-", "_") for text in requirements(board)]


def every_module() -> list[str]:
    """The modules of all kinds of boards, to ask for before the kind is known."""
    kinds = [Target(arch, OLDEST_PYTHON, (2, 36)) for arch in ("aarch64", "armv7l")]
    return sorted({name for kind in kinds for name in modules(kind)})


def platform_tags(board: Target) -> list[str]:
    """The platforms of wheels that run there, the newest first (PEP 600: any glibc up to the board's)."""
    minors = range(board.glibc[1], _OLDEST_GLIBC_MINOR - 1, -1)
    tags = [f"manylinux_{board.glibc[0]}_{minor}_{board.arch}" for minor in minors]
    return [*tags, f"manylinux2014_{board.arch}", f"linux_{board.arch}"]


def fetch(board: Target) -> list[Path]:
    """The wheels for that board, from this machine's store or else by pip; MissingError says what pip said.

    What is in the store was fetched whole: pip fills a folder beside it first.
    """
    folder = platformdirs.user_cache_path("edgekit") / "wheels" / _key(board)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            _download(board, partial)
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have been quicker
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return sorted(folder.glob("*.whl"))


def _download(board: Target, folder: Path) -> None:
    python = "".join(map(str, board.python))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--dest", str(folder)]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += [part for abi in (f"cp{python}", "abi3", "none") for part in ("--abi", abi)]
    command += [part for tag in platform_tags(board) for part in ("--platform", tag)]
    try:
        done = subprocess.run(
            [*command, *requirements(board)], capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"pip did not fetch the board's wheels within {PIP_TIMEOUT_S} s") from None
    if done.returncode:
        wanted = ", ".join(requirements(board))
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise MissingError(
            f"no wheels for {board.arch} and Python {board.python[0]}.{board.python[1]} ({wanted}): {said}"
        )


def _key(board: Target) -> str:
    """Names a set of wheels; another month's newer releases are fetched only if the requirements change."""
    words = [*map(str, (board.arch, board.python, board.glibc)), *requirements(board)]
    return (
        f"{board.arch}-cp{board.python[0]}{board.python[1]}-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"
    )


def own_wheel() -> tuple[str, bytes]:
    """edgekit itself, as it is imported here: the file name and bytes of a wheel, the same for the same sources."""
    package = Path(edgekit.__file__).parent
    sources = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".json") and path.is_file())
    members = {f"edgekit/{path.relative_to(package).as_posix()}": path.read_bytes() for path in sources}
    info = f"edgekit-{edgekit.__version__}.dist-info"
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: edgekit\nVersion: {edgekit.__version__}\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    records = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,", ""]).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in members.items():
            wheel.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return f"edgekit-{edgekit.__version__}-py3-none-any.whl", stream.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def digests(wheels: Sequence[Path]) -> dict[str, Path]:
    """The wheels by their sha256; digests are remembered beside the wheels, which never change."""
    if not wheels:
        return {}
    note = wheels[0].parent / "sha256.json"
    if not note.exists():
        found = {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
        with atomic_write(note) as file:
            file.write(json.dumps(found).encode())
    known = json.loads(note.read_bytes())
    return {known[wheel.name]: wheel for wheel in wheels}
