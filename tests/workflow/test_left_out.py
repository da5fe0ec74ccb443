"""`missing_data: leave_out`: experiments whose data only their user can place wait for them, and the others are made."""

import re

import pytest

from toy_clones import CONFIG

BY_HAND = {
    "id": "by_hand",
    "data": ["scitechdaily"],
    "inputs": [["vgg19_fc7", "bow"]],
    "methods": ["cca"],
}
EXPERIMENTS = [*CONFIG["experiments"], BY_HAND]


@pytest.mark.slow
def test_the_others_are_made_up_to_a_page_that_stays_where_it_is_when_more_is_placed(fresh):
    fresh.configure("more.yaml", experiments=EXPERIMENTS, missing_data="leave_out")
    told = fresh.snakemake("--configfile", "more.yaml")
    folder = fresh.root / ".cache/datasets/scitechdaily"
    assert told.count(f"left out: data set 'scitechdaily' of by_hand: place in {folder}: scitechdaily.csv") == 1
    (page,) = fresh.root.glob("results/report-*/index.html")
    assert fresh.planned("--configfile", "more.yaml") == {}
    folder.mkdir(parents=True)
    (folder / "scitechdaily.csv").touch()
    more = fresh.snakemake("-n", "--configfile", "more.yaml")
    assert "left out" not in more
    assert set(re.findall(r"results/report-\w+/index\.html", more)) == {str(page.relative_to(fresh.root))}
    assert "results/data/scitechdaily/raw.json" in more


def test_a_configuration_that_does_not_ask_for_it_plans_all_of_it(fresh):
    fresh.configure(experiments=EXPERIMENTS)
    whole = fresh.snakemake("-n")
    assert "left out" not in whole
    assert "results/data/scitechdaily/raw.json" in whole


def test_a_config_yaml_that_only_says_where_things_are_is_extended_by_a_whole_configuration(fresh):
    fresh.configure("more.yaml", experiments=EXPERIMENTS)
    (fresh.root / "config.yaml").write_text("cache: .cache\n")
    assert "results/data/scitechdaily/raw.json" in fresh.snakemake("-n", "--configfile", "more.yaml")
    refused = fresh.snakemake("-n", "--configfile", "more.yaml", "--config", "base=elsewhere", check=False)
    assert "base: elsewhere: it is relative to a configuration file; write it into one" in refused
