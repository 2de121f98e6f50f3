"""The page in a real headless Chromium with the network away: it loads, chooses as Python does, filters and prints."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.compare import Comparison, Row, Share, wilson
from edgekit.compare.choose import Limits, choose
from edgekit.compare.costs import INSTRUCTIONS, LATENCY, SIZE
from edgekit.compare.family import Terms, curve
from edgekit.compare.paired import outcomes
from edgekit.measurement import Instructions
from edgekit.report import html
from edgekit.report.payload import place

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
if TYPE_CHECKING:
    from browser import Browser

KNOWN = {("mobilenet_v1_050", 160): 59.1, ("squeezenet_v1_1", 224): 58.2, ("mobilenet_v2", 224): 71.8}
NAMES = ("mobilenet_v1_025", "mobilenet_v1_050", "mobilenet_v2", "squeezenet_v1_1", "squeezenext_23", None)
HOSTILE = "</script><script>document.title='taken'</script><b onclick=x>&amp;"


def models(count: int = 40, seed: int = 4) -> Comparison:
    """Rows of many kinds on two devices, one of which only counts."""
    generator = random.Random(seed)
    return Comparison(tuple(_row(number, generator) for number in range(count)), ("A note.",))


def _row(number: int, generator: random.Random) -> Row:
    model, recipe = generator.choice(NAMES), generator.choice(("float32", "int8", "int8_fast"))
    rank = [0 if generator.random() < 0.4 + number / 100 else 3 for _ in range(101)]
    hits = sum(position == 0 for position in rank)
    judged: dict[str, Any] = {
        "top1": Share(hits / 101, *wilson(hits, 101), 101),
        "outcomes": outcomes(generator.choice("12") * 64, rank),
    }
    fields: dict[str, Any] = {"device": "Pi <4>", "threads": generator.choice((1, 2))}
    if number % 4 == 1:
        count = (number + 1) * 1_000_000
        told = ("a" * 64, "n", None, None, 1, "Core", "core", "r", "1", count, 0, 0, 0, 1, 0, 0.0, "x", "2026")
        fields = {"device": "Core (emulated)", "threads": 1, "instructions": Instructions(*told)}  # type: ignore[arg-type]
    else:
        fields |= {"latency_median_ms": generator.uniform(1, 60), "peak_rss_bytes": generator.randrange(10**6, 10**8)}
        fields |= {"verdict": generator.choice(("valid", "valid", "suspect", "invalid")), "verdict_reasons": ("hot",)}
    name = f"{model or HOSTILE}-{160 if model == 'mobilenet_v1_050' else 224}-{recipe}"
    size = generator.randrange(400_000, 6_000_000)
    given = judged if number % 7 else {}
    return Row(
        f"{number:02d}" * 32, name, model, recipe, size, input_size=160 if model == NAMES[1] else 224, **given, **fields
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Skipped where there is no Chromium, except where it must be there."""
    wanted = bool(os.environ.get("EDGEKIT_REQUIRE_BROWSER"))
    if not wanted and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium is installed; on Debian: apt install chromium")
    if not wanted:
        pytest.importorskip("websocket", reason="driving a browser needs: pip install websocket-client")
        pytest.importorskip("vl_convert", reason="the chart needs: pip install 'edgekit[report]'")
    from browser import started

    with started() as found:
        yield found


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return models()


@pytest.fixture(scope="module")
def path(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html.render(comparison, known=KNOWN), "utf-8")
    return path


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    """The page, opened anew; whatever a test does, it must not make the page complain."""
    browser.look()
    browser.open(path)
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def set_field(page: Browser, selector: str, value: str) -> None:
    page.run(
        f"(() => {{ const field = document.querySelector({selector!r}); field.value = {value!r};"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def click(page: Browser, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def test_it_opens_without_a_network_and_draws_every_point(page: Browser) -> None:
    drawn = page.run("document.querySelectorAll('#chart .mark-symbol path').length")
    assert drawn == page.run("edgekitChart.points.length") > 5
    assert page.run("document.title") == html.TITLE  # no name became a script
    assert page.run("document.querySelectorAll('b').length") == 0


@pytest.mark.parametrize("basis", ["measured", "published"])
@pytest.mark.parametrize(
    ("most", "least"),
    [
        ({}, None),
        ({"latency_ms": 40, "size_mb": 2}, None),
        ({"size_mb": 3}, 60),
        ({"instructions_m": 20}, None),
        ({"memory_mb": 30, "latency_ms": 10}, 50),
        ({"energy_mj": 5}, None),
        ({"size_mb": 0.1}, None),
    ],
)
def test_it_chooses_as_python_does(
    page: Browser, comparison: Comparison, basis: str, most: dict[str, float], least: float | None
) -> None:
    for name in {place(row) for row in comparison.rows}:
        here = [row for row in comparison.rows if place(row) == name]
        ids = {row.artifact_sha256: number for number, row in enumerate(comparison.rows)}
        expected = choose(here, Limits(most, least), here[0].device, basis, KNOWN)
        found = page.run(f"edgekitChoose({name!r}, {{most: {most}, least: {least or 'NaN'}}}, {basis!r})")
        assert [[ids[c.row.artifact_sha256], c.place] for c in expected] == [item[:2] for item in found]
        assert [c.reason for c in expected] == [item[2].replace("\N{MINUS SIGN}", "-") for item in found]


def test_a_limit_changes_the_answer_and_is_drawn(page: Browser) -> None:
    click(page, "input[name=basis][value=measured]")
    first = "document.querySelector('#ranking li').dataset.row"
    before, best = page.run(first), page.run(f"JSON.parse(data.textContent).rows[{first}].costs.latency_ms")
    set_field(page, "#most-latency_ms", str(best - 1))
    assert page.run(first) != before
    assert page.run("document.querySelector('#verdict').textContent").startswith("Take ")
    assert page.run("edgekitChart.limit") == [{"cost": pytest.approx(best - 1)}]
    set_field(page, "#most-latency_ms", "0.001")
    assert "No model keeps these limits" in page.run("document.querySelector('#verdict').textContent")


def test_filters_reach_the_chart_and_the_table(page: Browser) -> None:
    shown = "[...document.querySelectorAll('tbody tr[id^=row-]')].filter(row => !row.hidden).length"
    points, rows = page.run("edgekitChart.points.length"), page.run(shown)
    click(page, "input[name=family][value=squeezenet]")
    assert page.run("edgekitChart.points.some(point => point.family === 'squeezenet')") is False
    assert page.run("edgekitChart.points.length") < points and page.run(shown) < rows
    click(page, "#every")
    assert page.run(shown) < rows
    assert page.run("edgekitPage.update_ms") < 1000


def test_every_cost_has_a_panel_of_its_own_on_the_chosen_device(page: Browser, comparison: Comparison) -> None:
    set_field(page, "#device", "Core (emulated)")
    assert page.run("document.querySelector('input[name=cost]:checked').value") == INSTRUCTIONS.key
    assert page.run("document.querySelector('input[value=latency_ms]').disabled") is True
    values = page.run("edgekitChart.points.map(point => point.cost)")
    told = {row.instructions.instructions / 1e6 for row in comparison.rows if row.instructions}
    assert set(values) <= told
    click(page, "input[value=size_mb]")
    assert page.run("edgekitChart.points.length") > len(values)  # a size belongs to no device


def test_curves_are_pythons(page: Browser, comparison: Comparison) -> None:
    """On the terms of latency and of size, recipe by recipe."""
    click(page, "input[name=basis][value=measured]")
    lines = 0
    name = page.run("document.querySelector('#device').value")
    row = next(row for row in comparison.rows if place(row) == name)
    for cost in (LATENCY, SIZE):
        click(page, f"input[value={cost.key}]")
        drawn = page.run("edgekitChart.curves")
        for recipe in ("float32", "int8", "int8_fast"):
            terms = Terms(cost, recipe, row.device, row.threads, "measured")
            line = curve(comparison.rows, "mobilenet_v1", terms, KNOWN)
            found = [item["cost"] for item in drawn if item["line"] == f"mobilenet_v1 {recipe}"]
            lines += len(line) > 1
            assert found == pytest.approx([point.cost for point in line] if len(line) > 1 else [], rel=1e-6)
    assert lines > 1


def test_the_axis_can_be_plain(page: Browser) -> None:
    ticks = "[...document.querySelectorAll('#chart .role-axis-label text')].map(text => text.textContent).join()"
    before = page.run(ticks)
    page.run("window.edgekitDrawn = 0")
    click(page, "#logarithmic")
    page.wait("window.edgekitDrawn")
    assert page.run(ticks) != before
    assert page.run("document.querySelectorAll('#chart .mark-symbol path').length") > 5


def test_suspect_points_are_hollow_and_invalid_ones_are_listed(page: Browser, comparison: Comparison) -> None:
    suspect = {number for number, row in enumerate(comparison.rows) if row.verdict == "suspect"}
    invalid = {number for number, row in enumerate(comparison.rows) if row.verdict == "invalid"}
    points = page.run("edgekitChart.points.map(point => [point.id, point.hollow])")
    assert {number for number, hollow in points if hollow} == {number for number, _ in points} & suspect != set()
    assert not {number for number, _ in points} & invalid
    assert page.run("document.querySelectorAll('[aria-labelledby=left-out] li').length") == len(invalid)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_scrolling_aside(browser: Browser, path: Path, dark: bool) -> None:
    browser.look(390, 844, dark)
    browser.open(path)
    assert browser.run("document.documentElement.scrollWidth") == 390
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is not dark
    assert browser.run("document.querySelector('#chart svg').getBoundingClientRect().right") <= 390


def test_the_keyboard_reaches_everything_and_every_field_has_a_name(page: Browser) -> None:
    seen = set()
    for _ in range(30):
        page.press("Tab", 9)
        seen.add(page.run("document.activeElement.id || document.activeElement.name || document.activeElement.tagName"))
    assert {"device", "most-size_mb", "least-top1", "basis", "cost", "family", "recipe", "logarithmic"} <= seen
    fields = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("combobox", "spinbutton", "checkbox", "radio", "button", "table", "image")
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in fields if "role" in node]
    assert [node for node in named if node[0] in roles[:5] and not node[1]] == []
    assert {"combobox", "spinbutton", "checkbox", "radio", "table"} <= {role for role, _ in named}


def test_a_point_leads_to_its_row(page: Browser) -> None:
    """A click on it, even where the row is filtered out."""
    place = page.run(
        "(() => { const box = document.querySelector('#chart .mark-symbol path').getBoundingClientRect();"
        " scrollBy(0, box.top - 300); return [box.x + box.width / 2, 300 + box.height / 2]; })()"
    )
    page.wait("Math.abs(document.querySelector('#chart .mark-symbol path').getBoundingClientRect().top - 300) < 2")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        event = {"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        page.call("Input.dispatchMouseEvent", **event)
    page.wait("location.hash.startsWith('#row-')")
    number = int(page.run("location.hash.slice(5)"))
    assert number in page.run("edgekitChart.points.map(point => point.id)")
    assert page.run("document.querySelector(':target').hidden") is False
    assert "top-1" in page.run("document.querySelector('#tip').textContent")  # the pointer is still on it


def test_paper_is_light_and_has_pages(browser: Browser, path: Path) -> None:
    browser.look(dark=True, paper=True)
    browser.open(path)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.pdf().startswith(b"%PDF") and len(browser.pdf()) > 20_000


def test_without_javascript_the_tables_are_there(browser: Browser, path: Path) -> None:
    browser.look()
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=path.as_uri())
        browser.wait("document.readyState === 'complete'")
        assert browser.run("document.querySelectorAll('tbody tr[id^=row-]').length") == 40
        assert browser.run("document.querySelector('noscript').textContent.length") > 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
