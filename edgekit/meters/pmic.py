"""The power management chip of a Raspberry Pi 5, through the firmware's `vcgencmd pmic_read_adc`.

It tells current and voltage of twelve rails, the outputs of the chip's own regulators: the processor cores, memory,
and the 3.3, 1.8, 1.1 and 0.8 V that feed the rest of the board. Their sum leaves out what the regulators lose and all
that hangs on the 5 V input itself: USB devices, the fan, hats. EXT5V and BATT have a voltage and no current, so
nothing can be said of their power. Other Pis have no such converter: a Pi 4 answers without currents.
Numbers in brackets are channels of the converter, different for current and voltage of one rail: rails are paired by
name. Nobody states how exact it is. Seen in leukipp/touchkio#35 and LibreRPi's pi5_voltage.py (with channels); other
firmware leaves the channels out.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from edgekit.errors import MissingError
from edgekit.meters import Meter
from edgekit.meters._sampling import SampledMeter

FORM = "pmic[:/path/to/vcgencmd]"
_COMMAND = Path("usr/bin/vcgencmd")
_TIMEOUT_S = 1.0
_READING = re.compile(
    r"(?P<rail>\w+)_(?P<kind>[AV])(?:\s+(?:current|volt)\(\d+\))?\s*=\s*(?P<value>\d+(?:\.\d+)?)(?P=kind)"
)
_VOLTAGE_ONLY = {"EXT5V", "BATT", "BAT_RTC"}


class Pmic(SampledMeter):
    """The sum of all rails of a Pi 5; each reading starts `command`, in a process of its own."""

    source = "Pi 5 PMIC"
    scope = "rails"
    resolution_s = period_s = 0.1

    def __init__(self, command: Path) -> None:
        super().__init__(in_child=f"pmic:{command}")
        self._command = command

    def watts(self) -> float:
        """Volts times amperes, summed over the rails."""
        return sum(rail_watts(_output(self._command)).values())


def rail_watts(output: str) -> dict[str, float]:
    """Watts of each rail of which the output of `vcgencmd pmic_read_adc` has both current and voltage.

    Raises MissingError where there is no current at all, as on a Pi 4, where a line is not a reading, and where a
    rail that has a current lacks its voltage or, but for those that never have one, its current.
    """
    amperes, volts = _channels(output)
    if not amperes:
        raise MissingError("vcgencmd pmic_read_adc tells no current (a Pi 5 does); use an INA219 or a USB meter")
    incomplete = sorted((amperes.keys() ^ volts.keys()) - _VOLTAGE_ONLY)
    if incomplete:
        raise MissingError(f"vcgencmd pmic_read_adc tells only one of current and voltage of {', '.join(incomplete)}")
    return {rail: amperes[rail] * volts[rail] for rail in amperes}


def _channels(output: str) -> tuple[dict[str, float], dict[str, float]]:
    """Amperes and volts by rail."""
    found: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in filter(None, map(str.strip, output.splitlines())):
        reading = _READING.fullmatch(line)
        if reading is None:
            raise MissingError(f"vcgencmd pmic_read_adc answers {line[:80]!r}, which is no reading of a rail")
        found[reading["kind"]][reading["rail"]] = float(reading["value"])
    return found["A"], found["V"]


def _output(command: Path) -> str:
    try:
        done = subprocess.run([command, "pmic_read_adc"], capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{command} pmic_read_adc gives no answer ({error})") from None
    if done.returncode or "error=" in done.stdout:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise MissingError(
            f"{command} pmic_read_adc fails ({said}); a Pi 5 is needed, and membership in the group video:"
            " sudo usermod -aG video $USER"
        )
    return done.stdout


def find(root: Path = Path("/")) -> Meter | str:
    """The rails of this board, or why they cannot be read."""
    command = root / _COMMAND
    if not command.exists():
        return f"no /{_COMMAND} (a Raspberry Pi 5 has it)"
    try:
        return _opened(command)
    except MissingError as error:
        return str(error)


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The rails of this board; `arguments` is another place of vcgencmd. MissingError if they cannot be read."""
    command = Path(arguments).absolute() if arguments else root / _COMMAND
    if not command.is_file():
        raise MissingError(f"{command} is not there; a Raspberry Pi 5 has it in the package raspi-utils")
    return _opened(command)


def _opened(command: Path) -> Pmic:
    meter = Pmic(command)
    meter.watts()
    return meter
