"""A current sensor that Linux's own driver has: INA219, INA226 and their kin under /sys/class/hwmon.

The driver tells power1_input in microwatts, curr1_input in milliamperes, in1_input, the bus voltage, in millivolts,
and for some chips update_interval in milliseconds (Linux, Documentation/hwmon/sysfs-interface.rst and ina2xx.rst).
What the chip measures is what it is wired to: it is taken to be the supply of the board unless the user says another
scope. The driver must know the resistor (shunt_resistor, in microohms): it takes 10 milliohms if nobody tells it, where
most breakout boards have 100.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgekit.errors import MissingError, UsageError
from edgekit.meters import Meter, Uncertainty, checked_scope, ina219, ina226
from edgekit.meters._ina import RESISTOR_SHARE
from edgekit.meters._sampling import SampledMeter

FORM = "hwmon[:hwmon2[:board]]"
_FOLDER = Path("sys/class/hwmon")
_STATED = {"ina219": ina219.CHIP.uncertainty, "ina226": ina226.CHIP.uncertainty}
_CHIPS = {*_STATED, "ina220", "ina230", "ina231", "ina232", "ina234", "ina237", "ina238", "ina260"}
_SHORTEST_S = 0.01


class Hwmon(SampledMeter):
    """One chip by its folder."""

    def __init__(self, folder: Path, scope: str = "board") -> None:
        name = _name(folder)
        self.source = f"{name.upper()} by hwmon{_resistor(folder)}"
        self.scope = checked_scope(scope)
        self.resolution_s = self.period_s = max(_SHORTEST_S, _update_s(folder))
        if name in _STATED:
            stated = _STATED[name]
            share = math.hypot(stated.share, RESISTOR_SHARE)
            self.uncertainty = Uncertainty(share, f"{stated.stated_by}, and a resistor of 1 %")
        super().__init__()
        self._folder = folder
        self._tells_power = (folder / "power1_input").exists()

    def watts(self) -> float:
        """The chip's own product where it has one, else current times voltage."""
        if self._tells_power:
            return _number(self._folder / "power1_input") / 1e6
        return _number(self._folder / "curr1_input") / 1e3 * _number(self._folder / "in1_input") / 1e3


def find(root: Path = Path("/")) -> Meter | str:
    """The only such chip of this machine, or why there is none to choose."""
    folders = _chips(root)
    if not folders:
        return f"no INA chip under /{_FOLDER} (on a Raspberry Pi: dtoverlay=i2c-sensor,ina219)"
    if len(folders) > 1:
        return f"several INA chips, choose one: {', '.join(f'--meter hwmon:{folder.name}' for folder in folders)}"
    return _opened(folders[0])


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The chip of `NAME[:SCOPE]`, or the only one; UsageError and MissingError say which there are."""
    name, _, scope = arguments.partition(":")
    folders = _chips(root)
    if not name and len(folders) == 1:
        name = folders[0].name
    if name not in [folder.name for folder in folders]:
        there = ", ".join(f"{folder.name} ({_name(folder)})" for folder in folders) or "none"
        wrong = UsageError if folders else MissingError
        raise wrong(f"hwmon:{arguments} is not one of the current sensors under /{_FOLDER}; there: {there}")
    answer = _opened(root / _FOLDER / name, scope or "board")
    if isinstance(answer, str):
        raise MissingError(answer)
    return answer


def _opened(folder: Path, scope: str = "board") -> Meter | str:
    meter = Hwmon(folder, scope)
    try:
        meter.watts()
    except MissingError as error:
        return str(error)
    return meter


def _chips(root: Path) -> list[Path]:
    return [folder for folder in sorted((root / _FOLDER).glob("hwmon*")) if _name(folder) in _CHIPS]


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""


def _update_s(folder: Path) -> float:
    """How often the driver says that the chip converts; nothing for chips of one rate, which is shorter than ours."""
    file = folder / "update_interval"
    return _number(file) / 1e3 if file.exists() else 0.0


def _resistor(folder: Path) -> str:
    """The resistance that the driver reckons with, in the source: a wrong one scales every reading."""
    file = folder / "shunt_resistor"
    return f" with {_number(file) / 1e3:g} mohm" if file.exists() else ""


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError) as error:
        raise MissingError(f"{file} cannot be read ({error}); is the sensor connected?") from None
