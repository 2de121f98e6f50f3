"""The pictures of an audit; skipped where matplotlib is not installed."""

from __future__ import annotations

import base64
import re
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from edgekit.errors import MissingError, OutputError
from edgekit.fidelity import LARGEST_DB, Audit, Counts, Histogram, Hits, Layer
from edgekit.report import layers

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>&amp;\x1b[31m$x^2$ {style}]]>"


@pytest.fixture(autouse=True)
def matplotlib(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name:
        pytest.importorskip("matplotlib", reason="the pictures need matplotlib: pip install 'edgekit[report]'")


@pytest.fixture
def audit() -> Audit:
    """A good layer, one that only moves values, one of wrong scale, one that could not be separated."""
    found = (
        Layer("net/conv1/Relu;x", "CONV_2D", 0, "int8", 32.0, 33.3, 0.0, 0.05, -128),
        Layer("net/pool1/MaxPool", "MAX_POOL_2D", 1, "int8", 35.0, LARGEST_DB, 0.0, 0.05, -128),
        Layer("net/conv2/Relu", "CONV_2D", 2, "int8", 5.0, -2.5, 0.0123, 0.75, 3, 0.5),
        Layer("net/mean/Mean", "MEAN", 3, "int8", 9.0, None, 0.0, 0.1, 0),
    )
    return Audit(
        found, ("net/conv2/Relu", "net/conv1/Relu;x"), 5, 4, 4, 100, 8, Hits(93, 100), 0.01, {"int8": 5}, (), 0, 0, 0
    )


@pytest.fixture
def histograms(audit: Audit) -> dict[str, Histogram]:
    counts = Counts(-2.0, 6.0, tuple(range(120)))
    return {layer.name: Histogram(counts, counts, counts, (-1.0, 5.0)) for layer in audit.layers} | {
        "net/mean/Mean": Histogram(counts, counts, None, None)
    }


def texts(drawing: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_the_overview_names_every_layer_and_the_figures_of_the_worst(audit: Audit) -> None:
    words = texts(layers.overview(audit, "net-int8"))
    assert {"conv1", "pool1", "conv2", "mean", "33.3", "-2.5", "exact", "not separable", "net-int8"} <= set(words)
    assert "144.5" not in words  # exact is no figure, and stretches no axis


def test_a_layer_says_what_was_chosen_for_it(audit: Audit, histograms: dict[str, Histogram]) -> None:
    layer = audit.layers[2]
    words = " ".join(texts(layers.draw_layer(layer, histograms[layer.name], "conv2")))
    for said in ("own -2.5 dB, in all 5.0 dB", "step 0.75, zero point 3", "clipped 1.230 %", "expect steps of 0.5"):
        assert said in words
    assert "mathdefault" not in words


def test_the_range_is_where_the_axis_says(audit: Audit, histograms: dict[str, Histogram]) -> None:
    """Twice the range is drawn twice as wide."""
    layer = audit.layers[0]

    def ends(histogram: Histogram) -> float:
        root = ElementTree.fromstring(layers.draw_layer(layer, histogram, "conv1"))
        dashed = [path.attrib["d"] for path in root.iter(f"{SVG}path") if "stroke-dasharray" in path.get("style", "")]
        places = [float(re.match(r"M ([\d.]+)", line)[1]) for line in dashed]
        assert len(places) == 2
        return abs(places[1] - places[0])

    wide = histograms[layer.name]
    narrow = msgspec.structs.replace(wide, range=(0.0, 3.0))
    assert ends(wide) == pytest.approx(2 * ends(narrow), rel=0.01)


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_folder_of_pictures_and_a_page_of_them_all(
    audit: Audit, histograms: dict[str, Histogram], tmp_path: Path
) -> None:
    page = layers.explain(audit, histograms, tmp_path / "new", "net-int8")
    files = ["00-all-layers.svg", "01-conv1.svg", "02-pool1.svg", "03-conv2.svg", "04-mean.svg"]
    assert sorted(path.name for path in page.parent.iterdir()) == [*files, "index.html"]
    read = Page(page.read_text("utf-8"))
    shown = [attributes["src"] for tag, attributes in read.tags if tag == "img"]
    start = "data:image/svg+xml;base64,"
    drawings = [base64.b64decode(source.removeprefix(start)).decode() for source in shown]
    assert drawings == [(page.parent / file).read_text("utf-8") for file in files]
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    ids = {attributes.get("id") for _, attributes in read.tags}
    assert links == ["#layer-3", "#layer-1"]  # the worst, worst first
    assert {link.removeprefix("#") for link in links} <= ids
    assert "93.0% of the time (86.3% to 96.6%)" in " ".join(read.words.split())
    outside = [value for _, attributes in read.tags for value in attributes.values() if "//" in str(value)]
    assert [value for value in outside if not str(value).startswith("data:")] == []


def test_hostile_names_stay_text(audit: Audit, histograms: dict[str, Histogram], tmp_path: Path) -> None:
    layer = msgspec.structs.replace(audit.layers[0], name=HOSTILE, kind=HOSTILE)
    hostile = msgspec.structs.replace(audit, layers=(layer,), worst=(HOSTILE,))
    histogram = next(iter(histograms.values()))
    page = layers.explain(hostile, {HOSTILE: histogram}, tmp_path, HOSTILE)
    assert not [tag for tag, _ in Page(page.read_text("utf-8")).tags if tag == "script"]
    for path in tmp_path.glob("*.svg"):
        root = ElementTree.fromstring(path.read_text("utf-8"))
        assert not [element for element in root.iter() if element.tag.endswith("script")]
        assert path.parent == tmp_path
    assert any("alert(1)" in words for words in texts((tmp_path / "00-all-layers.svg").read_text("utf-8")))


def test_the_same_audit_gives_the_same_bytes(audit: Audit, histograms: dict[str, Histogram], tmp_path: Path) -> None:
    pages = [layers.explain(audit, histograms, tmp_path / name) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_layer_that_holds_one_value_only(audit: Audit) -> None:
    """All bins but one are empty, and the values' axis has no width to speak of."""
    one = Counts(0.0, 1.0, (7, *[0] * 119))
    ElementTree.fromstring(layers.draw_layer(audit.layers[0], Histogram(one, one, one, (0.0, 0.0)), "dead"))


def test_nothing_can_be_written(audit: Audit, histograms: dict[str, Histogram], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        layers.explain(audit, histograms, tmp_path / "file")


def test_a_missing_matplotlib_says_which_extra_has_it(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"pip install 'edgekit\[report\]'"):
        layers.overview(audit)
