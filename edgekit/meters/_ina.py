"""What Texas Instruments' current sensors on an I2C bus have in common: registers, and power from two voltages.

The sensor's voltage across a known resistor gives the current, and the bus voltage times that the power. The chip can
multiply by itself once its calibration register is set, but forgets that when its supply dips and then tells 0 A; so
the two voltages are read and multiplied here, as the datasheets allow (INA219, SBOS448G, 8.5.3).
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit.errors import MissingError, UsageError
from edgekit.meters import Uncertainty
from edgekit.meters._sampling import SampledMeter

ADDRESSES = range(0x40, 0x50)  # 16 addresses by two pins, the same for both chips
RESISTOR_SHARE = 0.01  # the resistor of the common breakout boards, as their sellers state it
_I2C_SLAVE = 0x0703  # Linux, include/uapi/linux/i2c-dev.h
_OFFSET_V = 1e-3  # by which no chip is off: less than that is no current, more is one
_CONFIGURATION, _SHUNT, _BUS = 0x00, 0x01, 0x02


class Registers(Protocol):
    """A chip's 16-bit registers by their numbers, high byte first on the wire."""

    def read(self, register: int) -> int:
        """The register, 0 to 65535."""

    def write(self, register: int, value: int) -> None:
        """Sets the register."""


class Bus:
    """One chip on an I2C bus of Linux (Documentation/i2c/dev-interface.rst); no other address is touched."""

    def __init__(self, path: Path, address: int) -> None:
        self._where = f"{path} at address {address:#04x}"
        try:
            self._file = os.open(path, os.O_RDWR)
        except OSError as error:
            raise MissingError(f"{path} cannot be opened ({error.strerror}); {_buses(path.parent)}") from None
        try:
            fcntl.ioctl(self._file, _I2C_SLAVE, address)
        except OSError as error:
            os.close(self._file)
            raise MissingError(f"{self._where}: {_refusal(error)}") from None

    def read(self, register: int) -> int:
        """Sets the chip's pointer, then reads two bytes; the chip keeps the pointer between the two."""
        try:
            os.write(self._file, bytes([register]))
            return int.from_bytes(os.read(self._file, 2), "big")
        except OSError as error:
            raise MissingError(f"{self._where} does not answer ({error.strerror}); check address and wires") from None

    def write(self, register: int, value: int) -> None:
        """Pointer and value in one message."""
        try:
            os.write(self._file, bytes([register, value >> 8, value & 0xFF]))
        except OSError as error:
            raise MissingError(f"{self._where} does not answer ({error.strerror}); check address and wires") from None


@dataclass(frozen=True)
class Chip:
    """What distinguishes one sensor.

    configuration: the register's value: continuous conversion of both voltages, averaged, in the widest range
    shunt_lsb_v, bus_lsb_v: one step of either voltage; the bus register's lowest `bus_shift` bits are flags
    shunt_limit: the first reading of the shunt that means the range has ended
    update_s: the time in which both voltages are converted and averaged
    uncertainty: of current and voltage together, without the resistor
    """

    name: str
    configuration: int
    shunt_lsb_v: float
    bus_lsb_v: float
    bus_shift: int
    shunt_limit: int
    update_s: float
    uncertainty: Uncertainty


class Ina(SampledMeter):
    """A sensor in the supply line of what is measured, so with the scope of the whole board."""

    scope = "board"

    def __init__(self, chip: Chip, registers: Registers, shunt_ohm: float) -> None:
        self.source = chip.name
        self.resolution_s = self.period_s = chip.update_s
        share = math.hypot(chip.uncertainty.share, RESISTOR_SHARE)
        self.uncertainty = Uncertainty(share, f"{chip.uncertainty.stated_by}, and a resistor of 1 %")
        super().__init__()
        self._chip, self._registers, self._shunt_ohm = chip, registers, shunt_ohm
        self._configure()

    def watts(self) -> float:
        """The voltage across the resistor over its resistance, times the bus voltage."""
        shunt = signed(self._registers.read(_SHUNT))
        limit = self._chip.shunt_limit
        if not -limit < shunt < limit:
            raise MissingError(
                f"{self._chip.name}: the current is beyond the range of {self._shunt_ohm:g} ohm"
                f" ({limit * self._chip.shunt_lsb_v / self._shunt_ohm:.2f} A); use a smaller resistor"
            )
        if shunt * self._chip.shunt_lsb_v < -_OFFSET_V:
            raise MissingError(f"{self._chip.name}: the current flows backwards; swap the wires at VIN+ and VIN-")
        return power_w(self._chip, shunt, self._registers.read(_BUS), self._shunt_ohm)

    def _configure(self) -> None:
        self._registers.write(_CONFIGURATION, self._chip.configuration)
        found = self._registers.read(_CONFIGURATION)
        if found != self._chip.configuration:
            raise MissingError(
                f"what answers there keeps {found:#06x} where a {self._chip.name} keeps"
                f" {self._chip.configuration:#06x}; is it another chip?"
            )


def power_w(chip: Chip, shunt: int, bus: int, shunt_ohm: float) -> float:
    """Watts from the signed reading of the shunt and the raw one of the bus register."""
    return shunt * chip.shunt_lsb_v / shunt_ohm * ((bus >> chip.bus_shift) * chip.bus_lsb_v)


def signed(raw: int) -> int:
    """A 16-bit register in two's complement."""
    return raw - 0x10000 if raw & 0x8000 else raw


def parse(name: str, arguments: str) -> tuple[Path, int, float]:
    """Bus, address and ohms of `BUS:ADDRESS:SHUNT`, /dev/i2c-1:0x40:0.1ohm say; UsageError for anything else."""
    form = f"{name}:/dev/i2c-1:0x40:0.1ohm (bus, address, resistor)"
    fields = arguments.split(":")
    if len(fields) != 3 or not fields[0]:
        raise UsageError(f"{name}:{arguments}: three arguments are needed, as in {form}; addresses are never scanned")
    try:
        address = int(fields[1], 0)
    except ValueError:
        raise UsageError(f"{fields[1]!r} is no I2C address; write {form}") from None
    if address not in ADDRESSES:
        raise UsageError(f"a {name} has an address from 0x40 to 0x4f, {address:#04x} was given; write {form}")
    return Path(fields[0]), address, _ohms(fields[2], form)


def _ohms(text: str, form: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(m?)(?:ohm)?", text.strip().lower())
    value = float(match[1]) * (0.001 if match[2] else 1.0) if match else 0.0
    if value <= 0:
        raise UsageError(f"{text!r} is no resistance; write {form}")
    return value


def _refusal(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "the kernel's driver has this chip; use --meter hwmon"
    return f"not to be had ({error.strerror}); is it an I2C bus?"


def _buses(folder: Path) -> str:
    there = ", ".join(str(path) for path in sorted(folder.glob("i2c-*"))) or "none"
    return f"buses here: {there} (on a Raspberry Pi: sudo raspi-config nonint do_i2c 0, and the group i2c)"
