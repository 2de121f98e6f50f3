"""An Arm core under qemu that runs the real aarch64 runtime: instructions and outputs, never milliseconds.

No caches and no pipeline are emulated, so nothing of a real board's time or energy can be read off here; what is
counted repeats to the instruction. Needs x86-64 Linux and root, for the namespace in which the core is announced.
"""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import platformdirs

import edgekit
from edgekit import artifact as artifacts
from edgekit import graph, isolate, runtime
from edgekit.artifact import Artifact
from edgekit.bench import Progress
from edgekit.errors import FileFormatError, MissingError, ModelCrashError, UnknownNameError, UsageError, last_line
from edgekit.measurement import Fingerprint, Instructions, OperatorCount, Session, utc_now

CORES = {"cortex-a72": "Cortex-A72", "cortex-a76": "Cortex-A76"}  # Raspberry Pi 4 without, 5 with dot products
OPERATORS = "+operators"
ANSWERS = 2  # inputs whose outputs are compared with this machine's
SETUP_TIMEOUT_S = 900
RUN_TIMEOUT_S = 600.0
ROOT = "EDGEKIT_EMULATED_ROOT"
_Counts = tuple[int, int, int, int]


class Emulated:
    """`emulated:cortex-a72` or `emulated:cortex-a76`; with `+operators` behind it, counted operator by operator.

    No Device, for it has no time to measure. `root` is where the emulated system lies; it is made there by the first
    count if it is missing.
    """

    def __init__(self, core: str, root: Path | None = None) -> None:
        self._core = core.removesuffix(OPERATORS)
        self._operators = core.endswith(OPERATORS)
        if self._core not in CORES:
            raise UnknownNameError.among("emulated core", self._core, CORES)
        self._root = root or _default_root()

    @property
    def name(self) -> str:
        """The core, and that it is not a real one."""
        return f"{CORES[self._core]} (emulated)"

    def fingerprint(self) -> Fingerprint:
        """What runs under the emulator; makes the emulated system if it is missing."""
        self._set_up()
        package, version = self._runtime()
        return Fingerprint(None, self.name, 1, "aarch64", "Debian 12 under qemu-user", "3.11", package, version)

    def count(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Instructions]:
        """Counts every file; of the session only `threads` and the protocol's seed mean something here.

        Raises UsageError for more than one thread, where a count does not repeat; MissingError where there is no
        emulator and none can be made; ModelCrashError, naming the file, if the runtime dies under it.
        """
        if session.threads != 1:
            raise UsageError(f"asked for {session.threads} threads; instructions are counted on one, where they repeat")
        self._set_up()
        counted = []
        for number, artifact in enumerate(artifacts, 1):
            counted.append(self._count(artifact, session.protocol.seed))
            if progress is not None:
                progress(number / len(artifacts))
        return counted

    def _count(self, artifact: Artifact, seed: int) -> Instructions:
        started_utc = utc_now()
        model = artifacts.read_model(artifact.path)
        here = isolate.call(str(artifact.path), RUN_TIMEOUT_S, _answers, str(artifact.path), model, seed)
        with tempfile.TemporaryDirectory() as folder:
            inputs, outputs = Path(folder, "inputs"), Path(folder, "outputs")
            inputs.write_bytes(here.inputs)
            cut = (
                isolate.call(str(artifact.path), RUN_TIMEOUT_S, _write_prefixes, model, folder)
                if self._operators
                else []
            )
            with artifacts.plain_file(artifact) as plain:
                counts = self._emulate(artifact, [plain, inputs, outputs, *(path for path, _, _ in cut)])
            differing, largest = _compare(here, outputs.read_bytes())
        whole = counts[0]
        steps = itertools.pairwise([(0, 0, 0, 0), *counts[1:]])
        operators = [_difference(kind, output, *step) for (_, kind, output), step in zip(cut, steps, strict=True)]
        package, version = self._runtime()
        return Instructions(
            artifact_sha256=artifact.sha256,
            artifact_name=artifact.name,
            model=artifact.card.model if artifact.card else None,
            recipe=artifact.card.recipe.name if artifact.card else None,
            size_bytes=artifact.size_bytes,
            device=self.name,
            core=self._core,
            runtime=package,
            runtime_version=version,
            instructions=whole[0],
            simd=whole[1],
            dot_products=whole[2],
            i8mm=whole[3],
            outputs=sum(len(values) for values in here.outputs),
            differing=differing,
            largest_difference=largest,
            against=f"{platform.machine()}, {' '.join(runtime.version())}",
            started_utc=started_utc,
            operators=tuple(operators),
        )

    def _emulate(self, artifact: Artifact, files: Sequence[Path]) -> list[_Counts]:
        """The counts of the models among `files`, in their order."""
        command = [
            "bash",
            str(_scripts() / "count.sh"),
            str(self._root),
            self._core,
            *map(str, map(Path.absolute, files)),
        ]
        exit_code, out, said = _call(command, RUN_TIMEOUT_S)
        counts = re.findall(r"mark 1 insns (\d+) simd (\d+) dot (\d+) i8mm (\d+)", out)
        models = 1 + max(0, len(files) - 3)
        if exit_code is None:
            raise ModelCrashError(f"{artifact.path}: no answer from the emulated core after {RUN_TIMEOUT_S:.0f} s")
        if len(counts) != models:
            raise ModelCrashError(f"{artifact.path}: the runtime failed on the emulated {self.name}: {last_line(said)}")
        return [(int(insns), int(simd), int(dot), int(i8mm)) for insns, simd, dot, i8mm in counts]

    def _set_up(self) -> None:
        if platform.machine() != "x86_64" or os.geteuid() != 0:
            raise MissingError("the emulated cores need x86-64 Linux and root (a mount namespace); use a real board")
        if (self._root / "insn_count.so").exists():
            return
        missing = [tool for tool in ("apt-get", "dpkg", "gcc", "pip", "unshare") if shutil.which(tool) is None]
        if missing:
            raise MissingError(f"the emulated Arm system is made with {', '.join(missing)}, which this machine lacks")
        exit_code, _, said = _call(["bash", str(_scripts() / "setup.sh"), str(self._root)], SETUP_TIMEOUT_S)
        if exit_code != 0:
            raise MissingError(f"cannot set up the emulated Arm system in {self._root}: {last_line(said)}")

    def _runtime(self) -> tuple[str, str]:
        found = sorted((self._root / "root/opt/litert").glob("ai_edge_litert-*.dist-info"))
        return "ai-edge-litert", found[-1].name.split("-")[1].removesuffix(".dist") if found else "unknown"


class Answers(msgspec.Struct, frozen=True):
    """What this machine's runtime answers: `inputs` as bytes, and every output tensor's values one after the other."""

    inputs: bytes
    outputs: list[tuple[float, ...]]
    dtypes: list[str]


def answers(model: bytes, seed: int) -> Answers:
    """Runs the model here on seeded noise, on one thread."""
    runner = runtime.Runner(model)
    given, found, dtypes = b"", [], []
    for number in range(ANSWERS):
        generator = np.random.default_rng([seed, number])
        for position, info in enumerate(runner.inputs):
            noise = generator.random(info.shape, dtype=np.float32)
            if info.dtype.kind in "iu":
                limits = np.iinfo(info.dtype)
                noise = (limits.min + noise * (float(limits.max) - limits.min)).astype(info.dtype)
            values = noise.astype(info.dtype)
            given += values.tobytes()
            runner.set_input(values, position)
        runner.invoke()
        for position, info in enumerate(runner.outputs):
            found.append(tuple(runner.get_output(position).ravel().astype(float).tolist()))
            dtypes.append(info.dtype.str)
    return Answers(given, found, dtypes)


def _answers(name: str, model: bytes, seed: int) -> Answers:
    try:
        return answers(model, seed)
    except FileFormatError as error:
        raise type(error)(f"{name}: {error}") from None


def _compare(here: Answers, there: bytes) -> tuple[int, float]:
    """How many values differ, and by how much at most; all of them where there are more or fewer there."""
    differing, largest, offset = 0, 0.0, 0
    for values, name in zip(here.outputs, here.dtypes, strict=True):
        dtype = np.dtype(name)
        size = dtype.itemsize * len(values)
        found = np.frombuffer(there[offset : offset + size].ljust(size, b"\0"), dtype).astype(float)
        away = np.abs(found - np.array(values))
        differing += int(np.count_nonzero(found != np.array(values)))
        largest = max(largest, float(away.max(initial=0.0)))
        offset += size
    return differing, largest


def prefixes(model: bytes) -> list[tuple[str, str, bytes]]:
    """The network cut behind each of its operators: the operator, its output's name and the model up to there."""
    whole = graph.load(model)
    found = []
    for number, operator in enumerate(whole.operators, 1):
        part = whole.copy()
        part.operators = part.operators[:number]
        read = {index for later in whole.operators[number:] for index in later.inputs}
        made = [index for earlier in part.operators for index in earlier.outputs]
        part.outputs = [index for index in made if index in read or index in whole.outputs]
        part.signatures, part.metadata = [], {}
        part.drop_unused()
        found.append((operator.kind, whole.tensors[operator.outputs[0]].name, graph.dump(part)))
    return found


def _write_prefixes(model: bytes, folder: str) -> list[tuple[Path, str, str]]:
    """The prefixes as files, in graph order, each with its last operator and that one's output."""
    written = []
    for number, (kind, output, content) in enumerate(prefixes(model)):
        path = Path(folder, f"{number}.tflite")
        path.write_bytes(content)
        written.append((path, kind, output))
    return written


def _difference(kind: str, output: str, before: _Counts, after: _Counts) -> OperatorCount:
    instructions, simd, dot_products, _ = (late - early for early, late in zip(before, after, strict=True))
    return OperatorCount(kind, output, instructions, simd, dot_products)


def _call(command: Sequence[str], timeout_s: float) -> tuple[int | None, str, str]:
    """Exit code, output and messages; the code is None where it took too long, and then all its children are ended."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        out, said = process.communicate(timeout=timeout_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None, "", ""
        raise
    return process.returncode, out, said


def _default_root() -> Path:
    named = os.environ.get(ROOT)
    if named:
        return Path(named)
    installed = Path(__file__).with_name("emulated_pi").is_dir()
    home = platformdirs.user_cache_path("edgekit") if installed else Path(edgekit.__file__).parents[1] / "build"
    return home / "emulated_pi"


def _scripts() -> Path:
    """In a checkout under benchmarks/, in an installed package beside this file."""
    here = Path(__file__).with_name("emulated_pi")
    return here if here.is_dir() else Path(edgekit.__file__).parents[1] / "benchmarks/emulated_pi"
