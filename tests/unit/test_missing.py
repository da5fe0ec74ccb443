"""What is left out of a configuration whose data are not here, and that nothing is where it does not ask for it."""

import copy
from pathlib import Path

import pytest

from cmr import config, missing
from cmr.errors import UserError
from cmr.machine import Machine
from cmr.plan import Plan

EXPERIMENT = {"inputs": [["vgg19_fc7", "bow"]], "methods": ["cca"]}
CONFIG = {
    "datasets": ["wikipedia", "scitechdaily", "xmedia"],
    "features": [
        {"id": "sift", "modality": "image", "extractor": "ready", "params": {"name": "sift"}},
        {"id": "lda10", "modality": "text", "extractor": "ready", "params": {"name": "lda"}},
        "vgg19_fc7",
        "bow",
    ],
    "experiments": [
        {"id": "open", "data": ["wikipedia"], "inputs": [["sift", "lda10"]], "methods": ["cca"]},
        {"id": "by_hand", "data": ["scitechdaily"], **EXPERIMENT},
        {"id": "both", "data": ["wikipedia", "scitechdaily"], **EXPERIMENT},
    ],
}
FILES = ("raw_features.mat", "categories.list", "trainset_txt_img_cat.list", "testset_txt_img_cat.list")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return Machine(cache=str(tmp_path / "cache"), base=str(tmp_path))


def checked(**changes):
    return config.validate({**copy.deepcopy(CONFIG), "missing_data": "leave_out", **changes})


def place(machine, dataset, *names):
    folder = Path(machine.cache) / "datasets" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def kept(found):
    return {experiment.id: experiment.data for experiment in found.experiments}


def test_a_configuration_that_does_not_ask_for_it_stays_whole(machine):
    own = config.validate(copy.deepcopy(CONFIG))
    assert missing.without_missing(own, machine) == (own, [])


def test_what_only_its_user_can_place_is_left_out_with_one_line(machine):
    found, (line,) = missing.without_missing(checked(), machine)
    assert kept(found) == {"open": ["wikipedia"], "both": ["wikipedia"]}
    folder = Path(machine.cache) / "datasets/scitechdaily"
    assert line.startswith(f"left out: data set 'scitechdaily' of by_hand, both: place in {folder}: scitechdaily.csv (")
    assert line.endswith(" from https://scitechdaily.com/news/technology")
    assert "\n" not in line
    assert {run.data for run in Plan(found).runs} == {"wikipedia"}


def test_more_is_made_when_more_is_placed(machine):
    place(machine, "scitechdaily", "scitechdaily.csv")
    assert missing.without_missing(checked(), machine) == (checked(), [])


def test_nothing_that_can_be_made_is_an_error(machine):
    experiments = [{"id": "by_hand", "data": ["scitechdaily"], **EXPERIMENT}]
    with pytest.raises(UserError, match=r"(?s)nothing of the configuration can be made\nleft out: .*scitechdaily\.csv"):
        missing.without_missing(checked(experiments=experiments), machine)


def test_a_file_of_ones_own_that_is_not_there_is_missing_too(machine):
    mine = {"id": "mine", "dataset": "table", "params": {"file": "my.csv", "text": "a", "label": "b"}}
    changes = {"datasets": [mine], "experiments": [{"id": "mine", "data": ["mine"], **EXPERIMENT}]}
    with pytest.raises(UserError, match=r"data set 'mine' of mine: no such file: .*/my\.csv"):
        missing.without_missing(checked(**changes), machine)
    Path(machine.located("my.csv")).touch()
    assert missing.without_missing(checked(**changes), machine)[1] == []


def test_a_data_set_that_downloads_in_its_own_way_is_not_missing(machine):
    (entry,) = checked(datasets=["tuxpaint_stamps"], experiments=[CONFIG["experiments"][0]]).datasets
    assert missing.missing_data(entry, machine) == ""
    assert not missing.is_here(entry, machine)


def test_an_archive_that_is_here_is_as_good_as_what_is_in_it(machine):
    entry = checked().datasets[0]
    assert not missing.is_here(entry, machine)
    place(machine, "wikipedia", "wikipedia_dataset.zip")
    assert missing.is_here(entry, machine)


def test_without_internet_what_would_be_downloaded_is_missing(machine, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"data set 'wikipedia' of open, both: place in .*wiki_nodata_top10cats\.tar\.gz"
    ):
        missing.without_missing(checked(), machine)
    place(machine, "wikipedia", *FILES)
    place(machine, "scitechdaily", "scitechdaily.csv")
    found, (line,) = missing.without_missing(checked(), machine)
    assert kept(found) == {"open": ["wikipedia"]}
    assert line.startswith("left out: feature 'vgg19_fc7' of by_hand, both: https://download.pytorch.org/")
    assert "place it as" in line


def test_what_an_entry_makes_changes_no_result(machine):
    plain = Plan(checked())
    told = Plan(
        checked(experiments=[{**e, "makes": ["Table 2"]} for e in CONFIG["experiments"]], not_made={"Fig. 1": "-"})
    )
    assert told.identity == plain.identity
    origins = [(r.record, r.identifying, dict(r.settings)) for r in told.results()]
    assert origins == [(r.record, r.identifying, dict(r.settings)) for r in plain.results()]
