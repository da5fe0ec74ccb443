"""The LaTeX tables, by a TeX where there is one: they compile, and fit their columns."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from cmr.reporting import headline, significance, tables
from cmr.reporting.collect import load
from cmr.reporting.figures import of_protocol
from cmr.reporting.pivot import pivot
from cmr.reporting.protocols import protocols
from reporting_tree import write_tree

PDFLATEX = shutil.which("pdflatex")
POINTS = 5.0
"""What may stick out: less than the space between two columns."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("latex")
    collection = load(write_tree(made / "results", methods=["cca", "ridge", "dla", "another_method_1"], seeds=3))
    rows = collection.united_rows()
    evidence = significance.weigh(collection, rows)
    compared = protocols(collection)
    figures = [figure for protocol in compared for figure in of_protocol(protocol, rows)]
    tables.write_all(made / "tables", rows, evidence, headline.blocks(compared, rows, evidence), None, figures, [])
    return made


def test_tables_are_centred_floats_with_one_line_of_heads_a_caption_and_a_label(folder: Path) -> None:
    text = (folder / "tables/shapes--default--lite0+bert--map@all.tex").read_text()
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table*}[tb]\n\\centering\n")
    assert r"\label{tab:shapes--default--lite0-bert--map-all}" in text
    assert text.count(r"\caption{map@all, shapes $\cdot$ default") == 1
    head = text.partition(r"\toprule")[2].partition(r"\midrule")[0].strip().splitlines()
    assert [cell.strip(" \\") for cell in head[0].split("&")] == [
        "Method",
        r"image$\to$text",
        r"text$\to$image",
        "average",
    ]
    assert len(head) == 1


def test_the_table_over_protocols_has_the_marks_of_the_page_and_their_key(tmp_path: Path) -> None:
    collection = load(write_tree(tmp_path / "results", ["one", "two"], seeds=1))
    rows = collection.united_rows()
    evidence = significance.weigh(collection, rows)
    blocks = headline.blocks(protocols(collection), rows, evidence)
    over = pivot(blocks)
    tables.write_all(tmp_path, rows, evidence, blocks, over, [], [])
    text = (tmp_path / "over-protocols.tex").read_text()
    marks = [cell.evidence.mark for line in over.lines for cell in line.cells.values()]
    assert text.count(r"\textbf") == marks.count(significance.BEST) == 2
    assert text.count(r"$^{\S}$ &") == marks.count(significance.UNTESTED) == 2
    assert f"mean rank over protocols. {tables.KEY}" in text
    written = pd.read_csv(tmp_path / "over-protocols.csv").set_index("method")
    for line in over.lines:
        for column, cell in line.cells.items():
            assert written.loc[line.name, f"{column} mark"] == cell.evidence.mark
            assert written.loc[line.name, f"{column} mean"] == pytest.approx(cell.mean)
        assert written.loc[line.name, "mean rank"] == line.rank


def test_a_remark_is_a_letter_at_the_name_and_words_in_the_caption(folder: Path) -> None:
    line = headline.Line("jrl", "measured", {}, 1, "", ("transductive", "alpha highest tried in 2 of 5 fits"))
    other = headline.Line("cca", "measured", {}, 1, "", ("alpha highest tried in 2 of 5 fits",))
    block = headline.Block(None, "map", "Map", {}, ("average",), (line, other))
    assert list(tables.latex(block).index) == ["jrl$^{a,b}$", "cca$^{b}$"]
    assert (
        tables.key_of(tables.badge_letters(block))
        == " $^{a}$: transductive. $^{b}$: alpha highest tried in 2 of 5 fits."
    )
    assert [tables._letter(number) for number in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


@pytest.mark.skipif(PDFLATEX is None, reason="no TeX on this machine (apt-get install texlive-latex-recommended)")
def test_every_table_compiles_in_two_columns_and_fits_them(folder: Path) -> None:
    files = sorted((folder / "tables").glob("*.tex"))
    assert len(files) > 8
    needed = {package for file in files for package in re.findall(r"usepackage\{(\w+)\}", file.read_text())}
    lines = [r"\documentclass[twocolumn]{article}", *(rf"\usepackage{{{package}}}" for package in sorted(needed))]
    lines += [r"\begin{document}", "Text."]
    lines += [f'\\input{{"tables/{file.name}"}}\n\\clearpage' for file in files]
    (folder / "paper.tex").write_text("\n".join([*lines, r"\end{document}"]))
    done = subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "paper.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "paper.pdf").exists()
    outside = [
        float(found)
        for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt", (folder / "paper.log").read_text(errors="replace"))
    ]
    assert [points for points in outside if points > POINTS] == []
