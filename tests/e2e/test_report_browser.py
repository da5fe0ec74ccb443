"""The report in a real browser: Debian's chromium, headless, driven by playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmr.reporting.page import build
from reporting_tree import write_experiment, write_items, write_run, write_tree

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (390, 1400)
PATIENCE_MS = 300_000  # a page of 6 MB on a busy machine
DRAWN = "figure.plot[data-drawn]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    results = write_tree(folder / "results", methods=["cca", "dla"], seeds=2, n=96)
    items = write_items(results, "other", 48)
    write_experiment(results, "second-bbbbbb", [write_run(results, items, "other", "lite0+bert", "ridge", 0)])
    return build(results, folder / "out", None, "Report <b>in</b> a browser")


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """An open page, and what went wrong on it."""

    def __init__(self, browser: "sync_api.Browser", report: Path, width: int, script: bool = True):
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script)
        context.set_default_timeout(PATIENCE_MS)
        self.page = context.new_page()
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        self.page.on("request", self._note)
        self.page.goto(report.as_uri())
        if script:
            self.page.wait_for_selector("#headline[data-ready]")

    def _note(self, request: "sync_api.Request") -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.outside.append(request.url)

    def values(self, column: str) -> list[float]:
        """The numbers in one column of the headline table, from top to bottom."""
        names = [name.strip() for name in self.page.locator("#headline thead th").all_inner_texts()]
        cells = self.page.locator(f"#headline tbody tr > :nth-child({names.index(column) + 1})")
        return [float(text.split()[0].rstrip("†§‡")) for text in cells.all_inner_texts()]


@pytest.fixture(scope="module")
def visit(browser: "sync_api.Browser", report: Path) -> Iterator[Visit]:
    """One visit for the tests of what a reader does: each sets the choices that it depends on."""
    made = Visit(browser, report, 1400)
    yield made
    made.page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_whole_page_draws_without_an_error_or_an_outside_request(browser, report: Path, width: int) -> None:
    visit = Visit(browser, report, width)
    for protocol in visit.page.locator("#protocol option").all():
        visit.page.select_option("#protocol", protocol.get_attribute("value"))
        for figure in visit.page.locator("figure.plot:visible").all():
            figure.scroll_into_view_if_needed()
            figure.locator(".main-svg").first.wait_for()
    assert visit.page.locator(DRAWN).count() > 10
    assert visit.errors == []
    assert visit.outside == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.page.locator("img:not([alt]), img[alt='']").count() == 0
    assert visit.page.title() == "Report <b>in</b> a browser"
    visit.page.context.close()


def test_sorting_by_click_and_by_key(visit: Visit) -> None:
    visit.page.select_option("#filter-metric", "map@all")
    header = visit.page.locator("#headline thead th", has_text="image→text")
    header.click()
    visit.page.wait_for_selector("#headline th[aria-sort=ascending]")  # sorts a moment after the click
    assert visit.values("image→text") == sorted(visit.values("image→text"))
    header.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#headline th[aria-sort=descending]")
    assert visit.values("image→text") == sorted(visit.values("image→text"), reverse=True)
    assert len(set(visit.values("image→text"))) > 2
    assert visit.errors == []


def test_filters_and_search_narrow_the_table(visit: Visit) -> None:
    rows = visit.page.locator("#headline tbody tr")
    visit.page.select_option("#filter-metric", "map@all")
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.metric)")) == {"map@all"}
    visit.page.select_option("#filter-metric", "map@5")
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.metric)")) == {"map@5"}
    visit.page.select_option("#filter-dataset", "other")
    assert rows.evaluate_all("rows => rows.map(r => [r.dataset.dataset, r.dataset.kind])") == [
        ["other", "measured"],
        ["other", "chance"],
    ]
    visit.page.select_option("#filter-dataset", "")
    visit.page.locator("input[type=search]").fill("dla")
    assert [text.split()[0] for text in rows.all_inner_texts()] == ["dla"]
    visit.page.locator("input[type=search]").fill("")


def test_gallery_follows_clicks_and_keys(visit: Visit) -> None:
    page = visit.page
    queries, results = page.locator("#queries button"), page.locator("#retrieved")
    page.select_option("#protocol", "shapes/default/lite0+bert")
    assert results.locator("h4").all_inner_texts()[0].startswith("cca")
    assert results.locator(".method-row").count() == 2
    first = results.inner_text()
    queries.nth(3).click()
    assert queries.nth(3).get_attribute("aria-pressed") == "true"
    assert queries.nth(0).get_attribute("aria-pressed") == "false"
    assert results.inner_text() != first
    queries.nth(5).focus()
    page.keyboard.press("Enter")
    assert queries.nth(5).get_attribute("aria-pressed") == "true"
    page.select_option("#direction", label="text → image")
    assert "synthetic item" in queries.nth(0).inner_text()
    assert results.locator(".cards img").count() == 20
    page.locator("#next").click()
    assert page.locator("#page").inner_text() == "25 to 48 of 48 queries"
    assert visit.errors == []


def test_hits_are_results_that_share_the_querys_class(visit: Visit) -> None:
    page = visit.page
    page.select_option("#protocol", "shapes/default/lite0+bert")
    for row in (0, 7, 20):
        page.locator("#queries button").nth(row).click()
        wanted = page.locator("#queries button").nth(row).locator(".score").inner_text().rpartition(" · ")[0]
        for method in page.locator(".method-row").all():
            cards = method.locator("li").all()
            hits = [card for card in cards if "hit" in card.get_attribute("class").split()]
            assert len(cards) == 10
            for card in cards:
                shared = card.locator(".class").inner_text() == wanted
                assert ("✓ hit" in card.inner_text()) == shared == (card in hits)
            assert f"{len(hits)} of 10 hits" in method.locator("h4").inner_text()


def test_protocol_and_method_choices_change_what_is_shown(visit: Visit) -> None:
    page = visit.page
    page.select_option("#protocol", "other/default/lite0+bert")
    assert set(page.locator(".panel:visible").evaluate_all("p => p.map(x => x.dataset.protocol)")) == {
        "other/default/lite0+bert"
    }
    assert page.locator("#retrieved h4").count() == 1
    page.select_option("#protocol", "shapes/default/lite0+bert")
    panel = page.locator("#confusion .panel:visible")
    panel.locator("select.method").select_option("dla")
    assert set(panel.locator("figure:visible").evaluate_all("f => f.map(x => x.dataset.method)")) == {"dla"}


def test_hovering_over_the_map_shows_the_item(visit: Visit) -> None:
    visit.page.select_option("#protocol", "shapes/default/lite0+bert")
    figure = visit.page.locator("#map figure.plot:visible")
    figure.scroll_into_view_if_needed()
    point = figure.locator(".scatterlayer .point").first
    point.wait_for()
    box = point.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.locator("#card:visible").wait_for()
    assert "synthetic item" in visit.page.locator("#card").inner_text()
    assert visit.page.locator("#card img").count() == 1


def test_without_script_tables_and_figures_are_there(browser, report: Path) -> None:
    visit = Visit(browser, report, 1400, script=False)
    assert visit.page.locator("#headline tbody tr").count() > 5
    assert visit.page.locator("figure.plot img").first.is_visible()
    assert visit.page.locator(".scripted:visible").count() == 0
    visit.page.context.close()
