"""What `pip install edgekit` costs a board: seconds, and bytes package by package, in a fresh environment.

Usage: python benchmarks/base_install.py [--python python3.11]
The wheel is built from this checkout. Packages come through pip as it is set up here, downloaded once and then
installed twice, so that the second time has no network in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def main() -> int:
    """Builds, installs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that a board has")
    with tempfile.TemporaryDirectory() as folder:
        report(parser.parse_args().python, Path(folder))
    return 0


def report(python: str, folder: Path) -> None:
    """Prints one line for each package, largest first, and the sum and the times."""
    wheel = build(folder)
    download_s = timed([python, "-m", "pip", "download", "--quiet", "--dest", str(folder / "wheels"), str(wheel)])
    install_s = install(python, folder, wheel)
    sizes = packages(folder / "environment")
    print(f"{'package':24}  MB")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{name:24} {size / 1e6:5.1f}")
    fetched = sum(path.stat().st_size for path in (folder / "wheels").iterdir())
    print(f"in all {sum(sizes.values()) / 1e6:.1f} MB on disk with byte code, {fetched / 1e6:.1f} MB to download")
    print(f"download {download_s:.1f} s (this network), installation {install_s:.1f} s (this machine)")


def build(folder: Path) -> Path:
    """edgekit's wheel."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "built"), str(PROJECT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next((folder / "built").glob("*.whl"))


def install(python: str, folder: Path, wheel: Path) -> float:
    """Seconds from an empty environment to a working command, without the network; the environment itself left out."""
    subprocess.run([python, "-m", "venv", str(folder / "environment")], check=True)
    pip = [str(folder / "environment" / "bin" / "pip"), "install", "--quiet", "--no-index"]
    seconds = timed([*pip, "--find-links", str(folder / "wheels"), str(wheel)])
    subprocess.run([str(folder / "environment" / "bin" / "edgekit"), "--version"], check=True)
    return seconds


def packages(environment: Path) -> dict[str, int]:
    """Bytes of every top-level folder of site-packages, but for pip and what came with it."""
    (site,) = environment.glob("lib/python3*/site-packages")
    found = {
        path.name: size(path)
        for path in site.iterdir()
        if not path.name.startswith(("pip", "setuptools", "pkg_resources"))
    }
    small = sum(bytes_ for bytes_ in found.values() if bytes_ < 500_000)
    return {name: bytes_ for name, bytes_ in found.items() if bytes_ >= 500_000} | {"others": small}


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def timed(command: list[str]) -> float:
    """Runs it; seconds."""
    began_s = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    sys.exit(main())
