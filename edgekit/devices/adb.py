"""An Android phone by way of the adb client: TensorFlow Lite's own benchmark_model there, or else the demo app.

The client rather than a library: whoever has a phone connected has it, and it owns the keys and the server that a
library would talk to in any case. Users' names go to the phone as data or quoted, never as shell text.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgekit import artifact as artifacts
from edgekit import graph, isolate, measurement, validity
from edgekit.artifact import Artifact, plain_file
from edgekit.bench import Progress
from edgekit.devices import Device, _phone_log
from edgekit.errors import (
    EdgekitError,
    FileFormatError,
    MissingError,
    ModelCrashError,
    OutputError,
    UsageError,
    last_line,
)
from edgekit.measurement import Energy, Fingerprint, Measurement, Protocol, Session, State, utc_now
from edgekit.meters import android

FOLDER = "/data/local/tmp/edgekit"
TOOLS = ("/data/local/tmp/benchmark_model", "/data/local/tmp/android_aarch64_benchmark_model")
APP = "dev.edgekit.demo"
ACTIVITY = f"{APP}/.BenchmarkActivity"
RESULTS = f"/sdcard/Android/data/{APP}/files/results"
ANSWER_S = 30.0
PUSH_S = 600.0
POLL_S = 1.0
_SERIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]*|\[[0-9A-Fa-f:]+\]:\d+")
_MACHINES = {183: ("arm64-v8a",), 40: ("armeabi-v7a", "armeabi"), 62: ("x86_64",), 3: ("x86",)}  # ELF e_machine
_COMPLAINTS = (
    ("unauthorized", "it does not trust this machine yet: unlock it and allow USB debugging"),
    ("offline", "it is offline: pull the cable and plug it in again, or switch USB debugging off and on"),
    ("not found", "it is not there: 'adb devices' lists those that are"),
    ("no devices", "no phone is connected: 'adb devices' lists those that are"),
    ("failed to connect", "nothing answers there: enable wireless debugging, or run 'adb tcpip 5555' over the cable"),
    ("unable to connect", "nothing answers there: enable wireless debugging, or run 'adb tcpip 5555' over the cable"),
    ("closed", "the link was cut; connect it and run again"),
)
# One contact reads it all; a phone without one of them says so on stderr and the section stays empty.
_QUESTIONS = {
    "properties": "getprop",
    "cpuinfo": "cat /proc/cpuinfo",
    "loadavg": "cat /proc/loadavg",
    "frequency": "cat /sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq",
    "governor": "cat /sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    "battery": "dumpsys battery",
    "thermal": "dumpsys thermalservice",
    "busy": "ps -A -o NAME",
}
_SECTION = "=== edgekit: "


@dataclass(frozen=True)
class Phone:
    """What a phone says of itself at one moment; None where it does not.

    `thermal_status` is Android's, 0 (none) to 6 (shutdown); from 1 on it slows itself down.
    """

    model: str
    soc: str | None
    abi: str
    release: str
    build: str
    cores: int
    governor: str | None
    frequency_khz: int | None
    temperature_c: float | None
    thermal_status: int | None
    load_1min: float | None
    battery: android.Reading | None
    battery_reason: str | None
    busy: bool


class Adb(Device):
    """The phone with this serial number or HOST:PORT; `tool` is a benchmark_model for its processor."""

    def __init__(self, serial: str, tool: Path | None = None, folder: str = FOLDER) -> None:
        if not _SERIAL.fullmatch(serial):
            raise UsageError(
                f"{serial!r} cannot be a phone; write adb:SERIAL as 'adb devices' has it, or adb:HOST:PORT"
            )
        self._serial, self._tool, self._folder = serial, tool, folder
        self._connected = False

    @property
    def name(self) -> str:
        """Maker and model, and the SoC where the phone tells it."""
        return _name(self.examine())

    def fingerprint(self) -> Fingerprint:
        """The phone as it is now; its runtime is what benchmark_model was built with, which the tool does not tell."""
        return _fingerprint(self.examine())

    def examine(self) -> Phone:
        """Asks the phone for all that it tells. MissingError where it cannot be reached."""
        questions = ";".join(f"echo '{_SECTION}{name}';{command}" for name, command in _QUESTIONS.items())
        return describe(self._shell(f"({questions}) 2>/dev/null").out, time.monotonic_ns())

    def how(self) -> str:
        """What would do the inferences: a path on the phone, or the app. MissingError says how to get one."""
        if self._tool is not None:
            return str(self._tool)
        found = self._found_tool()
        if found is not None:
            return found
        if self._shell(f"pm path {APP}").exit_code == 0:
            return APP
        raise MissingError(
            "nothing on the phone can run a model: download TensorFlow Lite's native benchmark binary for its processor"
            f" ({self.examine().abi}) and give it with --benchmark-model PATH, or install the demo app ({APP})"
        )

    def run(
        self,
        artifacts: Sequence[Artifact],
        session: Session,
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """One model after the other, each in a process of its own; benchmark_model cannot take turns.

        Raises MissingError where the phone cannot be reached, is busy or has nothing that runs models; UsageError for
        a benchmark_model of another processor; OutputError where it has no room; ModelCrashError for a model that the
        runtime dies of or hangs on.
        """
        if self.examine().busy:
            raise MissingError("the phone is busy: a benchmark_model runs on it; wait for its end, or stop it")
        way = self.how()
        tool = None if way == APP else self._ready_tool(way)
        measured = []
        for number, artifact in enumerate(artifacts, 1):
            with plain_file(artifact) as model:  # no phone runs Python: an .ekz is unpacked here
                path = self._push(model, artifact.sha256, ".tflite")
            began_ns = time.monotonic_ns()
            before = self.examine()
            if tool is None:
                record = self._by_app(artifact, path, session)
            else:
                record = self._by_tool(tool, artifact, path, session, before)
            states = record.states or (_state(before, began_ns), _state(self.examine(), began_ns))
            measured.append(validity.judged(msgspec.structs.replace(record, meter=session.meter, states=states)))
            if progress is not None:
                progress(number / len(artifacts))
        return measured

    def _found_tool(self) -> str | None:
        paths = " ".join(TOOLS)
        return self._shell(f"for f in {paths}; do [ -f $f ] && echo $f && break; done").out.strip() or None

    def _ready_tool(self, way: str) -> str:
        """The tool's path on the phone; one that the user gave is sent, if it is for that processor."""
        if self._tool is None:
            return way
        content = _read(self._tool)
        abi = self.examine().abi
        if abi not in _MACHINES.get(int.from_bytes(content[18:20], "little"), ()) or content[:4] != b"\x7fELF":
            raise UsageError(f"{self._tool} is no program for {abi}, the phone's processor; download that one")
        path = self._push(self._tool, hashlib.sha256(content).hexdigest(), "")
        self._checked(f"chmod 755 {shlex.quote(path)}")
        return path

    def _push(self, source: Path, sha256: str, suffix: str) -> str:
        """Sends a file, if it is not there, under its hash; it gets its name only once it is there whole."""
        path = f"{self._folder}/{sha256}{suffix}"
        quoted, part = shlex.quote(path), f"{path}.part"
        if self._shell(f"[ -f {quoted} ]").exit_code == 0:
            return path
        self._checked(f"mkdir -p {shlex.quote(self._folder)}")
        self._adb(["push", "--", str(source.absolute()), part], PUSH_S)
        found = self._shell(f"sha256sum {shlex.quote(part)}").out[:64]
        if found != sha256:
            self._shell(f"rm -f {shlex.quote(part)}")
            raise OutputError(f"{source} arrived damaged on the phone, or has changed meanwhile; run it again")
        self._checked(f"mv {shlex.quote(part)} {quoted}")
        return path

    def _by_tool(self, tool: str, artifact: Artifact, path: str, session: Session, before: Phone) -> Measurement:
        operators = isolate.call(str(artifact.path), ANSWER_S, _operators, artifacts.read_model(artifact.path))
        started_utc = utc_now()
        limit_s = _limit_s(session.protocol)
        words = [*_pinned(session.cores), "timeout", "-s", "KILL", str(round(limit_s)), tool, *_flags(path, session)]
        with self._watched(session.meter) as watch:
            done = self._shell(shlex.join(words), limit_s + ANSWER_S, watch)
        if done.exit_code == 137 and "Inference timings" not in done.out:
            raise ModelCrashError(
                f"{artifact.path}: no answer from the phone after {limit_s:.0f} s, or it had no memory"
            )
        if done.exit_code > 128:
            raise ModelCrashError(f"{artifact.path}: benchmark_model died on the phone (signal {done.exit_code - 128})")
        try:
            log = _phone_log.parse(done.out, operators)
        except FileFormatError as error:
            raise ModelCrashError(f"{artifact.path}: {error}") from None
        energy, reason = watch.energy(log.summary.runs, log.summary.mean_ns)
        return Measurement(
            artifact_sha256=artifact.sha256,
            artifact_name=artifact.name,
            model=artifact.card.model if artifact.card else None,
            recipe=artifact.card.recipe.name if artifact.card else None,
            size_bytes=artifact.size_bytes,
            device=_name(before),
            protocol=session.protocol,
            threads=session.threads,
            latency_ns=(),
            load_ns=log.init_ns,
            first_ns=log.first_ns,
            delegation=log.delegation,
            fingerprint=msgspec.structs.replace(_fingerprint(before), pinned=session.cores),
            started_utc=started_utc,
            energy=energy,
            energy_reason=reason,
            peak_rss_bytes=None,  # the tool tells its own whole peak, not what the model added
            summary=log.summary,
        )

    def _by_app(self, artifact: Artifact, path: str, session: Session) -> Measurement:
        """By the contract in docs/android-contract.md: a request as an extra, a file with one line as the answer."""
        request = uuid.uuid4().hex
        asked = {"id": request, "model": path, "sha256": artifact.sha256, "name": artifact.name, "session": session}
        words = ["am", "start", "-W", "-S", "-n", ACTIVITY, "--es", "request", msgspec.json.encode(asked).decode()]
        started = self._checked(shlex.join(words))
        if "Error" in started.out:
            raise MissingError(f"the demo app does not start: {last_line(started.out)}; install its present version")
        result = f"{RESULTS}/{request}.json"
        end = time.monotonic() + _limit_s(session.protocol)
        while (found := self._shell(f"cat {result}")).exit_code != 0:
            if time.monotonic() > end:
                self._shell(f"am force-stop {APP}")
                raise ModelCrashError(f"{artifact.path}: the demo app gave no answer; it hangs, or died of the model")
            time.sleep(POLL_S)
        self._shell(f"rm -f {result}")
        return _app_answer(artifact, found.out)

    @contextlib.contextmanager
    def _watched(self, meter: str) -> Iterator[_Watch]:
        """Reads the battery beside the run, unless no meter is wanted."""
        watch = _Watch(meter)
        stop = threading.Event()

        def read() -> None:
            while not stop.wait(POLL_S):
                with contextlib.suppress(EdgekitError):
                    text = self._shell("dumpsys battery").out
                    watch.readings.append(android.parse_dumpsys(text, time.monotonic_ns()))

        thread = threading.Thread(target=read, daemon=True)
        if meter != "none":
            thread.start()
        try:
            yield watch
        finally:
            stop.set()
            if meter != "none":
                thread.join()

    def _checked(self, command: str) -> _Done:
        done = self._shell(command)
        if done.exit_code:
            raise _explain(self._serial, done.said + done.out)
        return done

    def _shell(self, command: str, timeout_s: float = ANSWER_S, watch: _Watch | None = None) -> _Done:
        """Runs text in the phone's shell; whoever writes it has quoted what came from outside."""
        done = self._adb(["shell", command], timeout_s, watch, check=False)
        if done.exit_code and re.search(r"^(adb: )?error: ", done.said, re.MULTILINE):
            raise _explain(self._serial, done.said)
        return done

    def _adb(self, words: Sequence[str], timeout_s: float, watch: _Watch | None = None, check: bool = True) -> _Done:
        if ":" in self._serial and not self._connected:
            self._connected = True
            answer = _call(["adb", "connect", self._serial], ANSWER_S, None)
            if "connected to" not in answer.out:
                self._connected = False
                raise _explain(self._serial, answer.out + answer.said)
        done = _call(["adb", "-s", self._serial, *words], timeout_s, watch)
        if check and done.exit_code:
            raise _explain(self._serial, done.said + done.out)
        return done


@dataclass(frozen=True)
class _Done:
    exit_code: int
    out: str
    said: str


@dataclass
class _Watch:
    """When the tool began and ended its measured runs, and what the battery said meanwhile."""

    meter: str
    readings: list[android.Reading] = field(default_factory=list)
    phases_ns: list[int] = field(default_factory=list)
    end_ns: int = 0

    def line(self, text: str) -> None:
        """Takes the time of the lines that begin and end a phase."""
        if _phone_log.PHASE in text:
            self.phases_ns.append(time.monotonic_ns())
        if "count=" in text:
            self.end_ns = time.monotonic_ns()

    def energy(self, runs: int, mean_ns: int) -> tuple[Energy | None, str | None]:
        """Energy of one inference, or why there is none."""
        if self.meter == "none":
            return None, "no meter was asked for"
        start_ns = self.phases_ns[-1] if self.phases_ns else self.end_ns
        if self.end_ns - start_ns < 0.8 * runs * mean_ns:
            return None, "benchmark_model's lines came too late to tell when its runs began"
        inside = [reading for reading in self.readings if start_ns <= reading.time_ns <= self.end_ns]
        try:
            found = android.discharge(inside)
        except MissingError as error:
            return None, str(error)
        share = found.window.seconds / ((self.end_ns - start_ns) / 1e9)
        return Energy(
            energy_j=found.window.energy_j / (runs * share),
            source=f"{android.SOURCE}, {found.by}",
            scope=android.SCOPE,
            idle_reason="what the phone draws at rest, its screen above all, was not measured",
            seconds=found.window.seconds,
            windows=1,
            updates=found.window.updates,
        ), None


def describe(text: str, time_ns: int) -> Phone:
    """A phone by its answers to the questions."""
    sections: dict[str, str] = {}
    for part in text.split(_SECTION)[1:]:
        name, _, body = part.replace("\r\n", "\n").partition("\n")
        sections[name] = body
    told = dict(re.findall(r"^\[(.+?)\]: \[(.*)\]$", sections.get("properties", ""), re.MULTILINE))
    if not told:
        raise MissingError("the phone answers no getprop; is it an Android device?")
    battery, reason = _battery(sections.get("battery", ""), time_ns)
    status = re.search(r"Thermal Status: (\d+)", sections.get("thermal", ""))
    frequencies = [int(number) for number in re.findall(r"^\d+$", sections.get("frequency", ""), re.MULTILINE)]
    governors = dict.fromkeys(sections.get("governor", "").split())
    load = re.match(r"[\d.]+", sections.get("loadavg", ""))
    soc = " ".join(filter(None, (told.get("ro.soc.manufacturer"), told.get("ro.soc.model"))))
    return Phone(
        model=f"{told.get('ro.product.manufacturer', '')} {told.get('ro.product.model', 'unknown')}".strip(),
        soc=soc or told.get("ro.board.platform") or told.get("ro.hardware"),
        abi=told.get("ro.product.cpu.abi", "unknown"),
        release=told.get("ro.build.version.release", "unknown"),
        build=told.get("ro.build.fingerprint", "unknown"),
        cores=len(re.findall(r"^processor\s*:", sections.get("cpuinfo", ""), re.MULTILINE)) or 1,
        governor=" + ".join(governors) or None,
        frequency_khz=max(frequencies, default=None),
        temperature_c=_temperature_c(sections.get("thermal", "")),
        thermal_status=int(status[1]) if status else None,
        load_1min=float(load[0]) if load else None,
        battery=battery,
        battery_reason=reason,
        busy="benchmark_mode" in sections.get("busy", ""),
    )


def _battery(text: str, time_ns: int) -> tuple[android.Reading | None, str | None]:
    try:
        return android.parse_dumpsys(text, time_ns), None
    except EdgekitError as error:
        return None, str(error)


def _temperature_c(thermal: str) -> float | None:
    """The hottest of the present CPU sensors (mType 0), as the thermal HAL tells them (AOSP, Temperature.java)."""
    present = thermal.split("Current temperatures from HAL:")[-1].split("Current cooling devices")[0]
    found = re.findall(r"Temperature\{mValue=([-\d.]+), mType=0,", present)
    return max(map(float, found), default=None)


def _name(phone: Phone) -> str:
    return f"{phone.model} ({phone.soc})" if phone.soc else phone.model


def _state(phone: Phone, began_ns: int) -> State:
    """What of a phone's answers the verdict looks at; its clock at rest says nothing of the run between two looks."""
    now_ns = time.monotonic_ns()
    return State(
        at_s=(now_ns - began_ns) / 1e9,
        clock_offset_ns=time.time_ns() - now_ns,
        governor=phone.governor,
        temperature_c=phone.temperature_c,
        power_source=None if phone.battery is None else "mains" if phone.battery.plugged else "battery",
        load_1min=phone.load_1min,
        thermal_status=phone.thermal_status,
    )


def _fingerprint(phone: Phone) -> Fingerprint:
    return Fingerprint(
        board=phone.model,
        cpu=phone.soc,
        cores=phone.cores,
        arch=phone.abi,
        os=f"Android {phone.release}, {phone.build}",
        python="none",
        runtime="TensorFlow Lite in benchmark_model",
        runtime_version="not told",
        governor=phone.governor,
        frequency_khz=phone.frequency_khz,
        temperature_c=phone.temperature_c,
        load_1min=phone.load_1min,
    )


def _app_answer(artifact: Artifact, text: str) -> Measurement:
    """The app's line: a Measurement of this very file, or {"error": ...}."""
    with contextlib.suppress(msgspec.DecodeError):
        failed = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("error")
        if failed is not None:
            raise ModelCrashError(f"{artifact.path}: the demo app says: {msgspec.json.decode(failed)}")
    try:
        record = measurement.current(msgspec.json.decode(text, type=Measurement), artifact.path, 1)
    except msgspec.DecodeError as error:
        raise FileFormatError(f"the demo app's answer is not a result of this edgekit ({error}); update it") from None
    if record.artifact_sha256 != artifact.sha256:
        raise FileFormatError(f"the demo app measured another file than {artifact.path}; run it again")
    return record


def _flags(path: str, session: Session) -> list[str]:
    protocol = session.protocol
    return [
        f"--graph={path}",
        f"--num_threads={session.threads}",
        f"--warmup_min_secs={protocol.warmup_s}",
        f"--num_runs={protocol.min_runs}",
        f"--min_secs={protocol.min_seconds}",
        f"--max_secs={_limit_s(protocol):.0f}",
        "--use_xnnpack=true",
        "--report_peak_memory_footprint=true",
    ]


def _limit_s(protocol: Protocol) -> float:
    """Only what hangs is stopped."""
    return 120 + 10 * (protocol.warmup_s + protocol.min_seconds)


def _pinned(cores: Sequence[int]) -> list[str]:
    return ["taskset", f"{sum(1 << core for core in cores):x}"] if cores else []


def _operators(model: bytes) -> int:
    return len(graph.load(model).operators)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None


def _call(command: Sequence[str], timeout_s: float, watch: _Watch | None) -> _Done:
    """One adb command; its lines are timed as they come where somebody watches."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env=dict(os.environ, LC_ALL="C"),
        )  # fmt: skip
    except FileNotFoundError:
        raise MissingError("there is no adb on this machine; install it: sudo apt install adb") from None
    if watch is None:
        try:
            out, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise MissingError(
                f"the phone has not answered adb for {timeout_s:.0f} s; is it on and connected?"
            ) from None
        return _Done(process.returncode, out, said)
    return _follow(process, timeout_s, watch)


def _follow(process: subprocess.Popen[str], timeout_s: float, watch: _Watch) -> _Done:
    lines: list[str] = []

    def read(stream: Iterator[str]) -> None:
        for line in stream:
            watch.line(line)
            lines.append(line)

    assert process.stdout is not None and process.stderr is not None
    readers = [threading.Thread(target=read, args=(stream,)) for stream in (process.stdout, process.stderr)]
    for reader in readers:
        reader.start()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise MissingError(f"the phone has said nothing more for {timeout_s:.0f} s; is it still connected?") from None
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
    text = "".join(lines)
    return _Done(process.returncode, text, text)


def _explain(serial: str, said: str) -> EdgekitError:
    if "No space left" in said:
        return OutputError(f"phone {serial} has no room left in {FOLDER}; free some")
    for words, meaning in _COMPLAINTS:
        if words in said:
            return MissingError(f"phone {serial}: {meaning}")
    return MissingError(f"phone {serial}: {last_line(said)}")
