"""A phone by the real adb client, against a daemon that speaks adb's protocol; what answers behind it are stand-ins.

getprop, dumpsys, pm, am and benchmark_model are shell scripts here: no Android runs. Their answers have the form of
the real ones (AOSP), the values are invented.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from benchmarks.emulated_board import free_port, listens, stop, wait_for
from edgekit import artifact as artifacts
from edgekit import compare, validity
from edgekit.artifact import Artifact
from edgekit.devices import adb
from edgekit.devices.adb import Adb
from edgekit.errors import FileFormatError, MissingError, ModelCrashError, OutputError, UsageError
from edgekit.measurement import Protocol, Session

ROOT = Path(__file__).parents[2]
LOG = Path(__file__).parent / "phone" / "benchmark_raspberry_pi_2_4.log"
SHORT = Session(Protocol("short", warmup_s=0.1, min_runs=5, min_seconds=0.1))
PROPERTIES = """[ro.product.manufacturer]: [Example]
[ro.product.model]: [Phone 8]
[ro.soc.manufacturer]: [Maker]
[ro.soc.model]: [G3]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.build.version.release]: [14]
[ro.build.fingerprint]: [example/phone/phone:14/A/1:user/release-keys]
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Charge counter: 2600000
  status: 2
  level: 90
  voltage: 4100
"""
THERMAL = """IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
	Temperature{mValue=41.5, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=44.25, mType=0, mName=CPU1, mStatus=0}
	Temperature{mValue=70.0, mType=3, mName=SKIN, mStatus=0}
Current cooling devices from HAL:
"""


@dataclass
class Phone:
    folder: Path
    shims: Path
    serial: str
    daemon: subprocess.Popen[bytes]

    def answer(self, program: str, script: str) -> None:
        (self.shims / program).write_text(f"#!/bin/sh\n{script}\n")
        (self.shims / program).chmod(0o755)

    def device(self, tool: Path | None = None) -> Adb:
        return Adb(self.serial, tool, str(self.folder / "models"))


@pytest.fixture(scope="session")
def adb_client() -> Path:
    """The folder of the adb client: the installed one, or Debian's unpacked under build/."""
    installed = shutil.which("adb")
    if installed:
        return Path(installed).parent
    unpacked = ROOT / "build" / "adb" / "bin"
    if not (unpacked / "adb").exists():
        if shutil.which("apt-get") is None:
            pytest.skip("there is no adb client and no apt-get to fetch it with")
        script = ROOT / "benchmarks" / "emulated_pi" / "adb.sh"
        made = subprocess.run(
            ["bash", script, unpacked.parent], capture_output=True, text=True, timeout=300, check=False
        )
        if made.returncode:
            pytest.skip(f"adb cannot be fetched: {(made.stderr.strip().splitlines() or ['no message'])[-1]}")
    return unpacked


@pytest.fixture(scope="module")
def adb_server(adb_client: Path, tmp_path_factory) -> Iterator[dict[str, str]]:
    """An adb server of these tests alone, with keys of its own."""
    home = tmp_path_factory.mktemp("adb")
    own = {"ANDROID_ADB_SERVER_PORT": str(free_port()), "HOME": str(home), "PATH": f"{adb_client}:{os.environ['PATH']}"}
    yield own
    subprocess.run(["adb", "kill-server"], env=os.environ | own, check=False, capture_output=True, timeout=20)


@pytest.fixture
def phone(adb_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    for name, value in adb_server.items():
        monkeypatch.setenv(name, value)
    shims = tmp_path / "system bin"
    shims.mkdir()
    port = free_port()
    prefix = ["env", f"PATH={shims}:/usr/bin:/bin"]
    command = [sys.executable, str(Path(__file__).with_name("adbd_double.py")), str(port), "/", "--", *prefix]
    daemon = subprocess.Popen(command, start_new_session=True)
    wait_for(lambda: listens(port))
    made = Phone(tmp_path, shims, f"127.0.0.1:{port}", daemon)
    made.answer("getprop", f"cat <<'END'\n{PROPERTIES}END")
    made.answer("dumpsys", f"case $1 in battery) cat <<'END'\n{BATTERY}END\n;; *) cat <<'END'\n{THERMAL}END\n;; esac")
    made.answer("pm", "exit 1")
    made.answer("ps", "echo NAME; echo init")
    yield made
    stop(daemon)
    subprocess.run(["adb", "disconnect", made.serial], check=False, capture_output=True, timeout=20)


def tool(folder: Path, script: str) -> Path:
    """A program that says of itself that it is for arm64; what runs in its place is shell text behind the header."""
    path = folder / "benchmark_model"
    path.write_text(f"#!/bin/sh\n{script}\n")
    return path


@pytest.fixture
def runs_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a script stand in for the tool, which is a program of the phone's."""
    monkeypatch.setattr(Adb, "_ready_tool", lambda self, way: _sent(self, way))


def _sent(device: Adb, way: str) -> str:
    path = device._push(Path(way), artifacts.sha256_of(Path(way)), "")
    device._checked(f"chmod 755 '{path}'")
    return path


def test_a_phone_says_what_it_is(phone: Phone) -> None:
    found = phone.device().examine()
    assert phone.device().name == "Example Phone 8 (Maker G3)"
    assert (found.abi, found.release, found.thermal_status) == ("arm64-v8a", "14", 1)
    assert found.temperature_c == 44.25  # the hottest CPU sensor now, neither cached nor the skin's
    assert found.battery is not None and found.battery.plugged and found.battery.charge_counter == 2_600_000
    assert phone.device().fingerprint().os.startswith("Android 14, example/phone")


def test_a_model_is_measured_by_the_tool(phone: Phone, runs_anything, tiny: Artifact, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    given = tool(tmp_path, f'echo "$@" >{asked}; cat {LOG} >&2')
    record = phone.device(given).run([tiny], msgspec.structs.replace(SHORT, threads=2, cores=(0, 1)))[0]
    flags = asked.read_text()
    assert "--num_threads=2" in flags and "--num_runs=5" in flags and f"{tiny.sha256}.tflite" in flags
    assert (record.artifact_sha256, record.device) == (tiny.sha256, "Example Phone 8 (Maker G3)")
    assert record.latency_ns == () and record.summary is not None and record.summary.runs == 50
    assert (record.load_ns, record.first_ns) == (18_777_000, 64_791_000)
    assert record.peak_rss_bytes is None
    assert (record.fingerprint.pinned, record.meter) == ((0, 1), SHORT.meter)
    assert [state.thermal_status for state in record.states] == [1, 1]
    assert record.verdict is not None and record.verdict.word == "suspect"
    assert "throttled: the phone's thermal status was 1 (light)" in record.verdict.reasons
    shown = compare.compare([record])
    assert shown.rows[0].latency_median_ms is None  # a mean is no median
    assert "keeps no samples; its mean of 50 runs is 55.04 ms" in " ".join(shown.notes)


def test_a_model_is_sent_once_and_whole(phone: Phone, tiny: Artifact) -> None:
    device = phone.device()
    sent = Path(device._push(tiny.path, tiny.sha256, ".tflite"))
    assert sent.read_bytes() == tiny.path.read_bytes()
    node = sent.stat().st_ino
    assert device._push(tiny.path, tiny.sha256, ".tflite") == str(sent) and sent.stat().st_ino == node
    with pytest.raises(OutputError, match="arrived damaged"):
        device._push(tiny.path, "0" * 64, ".tflite")
    assert sorted(path.name for path in sent.parent.iterdir()) == [sent.name]


def test_a_tool_for_another_processor_is_refused(phone: Phone, tiny: Artifact) -> None:
    with pytest.raises(UsageError, match="is no program for arm64-v8a"):
        phone.device(Path(sys.executable).resolve()).run([tiny], SHORT)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", r"died on the phone \(signal 11\)"),
        ("echo 'ERROR: Failed to load model'; exit 1", "did not finish; the last that it said: ERROR: Failed to load"),
        ("head -3 " + str(LOG), "did not finish"),
    ],
)
def test_a_model_that_the_tool_dies_of_is_named(phone, runs_anything, tiny, tmp_path, script, message) -> None:
    with pytest.raises(ModelCrashError, match=f"{re.escape(str(tiny.path))}: .*{message}"):
        phone.device(tool(tmp_path, script)).run([tiny], SHORT)


def test_a_tool_that_hangs_is_stopped_on_the_phone(phone, runs_anything, tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(adb, "_limit_s", lambda protocol: 1.0)
    pid = tmp_path / "pid"
    with pytest.raises(ModelCrashError, match="no answer from the phone after 1 s"):
        phone.device(tool(tmp_path, f"echo $$ >{pid}; exec sleep 60")).run([tiny], SHORT)
    wait_for(lambda: not _runs(int(pid.read_text())))


def _runs(pid: int) -> bool:
    """Whether it is there and not only waiting for its parent to be told of its end."""
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def test_a_link_cut_within_a_run_is_an_error(phone, runs_anything, tiny, tmp_path) -> None:
    begun = tmp_path / "begun"
    given = tool(tmp_path, f"touch {begun}; exec sleep 60")
    failed: list[Exception] = []

    def run() -> None:
        try:
            phone.device(given).run([tiny], SHORT)
        except (MissingError, ModelCrashError) as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(begun.exists)
    stop(phone.daemon)
    thread.join(30)
    assert failed


def test_a_busy_phone_is_left_alone(phone: Phone, tiny: Artifact) -> None:
    phone.answer("ps", "echo NAME; echo benchmark_model")
    with pytest.raises(MissingError, match="busy: a benchmark_model runs on it"):
        phone.device().run([tiny], SHORT)


def test_a_phone_that_can_run_nothing_says_what_to_get(phone: Phone, tiny: Artifact) -> None:
    with pytest.raises(MissingError, match=r"arm64-v8a\) and give it with --benchmark-model"):
        phone.device().run([tiny], SHORT)


def test_a_phone_that_is_away_is_told_so(phone: Phone) -> None:
    with pytest.raises(MissingError, match="nothing answers there"):
        Adb(f"127.0.0.1:{free_port()}").examine()
    with pytest.raises(MissingError, match="adb devices"):
        Adb("NOSUCHSERIAL").examine()


@pytest.mark.parametrize("serial", ["-s", "$(touch x)", "a b", "a;b", "", "a'b", "host:1/../"])
def test_a_serial_cannot_be_an_option_or_shell_text(serial: str) -> None:
    with pytest.raises(UsageError, match="cannot be a phone"):
        Adb(serial)


def test_hostile_file_names_are_only_names(phone: Phone, runs_anything, tiny: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "-p $(touch owned) 'x' \"y\".tflite"
    path.write_bytes(tiny.path.read_bytes())
    record = phone.device(tool(tmp_path, f"cat {LOG}")).run([artifacts.read(path)], SHORT)[0]
    assert record.artifact_name == path.name.removesuffix(".tflite")
    assert not Path("owned").exists() and not list(tmp_path.rglob("owned"))


def test_energy_needs_the_cable_out(phone: Phone, runs_anything, tiny: Artifact, tmp_path: Path) -> None:
    slow = f"head -14 {LOG}; sleep 2.9; tail -n +15 {LOG}"
    record = phone.device(tool(tmp_path, slow)).run([tiny], msgspec.structs.replace(SHORT, meter="auto"))[0]
    assert record.energy is None and "plugged in" in (record.energy_reason or "")
    assert phone.device(tool(tmp_path, slow)).run([tiny], SHORT)[0].energy_reason == "no meter was asked for"


def test_energy_is_what_left_the_battery_in_the_measured_runs() -> None:
    watch = adb._Watch("auto", phases_ns=[0, 10**9], end_ns=61 * 10**9)
    text = BATTERY.replace("USB powered: true", "USB powered: false").replace("status: 2", "status: 3")
    for second in range(61):
        told = text.replace("2600000", str(2_600_000 - 100 * second))
        watch.readings.append(adb.android.parse_dumpsys(told, second * 10**9))
    energy, reason = watch.energy(runs=1000, mean_ns=60_000_000)
    assert reason is None and energy is not None
    assert energy.energy_j == pytest.approx(100e-6 * 3600 * 4.1 * 60 / 1000, rel=0.02)  # 0.36 C a second at 4.1 V
    assert energy.net_j is None and energy.idle_reason


def test_lines_that_come_all_at_once_give_no_energy() -> None:
    watch = adb._Watch("auto", phases_ns=[0, 10**9], end_ns=10**9 + 1000)
    assert watch.energy(1000, 1_000_000) == (None, "benchmark_model's lines came too late to tell when its runs began")


def _app(phone: Phone, script: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "RESULTS", str(results))
    results.mkdir()
    phone.answer("pm", "echo package:/data/app/base.apk")
    phone.answer("am", script)


def test_the_app_is_asked_where_there_is_no_tool(phone, tiny, tmp_path, monkeypatch, runs_anything) -> None:
    """The contract: the request is an extra, the answer a file named by the request's id."""
    record = phone.device(tool(tmp_path, f"cat {LOG}")).run([tiny], SHORT)[0]
    made = msgspec.structs.replace(record, summary=None, latency_ns=(5_000_000, 6_000_000, 5_500_000))
    (tmp_path / "answer").write_bytes(msgspec.json.encode(made))
    script = (
        f'for word; do last=$word; done; printf "%s" "$last" >{tmp_path}/request\n'
        f'id=$(sed \'s/.*"id":"\\([0-9a-f]*\\)".*/\\1/\' {tmp_path}/request)\n'
        f"cp {tmp_path}/answer {tmp_path}/results/$id.json"
    )
    _app(phone, script, tmp_path / "results", monkeypatch)
    assert phone.device().run([tiny], SHORT) == [validity.judged(made)]
    request = msgspec.json.decode((tmp_path / "request").read_bytes())
    assert request["sha256"] == tiny.sha256 and request["session"]["protocol"]["min_runs"] == 5
    assert not list((tmp_path / "results").iterdir())


def test_what_the_app_complains_of_is_the_models_error(phone, tiny, tmp_path, monkeypatch) -> None:
    script = (
        "for word; do last=$word; done\n"
        'id=$(printf \'%s\' "$last" | sed \'s/.*"id":"\\([0-9a-f]*\\)".*/\\1/\')\n'
        f'echo \'{{"error": "no kernel for X"}}\' >{tmp_path}/results/$id.json'
    )
    _app(phone, script, tmp_path / "results", monkeypatch)
    with pytest.raises(ModelCrashError, match="the demo app says: no kernel for X"):
        phone.device().run([tiny], SHORT)


def test_an_app_without_an_answer_is_stopped(phone, tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(adb, "_limit_s", lambda protocol: 0.5)
    _app(phone, f'[ "$1" = force-stop ] && touch {tmp_path}/stopped; exit 0', tmp_path / "results", monkeypatch)
    with pytest.raises(ModelCrashError, match="gave no answer"):
        phone.device().run([tiny], SHORT)
    assert (tmp_path / "stopped").exists()


def test_an_answer_about_another_file_is_refused(tiny: Artifact) -> None:
    with pytest.raises(FileFormatError, match="is not a result"):
        adb._app_answer(tiny, '{"kind": "measurement"}')
