"""Class names and numbers, and where the truth about an image comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.dataset import ClassNames, truths
from edgekit.errors import DataError

IDS = ("n01440764", "n02012849", "n03126707", "n03216828")
LABELS = ("tench, Tinca tinca", "crane", "crane", "Dock, dockage")
NAMES = ClassNames(4, IDS, LABELS)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("n02012849", 1),
        ("N02012849", 1),
        ("tench", 0),
        (" TENCH, tinca tinca ", 0),
        ("dock", 3),
        ("3", 3),
        ("4", None),
        ("-1", None),
        ("²", None),
        ("", None),
        ("shark", None),
    ],
)
def test_a_class_is_known_by_id_label_or_number(name, number):
    assert NAMES.number(name) == number


def test_a_name_that_two_classes_share_names_neither():
    names = ClassNames(3, (), ("crane, bird", "crane, machine", "dock"))
    assert [names.number(name) for name in ("crane", "crane, bird", "crane, machine")] == [None, 0, 1]
    assert NAMES.number("crane") is None


def test_a_whole_label_goes_before_the_first_word_of_another():
    names = ClassNames(2, (), ("maillot, tank suit", "maillot"))
    assert names.number("maillot") == 1


@pytest.mark.parametrize(("ids", "labels", "what"), [(IDS[:3], (), "3 ids"), ((), LABELS * 2, "8 labels")])
def test_names_that_do_not_fit_the_model(ids, labels, what):
    with pytest.raises(DataError, match=f"the model has 4 classes, but {what}"):
        ClassNames(4, ids, labels)


def test_from_wnids_in_file_names():
    paths = [Path("any/n03216828_dock.JPEG"), Path("any/n01440764_1.jpg"), Path("any/n09999999_new.jpg")]
    assert truths(paths, NAMES) == [3, 0, None]


def test_from_folders():
    paths = [Path("root/dock/1.jpg"), Path("root/n01440764/1.jpg"), Path("root/2/1.jpg"), Path("root/other/1.jpg")]
    assert truths(paths, NAMES) == [3, 0, 2, None]


def test_images_in_one_folder_are_unlabelled():
    assert truths([Path("pictures/1.jpg"), Path("pictures/2.jpg")], NAMES) == [None, None]
    assert truths([Path("1.jpg")], NAMES) == [None]
    assert truths([], NAMES) == []


@pytest.mark.parametrize("names", [["n09999999_a.jpg", "n09999998_b.jpg"], ["cat/1.jpg", "dog/1.jpg"]])
def test_labels_of_another_data_set(names):
    with pytest.raises(DataError, match="the model has no such class"):
        truths([Path("images") / name for name in names], NAMES)


def csv_file(folder, content):
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content", ["a.jpg,dock\nb.jpg,0\n", "file,class\na.jpg,dock\nb.jpg,tench,0.9\n\n", "﻿a.jpg,3\r\nb.jpg,0"]
)
def test_from_csv(content, tmp_path):
    paths = [Path("x/b.jpg"), Path("x/a.jpg"), Path("x/c.jpg")]
    assert truths(paths, NAMES, csv_file(tmp_path, content)) == [0, 3, None]


def test_a_csv_with_paths_tells_files_of_one_name_apart(tmp_path):
    rows = csv_file(tmp_path, "tench/1.jpg,tench\ndock/1.jpg,dock\nelsewhere/2.jpg,2\n")
    paths = [Path("/data/dock/1.jpg"), Path("/data/tench/1.jpg"), Path("/data/2.jpg"), Path("/data/other/1.jpg")]
    assert truths(paths, NAMES, rows) == [3, 0, 2, None]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no labels"),
        ("one column\n", "holds no labels"),
        ("a.jpg,dock\nb.jpg,shark\n", r"'b.jpg' is labelled 'shark', which is no class"),
        ("z.jpg,dock\n", "none of the 1 images"),
        (b"a.jpg,d\xffck\n", "cannot read the labels"),
        ("a.jpg," + "x" * 200_000, "cannot read the labels"),
    ],
)
def test_a_csv_that_cannot_serve(content, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        truths([Path("x/a.jpg")], NAMES, csv_file(tmp_path, content))


def test_no_csv_there(tmp_path):
    with pytest.raises(DataError, match="cannot read the labels"):
        truths([Path("x/a.jpg")], NAMES, tmp_path / "none.csv")


@pytest.mark.assets
def test_every_sample_image_has_its_class(assets):
    lines = (assets / "synset_words.txt").read_text().splitlines()
    ids = [line.split()[0] for line in lines]
    names = ClassNames(1000, ids, [line.partition(" ")[2] for line in lines])
    found = truths(sorted((assets / "imagenet-sample").iterdir()), names)
    assert found == list(range(0, 1000, 2))  # one image for every second class
