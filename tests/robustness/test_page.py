"""What a stranger's records do to the report: to its script, to the files beside it, and to who reads or copies it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cmr import search_index
from cmr.errors import UserError, inert
from cmr.reporting import drawing, page, tables
from cmr.reporting.figures import Figure, Series
from cmr.reporting.runs import Run
from cmr.store import write_matrix
from reporting_tree import write_tree

OUTSIDE = "../" * 12 + "tmp/escaped"


@pytest.fixture
def names(monkeypatch):
    """The names of the figures that a report draws, which are not drawn."""
    drawn = []

    def draw_all(folder, figures):
        drawn.extend(figure.name for figure in figures)
        return {figure.name: "" for figure in figures}

    monkeypatch.setattr(page, "draw_all", draw_all)
    return drawn


@pytest.mark.mended(
    "the first column of a fit's history was part of a file's name: the report wrote outside of its folder"
)
def test_a_figures_files_lie_in_its_folder(tmp_path, names):
    results = write_tree(tmp_path / "results", methods=["cca", "ridge"], n=16)
    histories = sorted(results.rglob("history.csv"))
    assert len(histories) == 2
    histories[0].write_text(histories[0].read_text().replace("epoch", OUTSIDE))
    page.build(results, tmp_path / "page")
    assert any("tmp-escaped" in name for name in names)
    assert not [name for name in names if not re.fullmatch(r"[\w@.+-]+", name) or name.startswith(".")]


class Scripts(HTMLParser):
    """The scripts that a page runs, and what its policy says."""

    def __init__(self, content):
        super().__init__()
        self.texts, self.policy, self.runs, self.handlers = [], "", False, []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.handlers += [name for name in told if name.startswith("on")]
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"]
        self.runs = tag == "script" and "type" not in told
        if self.runs:
            self.texts.append("")

    def handle_endtag(self, tag):
        self.runs = False

    def handle_data(self, data):
        if self.runs:
            self.texts[-1] += data


@pytest.mark.mended("the report's policy let a script in any text run")
@pytest.mark.parametrize("beside", [False, True])
def test_the_page_runs_its_own_scripts_alone(tmp_path, names, monkeypatch, beside):
    monkeypatch.setattr(page, "LIMIT", 0 if beside else page.LIMIT)
    made = page.build(write_tree(tmp_path / "results", methods=["cca"], n=16), tmp_path / "page").read_text("utf-8")
    found = Scripts(made)
    said = dict(part.strip().split(" ", 1) for part in found.policy.split(";"))
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in found.texts}
    assert len(hashes) == 2
    assert set(said["script-src"].split()) == hashes | {"blob:"} | ({"'self'", "file:"} if beside else set())
    assert {said[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    assert "'self'" not in said["style-src"]
    assert found.handlers == []
    assert "\r" not in "".join(found.texts)  # a browser would read another character, and find another hash


@pytest.mark.mended("a parameter's name was LaTeX in a grid's table: any file of the reader's, or an error for its '_'")
def test_the_names_of_a_tables_axes_are_no_latex(tmp_path):
    heat = Figure(
        "grid", "grids", "p", "heat", "t", r"a_b", r"\input{/etc/passwd}", rows=["1"], columns=["2"], heat=[[0.5]]
    )
    bars = Figure("bars", "classes", "p", "bars", "t", "50 % of_it", "y", (Series("a_b", ["c_d"], [1.0]),))
    for figure in (heat, bars):
        tables.write_figure(tmp_path, figure)
        body = (tmp_path / f"{figure.name}.tex").read_text().partition("\n")[2]
        assert r"\input{" not in body
        assert not re.search(r"(?<!\\)[_%]", body)


@pytest.mark.mended(
    "a formula behind a semicolon, or in wide letters, was a formula in the spreadsheets of half the world"
)
@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("cat; @x;-1", "cat;' @x;'-1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        (" =1", "' =1"),
        ("a-b; c=d", "a-b; c=d"),
        ("-0.5", "-0.5"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_no_part_of_a_line_is_a_formula(cell, written):
    assert inert(cell) == written
    assert inert(written) == written


def test_names_in_plots_are_those_that_the_script_knows():
    """Quotation marks are no markup in a text, and plotly would show their entities."""
    shown = drawing.plotly(Figure("x", "s", "p", "lines", "t", "x", "y", (Series('a\'s "<b>" & co', [1], [2.0]),)))
    assert shown["data"][0]["name"] == 'a\'s "&lt;b&gt;" &amp; co'


@pytest.mark.mended("embeddings of somebody's were indexed outside of the folder that --out names")
@pytest.mark.parametrize("modality", ["../../escaped", "/tmp/escaped", "", "a/b", None, 3])
def test_an_index_lies_in_its_folder(tmp_path, modality):
    results = write_tree(tmp_path / "results", methods=["cca"], n=16)
    run = Run(results, "runs/shapes/default/lite0+bert/cca/0", "")
    told = {"run_identity": run.record["identity"]} | ({} if modality is None else {"modality": modality})
    write_matrix(tmp_path / "new.h5", "embeddings", np.array(["a", "b"]), np.eye(2, 8, dtype=np.float32), told)
    before = sorted(map(str, tmp_path.rglob("*")))
    with pytest.raises(UserError, match=r"new\.h5: its attribute modality"):
        search_index.make(run, tmp_path / "index", "exact", [tmp_path / "new.h5"], 1)
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert not Path("/tmp/escaped").exists()
