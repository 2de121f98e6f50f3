"""The RAPL meter on invented powercap trees; no test needs a real counter."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import meters
from edgekit.errors import MissingError
from edgekit.meters import powercap

RANGE_UJ = 262_143_328_850


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def domain(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / "sys/class/powercap" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path


def test_packages_are_summed_and_inner_domains_left_out(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 10)
    platform = domain(tmp_path, "intel-rapl:2", "psys", 10)
    meter = powercap.find(tmp_path)
    assert isinstance(meter, powercap.Powercap)
    clock = Clock()
    meter = powercap.Powercap([first, second], clock)
    meter.start()
    for path, energy_uj in ((first, 3_500_000), (second, 6_000_000), (core, 99_000_000), (platform, 99_000_000)):
        (path / "energy_uj").write_text(str(energy_uj))
    clock.now_ns = 1_000_000_000
    assert meter.stop().energy_j == pytest.approx(3.5)


def test_find_takes_only_the_packages(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    domain(tmp_path, "intel-rapl:0:0", "core", 0)
    domain(tmp_path, "intel-rapl:1", "psys", 0)
    meter = powercap.find(tmp_path)
    assert isinstance(meter, powercap.Powercap)
    assert meter._packages == [package]


def test_a_counter_that_wrapped_counts_on(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 2_000_000)
    clock = Clock()
    meter = powercap.Powercap([package], clock)
    meter.start()
    (package / "energy_uj").write_text("3000000")
    clock.now_ns = 1_000_000_000
    assert meter.stop().energy_j == pytest.approx(5.0)


def test_a_second_window_starts_afresh(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock()
    meter = powercap.Powercap([package], clock)
    joules = []
    for total_uj in (1_000_000, 1_250_000):
        meter.start()
        (package / "energy_uj").write_text(str(total_uj))
        clock.now_ns += 1_000_000_000
        joules.append(meter.stop().energy_j)
    assert joules == pytest.approx([1.0, 0.25])


@pytest.mark.parametrize(("window_ns", "refused"), [(9_999_999, True), (10_000_000, False)])
def test_ten_updates_are_the_shortest_window(tmp_path: Path, window_ns: int, refused: bool) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock()
    meter = powercap.Powercap([package], clock)
    meter.start()
    (package / "energy_uj").write_text("1000")
    clock.now_ns = window_ns
    if refused:
        with pytest.raises(MissingError, match=r"10\.0 ms is too short, measure for at least 10 ms"):
            meter.stop()
    else:
        assert meter.stop().energy_j == pytest.approx(0.001)


def test_a_dead_counter_is_not_zero_energy(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 77)
    clock = Clock()
    meter = powercap.Powercap([package], clock)
    meter.start()
    clock.now_ns = 1_000_000_000
    with pytest.raises(MissingError, match="did not move"):
        meter.stop()


def test_a_machine_without_rapl_gives_the_reason(tmp_path: Path) -> None:
    assert powercap.find(tmp_path) == (
        "no RAPL counter under /sys/class/powercap (Arm boards and virtual machines have none)"
    )
    assert str(powercap.find(tmp_path)) in str(meters.find(tmp_path))


def test_a_counter_for_root_only_gives_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 0)
    read_text = Path.read_text

    def for_root_only(path: Path) -> str:  # the tests may run as root, whom no mode bits stop
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", for_root_only)
    reason = powercap.find(tmp_path)
    assert isinstance(reason, str)
    assert "intel-rapl:0/energy_uj is for root only" in reason
    assert "sudo chmod a+r" in reason


def test_a_counter_that_is_no_number_gives_the_reason(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    (package / "energy_uj").write_text("soon")
    reason = powercap.find(tmp_path)
    assert isinstance(reason, str) and "cannot be read as an energy counter" in reason
