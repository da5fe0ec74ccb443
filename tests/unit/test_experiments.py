"""The files in resources/experiments: each is valid, gives every method of a table the same budget to choose with, and
accounts for the whole of its paper.
"""

import csv
import re
from math import prod
from pathlib import Path

import pytest

from cmr import config, missing, registry
from cmr.machine import Machine
from cmr.plan import Plan

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "resources/experiments").glob("*.yaml"))
TABLES = [  # file, experiment; the other experiments compare settings of one method, or a data set
    ("baselines", "baselines"),
    ("baselines", "later"),
    ("baselines", "slow"),
    ("dla_cmr", "dla_cmr"),
    ("dla_cmr", "dla_cmr_wikipedia_cnn"),
    ("dla_cmr", "dla_cmr_pascal_sentence"),
    ("dla_cmr", "dla_cmr_inria_websearch"),
    ("drsl", "drsl"),
    ("drsl", "drsl_pascal_sentence"),
    ("drsl", "drsl_xmedianet"),
    ("gpldan", "gpldan"),
    ("regions_words", "regions_words"),
    ("regions_words", "vectors"),
    ("sdml", "sdml"),
    ("sdml", "sdml_xmedia"),
    ("sdml", "sdml_ms_coco"),
    ("smcr", "smcr"),
    ("wikipedia", "wikipedia"),
    ("wikipedia", "wikipedia_later"),
    ("wikipedia", "wikipedia_slow"),
    ("wikipedia", "wikipedia_462"),
]
SMALL = {"regions_words"}
"""Files of half the budget, as a fit of theirs takes an hour: three steps, and no choice of the scaling."""
WITHOUT_CHOICE = {"random"}


def configuration(file):
    """As Snakemake extends the default: lists are replaced."""
    return config.validate({**config.read(ROOT / "config.yaml"), **config.read(file)}, file.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_file_makes_a_plan(file):
    assert Plan(configuration(file)).runs


def entries(file, table):
    """The methods of a table that have something to choose."""
    (experiment,) = (e for e in configuration(ROOT / f"resources/experiments/{file}.yaml").experiments if e.id == table)
    return {entry.id: entry for entry in experiment.methods if entry.method not in WITHOUT_CHOICE}


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_all_methods_of_a_table_choose_among_as_many_candidates(file, table):
    candidates = {name: prod(map(len, entry.tune.values())) for name, entry in entries(file, table).items()}
    assert candidates == dict.fromkeys(candidates, 3 if file in SMALL else 6)


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_all_networks_of_a_table_wait_as_long_and_choose_the_scaling_alike(file, table):
    found = [e for e in entries(file, table).values() if "epochs" in registry.info("methods", e.method).chooses]
    assert found
    assert len({(entry.params["patience"], entry.params["epochs"]) for entry in found}) == 1
    scalings = None if file in SMALL else ["standardise", "none"]
    assert [entry.tune.get("scale") for entry in found] == [scalings] * len(found)


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_grids_are_wide_enough_for_a_choice_to_lie_inside(file, table):
    grids = {(name, key): values for name, entry in entries(file, table).items() for key, values in entry.tune.items()}
    narrow = {key for key, values in grids.items() if not isinstance(values[0], str) and len(set(values)) < 3}
    assert narrow == set()


PAPERS = {"dla_cmr": (6, 7), "drsl": (7, 4), "gpldan": (3, 2), "sdml": (7, 6), "smcr": (4, 2)}
"""Numbers of the paper's tables and figures."""
GIVEN_BY_HAND = {
    "dla_cmr": {"inria_websearch"},
    "drsl": {"nus_wide_10k", "xmedianet"},
    "gpldan": {"nus_wide_10k", "xmedia"},
    "sdml": {"xmedia", "nus_wide_sdml", "ms_coco_sdml"},
    "smcr": {"scitechdaily"},
}


def of_paper(paper):
    return configuration(ROOT / f"resources/experiments/{paper}.yaml")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_table_and_figure_of_a_paper_is_made_or_has_a_reason(paper):
    found = of_paper(paper)
    made = {name for experiment in found.experiments for name in experiment.makes}
    reasons = {re.match(r"(Table|Fig\.) \d+", name)[0] for name in found.not_made}
    tables, figures = PAPERS[paper]
    assert made | reasons == {f"Table {n + 1}" for n in range(tables)} | {f"Fig. {n + 1}" for n in range(figures)}
    assert made.isdisjoint(found.not_made)
    assert all(found.not_made.values())


def printed(paper):
    """(table, data set, split) → the plug-ins of its printed numbers."""
    found = {}
    with open(ROOT / f"resources/published/{paper}.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (row["table"], row["dataset"], row["split"])
            found.setdefault(key, set()).add(row["method"].partition(" ")[0])
    return found


def takes_vectors(name):
    """Whether it can be run on vectors alone, which most ready features are; not so what is quoted."""
    info = registry.info("methods", name)
    return info.implementation != "quoted" and "vector" in info.takes


@pytest.mark.parametrize("paper", PAPERS)
def test_every_printed_row_of_a_method_on_vectors_is_run_on_its_data_set(paper):
    found, lacking = of_paper(paper), {}
    for (table, dataset, split), methods in printed(paper).items():
        made = [
            experiment
            for experiment in found.experiments
            for entry, name in map(found.data, experiment.data)
            if table in experiment.makes and (entry.dataset, name) == (dataset, split)
        ]
        run = {entry.method for experiment in made for entry in experiment.methods}
        absent = {name for name in methods - run if takes_vectors(name)}
        if absent and table not in found.not_made:
            lacking[table, dataset, split] = absent
    assert lacking == {}


@pytest.mark.parametrize("paper", PAPERS)
def test_an_entry_of_a_paper_has_one_data_set_so_that_it_is_whole_or_left_out(paper):
    assert {len(experiment.data) for experiment in of_paper(paper).experiments} == {1}


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_without_its_data_is_planned_less_what_is_given_by_hand(paper, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    whole = of_paper(paper)
    found, lines = missing.without_missing(whole, Machine(cache=str(tmp_path)))
    assert {re.match(r"left out: data set '(\w+)'", line)[1] for line in lines} == GIVEN_BY_HAND[paper]
    assert {run.data.partition("-")[0] for run in Plan(found).runs}.isdisjoint(GIVEN_BY_HAND[paper])
    assert {run.data.partition("-")[0] for run in Plan(whole).runs} >= GIVEN_BY_HAND[paper]
