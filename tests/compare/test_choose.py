"""The choice within limits, and what two result sets differ in, where the answer is known."""

from __future__ import annotations

import random

import msgspec
import pytest
from constructed import alike, counted, first, row

from edgekit.compare import Comparison, Ratio, Row, forms, regress
from edgekit.compare.choose import Limits, choose, find_device
from edgekit.errors import QualityError, UnknownNameError, UsageError
from edgekit.measurement import Fingerprint

PI = "Raspberry Pi 4 Model B"
RIGHT, SLIGHTLY_LESS = first(300, 400), [*first(300, 400)[2:], True, False]


def rows() -> list[Row]:
    here = {"device": PI}
    return [
        row("big", "a", first(390, 400), **here, size_bytes=3_000_000, latency_median_ms=20.0),
        row("slow", "b", first(380, 400), **here, size_bytes=1_000_000, latency_median_ms=41.2),
        row("good", "c", RIGHT, **here, size_bytes=1_900_000, latency_median_ms=30.0),
        row("near", "d", SLIGHTLY_LESS, **here, size_bytes=900_000, latency_median_ms=31.0),
        row("poor", "e", first(200, 400), **here, size_bytes=500_000, latency_median_ms=5.0),
        row("shaky", "f", first(399, 400), **here, latency_median_ms=1.0, verdict="invalid", verdict_reasons=("hot",)),
        row("elsewhere", "g", first(400, 400), device="Phone", latency_median_ms=1.0),
    ]


def test_the_question_of_the_first_paragraph() -> None:
    found = choose(rows(), Limits({"latency_ms": 40, "size_mb": 2}), "pi4")
    assert [(c.row.artifact_name, c.place) for c in found[:3]] == [("good", 1), ("near", 2), ("poor", 3)]
    reasons = {c.row.artifact_name: c.reason for c in found}
    assert reasons["good"] == "wins, most accurate of 3 that fit"
    assert (
        reasons["near"].startswith("no significant difference, -0.25 points (")
        and "size on disk 47%" in reasons["near"]
    )
    assert reasons["poor"].startswith("loses, -25.00 points")
    assert reasons["big"] == "loses, size on disk is 3 MB and 2 MB are allowed"
    assert reasons["slow"] == "loses, latency is 41.2 ms and 40 ms are allowed"
    assert reasons["shaky"] == "left out, the measurement is invalid: hot"
    assert "elsewhere" not in reasons


def test_of_equally_accurate_models_the_one_that_is_cheaper_wins() -> None:
    twins = [row(name, "m", RIGHT, latency_median_ms=ms) for name, ms in (("slower", 9.0), ("faster", 3.0))]
    assert [c.row.artifact_name for c in choose(twins, Limits())] == ["faster", "slower"]


def test_what_is_limited_and_not_known_is_left_out_with_the_reason() -> None:
    (found,) = choose([row("n", "m", RIGHT, energy_reason="no meter")], Limits({"energy_mj": 5.0}))
    assert found.place is None and found.reason.endswith("not known here: no meter")
    (found,) = choose([row("n", "m", RIGHT, instructions=counted(5))], Limits({"latency_ms": 5.0}))
    assert "an emulated core has no time" in found.reason


def test_an_accuracy_can_be_asked_for() -> None:
    found = choose(rows(), Limits(min_top1=60), PI)
    assert [c.reason for c in found if c.row.artifact_name == "poor"] == [
        "loses, top-1 is 50.00 % and 60 % are asked for"
    ]


def test_published_accuracy_chooses_among_networks_that_nobody_judged() -> None:
    untrained = [row(f"n{px}", "m", None, input_size=px) for px in (128, 224)]
    found = choose(untrained, Limits(), basis="published", known={("m", 128): 50.0, ("m", 224): 60.0})
    assert [c.row.artifact_name for c in found] == ["n224", "n128"]
    assert [c.reason for c in choose(untrained, Limits())] == ["left out, no measured accuracy"] * 2


def test_a_device_is_found_by_any_part_of_its_name() -> None:
    assert find_device({PI, "Pixel 8"}, "pi4") == PI
    with pytest.raises(UsageError, match="may mean Pixel 8, Raspberry Pi 4"):
        find_device({PI, "Pixel 8"}, "pi")
    with pytest.raises(UnknownNameError, match="no device of these results"):
        find_device({PI}, "jetson")
    with pytest.raises(UsageError, match="--device"):
        find_device({PI, "Pixel 8"}, None)


def changed(**fields: object) -> tuple[Comparison, Comparison]:
    base: dict[str, object] = {"latency_median_ms": 10.0, "latency_error": 0.01}
    old = row("n", "m", RIGHT, **base)
    return Comparison((old,)), Comparison((row("n", "m", RIGHT, **(base | fields)),))


@pytest.mark.parametrize(
    ("fields", "fails"),
    [
        ({"latency_median_ms": 10.4}, False),  # within the limit
        ({"latency_median_ms": 10.6}, True),
        ({"latency_median_ms": 10.6, "latency_error": 0.05}, False),  # may be chance
        ({"latency_median_ms": 10.6, "verdict": "invalid"}, False),  # says nothing
        ({"latency_median_ms": 5.0}, False),
        ({"size_bytes": 1_060_000}, True),
        ({"size_bytes": 1_040_000}, False),
        ({"instructions": counted(5)}, False),  # new, nothing to compare with
        ({"peak_rss_bytes": 5}, False),
    ],
)
def test_ci_fails_for_what_is_worse_beyond_chance(fields: dict[str, object], fails: bool) -> None:
    found = regress.regress(*changed(**fields))
    if fails:
        with pytest.raises(QualityError, match=r"1 of \d figures are worse by more than 5.0%: n, "):
            regress.check(found, 0.05)
    else:
        regress.check(found, 0.05)


def test_a_loss_of_accuracy_is_found_in_pairs() -> None:
    one, other = alike(2000, 0.6, 0.1, random.Random(2))
    chance = regress.regress(Comparison((row("n", "m", one),)), Comparison((row("n", "m", other),)))
    regress.check(chance, 0.0)
    worse = [hit and place % 10 > 0 for place, hit in enumerate(one)]
    lost = regress.regress(Comparison((row("n", "m", one),)), Comparison((row("n", "m", worse),)))
    with pytest.raises(QualityError, match="top-1, % "):
        regress.check(lost, 0.05)


def test_what_only_one_set_has_is_named() -> None:
    found = regress.regress(Comparison((row("a", "m", None),)), Comparison((row("b", "m", None),)))
    assert (found.only_old, found.only_new) == (("a on Board, 1 thread",), ("b on Board, 1 thread",))


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("12.5 %", 0.125)])
def test_a_limit_is_a_percentage_or_a_share(text: str, share: float) -> None:
    assert regress.parse_share(text) == pytest.approx(share)
    with pytest.raises(UsageError):
        regress.parse_share(f"-{text}")


def two_forms(arch: str = "x86_64", features: tuple[str, ...] = (), **fields: object) -> forms.Form:
    machine = Fingerprint(None, "cpu", 2, arch, "os", "3.11", "r", "1", features=features)
    common = {"fingerprint": machine, "latency_error": 0.01, "input_size": 224}
    floating = row("f", "m", RIGHT, recipe="float32", size_bytes=4_000_000, latency_median_ms=10.0, **common)
    int8 = row("q", "m", SLIGHTLY_LESS, **({"latency_median_ms": 12.0} | common | fields))
    (found,) = forms.forms(Comparison((floating, int8)))
    return found


def test_the_price_of_int8() -> None:
    found = two_forms()
    assert (found.size, found.counted) == (0.25, False)
    assert found.speed is not None and found.speed.value == pytest.approx(1.2) and found.speed.low > 1.15
    assert found.top1 is not None and found.top1.value == -0.0025 and not found.top1.significant


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "slower: without VNNI int8 multiplies in 16 bits; this record does not tell"),
        ({"features": ("avx2",)}, "slower: the processor has no VNNI"),
        ({"arch": "aarch64", "features": ("asimd",)}, "slower: the processor has no dot-product instructions"),
        ({"features": ("avx_vnni",)}, "slower: although the processor has avx_vnni"),
        ({"latency_median_ms": 10.1}, "no significant difference in speed"),
        ({"latency_median_ms": 5.0}, ""),
        ({"verdict": "invalid"}, "the timing is invalid of q"),
    ],
)
def test_why_int8_is_no_faster(fields: dict[str, object], words: str) -> None:
    found = two_forms(**fields)  # type: ignore[arg-type]
    assert found.why.startswith(words) if words else found.why == ""


def test_a_ratio_that_was_taken_in_turns_is_used() -> None:
    from edgekit.compare import Pair

    machine = {"session": "s", "latency_median_ms": 10.0, "input_size": 224}
    floating, int8 = row("f", "m", None, recipe="float32", **machine), row("q", "m", None, **machine)
    pair = Pair("f", "q", "Board", 1, Ratio(0.8, 0.75, 0.9))
    (found,) = forms.forms(Comparison((floating, int8), pairs=(pair,)))
    assert found.speed == Ratio(1 / 0.8, 1 / 0.9, 1 / 0.75)


def test_only_what_differs_between_machines_is_told() -> None:
    machine = Fingerprint("Pi", "A72", 4, "aarch64", "os", "3.11", "litert", "2.1", governor="ondemand")
    other = msgspec.structs.replace(machine, runtime_version="2.3", governor=None)
    found = forms.differences([row("a", "m", None, fingerprint=machine), row("b", "m", None, fingerprint=other)])
    assert found == [("runtime_version", ("2.1", "2.3")), ("governor", ("ondemand", "not told"))]
