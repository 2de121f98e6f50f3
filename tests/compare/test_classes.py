"""Accuracy by class and confusions, on records whose answers are known, and the page's section of one model."""

from __future__ import annotations

import re

import msgspec

from edgekit.compare.classes import by_class, confusions
from edgekit.measurement import Quality
from edgekit.report.details import Detail, Layer, section
from edgekit.report.html import grid

#        image:  0  1  2  3  4  5  6
TRUTH = (0, 0, 1, 1, 2, None, 2)
ANSWER = (0, 1, 1, 0, 0, 2, 0)
RANK = (0, 3, 0, 1, 5, None, 9)
JUDGED = Quality("a" * 64, "n", "m", "int8", 1, 7, "1" * 64, RANK, "2026", truth=TRUTH, answer=ANSWER)


def test_classes_are_told_worst_first_and_unlabelled_images_do_not_count() -> None:
    found = by_class(JUDGED)
    assert [(item.number, item.top1.value, item.top1.of) for item in found] == [(2, 0.0, 2), (0, 0.5, 2), (1, 0.5, 2)]
    assert found[0].top1.low == 0 and found[0].top1.high < 1


def test_confusions_are_counted_and_the_furthest_off_come_first() -> None:
    found = confusions(JUDGED)
    assert [(item.truth, item.answer, item.count, item.image) for item in found] == [
        (2, 0, 2, 4),
        (0, 1, 1, 1),
        (1, 0, 1, 3),
    ]
    assert confusions(JUDGED, most=1) == found[:1]


def test_a_record_without_classes_tells_none() -> None:
    old = msgspec.structs.replace(JUDGED, truth=(), answer=())
    assert by_class(old) == []


def detail(**fields: object) -> Detail:
    layers = (
        Layer(0, "CONV_2D", (1, 8, 8, 4), 256, 4_000_000, True, 2_000_000, 41.5),
        Layer(1, "MEAN", (1, 4), 16, 0, None, -100, None),
    )
    values = {"layers": layers, "classes": tuple(by_class(JUDGED)), "confusions": tuple(confusions(JUDGED))}
    return Detail("net <b>", **(values | fields))  # type: ignore[arg-type]


def test_a_layer_has_a_bar_of_its_share() -> None:
    text = section([detail()], grid)
    widths = [float(width) for width in re.findall(r"width:([\d.]+)rem", text)]
    assert max(widths) == 6.0 and min(widths) == 0.0
    assert "4.00 M" in text and "41.5" in text and "net &lt;b&gt;" in text and "<b>" not in text


def test_classes_have_names_and_confusions_pictures_where_they_are_known() -> None:
    named = section([detail(names=("ant", "bee", "<cow>"), pictures={4: "data:image/jpeg;base64,QQ=="})], grid)
    assert "&lt;cow&gt; taken for ant, 2 times" in named and named.count("<img ") == 1
    assert "class 2 taken for class 0" in section([detail()], grid)


def test_what_is_not_known_is_said() -> None:
    text = section([detail(classes=(), confusions=(), layers=())], grid)
    assert "no record of this file tells the class of each image" in text and "Not placed under a roofline" in text
    assert section([], grid) == ""
