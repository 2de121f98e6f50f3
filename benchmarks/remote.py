"""What `edgekit bench --device ssh://...` costs besides the inferences, on an emulated board: set-up, start and links.

Usage: python benchmarks/remote.py [--models build/zoo/A.tflite ...] [--core cortex-a76] [--contacts 2]
Needs root, qemu and the root that emulated_pi/setup.sh makes. Writes results/remote.json. Exit code 1 if the first
contact with the empty board, or the median of the later ones, takes longer than it may.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import emulated_board
import msgspec
from emulated_board import EmulatedBoard

from edgekit import artifact, bench
from edgekit.artifact import Artifact, atomic_write
from edgekit.devices import wheels
from edgekit.devices.ssh import Ssh
from edgekit.measurement import Measurement, Session

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "remote.json"
ROOT = HERE.parent / "build" / "emulated_pi"
ZOO = HERE.parent / "build" / "zoo"
MODELS = ("squeezenet_v1_1-224-int8", "mobilenet_v1_050-160-int8", "mobilenet_v1_025-128-int8")
FIRST_S, LATER_S = 60.0, 15.0


class Contact(msgspec.Struct, frozen=True):
    """One session of all models; `inference_s`: warm-ups and timed inferences; `cpu_s`: the board's processors."""

    total_s: float
    inference_s: float
    cpu_s: float

    @property
    def rest_s(self) -> float:
        """What is left: links, starts of Python, loading, looking at the machine."""
        return self.total_s - self.inference_s


class Remote(msgspec.Struct, frozen=True):
    """The first contact with an empty board, and later ones."""

    models: tuple[str, ...]
    core: str
    protocol: str
    first: Contact
    later: tuple[Contact, ...]


def main() -> int:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, nargs="+", default=[ZOO / f"{name}.tflite" for name in MODELS])
    parser.add_argument("--core", default="cortex-a76")
    parser.add_argument("--contacts", type=int, default=2, help="how many after the first")
    options = parser.parse_args()
    wheels.fetch(wheels.target("aarch64", 64, (3, 11), "2.36"))  # the network's time is not the board's
    artifacts = [artifact.read(path) for path in options.models]
    with tempfile.TemporaryDirectory() as folder:
        found = contacts(artifacts, options.core, options.contacts, Path(folder))
    with atomic_write(RESULTS) as file:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    print("contact   total s  inference s  rest s  CPU s")
    for name, one in [("first", found.first), *(("later", one) for one in found.later)]:
        print(f"{name:8}  {one.total_s:7.1f}  {one.inference_s:11.1f}  {one.rest_s:6.1f}  {one.cpu_s:5.1f}")
    print(f"limits: first {FIRST_S:.0f} s in all, later {LATER_S:.0f} s besides inference")
    return 0 if found.first.total_s < FIRST_S and median(one.rest_s for one in found.later) < LATER_S else 1


def contacts(artifacts: Sequence[Artifact], core: str, later: int, folder: Path) -> Remote:
    """Quick sessions on a new board, whose ssh goes on the path of this process."""
    session = Session(bench.QUICK)
    with emulated_board.started(ROOT, folder, core) as board:
        os.environ["PATH"] = f"{board.bin}:{os.environ['PATH']}"
        first, *others = [_contact(board, artifacts, session) for _ in range(1 + later)]
    names = tuple(one.name for one in artifacts)
    return Remote(names, core, session.protocol.name, first, tuple(others))


def _contact(board: EmulatedBoard, artifacts: Sequence[Artifact], session: Session) -> Contact:
    began_s, busy_s = time.perf_counter(), _busy_s(board.server.pid)
    records = Ssh(board.where).run(artifacts, session)
    total_s = time.perf_counter() - began_s
    return Contact(total_s, sum(map(_inference_s, records)), _busy_s(board.server.pid) - busy_s)


def _inference_s(record: Measurement) -> float:
    return sum(record.latency_ns) / 1e9 + (record.warmup.seconds if record.warmup else 0.0)


def _busy_s(server: int) -> float:
    """Seconds that the board's server and all that it started have worked; they are no children that ended here."""
    ticks = 0
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = path.read_text().rpartition(")")[2].split()  # from the third field of proc(5) on
            parents[int(path.parent.name)] = int(words[1])
            spent[int(path.parent.name)] = sum(map(int, words[11:15]))  # own and waited for, user and system
    family = [server]
    for process in family:
        ticks += spent.get(process, 0)
        family += [child for child, parent in parents.items() if parent == process]
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
