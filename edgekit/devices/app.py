"""The demo app on a phone: models put into it, measured by it alone, and what it measured fetched.

What it knows of phones is `adb.py`'s; what the app takes and gives is docs/android-contract.md.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from edgekit import measurement
from edgekit.artifact import Artifact
from edgekit.devices import adb
from edgekit.errors import FileFormatError, MissingError, OutputError, UsageError
from edgekit.measurement import Measurement

FILES = f"/sdcard/Android/data/{adb.APP}/files"
MODELS = f"{FILES}/models"
RESULTS = f"{FILES}/results/results.jsonl"


class App(adb.Adb):
    """The app on the phone with this serial number or HOST:PORT."""

    def how(self) -> str:
        """The app, and nothing else. MissingError where the phone has it not."""
        if self._shell(f"pm path {adb.APP}").exit_code:
            raise MissingError(f"the demo app ({adb.APP}) is not on the phone; docs/android.md says how to install it")
        return adb.APP

    def put(self, artifacts: Sequence[Artifact]) -> list[str]:
        """Copies models to where the app looks for them, whole or not at all; their names there.

        UsageError for a file without a card, which the app would refuse; MissingError where there is no app;
        OutputError where the phone has no room.
        """
        for artifact in artifacts:
            if artifact.card is None:
                raise UsageError(f"{artifact.path} has no card, so the app cannot use it; export it with edgekit")
        self.how()
        self._checked(f"mkdir -p {shlex.quote(MODELS)}")
        return [self._put(artifact) for artifact in artifacts]

    def fetch(self) -> list[Measurement]:
        """Every measurement that the app keeps; none where it has not measured yet.

        FileFormatError for a line that is no measurement of this edgekit.
        """
        self.how()
        quoted = shlex.quote(RESULTS)
        if self._shell(f"[ -e {quoted} ]").exit_code:
            return []
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "results.jsonl"
            self._adb(["pull", RESULTS, str(copy)], adb.PUSH_S)
            try:
                records = measurement.read([copy])
            except FileFormatError as error:
                raise FileFormatError(str(error).replace(str(copy), f"the app's {copy.name}")) from None
        return [record for record in records if isinstance(record, Measurement)]

    def _put(self, artifact: Artifact) -> str:
        name = f"{artifact.name}.tflite"
        quoted, part = shlex.quote(f"{MODELS}/{name}"), f"{MODELS}/{artifact.sha256}.part"
        self._adb(["push", "--", str(artifact.path.absolute()), part], adb.PUSH_S)
        found = self._shell(f"sha256sum {shlex.quote(part)}").out[:64]
        if found != artifact.sha256:
            self._shell(f"rm -f {shlex.quote(part)}")
            raise OutputError(f"{artifact.path} arrived damaged on the phone, or has changed meanwhile; run it again")
        self._checked(f"mv -f {shlex.quote(part)} {quoted}")
        return name


def only_phone() -> str:
    """The serial number of the one phone that adb knows. MissingError where there is none or more than one."""
    try:
        done = subprocess.run(["adb", "devices"], capture_output=True, text=True, timeout=adb.ANSWER_S, check=False)
    except FileNotFoundError:
        raise MissingError("there is no adb on this machine; install it: sudo apt install adb") from None
    except subprocess.TimeoutExpired:
        raise MissingError("adb does not answer; run 'adb kill-server' and try again") from None
    serials = [line.split("\t")[0] for line in done.stdout.splitlines() if line.endswith("\tdevice")]
    if len(serials) == 1:
        return serials[0]
    if serials:
        raise MissingError(f"adb knows {len(serials)} phones: {', '.join(serials)}; choose with --device adb:SERIAL")
    raise MissingError("adb knows no phone that is ready: connect one and allow USB debugging; see 'adb devices'")


def keep(path: Path, records: Iterable[Measurement]) -> list[Measurement]:
    """Appends those that the file does not hold yet, and returns them."""
    held = {msgspec.json.encode(record) for record in measurement.read([path])} if path.exists() else set()
    new: list[Measurement] = []
    for record in records:
        line = msgspec.json.encode(record)
        if line not in held:
            held.add(line)
            new.append(record)
    if new:
        measurement.append(path, *new)
    return new
