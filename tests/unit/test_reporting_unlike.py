"""Runs of one protocol that were not measured alike: what the page shows of them is comparable, and nothing fails."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from cmr.publish import read_json, write_json
from cmr.reporting import agreement, answer, figures, gallery, headline, significance, versus
from cmr.reporting.collect import Collection, load
from cmr.reporting.gallery import Catalogue
from cmr.reporting.protocols import protocols
from cmr.reporting.runs import Run
from reporting_tree import HEADLINE, write_experiment, write_items, write_run

FEW = 10


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def ask_few(results: Path, run: str, digest: str) -> None:
    """What a run with ``queries: 10`` leaves, by cutting one of all queries."""
    file = results / run / f"metrics-{digest}.json"
    found = read_json(file)
    with h5py.File(results / run / f"curves-{digest}.h5", "r+") as curves:
        for task in found["tasks"]:
            group = curves[f"{task['query']}→{task['gallery']}"]
            numbers = [name for name, entry in task["metrics"].items() if "value" in entry]
            for key in ("ids", "top", *(f"{name}/per_query" for name in numbers)):
                values = group[key][:FEW]
                kind = group[key].dtype
                del group[key]
                group.create_dataset(key, data=values, dtype=kind)
            for name in numbers:
                task["metrics"][name]["value"] = float(group[f"{name}/per_query"][()].mean())
            task |= {"queries": FEW, "sample": FEW}
    means = {name: np.mean([task["metrics"][name]["value"] for task in found["tasks"]]) for name in found["average"]}
    write_json(file, found | {"average": {name: float(value) for name, value in means.items()}})


def shown(results: Path, collection: Collection) -> tuple[dict, dict]:
    """The gallery and the comparisons of the only protocol, once all else of it was made."""
    (protocol,) = protocols(collection)
    rows = collection.united_rows()
    for found in answer.answers(headline.blocks([protocol], rows, significance.weigh(collection, rows))):
        answer.by_class(found)
    assert list(figures.of_protocol(protocol, rows))
    catalogue = Catalogue(protocol.items, results, results)
    of_gallery = gallery.of_protocol(protocol, catalogue)
    queries = [direction["queries"] for direction in of_gallery["directions"]]
    return of_gallery, versus.of_protocol(protocol, queries, catalogue)


@pytest.mark.parametrize("first", ["all", "few"])
def test_a_sample_of_queries_is_not_shown_beside_all(results: Path, first: str) -> None:
    items = write_items(results, "shapes", 48)
    whole = [write_run(results, items, "shapes", "lite0+bert", method, 0) for method in ("ridge", "dla")]
    few = write_run(results, items, "shapes", "lite0+bert", "cca", 0, digest="bbbbbb")
    ask_few(results, few, "bbbbbb")
    names = ("a", "b") if first == "all" else ("b", "a")
    write_experiment(results, f"{names[0]}-aaaaaa", whole)
    write_experiment(results, f"{names[1]}-bbbbbb", [few], "bbbbbb")
    collection = load(results)
    of_gallery, compared = shown(results, collection)
    assert sorted(of_gallery["methods"]) == sorted(compared["methods"]) == ["dla", "ridge"]
    (protocol,) = protocols(collection)
    rows = protocol.averages(collection.united_rows())
    assert {row["id"] for row in rows.values()} == {"dla", "ridge"}


def test_a_block_shows_the_seeds_of_its_own_queries(results: Path) -> None:
    items = write_items(results, "shapes", 48)
    whole = [write_run(results, items, "shapes", "lite0+bert", "dla", seed) for seed in range(3)]
    few = [write_run(results, items, "shapes", "lite0+bert", "dla", seed, digest="bbbbbb") for seed in range(2)]
    for run in few:
        ask_few(results, run, "bbbbbb")
    write_experiment(results, "a-aaaaaa", whole)
    write_experiment(results, "b-bbbbbb", few, "bbbbbb")
    collection = load(results)
    rows = collection.united_rows()
    blocks = headline.blocks(protocols(collection), rows, significance.weigh(collection, rows))
    for block in (block for block in blocks if block.key == "map@all"):
        (line,) = (line for line in block.lines if line.name == "dla")
        assert len(line.seed_averages) == line.seeds == (2 if block.sample else 3)
        assert np.mean(line.seed_averages) == pytest.approx(line.cells["average"].mean)


def test_other_options_of_one_metric_are_not_shown_together(results: Path) -> None:
    items = write_items(results, "shapes", 48)
    other = {name: {**entry, "normalise": "relevant"} for name, entry in HEADLINE.items()}
    runs = [write_run(results, items, "shapes", "lite0+bert", method, 0) for method in ("ridge", "dla")]
    unlike = [write_run(results, items, "shapes", "lite0+bert", "cca", 0, digest="bbbbbb", options=other)]
    write_experiment(results, "a-aaaaaa", runs)
    write_experiment(results, "b-bbbbbb", unlike, "bbbbbb")
    of_gallery, compared = shown(results, load(results))
    assert sorted(of_gallery["methods"]) == sorted(compared["methods"]) == ["dla", "ridge"]


def test_ranks_are_better_where_they_are_less_and_medians_are_not_compared(results: Path) -> None:
    """The first metric's value is made a median, the second a mean rank; of one query neither is known."""
    items = write_items(results, "shapes", 48)
    runs = [write_run(results, items, "shapes", "lite0+bert", method, 0) for method in ("ridge", "dla")]
    for run in runs:
        found = read_json(results / run / "metrics.json")
        with h5py.File(results / run / "curves.h5", "r+") as curves:
            for task in found["tasks"]:
                for name, plugin, reduced in (
                    ("map@all", "median_rank", np.nanmedian),
                    ("map@5", "mean_rank", np.nanmean),
                ):
                    values = curves[f"{task['query']}→{task['gallery']}/{name}/per_query"]
                    values[0] = np.nan
                    task["metrics"][name] |= {"metric": plugin, "params": {}, "value": float(reduced(values[()]))}
        write_json(results / run / "metrics.json", found)
    write_experiment(results, "a-aaaaaa", runs)
    of_gallery, compared = shown(results, load(results))
    assert (of_gallery["metric"], compared["metric"], compared["sign"]) == ("map@all", "map@5", -1)
    for gallery_of, versus_of in zip(of_gallery["directions"], compared["directions"], strict=True):
        means = np.array(gallery_of["scores"], float).mean(axis=0)
        assert (np.diff(means[:-1]) <= 0).all()  # from the worst, which is the greatest, to the best
        assert np.isnan(means[-1])
        (pair,) = versus_of["pairs"]
        a, b = (np.array(values, float) for values in versus_of["values"])
        assert versus_of["known"] == len(a) - 1
        assert pair["better"] == [int((a < b - 1e-6).sum()), int((b < a - 1e-6).sum())]


@pytest.mark.parametrize("first", ["stale", "fresh"])
def test_an_evaluation_by_other_code_does_not_replace_one_by_the_code_that_is_here(results, first, monkeypatch) -> None:
    """The same seeds in two sets of metrics, of which one was evaluated before an edit."""
    items = write_items(results, "shapes", 48)
    fresh = [write_run(results, items, "shapes", "lite0+bert", "dla", seed) for seed in range(3)]
    stale = [write_run(results, items, "shapes", "lite0+bert", "dla", seed, digest="bbbbbb") for seed in range(3)]
    for run in stale:
        record = results / run / "run-bbbbbb.json"
        write_json(record, read_json(record) | {"measured_by": "9" * 12})
        file = results / run / "metrics-bbbbbb.json"
        write_json(file, read_json(file) | {"average": {"map@all": 0.1, "map@5": 0.1}})
    names = ("a", "b") if first == "fresh" else ("b", "a")
    write_experiment(results, f"{names[0]}-aaaaaa", fresh)
    write_experiment(results, f"{names[1]}-bbbbbb", stale, "bbbbbb")
    monkeypatch.setattr(agreement, "_ground_here", lambda run: agreement._ground(Run(results, fresh[0], "")))
    collection = load(results)
    averages = [r["mean"] for r in collection.united_rows() if (r["key"], r["query"]) == ("map@all", "average")]
    assert len(averages) == 1
    assert averages[0] > 0.3
    (note,) = collection.notes
    assert "other code of the evaluation" in note


@pytest.mark.parametrize(
    ("edited", "told_here", "why"),
    [
        ("measured_by", "_ground", "other code of the evaluation"),
        ("code", "_making", "other code"),
    ],
)
def test_a_seed_of_the_code_that_is_here_is_shown_though_most_are_of_other_code(
    results: Path, edited: str, told_here: str, why: str, monkeypatch
) -> None:
    items = write_items(results, "shapes", 48)
    *most, here = [write_run(results, items, "shapes", "lite0+bert", "dla", seed) for seed in range(3)]
    for run in most:
        record = results / run / "run.json"
        write_json(record, read_json(record) | {edited: "9" * 12})
    write_experiment(results, "a-aaaaaa", [*most, here])
    of_here = getattr(agreement, told_here)(Run(results, here, ""))
    monkeypatch.setattr(agreement, f"{told_here}_here", lambda run: of_here)
    collection = load(results)
    assert [run.path for run in collection.runs] == [here]
    (note,) = collection.notes
    assert note.startswith(f"left out, made with {why} (")


def test_where_no_seed_is_of_the_code_that_is_here_most_decide(results: Path) -> None:
    items = write_items(results, "shapes", 48)
    first, *most = [write_run(results, items, "shapes", "lite0+bert", "dla", seed) for seed in range(3)]
    record = results / first / "run.json"
    write_json(record, read_json(record) | {"code": "9" * 12})
    write_experiment(results, "a-aaaaaa", [first, *most])
    assert [run.path for run in load(results).runs] == most


def test_what_a_run_was_made_from_is_read_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = write_items(results, "shapes", 16)
    methods = ("cca", "ridge", "cmcp")
    runs = [Run(results, write_run(results, items, "shapes", "lite0+bert", name, 0), "") for name in methods]
    asked: list[Run] = []
    sources = agreement._sources
    monkeypatch.setattr(agreement, "_sources", lambda run: asked.append(run) or sources(run))
    assert agreement._of_one_source(runs, []) == runs
    assert asked == runs
