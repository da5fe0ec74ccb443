"""The report in a real browser: Debian's chromium, headless, driven by playwright."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote

import h5py
import pytest

from cmr.compare import compare
from cmr.reporting import page as page_module
from cmr.reporting.collect import load
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
SHAPES, OTHER = "shapes/default/lite0+bert", "other/default/lite0+bert"
PATIENCE_MS = 300_000  # a page of 6 MB on a busy machine
DRAWN = "figure.plot[data-drawn]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    results = write_tree(folder / "results", methods=["cca", "dla"], seeds=3, n=96)
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

    def __init__(
        self, browser: "sync_api.Browser", report: Path, width: int, script: bool = True, address: str = "", **options
    ):
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script, **options)
        context.set_default_timeout(PATIENCE_MS)
        self.page = context.new_page()
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        self.page.on("request", self._note)
        self.page.goto(report.as_uri() + address)
        if script:
            self.page.wait_for_selector("body[data-ready]")

    def choose(self, protocol: str) -> None:
        self.page.select_option("#protocol", protocol)
        self.page.wait_for_selector(f"body[data-protocol='{protocol}']")

    def address(self) -> tuple[str, dict[str, list[str]]]:
        """The section and the selection in the page's address."""
        section, _, query = self.page.url.partition("#")[2].partition("?")
        return section, parse_qs(query)

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
        visit.choose(protocol.get_attribute("value"))
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


@pytest.mark.parametrize("width", WIDTHS)
def test_names_and_their_heading_stay_while_a_table_is_scrolled(browser, report: Path, width: int) -> None:
    visit = Visit(browser, report, width)
    name = "a_method_whose_name_has_more_than_forty_letters"
    places = visit.page.evaluate(
        """(name) => {
            document.querySelector("#headline tbody th").append(name);
            const scrolled = document.querySelector("#headline").parentElement;
            scrolled.style.width = `${scrolled.clientWidth / 2}px`;
            scrolled.scrollLeft = 300;
            document.querySelector("#headline .unfold").click();
            const cells = ["thead th", "tbody th", ".beneath"].map((cell) => document.querySelector(`#headline ${cell}`));
            return [scrolled, ...cells].map((one) => [one.getBoundingClientRect().left, one.offsetWidth, one.scrollLeft]);
        }""",
        name,
    )
    (left, _, by), head, row, details = places
    assert by > 0
    assert head[:2] == row[:2] == [pytest.approx(left), pytest.approx(row[1])]
    assert row[1] <= min(0.45 * width, 300)
    assert left <= details[0] < left + 20
    visit.page.context.close()


def test_sorting_by_click_and_by_key(visit: Visit) -> None:
    visit.choose(SHAPES)
    visit.page.select_option("#filter-metric", "map@all")
    header = visit.page.locator("#headline thead th", has_text="image→text")
    assert visit.values("average") == sorted(visit.values("average"), reverse=True), "the best comes first"
    header.click()
    visit.page.wait_for_selector("#headline th[aria-sort=descending]")  # sorts a moment after the click
    assert visit.values("image→text") == sorted(visit.values("image→text"), reverse=True)
    header.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#headline th[aria-sort=ascending]")
    assert visit.values("image→text") == sorted(visit.values("image→text"))
    assert len(set(visit.values("image→text"))) > 2
    assert visit.errors == []


@pytest.mark.parametrize("column", ["95 % interval", "Δ to best", "Seeds", "Fit, s"])
def test_columns_sort_as_numbers_and_what_is_empty_comes_last(visit: Visit, column: str) -> None:
    visit.choose(SHAPES)
    visit.page.select_option("#filter-metric", "map@all")
    names = [name.strip() for name in visit.page.locator("#headline thead th").all_inner_texts()]
    cells = visit.page.locator(f"#headline tbody tr > :nth-child({names.index(column) + 1})")
    header = visit.page.locator("#headline thead th", has_text=column)
    for direction in ("descending", "ascending"):
        header.click()
        visit.page.wait_for_selector(f"#headline th[aria-sort={direction}]")
        *orders, last = cells.evaluate_all("cells => cells.map(cell => cell.dataset.order)")
        assert last == "", "chance has none"
        assert list(map(float, orders)) == sorted(map(float, orders), reverse=direction == "descending")


def test_filters_and_search_narrow_the_table(visit: Visit) -> None:
    rows = visit.page.locator("#headline tbody tr")
    visit.choose(SHAPES)
    visit.page.select_option("#filter-metric", "map@all")
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.metric)")) == {"map@all"}
    visit.page.select_option("#filter-metric", "map@5")
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.metric)")) == {"map@5"}
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.protocol)")) == {SHAPES}
    visit.choose(OTHER)
    assert sorted(rows.evaluate_all("rows => rows.map(r => [r.dataset.dataset, r.dataset.kind])")) == [
        ["other", "chance"],
        ["other", "measured"],
    ]
    visit.page.check("#all-protocols")
    assert set(rows.evaluate_all("rows => rows.map(r => r.dataset.protocol)")) == {SHAPES, OTHER}
    visit.page.locator("input[type=search]").fill("dla")
    assert [text.split()[0] for text in rows.all_inner_texts()] == ["dla"]
    visit.page.locator("input[type=search]").fill("")
    visit.page.uncheck("#all-protocols")
    visit.page.select_option("#filter-metric", "map@all")


def test_a_row_unfolds_by_click_and_by_key(visit: Visit) -> None:
    visit.choose(SHAPES)
    row = visit.page.locator("#headline tbody tr.measured", has_text="cca")
    row.click()
    told = visit.page.locator(".beneath")
    assert "95 % interval over queries" in told.inner_text()
    assert "difference to the best" in told.inner_text()
    assert told.locator("dt").all_inner_texts() == ["average", "image→text", "text→image"]
    button = row.get_by_role("button", name="Details of cca")
    assert button.get_attribute("aria-expanded") == "true"
    button.focus()
    visit.page.keyboard.press("Enter")
    assert told.count() == 0
    assert button.get_attribute("aria-expanded") == "false"


def test_gallery_follows_clicks_and_keys(visit: Visit) -> None:
    page = visit.page
    queries, results = page.locator("#queries button"), page.locator("#retrieved")
    visit.choose(SHAPES)
    assert results.locator("h3").all_inner_texts()[0].startswith("dla"), "the best comes first"
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
    assert page.locator("#queries button[aria-pressed=true]").count() == 1
    assert visit.errors == []


def test_the_selection_is_in_the_address_and_comes_back_from_it(visit: Visit, browser, report: Path) -> None:
    page = visit.page
    visit.choose(OTHER)
    visit.choose(SHAPES)
    page.select_option("#direction", label="text → image")
    page.select_option("#order", "best")
    page.locator("#queries button").nth(2).click()
    page.locator("#methods summary").click()
    page.locator("#methods input[value=cca]").uncheck()
    page.locator("#methods summary").click()
    page.locator("nav .links a[href='#gallery']").click()
    section, selection = visit.address()
    assert section == "gallery"
    assert selection["protocol"] == [SHAPES]
    assert selection["methods"] == ["dla"]
    assert selection["direction"] == ["text→image"]
    again = Visit(browser, report, 1400, address=f"#{page.url.partition('#')[2]}")
    assert again.page.locator("#retrieved").inner_text() == page.locator("#retrieved").inner_text()
    assert again.page.locator("#order").input_value() == "best"
    assert again.page.locator("#retrieved h3").count() == 1
    assert again.page.locator("#gallery").bounding_box()["y"] < 300, "the section of the address is in view"
    again.page.context.close()
    page.locator("#methods summary").click()
    page.locator("#methods input[value=cca]").check()
    page.locator("#methods summary").click()
    page.select_option("#order", "mixed")


def test_a_deep_link_shows_the_gallery_of_its_query(browser, report: Path) -> None:
    selection = f"protocol={quote(SHAPES)}&direction={quote('image→text')}&query=item44&methods=cca"
    visit = Visit(browser, report, 1400, address=f"#gallery?{selection}")
    assert "item44" in visit.page.locator("#retrieved .query").inner_text()
    assert visit.page.locator("#retrieved h3").all_inner_texts()[0].startswith("cca")
    visit.page.context.close()


METRIC = "map'; touch pwned; '<img src=x onerror=alert(1)>"
FRAGMENTS = [
    "#__proto__?__proto__=x&constructor=y&methods=__proto__|toString&a=toString&b=%E0%A4%A",
    "#gallery?protocol=<img src=x onerror=alert(1)>&query=javascript:alert(1)&direction=→→&order=constructor",
    "#compare?class=1e999&metric=constructor&kind=__proto__&all=yes&method=hasOwnProperty",
    "#gallery?class=-1&methods=&query=" + "x" * 100_000,
    "#%?&&&==?#",
]


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a data set called as a property of all objects is, and of a metric that closes a quotation."""
    results = tmp_path_factory.mktemp("strangers") / "results"
    items = write_items(results, "constructor", 16)
    runs = [write_run(results, items, "constructor", "lite0+bert", method, 0) for method in ("cca", "dla")]
    for run in runs:
        metrics = results / run / "metrics.json"
        metrics.write_text(metrics.read_text().replace('"map@all"', json.dumps(METRIC)))
        with h5py.File(results / run / "curves.h5", "r+") as curves:
            for direction in curves.values():
                direction.move("map@all", METRIC)
    write_experiment(results, "main-aaaaaa", runs)
    return build(results, results.parent / "out")


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=range(len(FRAGMENTS)))
def test_an_address_of_anybodys_shows_the_page(browser, strangers: Path, fragment: str) -> None:
    visit = Visit(browser, strangers, 1400, address=fragment)
    assert visit.page.locator("#queries button").count() > 0
    for chosen in ("#a", "#b", "#order", "#direction", "#protocol"):
        assert visit.page.locator(chosen).input_value() != ""
    command = visit.page.locator("#versus code").inner_text()
    assert shlex.split(command)[-2:] == ["--metric", METRIC]
    assert visit.errors == []
    assert visit.outside == []
    visit.page.context.close()


MARKUP = [
    "<img src=x onerror=\"document.title = 'ran'\">",
    "<a href=\"javascript:document.title = 'ran'\">x</a>",
    "<base href='https://example.org/'><img src='a.png'>",
    "<iframe srcdoc=\"<script>parent.document.title = 'ran'</script>\"></iframe>",
    "<script>document.title = 'ran'</script><img src='https://example.org/a.png'>",
]


def test_under_the_pages_policy_markup_runs_nothing(browser, tmp_path: Path) -> None:
    """The policy stands behind the escaping: as if a text had come into the page as markup."""
    policy = page_module.policy(["own"], beside=False)
    head = f'<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="{policy}"><title>quiet</title>'
    (tmp_path / "page.html").write_text(f"{head}<body data-ready='yes'>{''.join(MARKUP)}</body>")
    visit = Visit(browser, tmp_path / "page.html", 1400)
    visit.page.locator("a").click()
    visit.page.wait_for_timeout(300)
    assert visit.page.title() == "quiet"
    refused = [told for told in visit.errors if "Content Security Policy" in told]
    assert any("https://example.org/a.png" in told for told in refused)
    assert len(refused) >= len(MARKUP)
    visit.page.context.close()


def test_two_methods_are_compared_with_the_figures_of_the_command(visit: Visit, report: Path) -> None:
    page = visit.page
    visit.choose(SHAPES)
    page.select_option("#a", "cca")
    page.select_option("#b", "dla")
    page.select_option("#compare select.direction", label="image → text")
    runs = {
        name: [r for r in load(report.parents[1] / "results").runs if r.group == f"{SHAPES}/{name}"]
        for name in ("cca", "dla")
    }
    (wanted,) = [c for c in compare(runs["cca"], runs["dla"], "map@all") if c.query == "image"]
    cells = dict(
        zip(
            page.locator("#versus tbody th").all_inner_texts(),
            page.locator("#versus tbody td.number").all_inner_texts(),
            strict=False,
        )
    )
    minus = {text: value.replace("−", "-") for text, value in cells.items()}
    low, high = wanted.difference.ci95
    assert minus["A: cca"] == f"{wanted.a:.3f}"
    assert minus["B: dla"] == f"{wanted.b:.3f}"
    assert minus["A - B".replace("-", "−")] == f"{wanted.difference.value:+.3f}"
    assert minus["95 % interval"] == f"{low:+.3f} to {high:+.3f}"
    assert minus["Interval and p cover"] == wanted.difference.covers
    page.locator("#versus details summary").click()
    shown = {
        row.locator("th").inner_text(): row.locator("td").first.inner_text().replace("−", "-")
        for row in page.locator("#versus details tbody tr").all()
    }
    assert shown == {name: f"{gap:+.3f}" for name, gap in wanted.per_class.items()}
    worst = next(query for query in wanted.queries if query.b > query.a)
    page.locator("#extremes h3", has_text="B is better").locator("xpath=following-sibling::button[1]").click()
    assert worst.id in page.locator("#retrieved .query").inner_text()
    assert [text.split()[0] for text in page.locator("#retrieved h3").all_inner_texts()] == ["dla", "cca"]
    assert visit.address()[0] == "gallery"
    assert visit.errors == []


def test_where_less_is_better_a_is_the_better_above_the_line(visit: Visit) -> None:
    visit.choose(SHAPES)
    caption = visit.page.locator("#compare figcaption")
    assert "Above the line B is better." in caption.inner_text()
    visit.page.evaluate("now.versus.sign = -1; compare.show()")
    assert "Above the line A is better." in caption.inner_text()
    visit.page.evaluate("now.versus.sign = 1; compare.show()")


def test_hits_are_results_that_share_the_querys_class(visit: Visit) -> None:
    page = visit.page
    visit.choose(SHAPES)
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
            assert f"{len(hits)} of 10 hits" in method.locator("h3").inner_text()


def test_hits_of_pairs_are_said_to_belong_to_the_query(visit: Visit) -> None:
    visit.choose(SHAPES)
    legend = visit.page.locator("#gallery > .note")
    assert "✓ hit shares a class with the query" in legend.inner_text()
    visit.page.evaluate("now.gallery.by = 'instance'; browse.list()")
    assert "✓ hit belongs to the query" in legend.inner_text()
    visit.page.evaluate("now.gallery.by = 'class'; browse.list()")


def test_the_rank_of_the_querys_own_pair_is_told(visit: Visit) -> None:
    page = visit.page
    visit.choose(SHAPES)
    page.select_option("#compare select.direction", label="image → text")
    among_the_first = 0
    for row in range(24):
        page.locator("#queries button").nth(row).click()
        asked = page.locator("#retrieved .query p").inner_text().split()[2]
        for method in page.locator(".method-row").all():
            told = re.search(r"own pair at rank (\d+) of 48$", method.locator("h3").inner_text())
            cards = method.locator("li").all_inner_texts()
            places = [place for place, text in enumerate(cards, 1) if f"item {asked.removeprefix('item')} of" in text]
            assert int(told[1]) in places if int(told[1]) <= 10 else places == []
            among_the_first += bool(places)
    assert among_the_first > 3


def test_protocol_and_method_choices_change_what_is_shown(visit: Visit) -> None:
    page = visit.page
    visit.choose(OTHER)
    assert set(page.locator(".panel:visible").evaluate_all("p => p.map(x => x.dataset.protocol)")) == {OTHER}
    assert page.locator("#retrieved h3").count() == 1
    visit.choose(SHAPES)
    panel = page.locator("#confusion .panel:visible")
    panel.locator("select.method").select_option("dla")
    assert set(panel.locator("figure:visible").evaluate_all("f => f.map(x => x.dataset.method)")) == {"dla"}


def test_hovering_over_the_map_shows_the_item(visit: Visit) -> None:
    visit.choose(SHAPES)
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
    figures = visit.page.locator("figure.plot:visible")
    assert figures.count() > 10
    for figure in figures.all():
        assert figure.locator("img.static").is_visible()
    assert visit.page.locator(".canvas:visible, .scripted:visible").count() == 0
    visit.page.context.close()


@pytest.mark.slow
def test_what_stands_beside_the_page_is_read_from_disk(browser, report: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(page_module, "LIMIT", page_module.FRAME)
    large = build(report.parents[1] / "results", tmp_path / "large", None, "Large")
    assert "data-file" in large.read_text("utf-8")
    visit = Visit(browser, large, 1400)
    visit.choose(SHAPES)
    figure = visit.page.locator("#curves figure.plot:visible").first
    figure.scroll_into_view_if_needed()
    figure.locator(".main-svg").first.wait_for()
    visit.page.locator("#queries button").nth(2).click()
    assert visit.page.locator("#retrieved .cards li").count() == 20
    assert visit.page.locator("#queries img").count() == 24
    assert visit.page.locator("#headline tbody tr").count() > 2
    assert (visit.errors, visit.outside) == ([], [])
    visit.page.context.close()


def test_dark_is_dark_also_in_plots(browser, report: Path) -> None:
    visit = Visit(browser, report, 1400, color_scheme="dark")
    lightness = "e => getComputedStyle(e).{}.match(/\\d+/g).slice(0, 3).reduce((sum, v) => sum + Number(v), 0)"
    assert visit.page.locator("body").evaluate(lightness.format("backgroundColor")) < 150
    assert visit.page.locator("body").evaluate(lightness.format("color")) > 600
    figure = visit.page.locator("#answer figure.plot:visible")
    figure.scroll_into_view_if_needed()
    figure.locator(".main-svg").first.wait_for()
    assert figure.locator(".main-svg").first.evaluate(lightness.format("backgroundColor")) < 150
    visit.page.context.close()


@pytest.mark.parametrize("width", [390, 768, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, report: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    visit = Visit(browser, report, width, color_scheme=scheme, bypass_csp=True)
    for figure in visit.page.locator("figure.plot[data-plot]:visible").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    visit.page.locator("#headline tbody tr.measured").first.click()
    visit.page.locator("#versus details summary").click()
    visit.page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text("utf-8"))
    found = visit.page.evaluate("axe.run(document)")
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found["violations"]] == []
    assert len(found["passes"]) > 20
    visit.page.context.close()


def test_a_print_has_all_protocols_and_figures_and_cuts_nothing(browser, report: Path) -> None:
    visit = Visit(browser, report, 1400)
    visit.page.emulate_media(media="print")
    visit.page.set_viewport_size({"width": 688, "height": 900})  # A4 within its margins
    panels = visit.page.locator("#curves .panel")
    assert [panel.is_visible() for panel in panels.all()] == [True, True]
    assert visit.page.locator(".canvas:visible").count() == 0
    assert visit.page.locator("img.static:visible").count() > 20
    for table in visit.page.locator("#headline, #overview table").all():
        assert table.evaluate("e => e.getBoundingClientRect().right") <= 688
    visit.page.context.close()
