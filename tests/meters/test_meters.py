"""Choosing among meters: the folder is the registry, the widest scope wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import meters
from edgekit.errors import EdgekitError, MissingError, UnknownNameError, UsageError
from edgekit.meters import Meter, Window


class Fake(Meter):
    """A meter that only has a scope and a rate."""

    source = "fake"

    def __init__(self, scope: str, resolution_s: float) -> None:
        self.scope = scope
        self.resolution_s = resolution_s

    def start(self) -> None: ...

    def stop(self) -> Window:
        return Window(1.0, 1.0, 100)


def offer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: dict[str, Meter | str]) -> None:
    """Replaces the folder by modules whose `find` gives these answers."""
    for name, answer in answers.items():
        (tmp_path / f"{name}.py").touch()
        module = type("Module", (), {"find": staticmethod(lambda root, answer=answer: answer)})
        monkeypatch.setitem(__import__("sys").modules, f"edgekit.meters.{name}", module)
    monkeypatch.setattr(meters, "__path__", [str(tmp_path)])


def test_the_widest_scope_wins_then_the_finer_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    best = Fake("board", 0.1)
    answers: dict[str, Meter | str] = {"a": Fake("cpu", 0.001), "b": Fake("board", 1.0), "c": best, "d": "no such bus"}
    offer(monkeypatch, tmp_path, answers)
    assert meters.find(tmp_path) is best


def test_all_reasons_are_told_when_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(monkeypatch, tmp_path, {"a": "no counter", "b": "no such bus"})
    assert meters.find(tmp_path) == "no counter; no such bus"


def test_a_meter_that_has_to_be_asked_for_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(monkeypatch, tmp_path, {"a": "no counter"})
    (tmp_path / "b.py").touch()
    (tmp_path / "_shared.py").touch()
    monkeypatch.setitem(__import__("sys").modules, "edgekit.meters.b", type("Module", (), {}))
    assert meters.find(tmp_path) == "no counter"


def test_the_meters_of_the_package_are_known_by_their_files() -> None:
    assert meters.names() == ["android", "battery", "csv", "hwmon", "ina219", "ina226", "pmic", "powercap"]


def test_auto_and_none(tmp_path: Path) -> None:
    assert meters.open("none", tmp_path) == meters.NO_METER
    assert meters.open("auto", tmp_path) == meters.find(tmp_path)


def test_an_unknown_meter_is_answered_with_all_there_are() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no meter is called 'ina'; there are: auto, none, android, battery"
    ) as no:
        meters.open("ina:1")
    assert "ina219:/dev/i2c-1:0x40:0.1ohm" in str(no.value)


def test_modelled_energy_is_no_meter() -> None:
    with pytest.raises(UsageError, match="not measured, so it is no meter"):
        meters.open("modelled")


@pytest.mark.parametrize("name", meters.names())
def test_every_meter_refuses_what_it_cannot_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(EdgekitError):
        meters.open(f"{name}:{tmp_path / 'nothing'}", tmp_path)


def test_counters_take_no_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no arguments"):
        meters.open("powercap:0", tmp_path)
    with pytest.raises(MissingError, match="no RAPL counter"):
        meters.open("powercap", tmp_path)
