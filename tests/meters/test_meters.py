"""Choosing among meters: the folder is the registry, the widest scope wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import meters
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
