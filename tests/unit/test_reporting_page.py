import csv
import hashlib
import html
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmr import config
from cmr.errors import UserError
from cmr.plan import Plan
from cmr.progress import duration
from cmr.publish import check_free
from cmr.reporting import figures, gallery, headline, origins, page
from cmr.reporting import protocols as protocol_module
from cmr.reporting.collect import load
from cmr.reporting.figures import Figure
from cmr.reporting.page import build
from cmr.reporting.protocols import Group
from cmr.reporting.runs import Run
from reporting_tree import HEADLINE, write_experiment, write_items, write_run, write_tree

TITLE = "Title with <b>markup</b> & more"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("page") / "results", methods=["cca", "dla"], seeds=2)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(p.relative_to(folder)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files
    }


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = state(results)
    built = build(results, tmp_path_factory.mktemp("report") / "deep" / "out", None, TITLE)
    assert state(results) == before, "a report only reads its results"
    return built


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return report.read_text("utf-8")


def part(text: str, key: str) -> dict:
    found = re.search(rf'<script type="application/json" data-part="{re.escape(key)}">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


PROTOCOL = "shapes/default/lite0+bert"


def test_same_results_elsewhere_give_the_same_bytes(results: Path, report: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(results, tmp_path / "copy")
    again = build(copy, tmp_path / "again", None, TITLE)
    first, second = ({name: digest for name, (digest, _) in state(path.parent).items()} for path in (report, again))
    assert first == second


def test_no_output_holds_an_absolute_path(results: Path, report: Path) -> None:
    for file in report.parent.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(results).encode() not in content, file
            assert str(report.parent).encode() not in content, file
            assert str(Path(page.__file__).parents[2]).encode() not in content, file


def test_page_is_small_and_refers_to_nothing_outside(text: str) -> None:
    assert len(text.encode()) < page.LIMIT
    assert "data-file" not in text
    own = re.sub(
        r"<script>.*?</script>|<script type=\"application/json\".*?</script>|<style>.*?</style>",
        "",
        text,
        flags=re.DOTALL,
    )
    addresses = re.findall(r'(?:src|href|data|action)="([^"#][^"]*)"', own)
    assert addresses
    assert all(re.match(r"(data:image|figures/|tables/)", address) for address in addresses)
    assert "default-src 'none'" in html.unescape(own)


def test_cells_of_the_headline_sort_as_the_number_that_they_show(text: str) -> None:
    table = re.search(r'<table id="headline".*?</table>', text, re.DOTALL)[0]
    cells = re.findall(r'<td class="number"([^>]*)>(.*?)</td>', table)
    assert len(cells) > 50
    for attributes, content in cells:
        order = re.search(r'data-order="([^"]*)"', attributes)[1]
        shown = re.search(r"[+-]?[\d.]+", re.sub(r"<[^>]*>", "", content))
        if shown:
            assert float(order) == pytest.approx(float(shown[0]), abs=0.51 if "." not in shown[0] else 0.051)
        else:
            assert order == ("0" if content == "best" else "")


def test_every_link_to_a_file_leads_to_one(text: str, report: Path) -> None:
    linked = {html.unescape(link) for link in re.findall(r'href="((?:figures|tables)/[^"]*)"', text)}
    there = {str(path.relative_to(report.parent)) for path in report.parent.glob("*/*")}
    assert linked == there
    stems = {Path(name).stem for name in there if name.startswith("figures") and name.endswith(".svg")}
    assert all(f"figures/{stem}.{ending}" in there for stem in stems for ending in ("svg", "pdf", "wide.pdf"))


def test_markup_in_names_and_texts_shows_as_text(text: str) -> None:
    assert f"<h1>{html.escape(TITLE)}</h1>" in text
    assert "<b>bold" not in text
    assert "<script>alert" not in text
    items = part(text, "shapes")
    assert "<b>bold</b> & co" in items["classes"]
    assert all("<script>alert(" in words for words in items["texts"]["text"])


def test_gallery_holds_each_querys_results_as_ranked(text: str, results: Path) -> None:
    shown = part(text, PROTOCOL)["gallery"]
    ids = part(text, "shapes")["ids"]
    (direction,) = (d for d in shown["directions"] if d["query"] == "image")
    (run,) = (run for run in load(results).runs if run.variant == "cca")
    task, gallery_ids = run.tasks["image", "text"], run.embeddings(["image", "text"])["text"].ids
    expected = {q: [str(gallery_ids[place]) for place in row] for q, row in zip(task.ids, task.top, strict=True)}
    method = shown["methods"].index("cca")
    found = {
        ids[q]: [ids[n] for n in top] for q, top in zip(direction["queries"], direction["top"][method], strict=True)
    }
    assert found == expected
    means = [sum(column) / 2 for column in zip(*direction["scores"], strict=True)]
    assert all(a <= b + 1e-3 for a, b in pairwise(means)), "worst queries come first"


def test_gallery_tells_the_rank_of_each_querys_own_pair(text: str, results: Path) -> None:
    shown = part(text, PROTOCOL)["gallery"]
    ids = part(text, "shapes")["ids"]
    (run,) = (run for run in load(results).runs if run.variant == "cca")
    for direction in shown["directions"]:
        found = run.embeddings([direction["query"], direction["gallery"]])
        rows = {modality: dict(zip(m.ids, m.values, strict=True)) for modality, m in found.items()}
        expected = []
        for number in direction["queries"]:
            asked = rows[direction["query"]][ids[number]]
            score = {
                item: asked @ row / np.linalg.norm(asked) / np.linalg.norm(row)
                for item, row in rows[direction["gallery"]].items()
            }
            expected.append(1 + sum(other > score[ids[number]] for other in score.values()))
        assert direction["pair"][shown["methods"].index("cca")] == expected
        assert direction["size"] == len(rows[direction["gallery"]])
        assert len(set(expected)) > 3


@pytest.fixture
def to_draw(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the figures that builds would have drawn."""
    names: list[str] = []

    def draw_all(folder: Path, figures: list[Figure]) -> dict[str, str]:
        names.extend(figure.name for figure in figures)
        return undrawn(folder, figures)

    monkeypatch.setattr(page, "draw_all", draw_all)
    return names


def test_methods_are_compared_over_data_sets(tmp_path: Path, to_draw: list[str]) -> None:
    results = write_tree(tmp_path / "results", ["one", "two", "three"], ["cca", "ridge"], seeds=1, n=16)
    text = build(results, tmp_path / "out").read_text("utf-8")
    section = text.partition('<section id="over">')[2].partition("</section>")[0]
    assert "<h2>Over data sets</h2>" in section
    assert "With 3 data sets no two of 2 methods can be told apart" in html.unescape(section)
    assert re.findall(r'<th scope="row">(\w+)</th>', section)[0] in ("cca", "ridge")
    assert "critical-difference" in to_draw
    assert 'href="figures/critical-difference.pdf"' in section
    assert 'href="#over">Data sets</a>' in text


def test_protocols_of_one_data_set_are_not_tested_over_data_sets(tmp_path: Path, to_draw: list[str]) -> None:
    results = write_tree(tmp_path / "results", ["one"], ["cca", "ridge"], seeds=1, n=16)
    items = write_items(results, "one", 16)
    more = [write_run(results, items, "one", "lite0+lda", method, 0) for method in ("cca", "ridge")]
    write_experiment(results, "more-bbbbbb", more)
    text = build(results, tmp_path / "out").read_text("utf-8")
    section = text.partition('<section id="over">')[2].partition("</section>")[0]
    assert "<h2>Over protocols</h2>" in section
    assert "These columns are of one data set, so no test says" in section
    assert "critical-difference" not in to_draw


def test_no_rank_of_a_pair_where_the_run_ranked_by_other_scores(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["cca"], seeds=1)
    collection = load(results)
    (run,) = collection.runs
    task = run.tasks["image", "text"]
    task.top[3] = task.top[3][::-1]
    (protocol,) = protocol_module.protocols(collection)
    shown = gallery.of_protocol(protocol, gallery.Catalogue(protocol.items, results, results))
    (direction,) = (d for d in shown["directions"] if d["query"] == "image")
    assert direction["pair"][0].count(None) == 1


def test_every_picture_is_embedded_once_and_small(text: str) -> None:
    pictures = [p for column in part(text, "shapes")["thumbnails"].values() for p in column]
    assert None not in pictures
    assert all(text.count(picture) == 1 for picture in pictures)
    assert len(pictures) == len(part(text, "shapes")["ids"])


def test_missing_and_broken_pictures_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert gallery.thumbnail(tmp_path / "broken.png") is None
    assert gallery.thumbnail(tmp_path / "gone.png") is None


def test_licences_citations_and_origins_are_named(text: str) -> None:
    assert "CC BY-SA 4.0" in text
    assert "@article{shang2019adversarial" in text
    assert "abcdefabcdef" in text
    assert "Nothing was chosen on them" in text


def test_a_fit_that_several_runs_share_counts_once(results: Path) -> None:
    runs = load(results).runs
    fits = sum(fit["usage"]["seconds"] for run in runs for fit in run.fits)
    assert origins.usage(runs)["time"] == duration(fits + sum(run.record["usage"]["seconds"] for run in runs))
    shared = []
    for number in range(4):
        run = Run(results, f"runs/shapes/default/lite0+bert/shared/{number}", "")
        run.__dict__["record"] = runs[0].record
        shared.append(run)
    first = runs[0].record
    once = first["fits"][0]["usage"]["seconds"] + 4 * first["usage"]["seconds"]
    assert origins.usage(shared)["time"] == duration(once)


def test_printed_configuration_asks_for_the_same_runs(text: str, results: Path) -> None:
    printed = html.unescape(re.search(r"Configuration of main-aaaaaa.*?<code>(.*?)</code>", text, re.DOTALL)[1])
    again = Plan(config.validate(yaml.safe_load(printed)))
    assert {run.folder for run in again.runs} == {f"results/{run.path}" for run in load(results).runs}


def test_experiments_that_agree_are_one_configuration_and_others_are_not(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", ["one"], ["cca", "dla"], seeds=1, n=16)
    items = write_items(results, "two", 16)
    write_experiment(results, "more-bbbbbb", [write_run(results, items, "two", "lite0+bert", "ridge", 0)])
    other = write_run(
        results, items, "two", "lite0+bert", "cca", 0, digest="123456", options={"map@5": HEADLINE["map@5"]}
    )
    write_experiment(results, "other-cccccc", [other], "123456")
    indices = [index for experiment in load(results).experiments for index in experiment.indices]
    (names, count, text), (other_name, other_count, other_text) = origins.configurations(indices, "Title")
    assert (names, count) == ("main-aaaaaa and more-bbbbbb", 3)
    again = Plan(config.validate(yaml.safe_load(text)))
    assert {run.folder for run in again.runs} == {f"results/{run.path}" for index in indices[:2] for run in index.runs}
    assert (other_name, other_count) == ("other-cccccc", 1)
    assert "map@all" not in other_text


def undrawn(folder: Path, figures: list[Figure]) -> dict[str, str]:
    """In `page.draw_all`'s place, where a test is not about figures."""
    folder.mkdir(parents=True, exist_ok=True)
    return {figure.name: "<svg/>" for figure in figures}


def test_what_is_too_large_for_the_page_stands_beside_it(
    results: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LIMIT", page.FRAME)
    monkeypatch.setattr(page, "draw_all", undrawn)
    built = build(results, tmp_path / "out", None, TITLE)
    found = built.read_text("utf-8")
    files = dict(re.findall(r'data-part="([^"]*)" data-file="([^"]*)"', found))
    assert set(files) == {PROTOCOL, "shapes"}
    for key, file in files.items():
        called = re.fullmatch(r"receive\((.*?),(\{.*\})\);\n", (built.parent / file).read_text("utf-8"), re.DOTALL)
        assert json.loads(called[1]) == key
        assert json.loads(called[2]) == part(text, key)
    assert "copy it along" in found
    assert "<script>alert" not in (built.parent / files["shapes"]).read_text("utf-8")


def test_whether_it_fits_is_known_before_anything_is_drawn(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def drawn(folder: Path, figures: list[Figure]) -> dict[str, str]:
        asked.append([figure.name for figure in figures])
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "draw_all", drawn)
    monkeypatch.setattr(page, "parts", lambda *arguments: asked.append("parts") or [])
    with pytest.raises(KeyboardInterrupt):
        build(results, tmp_path / "out", None, TITLE)
    assert asked[0] == "parts"
    assert len(asked) == 2


def test_what_a_page_of_many_methods_leaves_out_is_said(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "draw_all", undrawn)
    monkeypatch.setattr(protocol_module, "MOST", 1)
    monkeypatch.setattr(page, "MOST", 1)
    monkeypatch.setattr(page, "DRAWN", 0)
    monkeypatch.setattr(page, "MAX_THUMBNAILS", 3000)
    for module in (page, figures):
        monkeypatch.setattr(module, "MAX_CLASSES", 3)
    built = build(results, tmp_path / "out", None, TITLE)
    found = built.read_text("utf-8")
    shown = part(found, PROTOCOL)
    assert "Plots and the gallery show the 1 best of up to 2 methods" in found
    assert shown["gallery"]["methods"] == ["dla"]
    assert "are files for the 0 best methods alone" in found
    assert not [name for name in shown["plots"] if f"figures/{name}.pdf" in found and name.startswith("map")]
    assert "shapes has 4 classes: confusion is shown of 3 classes at most" in found
    assert not [name for name in shown["plots"] if name.startswith("confusion")]
    thumbnails = part(found, "shapes")["thumbnails"]["image"]
    missing = thumbnails.count(None)
    assert 0 < missing < len(thumbnails)
    assert f"{missing} of {len(thumbnails)} pictures of shapes are left out" in found
    assert '<th scope="row">cca' in found, "the table has all"


def test_many_runs_are_in_a_file_and_the_first_ones_on_the_page(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "draw_all", undrawn)
    monkeypatch.setattr(page, "MAX_RUNS", 1)
    built = build(results, tmp_path / "out", None, TITLE)
    assert "All 3 runs (CSV)</a>; the first 1 are shown" in built.read_text("utf-8")
    with open(built.parent / "tables" / "runs.csv", newline="") as lines:
        written = [row["run"] for row in csv.DictReader(lines)]
    assert written == [run.path for run in load(results).runs]


def test_missing_runs_are_named(tmp_path: Path) -> None:
    write_experiment(tmp_path, "main-aaaaaa", ["runs/shapes/default/lite0+bert/cca/0"])
    with pytest.raises(UserError, match=r"cca/0/run\.json|cca/0/metrics\.json"):
        build(tmp_path, tmp_path / "out", None, TITLE)


@pytest.mark.parametrize(
    ("fit", "badges", "told"),
    [
        ({}, (), []),
        ({"codes": {}, "drawn_pairs": 0}, (), []),
        ({"codes": {"iterations": 9, "converged": True}}, (), []),
        (
            {"codes": {"iterations": 9, "converged": False}},
            (),
            ["dictionary: 9 iterations, its tolerance was not met"],
        ),
        ({"drawn_pairs": 28}, ("pairs drawn within a class",), ["28 pairs drawn within a class"]),
        ({"method": {"method": "cmcp"}}, ("transductive",), []),
    ],
)
def test_drawn_pairs_and_a_dictionary_that_was_cut_are_told(fit, badges, told):
    run = Run(Path(), "runs/d/s/i/m/0", "")
    run.__dict__["record"] = {"fits": [{"method": {"method": "cca"}, "features": [], "selection": {}, **fit}]}
    assert headline.badges(Group("", "cca", 0, (run,))) == badges
    assert origins._told(run) == told


def test_a_report_that_is_not_finished_leaves_its_folder_free(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "ProcessPoolExecutor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(results, tmp_path / "out", None, TITLE)
    check_free(tmp_path / "out")
