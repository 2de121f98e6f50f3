"""INA219 on an I2C bus: a 12-bit current sensor, as found on most breakout boards, with 0.1 ohm.

Registers and limits from Texas Instruments' datasheet SBOS448G (December 2015), 7.5 and 8.6.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgekit.meters import Meter, Uncertainty
from edgekit.meters._ina import Bus, Chip, Ina, parse

FORM = "ina219:/dev/i2c-1:0x40:0.1ohm"
_BUS_32_V = 1 << 13
_SHUNT_320_MV = 0b11 << 11
_MEAN_OF_16 = 0b1100  # 8.51 ms of a voltage
_CONTINUOUS = 0b111
# At 25 degrees, the larger figures of the two grades; current and voltage err apart from each other.
_STATED = Uncertainty(math.hypot(0.005, 0.005), "datasheet SBOS448G: 0.5 % of current, 0.5 % of voltage")
CHIP = Chip(
    name="INA219",
    configuration=_BUS_32_V | _SHUNT_320_MV | _MEAN_OF_16 << 7 | _MEAN_OF_16 << 3 | _CONTINUOUS,
    shunt_lsb_v=10e-6,
    bus_lsb_v=4e-3,
    bus_shift=3,
    shunt_limit=32_000,
    update_s=2 * 8.51e-3,
    uncertainty=_STATED,
)


def open(arguments: str, root: Path = Path("/")) -> Meter:
    """The chip at `BUS:ADDRESS:SHUNT`; UsageError for other arguments, MissingError if it is not there."""
    bus, address, shunt_ohm = parse("ina219", arguments)
    return Ina(CHIP, Bus(bus, address), shunt_ohm)
