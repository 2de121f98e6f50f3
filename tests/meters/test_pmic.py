"""The Pi 5's rails: what is paired, what is summed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import meters
from edgekit.errors import MissingError
from edgekit.meters import pmic

# Transcribed from a Raspberry Pi 5's answer in leukipp/touchkio#35.
PI_5 = """\
 3V7_WL_SW_A current(0)=0.12199130A
   3V3_SYS_A current(1)=0.15224510A
   1V8_SYS_A current(2)=0.17273960A
  DDR_VDD2_A current(3)=0.11613570A
  DDR_VDDQ_A current(4)=0.02941200A
   1V1_SYS_A current(5)=0.21763240A
    0V8_SW_A current(6)=0.50748360A
  VDD_CORE_A current(7)=1.54489000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00390720A
      HDMI_A current(22)=0.01709400A
 3V7_WL_SW_V volt(8)=3.60605200V
   3V3_SYS_V volt(9)=3.31931300V
   1V8_SYS_V volt(10)=1.79682400V
  DDR_VDD2_V volt(11)=1.10842400V
  DDR_VDDQ_V volt(12)=0.60549390V
   1V1_SYS_V volt(13)=1.10219700V
    0V8_SW_V volt(14)=0.80146440V
  VDD_CORE_V volt(15)=0.88725180V
   3V3_DAC_V volt(20)=3.31501500V
   3V3_ADC_V volt(21)=3.31684600V
   0V8_AON_V volt(19)=0.79882700V
      HDMI_V volt(23)=4.90440000V
     EXT5V_V volt(24)=4.87894000V
      BATT_V volt(25)=2.50512600V
"""
# Constructed: the same without channels, as documents of other firmware show it, in another order.
WITHOUT_CHANNELS = "VDD_CORE_V=0.8750V\nEXT5V_V=5.0V\n3V3_SYS_A=0.2A\nVDD_CORE_A=2.0A\n3V3_SYS_V=3.3V\n"


def test_twelve_rails_are_paired_by_name_and_summed() -> None:
    rails = pmic.rail_watts(PI_5)
    assert len(rails) == 12 and not {"EXT5V", "BATT"} & set(rails)
    assert rails["VDD_CORE"] == pytest.approx(1.54489 * 0.8872518)
    assert rails["0V8_AON"] == pytest.approx(0.0039072 * 0.798827)  # channels 16 and 19
    assert sum(rails.values()) == pytest.approx(3.50705, abs=1e-4)


def test_the_other_format_gives_the_same() -> None:
    assert pmic.rail_watts(WITHOUT_CHANNELS) == pytest.approx({"VDD_CORE": 1.75, "3V3_SYS": 0.66})


def test_a_rail_with_a_current_needs_its_voltage() -> None:
    with pytest.raises(MissingError, match="only one of current and voltage of HDMI"):
        pmic.rail_watts(PI_5.replace("      HDMI_V volt(23)=4.90440000V\n", ""))


def test_a_rail_whose_current_is_gone_is_not_left_out_in_silence() -> None:
    with pytest.raises(MissingError, match="only one of current and voltage of VDD_CORE"):
        pmic.rail_watts(PI_5.replace("  VDD_CORE_A current(7)=1.54489000A\n", ""))


def test_voltages_alone_are_no_power() -> None:
    with pytest.raises(MissingError, match=r"no current .* use an INA219"):
        pmic.rail_watts("\n".join(line for line in PI_5.splitlines() if "volt" in line))


@pytest.mark.parametrize("line", ["VDD_CORE_A current(7)=nanA", "VDD_CORE_A current(7)=1.5V", "VDD_CORE  0.88V  0.81A"])
def test_a_line_of_another_kind_is_shown(line: str) -> None:
    with pytest.raises(MissingError, match="which is no reading of a rail"):
        pmic.rail_watts(f"{PI_5}{line}\n")


def board(root: Path, script: str) -> Path:
    command = root / "usr/bin/vcgencmd"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


def test_a_pi_5_is_found_and_says_what_it_sees(tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(PI_5)
    board(tmp_path, f"[ $1 = pmic_read_adc ] && cat {tmp_path / 'answer'}")
    meter = meters.find(tmp_path)
    assert isinstance(meter, pmic.Pmic)
    assert (meter.source, meter.scope, meter.uncertainty) == ("Pi 5 PMIC", "rails", None)
    assert meter.watts() == pytest.approx(3.50705, abs=1e-4)


def test_a_pi_without_the_command_in_its_firmware_gives_the_reason(tmp_path: Path) -> None:
    board(tmp_path, """echo 'error=1 error_msg="Command not registered"'""")
    reason = pmic.find(tmp_path)
    assert isinstance(reason, str) and "Command not registered" in reason and "group video" in reason


def test_a_command_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmic, "_TIMEOUT_S", 0.1)
    board(tmp_path, "exec sleep 30")
    assert "gives no answer" in str(pmic.find(tmp_path))


def test_another_machine_gives_the_reason(tmp_path: Path) -> None:
    assert pmic.find(tmp_path) == "no /usr/bin/vcgencmd (a Raspberry Pi 5 has it)"
    with pytest.raises(MissingError, match="is not there; a Raspberry Pi 5 has it"):
        meters.open("pmic", tmp_path)
