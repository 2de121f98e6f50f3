"""The page, read by the standard library's parser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from edgekit.compare import Comparison, Source
from edgekit.errors import MissingError
from edgekit.report import html, payload, vega

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what matters and insists that every tag is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data.strip())


def no_vega(*_: object) -> str:
    raise MissingError("the chart needs vl-convert; run: pip install 'edgekit[report]'")


@pytest.fixture(params=["with chart", "without chart"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "with chart":
        pytest.importorskip("vl_convert", reason="the chart needs vl-convert: pip install 'edgekit[report]'")
        monkeypatch.setattr(vega, "script", lambda: "/* Vega */")  # bundling takes seconds
    else:
        monkeypatch.setattr(vega, "_load", no_vega)


@pytest.mark.usefixtures("page")
def test_the_table_has_a_caption_and_scoped_headings(comparison: Comparison) -> None:
    page = Page(html.render(comparison))
    scopes = [attributes["scope"] for tag, attributes in page.tags if tag == "th"]
    assert scopes.count("row") == 3 + 1 and scopes.count("col") == 10 + 7  # the rows, and int8 beside float
    assert [tag for tag, _ in page.tags].count("caption") == 1
    assert {"squeezenet_v1_1", "64.75", "12.30", "net 8.10 ± 0.20, RAPL, cpu"} <= set(page.words)


@pytest.mark.usefixtures("page")
def test_the_page_needs_nothing_else(comparison: Comparison) -> None:
    text = html.render(comparison)
    page = Page(text)
    links = [value or "" for _, attributes in page.tags for name, value in attributes.items() if name.endswith("href")]
    assert links and all(link.startswith("#") for link in links)
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|src=|url\((?!#)", text)
    policy = next(told["content"] for tag, told in page.tags if tag == "meta" and "http-equiv" in told)
    assert policy is not None and policy.startswith("default-src 'none'") and "http" not in policy


@pytest.mark.usefixtures("page")
def test_every_reference_has_its_one_target(comparison: Comparison) -> None:
    text = html.render(comparison)
    targets = re.findall(r'\bid="([^"]+)"', text)
    assert len(targets) == len(set(targets))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(targets)


@pytest.mark.usefixtures("page")
def test_hostile_names_are_text(hostile: Comparison) -> None:
    text = html.render(hostile, title="<b>&")
    page = Page(text)
    own = 2 + ("edgekitCharts=" in text) * 2  # the data and the page's script; Vega and its charts
    assert [tag for tag, _ in page.tags].count("script") == own
    assert any("<script>alert(1)</script>" in words for words in page.words)
    assert "<b>&" in page.words
    assert "\x1b" not in text and "\u202e" not in text


def test_without_vl_convert_the_page_says_what_to_install(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vega, "_load", no_vega)
    text = html.render(comparison)
    assert "edgekit[report]" in text and "<svg" not in text and "64.75" in text


def test_an_empty_comparison_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vega, "_load", no_vega)
    assert "Which model for your device?" in html.render(Comparison(()))


def test_every_figure_leads_to_its_record(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vega, "_load", no_vega)
    sources = (Source("measurement", "a/r.jsonl", 3, "2026"), Source("quality", "q.jsonl", 7, "2026"))
    first = msgspec.structs.replace(comparison.rows[0], sources=sources)
    page = Page(html.render(Comparison((first,)), link=lambda source: f"{source.file}#L{source.line}"))
    links = [told.get("href") for tag, told in page.tags if tag == "a"]
    assert {"a/r.jsonl#L3", "q.jsonl#L7", "#record-0", "#record-1"} <= set(links)
    assert links.count("#record-0") >= 2 and links.count("#record-1") >= 2


def test_the_data_cannot_end_its_script(hostile: Comparison) -> None:
    assert "<" not in payload.payload(hostile, {})
    assert msgspec.json.decode(payload.payload(hostile, {}))["rows"]
