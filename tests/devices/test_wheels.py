"""Which wheels a board gets: by what its programs are, not its kernel, and from pip as it is."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging import tags, utils

import edgekit
from edgekit.devices import wheels
from edgekit.devices.wheels import Target
from edgekit.errors import MissingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PI_5 = Target("aarch64", (3, 11), (2, 36))
PI_32 = Target("armv7l", (3, 11), (2, 36))
# As they are published (file names of the package index).
AARCH64 = [
    "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl",
    "numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
    "msgspec-0.22.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64.whl",
]
ARMV7L = ["tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl"]


@pytest.mark.parametrize(
    ("machine", "bits", "expected"),
    [("aarch64", 64, "aarch64"), ("aarch64", 32, "armv7l"), ("armv7l", 32, "armv7l"), ("x86_64", 64, "x86_64")],
)
def test_programs_decide_not_the_kernel(machine: str, bits: int, expected: str) -> None:
    assert wheels.target(machine, bits, (3, 11, 2), "2.36") == Target(expected, (3, 11), (2, 36))


@pytest.mark.parametrize(
    ("machine", "bits", "python", "glibc", "advice"),
    [
        ("armv6l", 32, (3, 11), "2.36", "32-bit programs on armv6l"),
        ("riscv64", 64, (3, 11), "2.39", "no TFLite runtime for that"),
        ("aarch64", 64, (3, 9), "2.31", "python3 is 3.9 and edgekit needs 3.10"),
        ("aarch64", 64, (3, 5), "2.24", "install a newer system"),
        ("aarch64", 64, (3, 12), "", "has no glibc"),
        ("aarch64", 32, (3, 13), "2.41", "install the 64-bit system"),
    ],
)
def test_a_board_that_cannot_be_helped_is_told_why(machine, bits, python, glibc, advice) -> None:
    with pytest.raises(MissingError, match=advice):
        wheels.target(machine, bits, python, glibc)


@pytest.mark.parametrize(("board", "files"), [(PI_5, AARCH64), (PI_32, ARMV7L)])
def test_published_wheels_run_on_the_platforms_that_are_asked_for(board: Target, files: list[str]) -> None:
    asked = set(wheels.platform_tags(board))
    for file in files:
        *_, found = utils.parse_wheel_filename(file)
        assert {tag.platform for tag in found} & asked


def test_an_old_glibc_gets_no_wheels_for_a_newer_one() -> None:
    old = wheels.platform_tags(Target("aarch64", (3, 11), (2, 26)))
    assert "manylinux_2_27_aarch64" not in old and "manylinux_2_26_aarch64" in old and "manylinux2014_aarch64" in old


def test_32_bit_boards_get_the_other_runtime_and_a_numpy_that_it_bears() -> None:
    assert wheels.modules(PI_32)[0] == "tflite_runtime"
    assert "numpy>=1.23.2,<2" in wheels.requirements(PI_32)
    assert wheels.modules(PI_5)[0] == "ai_edge_litert"


def test_the_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(edgekit.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert set(wheels.requirements(PI_5)) <= set(project["dependencies"])
    assert project["requires-python"] == f">={wheels.OLDEST_PYTHON[0]}.{wheels.OLDEST_PYTHON[1]}"


def test_edgekit_itself_is_a_wheel_that_pip_takes(tmp_path: Path) -> None:
    name, content = wheels.own_wheel()
    assert wheels.own_wheel()[1] == content  # the same for the same sources, so that it is sent once
    (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "t"]
    subprocess.run([*command, tmp_path / name], check=True, timeout=100)
    code = "import edgekit.board, edgekit.weights.store as s; print(edgekit.__file__, len(s.catalogue()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "t", capture_output=True, text=True, check=True,
        env=dict(os.environ, PYTHONPATH=""),
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path))
    assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) > 50


def test_wheels_are_known_by_their_hash(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"a")
    found = wheels.digests([tmp_path / "a.whl"])
    assert found == {hashlib.sha256(b"a").hexdigest(): tmp_path / "a.whl"}
    assert wheels.digests([]) == {}


def test_what_pip_cannot_fetch_is_said_and_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(MissingError, match=r"no wheels for aarch64 and Python 3.11 .*No matching distribution"):
        wheels.fetch(PI_5)
    assert not list((tmp_path / "edgekit" / "wheels").iterdir())


def test_this_interpreter_could_use_what_it_would_be_sent() -> None:
    glibc = os.confstr("CS_GNU_LIBC_VERSION") if hasattr(os, "confstr") else None
    if sys.platform != "linux" or not glibc:
        pytest.skip("only glibc systems have manylinux wheels")
    here = wheels.target(os.uname().machine, 64, sys.version_info[:2], glibc.split()[1])
    assert set(wheels.platform_tags(here)) <= {tag.platform for tag in tags.sys_tags()}
