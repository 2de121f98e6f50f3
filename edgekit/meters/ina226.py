"""INA226 on an I2C bus: a 16-bit current sensor for up to 82 mV across its resistor.

Registers and limits from Texas Instruments' datasheet SBOS547B (September 2024), 5.5 and 7.1.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgekit.errors import MissingError
from edgekit.meters import Meter, Uncertainty
from edgekit.meters._ina import Bus, Chip, Ina, Registers, parse

FORM = "ina226:/dev/i2c-1:0x40:0.01ohm"
_MANUFACTURER, _DIE = 0xFE, 0xFF
_IDENTITY = (0x5449, 0x2260)
_ALWAYS_SET = 1 << 14
_MEAN_OF_16 = 0b010 << 9
_588_US = 0b011
_CONTINUOUS = 0b111
_STATED = Uncertainty(math.hypot(0.001, 0.001), "datasheet SBOS547B: 0.1 % of current, 0.1 % of voltage")
CHIP = Chip(
    name="INA226",
    configuration=_ALWAYS_SET | _MEAN_OF_16 | _588_US << 6 | _588_US << 3 | _CONTINUOUS,
    shunt_lsb_v=2.5e-6,
    bus_lsb_v=1.25e-3,
    bus_shift=0,
    shunt_limit=0x7FFF,
    update_s=16 * 2 * 588e-6,
    uncertainty=_STATED,
)


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The chip at `BUS:ADDRESS:SHUNT`; UsageError for other arguments, MissingError if it is not there."""
    bus, address, shunt_ohm = parse("ina226", arguments)
    registers = Bus(bus, address)
    check_identity(registers)
    return Ina(CHIP, registers, shunt_ohm)


def check_identity(registers: Registers) -> None:
    """Raises MissingError, before anything is written, unless the chip says that it is an INA226."""
    found = registers.read(_MANUFACTURER), registers.read(_DIE)
    if found != _IDENTITY:
        raise MissingError(
            f"the chip there says {found[0]:#06x} and {found[1]:#06x}, an INA226 says {_IDENTITY[0]:#06x} and"
            f" {_IDENTITY[1]:#06x}; for an INA219 write --meter ina219:..."
        )
