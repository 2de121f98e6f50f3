"""INA219 and INA226: the datasheets' arithmetic on chips made of registers; no test needs a bus.

The worked figures are those of the datasheets: INA219, SBOS448G, 8.6.3; INA226, SBOS547B, 7.1 and Table 8-1.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import meters
from edgekit.errors import MissingError, UsageError
from edgekit.meters import _ina, ina219, ina226
from edgekit.meters._ina import Chip, Ina, power_w, signed


class Fake:
    """A chip's registers; `sticky` bits of the configuration cannot be set, as in another chip."""

    def __init__(self, values: dict[int, int], sticky: int = 0) -> None:
        self.values, self.sticky = values, sticky
        self.written: list[tuple[int, int]] = []

    def read(self, register: int) -> int:
        return self.values[register]

    def write(self, register: int, value: int) -> None:
        self.written.append((register, value))
        self.values[register] = value & ~self.sticky


@pytest.mark.parametrize(("raw", "volts"), [(0x7D00, 0.32), (0x8300, -0.32), (0x0FA0, 0.04), (0xF060, -0.04)])
def test_the_shunt_register_of_the_ina219_is_in_steps_of_10_microvolts(raw: int, volts: float) -> None:
    assert signed(raw) * ina219.CHIP.shunt_lsb_v == pytest.approx(volts)


@given(st.integers(-0x8000, 0x7FFF))
def test_two_complement_goes_there_and_back(value: int) -> None:
    assert signed(value & 0xFFFF) == value


def test_an_ina219_gives_power_from_both_voltages_whatever_its_flags() -> None:
    # 12 V are 3000 steps of 4 mV above three flag bits; 20 mV across 0.1 ohm are 0.2 A.
    for flags in range(8):
        assert power_w(ina219.CHIP, 2000, 3000 << 3 | flags, 0.1) == pytest.approx(2.4)


def test_an_ina226_gives_the_power_of_its_datasheet_example() -> None:
    # 10 A through 2 mohm are 8000 steps of 2.5 uV; 11.98 V are 9584 steps of 1.25 mV: 119.8 W.
    assert power_w(ina226.CHIP, 8000, 9584, 0.002) == pytest.approx(119.8)


@given(st.integers(1, 31_999), st.integers(1, 8_000), st.floats(0.001, 10))
def test_power_is_linear_in_each_of_its_parts(shunt: int, bus: int, ohm: float) -> None:
    power = power_w(ina219.CHIP, shunt, bus << 3, ohm)
    assert power_w(ina219.CHIP, -shunt, bus << 3, ohm) == pytest.approx(-power)
    assert power_w(ina219.CHIP, shunt, bus << 3, ohm / 2) == pytest.approx(2 * power)


@pytest.mark.parametrize(
    ("chip", "configuration", "update_s"), [(ina219.CHIP, 0x3E67, 0.01702), (ina226.CHIP, 0x44DF, 0.018816)]
)
def test_a_chip_is_set_to_average_without_gaps(chip: Chip, configuration: int, update_s: float) -> None:
    fake = Fake({1: 500, 2: 1000 << 3})
    meter = Ina(chip, fake, 0.1)
    assert fake.written == [(0, configuration)]
    assert meter.resolution_s == pytest.approx(update_s)


def test_the_uncertainty_has_the_resistor_in_it_and_says_whose_it_is() -> None:
    meter = Ina(ina226.CHIP, Fake({}), 0.01)
    assert meter.uncertainty is not None
    assert meter.uncertainty.share == pytest.approx(0.0101, abs=1e-4)
    assert (
        meter.uncertainty.stated_by == "datasheet SBOS547B: 0.1 % of current, 0.1 % of voltage, and a resistor of 1 %"
    )


@pytest.mark.parametrize(
    ("chip", "raw", "limit"),
    [(ina219.CHIP, 32_000, "3.20 A"), (ina219.CHIP, 0x8300, "3.20 A"), (ina226.CHIP, 0x7FFF, "0.82 A")],
)
def test_a_current_beyond_the_range_is_no_reading(chip: Chip, raw: int, limit: str) -> None:
    meter = Ina(chip, Fake({1: raw, 2: 1000}), 0.1)
    with pytest.raises(MissingError, match=f"beyond the range of 0.1 ohm .{limit}.; use a smaller resistor"):
        meter.watts()


def test_wires_the_wrong_way_round_are_noticed_but_not_a_chip_s_offset() -> None:
    registers = Fake({1: 0xFFF0, 2: 1250 << 3})  # 16 steps below 0
    meter = Ina(ina219.CHIP, registers, 0.1)
    assert -0.01 < meter.watts() < 0
    registers.values[1] = 0xF000
    with pytest.raises(MissingError, match=r"flows backwards; swap the wires at VIN\+ and VIN-"):
        meter.watts()


def test_another_chip_is_noticed_by_its_configuration() -> None:
    with pytest.raises(MissingError, match=r"keeps 0x0067 where a INA219 keeps 0x3e67; is it another chip\?"):
        Ina(ina219.CHIP, Fake({}, sticky=0xFF00), 0.1)


def test_an_ina226_is_asked_who_it_is_before_anything_is_written() -> None:
    ina226.check_identity(Fake({0xFE: 0x5449, 0xFF: 0x2260}))
    other = Fake({0xFE: 0x399F, 0xFF: 0x399F})
    with pytest.raises(MissingError, match=r"the chip there says 0x399f.*for an INA219 write"):
        ina226.check_identity(other)
    assert other.written == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("/dev/i2c-1:0x40:0.1ohm", (Path("/dev/i2c-1"), 0x40, 0.1)),
        ("/dev/i2c-1:0x4f:100mohm", (Path("/dev/i2c-1"), 0x4F, 0.1)),
        ("/dev/i2c-0:64:0.01", (Path("/dev/i2c-0"), 0x40, 0.01)),
    ],
)
def test_bus_address_and_resistor_are_given(arguments: str, expected: tuple[Path, int, float]) -> None:
    bus, address, ohm = _ina.parse("ina219", arguments)
    assert (bus, address) == expected[:2] and ohm == pytest.approx(expected[2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "three arguments are needed, .* never scanned"),
        ("/dev/i2c-1:0x40", "three arguments"),
        ("/dev/i2c-1:here:0.1ohm", "'here' is no I2C address"),
        ("/dev/i2c-1:0x50:0.1ohm", "from 0x40 to 0x4f, 0x50 was given"),
        ("/dev/i2c-1:0x40:0ohm", "'0ohm' is no resistance"),
        ("/dev/i2c-1:0x40:-1", "'-1' is no resistance"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        meters.open(f"ina219:{arguments}")


def test_a_bus_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "i2c-20").touch()
    with pytest.raises(
        MissingError, match=r"i2c-1 cannot be opened \(No such file or directory\); buses here: .*i2c-20"
    ):
        meters.open(f"ina219:{tmp_path}/i2c-1:0x40:0.1ohm")


def test_a_file_that_is_no_bus_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "i2c-1"
    file.write_bytes(b"precious")
    with pytest.raises(MissingError, match=r"at address 0x40: not to be had .*is it an I2C bus\?"):
        meters.open(f"ina226:{file}:0x40:0.1ohm")
    assert file.read_bytes() == b"precious"
