"""What the devices' tests share: an ssh that stays on this machine, and a real one to an emulated board."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import emulated_board
from benchmarks.emulated_board import EmulatedBoard


@dataclass
class NearBoard:
    """This machine in the place of a board: `ssh` on the path runs the command here, with a home of its own.

    `before` is shell text that the stand-in runs first; everything behind ssh is the real thing.
    """

    folder: Path
    home: Path

    def before(self, text: str) -> None:
        (self.folder / "before").write_text(text + "\n")

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "edgekit"


@pytest.fixture
def near_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NearBoard:
    folder, home = tmp_path / "bin", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "before").write_text("")
    # the last word is the command, as for ssh itself
    (folder / "ssh").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >"{folder}/asked"\nfor word; do last=$word; done\nexport HOME="{home}"\n'
        f'PATH="{folder}:$PATH"\n. "{folder}/before"\nexec sh -c "$last"\n'
    )
    (folder / "ssh").chmod(0o755)
    # a script, for a link to python in a virtual environment would not find the packages of that
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return NearBoard(folder, home)


@pytest.fixture(scope="module")
def start_board(emulation: Path, tmp_path_factory) -> Iterator[Callable[..., EmulatedBoard]]:
    """`start_board(core="cortex-a72", size="1g")`: a board with an empty home of that size."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH client; install openssh-client")
    with contextlib.ExitStack() as boards:

        def start(core: str = "cortex-a72", size: str = "1g") -> EmulatedBoard:
            return boards.enter_context(emulated_board.started(emulation, tmp_path_factory.mktemp("board"), core, size))

        yield start
