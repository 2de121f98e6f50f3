"""Logs of other programs, matched to a window by UTC; all are constructed, with headings as such programs have them."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import meters
from edgekit.errors import FileFormatError, MissingError, UnknownNameError, UsageError
from edgekit.meters import csv
from edgekit.meters._sampling import Trace

T0 = 1_795_355_000  # 2026-11-22T13:43:20Z
SECOND = 1_000_000_000


def log(folder: Path, text: str) -> Path:
    path = folder / "log.csv"
    path.write_text(text, "utf-8")
    return path


def read(folder: Path, text: str, **options: str) -> Trace:
    return csv.read(log(folder, text), options)


FORMS = {
    "epoch seconds": "time,Power(W)\n1795355000.0,2.5\n1795355001.5,3.5\n",
    "epoch milliseconds": "time_ms,Power [mW]\n1795355000000,2500\n1795355001500,3500\n",
    "epoch microseconds": "t,Time(us),W\n0,1795355000000000,2.5\n1,1795355001500000,3.5\n",
    "epoch nanoseconds": "time_ns;power_uW\n1795355000000000000;2500000\n1795355001500000000;3500000\n",
    "iso with zone": "Timestamp,Volt (V),Current (A)\n2026-11-22T13:43:20Z,5,0.5\n2026-11-22T14:43:21.5+01:00,5,0.7\n",
    "iso with fractions": "UTC\tPower (W)\n2026-11-22 13:43:20.000Z\t2.5\n2026-11-22 13:43:21.5000001Z\t3.5\n",
    "decimal comma": "time_s;voltage_V;current_mA\n1795355000,0;5,00;500\n1795355001,5;5,00;700\n",
    "baryluk/fnirsi-usb-power-data-logger": (
        "timestamp sample_in_packet voltage_V current_A dp_V dn_V temp_C_ema energy_Ws capacity_As\n\n"
        "1795355000.000 0 5.00000 0.50000 0.0 0.0 30.1 0.0 0.0\n1795355001.500 1 5.00000 0.70000 0.0 0.0 30.1 0.0 0.0\n"
    ),
    "byte order mark and comments": "\ufeff# meter\nTime,Active Power (W)\n1795355000,2.5\n# x\n1795355001.5,3.5\n",
    "a temperature first": "Temp (C),Time,Power Factor,Power (W)\n30,1795355000,0.5,2.5\n30,1795355001.5,0.5,3.5\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_columns_units_and_times_are_found(tmp_path: Path, form: str) -> None:
    trace = read(tmp_path, FORMS[form])
    assert trace.times_ns == (T0 * SECOND, T0 * SECOND + 1_500_000_000)
    assert trace.values == pytest.approx((2.5, 3.5))


def test_elapsed_times_need_a_stated_start(tmp_path: Path) -> None:
    text = "Elapsed time (ms),Power (W)\n0,2.5\n1500,3.5\n"
    with pytest.raises(FileFormatError, match=r"row 2: .*counts from a start that the log does not tell; .*start="):
        read(tmp_path, text)
    trace = read(tmp_path, text, start="2026-11-22T13:43:20Z")
    assert trace.times_ns == (T0 * SECOND, T0 * SECOND + 1_500_000_000)


def test_an_elapsed_time_without_a_unit_is_not_guessed(tmp_path: Path) -> None:
    text = "Time,Power (W)\n0,2.5\n1500,3.5\n"
    with pytest.raises(FileFormatError, match="the time says no unit; give it: time=COLUMN/s"):
        read(tmp_path, text, start="2026-11-22T13:43:20Z")
    trace = read(tmp_path, text, start="2026-11-22T13:43:20Z", time="Time/ms")
    assert trace.times_ns[1] == T0 * SECOND + 1_500_000_000


def test_local_times_need_a_zone(tmp_path: Path) -> None:
    text = "Time,Power (W)\n2026/11/22 14:43:20,2.5\n2026/11/22 14:43:21.5,3.5\n"
    with pytest.raises(FileFormatError, match=r"has no time zone; give it: zone="):
        read(tmp_path, text)
    assert read(tmp_path, text, zone="+01:00").times_ns[0] == T0 * SECOND


def test_a_column_without_a_unit_is_not_guessed(tmp_path: Path) -> None:
    text = "Time,Power\n1795355000,2500\n1795355001,2500\n"
    with pytest.raises(FileFormatError, match=r"column 'Power' says no unit; give it: power=Power/W"):
        read(tmp_path, text)
    assert read(tmp_path, text, power="Power/mW").values == pytest.approx((2.5, 2.5))


def test_columns_can_be_given(tmp_path: Path) -> None:
    text = "when,Power (W),load\n1795355000,9,2.5\n1795355001,9,3.5\n"
    trace = read(tmp_path, text, time="when", power="load/W")
    assert trace.values == (2.5, 3.5)
    with pytest.raises(UsageError, match=r"no column 'leistung'; there: when, Power .W., load"):
        read(tmp_path, text, time="when", power="leistung/W")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("Time,Power (W)\n", "has 0 readings"),
        ("Time,Power (W)\n1795355000,1\n", "has 1 readings"),
        ("Time,Temp\n1795355000,1\n1795355001,1\n", "no column of voltage"),
        ("Watts (W),x\n1,1\n", "no column of time"),
        ("Time,Power (W)\n1795355001,1\n1795355000,1\n", "row 3: the time goes back"),
        ("Time,Power (W)\n1795355001,n/a\n1795355002,1\n", r"row 2: '1795355001,n/a' is no reading"),
        ("Time,Power (W)\n1795355001,nan\n1795355002,1\n", "not a number of watts"),
        ("Time,Power (W)\n1795355001\n1795355002,1\n", "row 2: '1795355001' is no reading"),
        ("Date,Power (W)\n2026-11-22Z,1\n2026-11-22Z,1\n", "row 2"),
        ("Time,Power (W)\n1795355001,1\n1795355001,2\n", "same time"),
    ],
)
def test_a_log_that_cannot_be_understood_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        read(tmp_path, text)


def test_packets_that_overlap_a_little_are_put_in_order(tmp_path: Path) -> None:
    text = "Time,Power (W)\n1795355000.00,1\n1795355000.10,2\n1795355000.05,3\n"
    assert read(tmp_path, text).values == (1, 3, 2)


def test_a_last_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    text = "Time,Power (W)\n1795355000,2.5\n1795355001,3.5\n1795355002,4"
    assert read(tmp_path, text).values == (2.5, 3.5)


def test_a_missing_log_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="No such file"):
        meters.open(f"csv:{tmp_path / 'none.csv'}")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="cannot be read as a CSV log"):
        meters.open(f"csv:{tmp_path / 'x.csv'}")


def steady(
    folder: Path, interval_s: float = 0.1, count: int = 100, watts: float = 4.0, gap: range = range(0)
) -> csv.Log:
    rows = [f"{T0 + row * interval_s:.3f},{watts}" for row in range(count) if row not in gap]
    meter = meters.open(f"csv:{log(folder, 'Time,Power (W)' + chr(10) + chr(10).join(rows) + chr(10))}")
    assert isinstance(meter, csv.Log)
    return meter


def test_a_log_tells_its_rate_and_the_user_its_uncertainty_and_scope(tmp_path: Path) -> None:
    path = steady(tmp_path, interval_s=0.25)._path
    meter = meters.open(f"csv:{path},uncertainty=0.01,scope=wall")
    assert isinstance(meter, csv.Log)
    assert meter.resolution_s == pytest.approx(0.25)
    assert meter.uncertainty is not None
    assert (meter.scope, meter.uncertainty.share, meter.uncertainty.stated_by) == ("wall", 0.01, "the user")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("uncertainty=1%", UsageError),
        ("scope=plug", UnknownNameError),
        ("colour=red", UsageError),
        ("zone=CET", UsageError),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: str, wrong: type[Exception]) -> None:
    path = steady(tmp_path)._path
    with pytest.raises(wrong):
        meters.open(f"csv:{path},{options}")


@given(start=st.floats(0, 4), length=st.floats(1.2, 5))
def test_a_window_is_cut_out_between_readings(
    tmp_path_factory: pytest.TempPathFactory, start: float, length: float
) -> None:
    trace = Trace(tuple(T0 * SECOND + row * SECOND // 10 for row in range(100)), tuple(row / 10 for row in range(100)))
    meter = csv.Log.__new__(csv.Log)
    meter.source, meter.resolution_s = "log", 0.1
    begin = T0 * SECOND + round(start * SECOND)
    end = begin + round(length * SECOND)
    window = meter.window(trace, begin, end)
    assert window.energy_j == pytest.approx((start + length / 2) * length, rel=1e-6)
    assert window.missed == 0 and abs(window.updates - length * 10) < 1.01


@pytest.mark.parametrize(("begin", "end"), [(-1.0, 5.0), (5.0, 10.5), (-9.0, -2.0), (20.0, 25.0)])
def test_a_window_that_the_log_does_not_cover_is_refused_with_both_times(
    tmp_path: Path, begin: float, end: float
) -> None:
    meter = steady(tmp_path)
    trace = csv.read(meter._path, {})
    with pytest.raises(
        MissingError, match=r"covers 2026-11-22T13:43:20\.000\+00:00 to .*, not all of 2026-11-22T13:43"
    ):
        meter.window(trace, round((T0 + begin) * SECOND), round((T0 + end) * SECOND))


def test_readings_missing_within_the_window_are_counted(tmp_path: Path) -> None:
    meter = steady(tmp_path, gap=range(30, 40))
    window = meter.window(csv.read(meter._path, {}), (T0 + 1) * SECOND, (T0 + 7) * SECOND)
    assert window.missed == 10
    assert window.energy_j == pytest.approx(24.0)


def test_a_window_of_few_readings_is_refused(tmp_path: Path) -> None:
    meter = steady(tmp_path, interval_s=1.0)
    with pytest.raises(MissingError, match=r"too few, measure for at least 10\.\d s"):
        meter.window(csv.read(meter._path, {}), (T0 + 1) * SECOND, (T0 + 7) * SECOND)


def test_a_log_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "live.csv"
    halt = threading.Event()

    def write() -> None:
        with path.open("w") as file:
            file.write("Time,Power (W)\n")
            while not halt.wait(0.02):
                file.write(f"{time.time() - 0.01:.4f},4.0\n")
                if int(time.time() * 50) % 10 == 0:
                    file.flush()  # the log comes in lumps, late

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not path.exists() or path.stat().st_size < 200:
            time.sleep(0.02)
        meter = meters.open(f"csv:{path}")
        assert isinstance(meter, csv.Log)
        meter.start()
        time.sleep(0.5)
        window = meter.stop()
    finally:
        halt.set()
        writer.join()
    assert window.energy_j == pytest.approx(4.0 * window.seconds)
    assert 0.5 <= window.seconds < 1.0  # the waiting is not part of it


def test_a_clock_that_is_set_within_the_window_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = steady(tmp_path)
    meter.start()
    now_ns = time.time_ns()
    monkeypatch.setattr(csv.time, "time_ns", lambda: now_ns + 3600 * SECOND)
    with pytest.raises(MissingError, match=r"the clock was set by 3\d{3}\.\d+ s within the window"):
        meter.stop()


def test_epochs_keep_their_last_digit() -> None:
    assert csv._epoch_ns(1795355000.123456789, "1795355000.123456789") == 1795355000123456789
    moment = datetime.fromtimestamp(T0, timezone.utc)
    assert csv._iso_ns(moment.isoformat(), None) == T0 * SECOND
