"""The answer in words, on families whose standing is known."""

from __future__ import annotations

import msgspec
import pytest
from constructed import counted, first, row

from edgekit.compare import Row, answers
from edgekit.compare.costs import COSTS, INSTRUCTIONS, SIZE
from edgekit.compare.family import Known, besides

KNOWN: Known = {
    ("mobilenet_v1_025", 128): 41.5,
    ("mobilenet_v1_050", 160): 59.1,
    ("mobilenet_v1", 224): 70.9,
    ("squeezenet_v1_1", 224): 58.2,
}


def rows(squeeze_hits: int = 240, **fields: object) -> list[Row]:
    """A SqueezeNet in the middle of two MobileNets' sizes, and dearer than both in instructions."""
    small = {"size_bytes": 500_000, "instructions": counted(3), "input_size": 128}
    large = {"size_bytes": 2_000_000, "instructions": counted(12), "input_size": 160}
    middle = {"size_bytes": 1_000_000, "instructions": counted(40), "input_size": 224}
    return [
        row("mobilenet_v1_025-128-int8", "mobilenet_v1_025", first(200, 400), **small),
        row("mobilenet_v1_050-160-int8", "mobilenet_v1_050", first(280, 400), **large),
        row("squeezenet_v1_1-224-int8", "squeezenet_v1_1", first(squeeze_hits, 400), **(middle | fields)),
    ]


@pytest.mark.parametrize(
    ("hits", "words"),
    [
        (300, "better than the MobileNet v1 of equal size on disk (beside only 2 of its 3 variants) and instructions"),
        (240, "never better but not significantly different from that of equal size on disk (beside only 2 of its 3"),
        (150, "never better but worse than that of equal size on disk and instructions."),
    ],
)
def test_the_sentence_follows_the_intervals(hits: int, words: str) -> None:
    told = answers.answers(besides(rows(hits), (SIZE, INSTRUCTIONS), KNOWN))
    assert words in answers.sentence("squeezenet", told, "measured")


def test_a_family_that_stands_nowhere_has_no_sentence() -> None:
    told = answers.answers(besides(rows(), (SIZE,), KNOWN))
    assert answers.sentence("squeezenext", told, "measured") == ""


def test_the_most_favourable_model_answers_for_its_family() -> None:
    worse = msgspec.structs.replace(
        rows(100)[2], artifact_name="squeezenet_v1_0-227-int8", model="squeezenet_v1_0", artifact_sha256="f" * 64
    )
    (told,) = answers.answers(besides([*rows(300), worse], (SIZE,), {}))
    assert told.beside.row.artifact_name == "squeezenet_v1_1-224-int8"


def test_a_fuller_curve_answers_before_a_kinder_one() -> None:
    """In another recipe the SqueezeNet looks better only because a MobileNet is missing there."""
    third = row("mobilenet_v1-224-int8", "mobilenet_v1", first(330, 400), size_bytes=4_000_000, input_size=224)
    fast = [
        msgspec.structs.replace(item, recipe="int8_fast", artifact_sha256=f"{number}" * 64)
        for number, item in enumerate(rows(390))
    ]
    (told,) = answers.answers(besides([*rows(240), third, *fast], (SIZE,), {}))
    assert (told.beside.row.recipe, told.beside.points) == ("int8", 3)


def test_words_have_the_gap_and_what_it_costs() -> None:
    (told,) = answers.answers(besides(rows(280), (INSTRUCTIONS,), {}))
    assert answers.words(told.beside).startswith("no significant difference, +0.0 points (")
    assert answers.words(told.beside).endswith(" times the cost at equal accuracy")
    cheap = besides(rows(280, instructions=counted(1)), (INSTRUCTIONS,), {})
    assert "the cheapest of the curve, costs 3 times as much" in answers.words(cheap[0])


def test_images_that_favour_a_family_are_noticed() -> None:
    floats = [msgspec.structs.replace(item, recipe="float32") for item in rows(240)]
    found = answers.favour(floats, KNOWN)
    assert found["mobilenet_v1"] == pytest.approx(((50 - 41.5) + (70 - 59.1)) / 2)
    assert found["squeezenet"] == pytest.approx(60 - 58.2)


def test_no_cost_is_both_measured_and_modelled() -> None:
    kinds = {cost.key: cost.kind for cost in COSTS}
    assert kinds["energy_mj"] == "measured" and kinds["modelled_mj"] == "modelled"
    assert len({cost.title for cost in COSTS}) == len(COSTS)
