"""The tables in resources/experiments: each is valid, and gives every method the same budget to choose with."""

from math import prod
from pathlib import Path

import pytest

from cmr import config, registry
from cmr.plan import Plan

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "resources/experiments").glob("*.yaml"))
TABLES = [  # file, experiment; the other experiments compare settings of one method, or a data set
    ("baselines", "baselines"),
    ("dla_cmr", "dla_cmr"),
    ("drsl", "drsl"),
    ("gpldan", "gpldan"),
    ("regions_words", "regions_words"),
    ("regions_words", "vectors"),
    ("sdml", "sdml"),
    ("smcr", "smcr"),
    ("wikipedia", "wikipedia"),
    ("wikipedia", "wikipedia_462"),
]
CANDIDATES = 6
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
    assert candidates == dict.fromkeys(candidates, CANDIDATES)


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_all_networks_of_a_table_wait_as_long_and_choose_the_scaling(file, table):
    found = [e for e in entries(file, table).values() if "epochs" in registry.info("methods", e.method).chooses]
    assert found
    assert len({(entry.params["patience"], entry.params["epochs"]) for entry in found}) == 1
    assert [entry.tune.get("scale") for entry in found] == [["standardise", "none"]] * len(found)


@pytest.mark.parametrize(("file", "table"), TABLES)
def test_grids_are_wide_enough_for_a_choice_to_lie_inside(file, table):
    grids = {(name, key): values for name, entry in entries(file, table).items() for key, values in entry.tune.items()}
    narrow = {key for key, values in grids.items() if not isinstance(values[0], str) and len(set(values)) < 3}
    assert narrow == set()
