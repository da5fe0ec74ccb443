from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from cmr.metrics.crossed import QUERIES, QUERIES_AND_SEEDS, Sample, difference, holm
from cmr.reporting import headline, significance, tables
from cmr.reporting.collect import Collection, load
from cmr.reporting.protocols import protocols
from cmr.reporting.runs import Run
from reporting_tree import write_experiment, write_items, write_run, write_tree


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return load(write_tree(tmp_path_factory.mktemp("tables") / "results", seeds=3))


def blocks_of(collection: Collection) -> list[headline.Block]:
    rows = collection.united_rows()
    return headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))


def line_of(block: headline.Block, name: str) -> headline.Line:
    (found,) = (line for line in block.lines if line.name == name)
    return found


def of_column(collection: Collection) -> tuple[list, dict[str, significance.Evidence]]:
    """The rows of image→text, best first, and the evidence by method."""
    rows = [r for r in collection.united_rows() if (r["metric"], r["query"]) == ("map@all", "image")]
    evidence = significance.weigh(collection, rows)
    rows.sort(key=lambda row: -row["mean"])
    return rows, {row["id"]: evidence[significance.column_of(row), row["group"]] for row in rows}


def test_best_is_marked_and_others_are_tested_over_queries_and_seeds(collection: Collection) -> None:
    rows, evidence = of_column(collection)
    assert [row["id"] for row in rows] == ["ridge", "dla", "cca"]
    samples = {}
    for row in rows:
        runs = sorted((r for r in collection.runs if r.group == row["group"]), key=lambda run: run.seed)
        samples[row["id"]] = Sample(np.array([run.tasks["image", "text"].per_query["map@all"] for run in runs]))
    assert [samples[name].seeds for name in ("ridge", "dla", "cca")] == [1, 3, 1]
    pairs = [("dla", "ridge"), ("cca", "ridge"), ("dla", "cca")]
    p_holm = holm([difference(samples[a], samples[b]).p_value for a, b in pairs])
    assert evidence["ridge"].mark == significance.BEST
    assert evidence["ridge"].difference is None
    for name, p in zip(("dla", "cca"), p_holm, strict=False):
        assert evidence[name].p_holm == pytest.approx(p)
        assert evidence[name].mark == (significance.NOT_WORSE if p >= 0.05 else significance.WORSE)
        found, wanted = evidence[name].difference, difference(samples[name], samples["ridge"])
        assert (found.value, found.p_value) == pytest.approx((wanted.value, wanted.p_value))
        assert found.ci95 == pytest.approx(wanted.ci95)
    assert evidence["cca"].mark == significance.WORSE
    assert evidence["cca"].difference.covers == evidence["cca"].mean.covers == QUERIES
    assert evidence["dla"].difference.covers == evidence["dla"].mean.covers == QUERIES_AND_SEEDS


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_are_not_tested_and_one_is_said_to_be_alone(tmp_path: Path, seeds: int) -> None:
    collection = load(write_tree(tmp_path / "results", seeds=seeds))
    _, evidence = of_column(collection)
    assert evidence["dla"].mark == significance.UNTESTED
    assert (evidence["dla"].difference, evidence["dla"].p_holm) == (None, None)
    assert evidence["dla"].one_seed == (seeds == 1)
    assert evidence["dla"].mean.covers == (QUERIES if seeds == 1 else QUERIES_AND_SEEDS)
    assert evidence["cca"].mark == significance.WORSE, "a method without randomness needs no seeds"
    cell = line_of(blocks_of(collection)[0], "dla").cells["image→text"]
    assert ("over queries alone, one seed:" in cell.details) == (seeds == 1)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('"method": "ridge_label"', '"method": "somebodys"'),  # a method that this version lacks
        ('"id": "cca",', '"id": "cca", "pairing": "class",'),  # pairs that are drawn
    ],
)
def test_what_may_depend_on_the_seed_counts_as_stochastic(tmp_path: Path, said: str, instead: str) -> None:
    results = write_tree(tmp_path / "results", methods=("cca", "ridge"))
    for file in [*results.rglob("fit.json"), *results.rglob("run.json")]:
        file.write_text(file.read_text().replace(said, instead))
    _, evidence = of_column(load(results))
    assert {name: e.mark for name, e in evidence.items()} == {
        "ridge": significance.BEST,
        "cca": significance.UNTESTED,
    }


def test_equal_methods_are_all_best(tmp_path: Path) -> None:
    items = write_items(tmp_path, "shapes", 48)
    runs = [write_run(tmp_path, items, "shapes", "lite0+bert", "cca", 0, params={"components": c}) for c in (1, 2)]
    write_experiment(tmp_path, "main-a", runs)
    collection = load(tmp_path)
    evidence = significance.weigh(collection, collection.united_rows()).values()
    assert {(e.mark, e.difference, e.p_holm) for e in evidence} == {(significance.BEST, None, None)}
    assert tables.latex(blocks_of(collection)[0]).to_latex(escape=False).count(r"\textbf") == 6


@pytest.mark.parametrize("noise", [0, 1e-15])
@pytest.mark.parametrize("order", [("cca", "dla", "ridge"), ("dla", "cca", "ridge")])
def test_others_are_tested_against_the_best_that_can_be_tested(tmp_path: Path, order: Sequence[str], noise: float):
    """Of two equal means, one of a stochastic method with too few seeds, whichever comes first."""
    collection = load(write_tree(tmp_path / "results", seeds=1))
    rows, _ = of_column(collection)
    values = next(r for r in collection.runs if r.variant == "ridge").tasks["image", "text"].per_query["map@all"]
    of_method = {"cca": values, "dla": values + noise, "ridge": values - 0.3 * np.arange(len(values)) / len(values)}
    for run in collection.runs:
        run.tasks["image", "text"].per_query["map@all"] = of_method[run.variant]
    changed = {row["id"]: row | {"mean": float(of_method[row["id"]].mean())} for row in rows}
    evidence = significance.weigh(collection, [changed[name] for name in order])
    found = {name: evidence[significance.column_of(row), row["group"]] for name, row in changed.items()}
    assert {name: e.mark for name, e in found.items()} == {
        "cca": significance.BEST, "dla": significance.BEST, "ridge": significance.WORSE,
    }  # fmt: skip
    assert found["ridge"].difference.value == pytest.approx(changed["ridge"]["mean"] - changed["cca"]["mean"])


def test_average_takes_each_items_mean_over_directions(collection: Collection) -> None:
    (row,) = (
        r for r in collection.united_rows() if (r["metric"], r["query"], r["id"]) == ("map@all", "average", "cca")
    )
    (run,) = (run for run in collection.runs if run.group == row["group"])
    found = significance.measured(row, [run])
    there, back = (run.tasks[d].per_query["map@all"] for d in (("image", "text"), ("text", "image")))
    assert found.sample.values.tolist() == [pytest.approx([(a + b) / 2 for a, b in zip(there, back, strict=True)])]
    assert list(found.ids) == list(run.tasks["image", "text"].ids)


def test_a_value_that_is_no_mean_over_queries_is_not_tested(collection: Collection) -> None:
    (row,) = (r for r in collection.united_rows() if (r["metric"], r["query"], r["id"]) == ("map@all", "image", "cca"))
    runs = [run for run in collection.runs if run.group == row["group"]]
    assert significance.measured(row, runs) is not None
    assert significance.measured(row | {"mean": row["mean"] + 0.01}, runs) is None


def change_curves(results: Path, method: str, change: Callable[[h5py.Group], None]) -> None:
    """Changes what a method's runs hold of text→image."""
    for file in results.glob(f"runs/*/*/*/{method}*/*/curves.h5"):
        with h5py.File(file, "r+") as curves:
            change(curves["text→image"])


def rename_queries(group: h5py.Group) -> None:
    group["ids"][...] = [f"{name}#1" for name in group["ids"].asstr()]


def forget_values(group: h5py.Group) -> None:
    del group["map@all/per_query"]


def forget_a_value(group: h5py.Group) -> None:
    group["map@all/per_query"][0] = np.nan


@pytest.mark.parametrize(
    ("methods", "change", "reason"),
    [
        (("cca", "ridge"), rename_queries, significance.DIRECTIONS),
        (("cca", "ridge"), forget_a_value, significance.DIRECTIONS),
        (("cca", "ridge"), forget_values, significance.NO_VALUES),
        (("dla", "ridge"), lambda group: None, significance.FEW_SEEDS),
    ],
)
def test_what_is_not_tested_has_its_reason(
    tmp_path: Path, methods: Sequence[str], change: Callable, reason: str
) -> None:
    results = write_tree(tmp_path / "results", methods=methods)
    for method in methods:
        change_curves(results, method, change)
    cells = line_of(blocks_of(load(results))[0], methods[0]).cells
    assert (cells["average"].evidence.mark, cells["average"].evidence.reason) == (significance.UNTESTED, reason)
    assert f"not tested against the best: {reason}" in cells["average"].details
    if reason == significance.DIRECTIONS:
        assert cells["average"].evidence.mean is None
        assert cells["image→text"].evidence.difference


def test_methods_with_values_of_other_queries_are_not_tested(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=("cca", "ridge"))
    change_curves(results, "cca", rename_queries)
    cells = line_of(blocks_of(load(results))[0], "cca").cells
    evidence = cells["text→image"].evidence
    assert (evidence.mark, evidence.reason) == (significance.UNTESTED, significance.OTHER_QUERIES)
    assert evidence.mean
    assert cells["image→text"].evidence.difference


def test_values_behind_a_row_are_those_that_all_its_seeds_have(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["dla"], seeds=3)
    values = [r.tasks["text", "image"].per_query["map@all"] for r in load(results).runs]

    def found(seeds: Sequence[int], queries: slice) -> significance.Measured | None:
        """Behind a row whose mean is that of these seeds and queries."""
        collection = load(results)
        (row,) = (r for r in collection.united_rows() if (r["metric"], r["query"]) == ("map@all", "text"))
        mean = float(np.mean([values[seed][queries] for seed in seeds]))
        return significance.measured(row | {"mean": mean}, collection.runs)

    assert found(range(3), slice(None)).sample.values.tolist() == [own.tolist() for own in values]
    curves = next(results.glob("runs/*/*/*/dla/1/curves.h5"))
    whole = curves.read_bytes()
    for change, seeds, queries in (
        (rename_queries, range(3), slice(None)),
        (forget_values, (0, 2), slice(None)),
        (forget_a_value, range(3), slice(1, None)),
    ):
        curves.write_bytes(whole)
        with h5py.File(curves, "r+") as file:
            change(file["text→image"])
        some = found(seeds, queries)
        if change is forget_a_value:
            assert some.sample.values.tolist() == [own[1:].tolist() for own in values]
            assert len(some.ids) == len(values[0]) - 1
        else:
            assert some is None


@pytest.mark.parametrize(("dictionary", "stochastic"), [(None, False), ("coupled", True), ("somebodys", True)])
def test_a_dictionary_may_make_a_run_depend_on_the_seed(dictionary: str | None, stochastic: bool) -> None:
    run = Run(Path(), "runs/d/s/i/m/0", "")
    entry = dictionary and {"id": "small", "dictionary": dictionary}
    run.__dict__["record"] = {"fits": [{"method": {"method": "cca"}, "dictionary": entry}]}
    assert significance.can_be_tested([run, run], [run]) != stochastic
    assert significance.can_be_tested([run] * 3, [run] * 3)


def test_methods_that_differ_by_the_same_on_all_queries_are_not_tested(tmp_path: Path) -> None:
    collection = load(write_tree(tmp_path / "results", methods=("cca", "ridge")))
    (best, other), _ = of_column(collection)
    a, b = (run for row in (best, other) for run in collection.runs if run.group == row["group"])
    b.tasks["image", "text"].per_query["map@all"] = a.tasks["image", "text"].per_query["map@all"] - 0.125
    rows = [best, other | {"mean": best["mean"] - 0.125}]
    evidence = significance.weigh(collection, rows)[significance.column_of(other), other["group"]]
    assert (evidence.mark, evidence.reason) == (significance.UNTESTED, significance.ALIKE)


def test_chance_stands_beside(collection: Collection) -> None:
    assert line_of(blocks_of(collection)[0], "chance").cells["average"].mean == pytest.approx(0.25)


def test_tied_scores_show_their_bounds(collection: Collection) -> None:
    rows = [row | {"pessimistic": row["mean"] - 0.01, "optimistic": row["mean"]} for row in collection.united_rows()]
    block = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))[0]
    cell = line_of(block, "cca").cells["image→text"]
    assert cell.bounds == (pytest.approx(cell.mean - 0.01), cell.mean)
    assert "ties: between" in cell.details
    assert line_of(blocks_of(collection)[0], "cca").cells["image→text"].bounds is None


def test_tied_ranks_show_their_bounds_the_less_first(collection: Collection) -> None:
    """Of a rank the pessimistic one is the greater."""
    rows = [
        row | {"pessimistic": 9.0 if row["query"] == "image" else 2.5, "optimistic": 2.0, "mean": 3.0}
        for row in collection.united_rows()
    ]
    block = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))[0]
    assert line_of(block, "cca").cells["image→text"].bounds == (2, 9)
    assert "ties move it by up to 7.000" in line_of(block, "cca").badges


def test_where_less_is_better_the_least_average_comes_first(collection: Collection) -> None:
    for plugin, sign in (("mean_average_precision", -1), ("mean_rank", 1)):
        rows = [row | {"plugin": plugin} for row in collection.united_rows()]
        block = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))[0]
        means = [line.cells["average"].mean for line in block.lines if line.kind == "measured"]
        assert means == sorted(means, key=lambda value, sign=sign: sign * value)
        assert block.lines[0].cells["average"].evidence.mark == significance.BEST


def test_sampled_queries_are_said_in_words(collection: Collection) -> None:
    rows = [row | {"metric": "map@all, 10 queries", "sample": "10 queries"} for row in collection.united_rows()]
    found = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))
    (words,) = headline.metric_options(found).values()
    assert words.endswith("; a sample of 10 queries of each direction, not all test queries")
    assert not any("sample" in words for words in headline.metric_options(blocks_of(collection)).values())


def test_files_hold_the_rows(collection: Collection, tmp_path: Path) -> None:
    rows = collection.united_rows()
    evidence = significance.weigh(collection, rows)
    tables.write_all(tmp_path, rows, evidence, blocks_of(collection), None, [], [])
    frame = pd.read_csv(tmp_path / "results.csv")
    assert len(frame) == len(rows)
    assert frame["mean"].to_numpy() == pytest.approx([row["mean"] for row in rows])
    for row, (_, written) in zip(rows, frame.iterrows(), strict=True):
        found = evidence[significance.column_of(row), row["group"]]
        assert (written["mark"], written["ci95 covers"]) == (found.mark, found.mean.covers)
        assert (written["ci95 low"], written["ci95 high"]) == pytest.approx(found.mean.ci95)
        if found.difference:
            against = ["difference", "p", "p_holm", "difference ci95 low", "difference ci95 high"]
            wanted = [found.difference.value, found.difference.p_value, found.p_holm, *found.difference.ci95]
            assert list(written[against]) == pytest.approx(wanted)
            assert written["difference covers"] == found.difference.covers
        else:
            assert np.isnan(written["p_holm"])
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
    low, high = cell.evidence.mean.ci95
    assert low < cell.mean < high
    assert np.isfinite([low, high]).all()
