"""The papers' printed numbers: transcribed whole, consistent but for what is flagged, and run by the experiments."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml

from cmr import config, registry
from cmr.plan import Plan
from cmr.reporting import published
from cmr.reporting.published import Quote
from cmr.reporting.runs import Run

QUOTES = published.read()
PAPERS = ("dla_cmr", "drsl", "gpldan", "sdml", "smcr")
EXPERIMENTS = published.FOLDER.parent / "experiments"
COLUMNS = [
    "paper",
    "table",
    "dataset",
    "split",
    "features",
    "method",
    "params",
    "query",
    "gallery",
    "metric",
    "value",
    "note",
]
NUMBERS = {  # methods × directions (and metrics, data sets), counted in the papers by hand
    "dla_cmr": {"Table 2": 7 * 3 + 8 * 3, "Table 3": 7 * 3 + 8 * 3, "Table 4": 36, "Table 5": 18, "Table 6": 12},
    "gpldan": {"Table 2": 9 * 12, "Table 3": 6 * 3},
    "drsl": {f"Table {n}": 3 * m for n, m in zip(range(1, 7), (13, 13, 11, 13, 4, 4), strict=True)} | {"Table 7": 6},
    "smcr": {"Table 2": 7 * 9 * 2, "Table 3": 3 * 9, "Table 4": 3 * 9},
    "sdml": {"Table 2": 11 * 21, "Table 3": 39, "Table 4": 36, "Table 5": 24, "Table 6": 24, "Table 7": 14},
}


def same_cell(quote: Quote) -> tuple[str, ...]:
    """What two printings of one number share: all but the table, the number and the note."""
    return tuple(quote[k] for k in COLUMNS if k not in ("table", "value", "note"))


def contradictions() -> list[list[Quote]]:
    """Groups of numbers that cannot all be right: an average and its parts, or one number printed twice.

    Rounding moves an average by half a unit of its last place, and its rounded parts by as much again: a whole unit
    is a contradiction.
    """
    averaged, twice = defaultdict(list), defaultdict(list)
    for quote in QUOTES:
        if quote["gallery"]:
            place = ("paper", "table", "dataset", "split", "features", "method", "metric")
            averaged[tuple(quote[k] for k in place)].append(quote)
            twice[same_cell(quote)].append(quote)
    found = [group for group in twice.values() if len({float(quote["value"]) for quote in group}) > 1]
    for group in averaged.values():
        (average,) = (quote for quote in group if quote["query"] == "average")
        unit = 10.0 ** -len(average["value"].partition(".")[2])
        parts = [float(quote["value"]) for quote in group if quote is not average]
        if abs(float(average["value"]) - sum(parts) / len(parts)) > 0.999 * unit:
            found.append(group)
    return found


def flagged(quote: Quote) -> bool:
    return quote["note"].startswith(published.MISPRINT)


def test_every_number_of_every_table_is_there_once() -> None:
    assert {tuple(quote) for quote in QUOTES} == {tuple(COLUMNS)}
    assert Counter((q["paper"], q["table"]) for q in QUOTES) == {
        (paper, table): count for paper, tables in NUMBERS.items() for table, count in tables.items()
    }
    assert max(Counter((q["table"], *same_cell(q)) for q in QUOTES).values()) == 1
    assert all(float(quote["value"]) > 0 for quote in QUOTES)


@pytest.mark.parametrize("paper", PAPERS)
def test_numbers_name_plugins_splits_and_parameters_that_exist(paper: str) -> None:
    for quote in (quote for quote in QUOTES if quote["paper"] == paper):
        plugin = published.plugin_of(quote)
        assert quote["split"] in registry.info("datasets", quote["dataset"]).splits
        assert plugin in registry.names("methods")
        for params in published.readings_of(quote):
            assert params.pop("dictionary", None) in (None, *registry.names("dictionaries"))
            registry.params_model("methods", plugin)(**params)
        modalities = {*registry.info("datasets", quote["dataset"]).modalities, "average", ""}
        assert {quote["query"], quote["gallery"]} <= modalities


def test_printed_features_are_known_by_what_they_are() -> None:
    """Plug-ins, names that `published` explains, or those of ready features alone."""
    names = {name for quote in QUOTES if quote["gallery"] for name in quote["features"].split("+")}
    assert names - {*registry.names("extractors"), *published.FEATURES} == {"cnn", "sift", "lightfield", "c3d"}
    for plugin, params in published.FEATURES.values():
        if plugin in registry.names("extractors"):
            for key, values in params.items():
                assert all(registry.params_model("extractors", plugin)(**{key: value}) for value in values)
        else:
            assert (plugin, params) == ("vgg", {})


def test_every_contradiction_is_flagged_and_every_flag_is_one() -> None:
    groups = contradictions()
    assert len(groups) == 8
    assert [group for group in groups if not any(map(flagged, group))] == []
    contradicted = [quote for group in groups for quote in group]
    assert [quote for quote in QUOTES if flagged(quote) and quote not in contradicted] == []


def test_variants_of_one_paper_differ_in_their_parameters() -> None:
    """Else a run of the one would stand beside the numbers of the other."""
    for paper in PAPERS:
        by_place = defaultdict(set)
        for quote in (q for q in QUOTES if q["paper"] == paper and q["gallery"]):
            place = (quote["dataset"], quote["features"], published.plugin_of(quote))
            by_place[place].add((quote["method"], quote["params"]))
        for variants in by_place.values():
            assert len({params for _, params in variants}) == len({method for method, _ in variants}) == len(variants)


class Planned:
    """A run as `published` reads it, before it is made."""

    def __init__(self, fit: dict):
        self.fits = [fit]
        self.method = fit["method"]


@pytest.mark.parametrize("paper", PAPERS)
def test_experiments_run_what_the_paper_prints(paper: str) -> None:
    base = yaml.safe_load((EXPERIMENTS.parents[1] / "config.yaml").read_text("utf-8"))
    extended = base | yaml.safe_load((EXPERIMENTS / f"{paper}.yaml").read_text("utf-8"))
    plan = Plan(config.validate(extended, paper))
    runs = defaultdict(list)
    for run in plan.runs:
        planned = Planned(plan.fit_configuration(plan.fits(run)[0]))
        runs[plan.datasets[run.data].dataset, run.split].append(planned)
    telling = published._telling_keys(QUOTES)
    metrics = {metric.id for metric in plan.config.metrics}
    printed = [q for q in QUOTES if q["paper"] == paper and q["gallery"] and q["table"] not in plan.config.not_made]
    assert printed
    for quote in printed:
        plugin = published.plugin_of(quote)
        info = registry.info("methods", plugin)
        if info.implementation == "quoted" or "vector" not in info.takes:  # most ready features are vectors
            continue
        assert quote["metric"] in metrics
        here = runs[quote["dataset"], quote["split"]]
        same = [run for run in here if run.method["method"] == plugin and agrees(run, quote, telling[plugin])]
        assert len(same) >= (5 if info.stochastic else 1), quote


def agrees(run: Planned | Run, quote: Quote, telling: set[str]) -> bool:
    return published._agrees(run, quote, telling)


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"{','.join(COLUMNS)}\n{','.join([name] * len(COLUMNS))}\n", "utf-8")
    assert published.read(tmp_path) == [dict.fromkeys(COLUMNS, "a"), dict.fromkeys(COLUMNS, "b")]
