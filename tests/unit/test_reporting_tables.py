from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmr.metrics.bootstrap import paired_difference
from cmr.reporting import headline, significance, tables
from cmr.reporting.collect import Collection, load
from cmr.reporting.protocols import protocols
from reporting_tree import write_experiment, write_items, write_run, write_tree


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load(write_tree(tmp_path_factory.mktemp("tables") / "results", seeds=3))


def blocks_of(collection: Collection) -> list[headline.Block]:
    return headline.blocks(collection, protocols(collection), collection.united_rows())


def line_of(block: headline.Block, name: str) -> headline.Line:
    (found,) = (line for line in block.lines if line.name == name)
    return found


def test_best_is_marked_and_the_test_pairs_means_over_seeds(collection: Collection) -> None:
    rows = [r for r in collection.united_rows() if (r["metric"], r["query"]) == ("map@all", "image")]
    evidence = significance.weigh(collection, rows)
    best = max(rows, key=lambda row: row["mean"])
    values = {}
    for row in rows:
        runs = [run for run in collection.runs if run.group == row["group"]]
        values[row["group"]] = sum(run.tasks["image", "text"].per_query["map@all"] for run in runs) / len(runs)
    for row in rows:
        mark = evidence[significance.column_of(row), row["group"]].mark
        p_value = paired_difference(values[best["group"]], values[row["group"]], significance.SEED).p_value
        expected = significance.BEST if row is best else significance.NOT_WORSE if p_value >= 0.05 else ""
        assert mark == expected
    assert {"", significance.BEST} <= {e.mark for e in evidence.values()}


def test_equal_methods_are_not_significantly_worse(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    runs = [write_run(tmp_path, items, "shapes", "lite0+bert", "dla", 0, params={"margin": m}) for m in (0.1, 1.0)]
    write_experiment(tmp_path, "main-a", runs)
    collection = load(tmp_path)
    marks = sorted(e.mark for e in significance.weigh(collection, collection.united_rows()).values())
    assert marks == [significance.BEST] * 6 + [significance.NOT_WORSE] * 6


def test_average_takes_each_items_mean_over_directions(collection: Collection) -> None:
    (row,) = (
        r for r in collection.united_rows() if (r["metric"], r["query"], r["id"]) == ("map@all", "average", "cca")
    )
    (run,) = (run for run in collection.runs if run.group == row["group"])
    ids, values = significance.per_query(row, [run])
    there, back = (run.tasks[d].per_query["map@all"] for d in (("image", "text"), ("text", "image")))
    assert values == pytest.approx([(a + b) / 2 for a, b in zip(there, back, strict=True)])
    assert list(ids) == list(run.tasks["image", "text"].ids)


def test_a_value_that_is_no_mean_over_queries_is_not_tested(collection: Collection) -> None:
    (row,) = (r for r in collection.united_rows() if (r["metric"], r["query"], r["id"]) == ("map@all", "image", "cca"))
    runs = [run for run in collection.runs if run.group == row["group"]]
    assert significance.per_query(row, runs) is not None
    assert significance.per_query(row | {"mean": row["mean"] + 0.01}, runs) is None


def test_chance_stands_beside(collection: Collection) -> None:
    assert line_of(blocks_of(collection)[0], "chance").cells["average"].mean == pytest.approx(0.25)


def test_tied_scores_show_their_bounds(collection: Collection) -> None:
    rows = [row | {"pessimistic": row["mean"] - 0.01, "optimistic": row["mean"]} for row in collection.united_rows()]
    block = headline.blocks(collection, protocols(collection), rows)[0]
    cell = line_of(block, "cca").cells["image→text"]
    assert cell.bounds == (pytest.approx(cell.mean - 0.01), cell.mean)
    assert "ties: between" in cell.details
    assert line_of(blocks_of(collection)[0], "cca").cells["image→text"].bounds is None


def test_files_hold_the_rows(collection: Collection, tmp_path: Path) -> None:
    rows = collection.united_rows()
    tables.write_all(tmp_path, rows, blocks_of(collection), [], [])
    frame = pd.read_csv(tmp_path / "results.csv")
    assert len(frame) == len(rows)
    assert frame["mean"].to_numpy() == pytest.approx([row["mean"] for row in rows])
    wide = pd.read_csv(tmp_path / "shapes--default--lite0+bert--map@all.csv").set_index("method")
    (row,) = (r for r in rows if (r["metric"], r["query"], r["id"]) == ("map@all", "average", "dla"))
    assert wide.loc["dla", "average mean"] == pytest.approx(row["mean"])
    assert wide.loc["dla", "average std"] == pytest.approx(row["std"])
    assert wide.loc["dla", "seeds"] == 3


def test_latex_is_booktabs_with_the_best_in_bold(collection: Collection) -> None:
    block = blocks_of(collection)[0]
    text = tables.latex(block).to_latex(escape=False)
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    best = max((line for line in block.lines if line.kind == "measured"), key=lambda line: line.cells["average"].mean)
    assert rf"\textbf{{{tables.escaped(best.cells['average'].text)}}}" in text
    assert r"\textit{chance}" in text
    assert r"image$\to$text" in text


def test_latex_escapes_what_it_would_read() -> None:
    assert tables.escaped(r"50% of {a}_b & <c> ~ #1 \d ^ $") == (
        r"50\% of \{a\}\_b \& \textless{}c\textgreater{} \textasciitilde{} \#1 \textbackslash{}d \textasciicircum{} \$"
    )


def test_interval_holds_the_mean(collection: Collection) -> None:
    cell = line_of(blocks_of(collection)[0], "dla").cells["average"]
    low, high = cell.evidence.ci95
    assert low < cell.mean < high
    assert np.isfinite([low, high]).all()
