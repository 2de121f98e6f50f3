"""The CSV log that a USB or wall meter writes while the benchmark runs, matched to it by UTC.

Columns are found by name and unit ("Power(W)", "voltage_V", "current [mA]") or given; one without a unit is refused.
Times are seconds, milli-, micro- or nanoseconds since 1970, ISO 8601 with a zone, or counted from a stated start.
The machine that writes the log and the one that is measured must agree about the time: both by NTP.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgekit.errors import FileFormatError, MissingError, UsageError
from edgekit.meters import Meter, Uncertainty, Window, checked_scope
from edgekit.meters._sampling import Trace, check_window, integrate

FORM = "csv:LOG.csv[,start=2026-11-22T14:00:00Z][,zone=+01:00][,time=COLUMN/s][,power=COLUMN/W]"
_OPTIONS = ("start", "zone", "time", "power", "voltage", "current", "scope", "uncertainty")
_NAMES = {
    "time": r"time\w*|date\w*|utc|elapsed|seconds",
    "power": r"power|watts?",
    "voltage": r"volts?|voltage|vbus",
    "current": r"curr(?:ent)?|amps?|amperes?|ibus",
}
_UNITS = {
    "time": {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    "power": {"w": 1.0, "mw": 1e-3, "uw": 1e-6, "µw": 1e-6},
    "voltage": {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "µv": 1e-6},
    "current": {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "µa": 1e-6},
}
_EPOCHS = ((1e8, 1e10, 1_000_000_000), (1e11, 1e13, 1_000_000), (1e14, 1e16, 1_000), (1e17, 1e19, 1))
_GAP = 3  # intervals: a longer silence means that readings are missing
_WAIT_S = 5.0  # for a log that is still being written to reach the end of the window
_CLOCK_SLIP_S = 0.05
_JITTER_NS = 500_000_000  # by which packets of readings may overlap in time


@dataclass(frozen=True)
class Column:
    """Where a quantity stands, and what turns its numbers into seconds, watts, volts or amperes."""

    position: int
    factor: float
    has_unit: bool = True


class Log(Meter):
    """A log by its path; it is read anew after every window."""

    scope = "board"

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        self.source = f"log {path.name}"
        self._path, self._options = path, options
        self.scope = checked_scope(options.get("scope", "board"))
        if "uncertainty" in options:
            self.uncertainty = Uncertainty(_share(options["uncertainty"]), "the user")
        self.resolution_s = interval_s(read(path, options))
        self._start = (0, 0)

    def start(self) -> None:
        """Begins a window."""
        self._start = time.time_ns(), time.perf_counter_ns()

    def stop(self) -> Window:
        """The integral of the logged power; waits a little for a log that is still being written."""
        stop_ns, seconds = time.time_ns(), (time.perf_counter_ns() - self._start[1]) / 1e9
        slip_s = (stop_ns - self._start[0]) / 1e9 - seconds
        if abs(slip_s) > _CLOCK_SLIP_S:
            raise MissingError(
                f"the clock was set by {slip_s:.2f} s within the window; the log cannot be matched to it"
            )
        deadline = time.monotonic() + _WAIT_S + 2 * self.resolution_s
        while (trace := read(self._path, self._options)).times_ns[-1] < stop_ns and time.monotonic() < deadline:
            time.sleep(min(0.2, self.resolution_s))
        return self.window(trace, self._start[0], stop_ns)

    def window(self, trace: Trace, start_ns: int, stop_ns: int) -> Window:
        """The part of a log between two times in UTC; MissingError where it does not cover them."""
        first_ns, last_ns = trace.times_ns[0], trace.times_ns[-1]
        if start_ns < first_ns or last_ns < stop_ns:
            raise MissingError(
                f"{self._path} covers {_utc(first_ns)} to {_utc(last_ns)}, not all of {_utc(start_ns)} to"
                f" {_utc(stop_ns)}; log all the time, and let both clocks be set by NTP"
            )
        within = replace(trace.within(start_ns, stop_ns), missed=_missing(trace, start_ns, stop_ns))
        seconds = (stop_ns - start_ns) / 1e9
        check_window(self, within, len(within.values), seconds)
        energy_j = integrate(trace.times_ns, trace.values, start_ns, stop_ns)
        return Window(energy_j, seconds, len(within.values), within.missed)


def read(path: Path, options: Mapping[str, str]) -> Trace:
    """Watts over nanoseconds since 1970. Raises FileFormatError for a log that cannot be understood."""
    rows = _rows(path)
    head, body = rows[0], rows[1:]
    when = _clock(_column(path, head, "time", options), options, path)
    power = _power(path, head, options)
    times_ns: list[int] = []
    watts: list[float] = []
    for number, row in enumerate(body, 2):
        try:
            times_ns.append(when(row))
            watts.append(_finite(power(row)))
        except (ValueError, IndexError) as error:
            raise FileFormatError(f"{path}, row {number}: {','.join(row)[:80]!r} is no reading ({error})") from None
        if len(times_ns) > 1 and times_ns[-1] < times_ns[-2] - _JITTER_NS:
            raise FileFormatError(
                f"{path}, row {number}: the time goes back; was the clock set, or are two logs in it?"
            )
    if len(times_ns) < 2:
        raise FileFormatError(f"{path} has {len(times_ns)} readings; start the log before the benchmark")
    return _distinct(times_ns, watts)


def interval_s(trace: Trace) -> float:
    """The usual time between two readings."""
    return statistics.median(after - before for before, after in itertools.pairwise(trace.times_ns)) / 1e9


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The log `PATH[,KEY=VALUE...]`; UsageError for other keys, FileFormatError for a log that cannot be understood."""
    path, *pairs = arguments.split(",")
    options = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = sorted(options.keys() - set(_OPTIONS))
    if not path or unknown:
        raise UsageError(f"csv:{arguments}: write {FORM}; options are {', '.join(_OPTIONS)}")
    return Log(Path(path), options)


def _rows(path: Path) -> list[list[str]]:
    """The heading and all whole lines below it; a last line that is still being written is left out."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as a CSV log ({error})") from None
    whole = text[: text.rfind("\n") + 1]
    lines = [line for line in whole.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise FileFormatError(f"{path} is empty; a heading with names and units is needed")
    delimiter = max(";\t,", key=lines[0].count)
    if lines[0].count(delimiter) == 0:
        return [line.split() for line in lines]
    rows = [[field.strip() for field in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)]
    if delimiter == ",":
        return rows
    return [[_with_point(field) for field in row] for row in rows]


def _with_point(field: str) -> str:
    """A decimal comma made a point, where the comma does not part the columns."""
    return field.replace(",", ".") if re.fullmatch(r"[+-]?\d+,\d+", field) else field


def _column(path: Path, head: Sequence[str], what: str, options: Mapping[str, str]) -> Column:
    column = _found(path, head, what, options)
    if column is None:
        raise FileFormatError(f"{path} has no column of {what} that can be told: {', '.join(head)}; give it: {FORM}")
    return column


def _found(path: Path, head: Sequence[str], what: str, options: Mapping[str, str]) -> Column | None:
    """The column of that quantity: the one that was given, else the first whose name and unit fit."""
    if what in options:
        return _given(path, head, what, options[what])
    unitless = None
    for position, name in enumerate(head):
        words = re.findall(r"[a-zµ]+", name.lower().replace("\N{GREEK SMALL LETTER MU}", "µ"))
        named = next((at for at, word in enumerate(words) if re.fullmatch(_NAMES[what], word)), None)
        rest = words if len(words) == 1 else words[named + 1 :] if named is not None else []
        unit = next((word for word in rest if word in _UNITS[what]), None)
        if unit and (what != "time" or named is not None):
            return Column(position, _UNITS[what][unit])
        if named is not None and what == "time":
            return Column(position, 1.0, has_unit=False)  # a date, or counted since 1970, which its size tells
        unitless = unitless or (name if named is not None else None)
    if unitless:
        raise FileFormatError(f"{path}: column {unitless!r} says no unit; give it: {what}={unitless}/{_example(what)}")
    return None


def _given(path: Path, head: Sequence[str], what: str, text: str) -> Column:
    name, _, unit = text.rpartition("/") if "/" in text else (text, "", "")
    if name not in head:
        raise UsageError(f"{path} has no column {name!r}; there: {', '.join(head)}")
    if unit.lower() not in _UNITS[what] and not (what == "time" and not unit):
        raise UsageError(f"{what}={text}: a unit is needed, as in {what}={name}/{_example(what)}")
    return Column(head.index(name), _UNITS[what].get(unit.lower(), 1.0), has_unit=bool(unit))


def _example(what: str) -> str:
    return next(iter(_UNITS[what])).upper() if what != "time" else "s"


def _power(path: Path, head: Sequence[str], options: Mapping[str, str]) -> Callable[[Sequence[str]], float]:
    """What gives a row's watts: its power, else its current times its voltage."""
    power = _found(path, head, "power", options)
    if power is not None:
        return lambda row: float(row[power.position]) * power.factor
    volts, amperes = (_column(path, head, what, options) for what in ("voltage", "current"))
    return lambda row: float(row[volts.position]) * volts.factor * float(row[amperes.position]) * amperes.factor


def _clock(column: Column, options: Mapping[str, str], path: Path) -> Callable[[Sequence[str]], int]:
    """What gives a row's time in nanoseconds since 1970."""
    zone = _zone(options["zone"]) if "zone" in options else None
    start_ns = _iso_ns(options["start"], zone) if "start" in options else None

    def when(row: Sequence[str]) -> int:
        text = row[column.position]
        try:
            number = float(text)
        except ValueError:
            return _iso_ns(text, zone)
        if start_ns is not None:
            if not column.has_unit:
                raise ValueError("the time says no unit; give it: time=COLUMN/s or time=COLUMN/ms")
            return start_ns + round(number * column.factor * 1e9)
        return _epoch_ns(number, text)

    return when


def _epoch_ns(number: float, text: str) -> int:
    for least, most, factor in _EPOCHS:
        if least <= number < most:
            whole, _, rest = text.partition(".")
            part = round(float(f"0.{rest}") * factor) if rest.isdigit() else 0
            return int(whole) * factor + part if whole.isdigit() else round(number * factor)
    raise ValueError(f"{text} counts from a start that the log does not tell; give it: start=2026-11-22T14:00:00Z")


def _iso_ns(text: str, zone: timezone | None) -> int:
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", _six_digits(text)))
    except ValueError:
        raise ValueError(f"{text!r} is no time") from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text} has no time zone; give it: zone=+01:00, or zone=UTC")
        moment = moment.replace(tzinfo=zone)
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1) * 1000


def _six_digits(text: str) -> str:
    """Fractions of a second as microseconds, which is what Python 3.10 reads."""
    return re.sub(r"[.,](\d+)", lambda match: f".{match[1][:6]:0<6}", text.strip().replace("/", "-"))


def _finite(watts: float) -> float:
    if not math.isfinite(watts):
        raise ValueError("not a number of watts")
    return watts


def _zone(text: str) -> timezone:
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text)
    if text in ("UTC", "Z"):
        return timezone.utc
    if match is None:
        raise UsageError(f"zone={text}: write zone=+01:00 or zone=UTC")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(offset if match[1] == "+" else -offset)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UsageError(f"uncertainty={text}: write it as a share of the reading, 0.01 for one per cent")
    return share


def _distinct(times_ns: Sequence[int], watts: Sequence[float]) -> Trace:
    """Readings in order; those of one and the same time (a clock of whole seconds) become their mean."""
    groups = [
        (time_ns, statistics.fmean(value for _, value in group))
        for time_ns, group in itertools.groupby(sorted(zip(times_ns, watts, strict=True)), key=lambda pair: pair[0])
    ]
    if len(groups) < 2:
        raise FileFormatError("all readings of the log have the same time; it needs a finer clock")
    return Trace(tuple(time_ns for time_ns, _ in groups), tuple(value for _, value in groups))


def _missing(trace: Trace, start_ns: int, stop_ns: int) -> int:
    """Readings that should stand in the silences which touch the window."""
    usual_ns = interval_s(trace) * 1e9
    gaps = (
        min(after, stop_ns) - max(before, start_ns)
        for before, after in itertools.pairwise(trace.times_ns)
        if after - before > _GAP * usual_ns and after > start_ns and before < stop_ns
    )
    return sum(max(0, round(gap / usual_ns) - 1) for gap in gaps)


def _utc(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
