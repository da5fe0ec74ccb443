"""Every data set keeps its contract: what it says of itself, parameters, splits, ready features."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from cmr import registry
from cmr.cli import main
from cmr.datasets.base import Dataset
from cmr.errors import UserError

NAMES = registry.names("datasets")
PATH_COMPONENT = r"[A-Za-z0-9][A-Za-z0-9._]*"


def test_the_papers_data_sets_are_all_here():
    papers = "wikipedia pascal_sentence nus_wide_10k nus_wide inria_websearch xmedia xmedianet ms_coco scitechdaily"
    assert set(papers.split()) | {"openmoji", "table", "precomputed", "tuxpaint_stamps"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name):
    info = registry.info("datasets", name)
    for said in (info.title, info.items, info.classes, info.licence, info.source, *info.splits.values()):
        assert said.strip()
    assert info.modalities
    assert info.splits
    for split in info.splits:
        assert re.fullmatch(PATH_COMPONENT, split), "a split's name is a part of paths"
    assert registry.module("datasets", name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_defaults_and_descriptions_and_no_others_are_taken(name):
    model = registry.params_model("datasets", name)
    model()
    for key, field in model.model_fields.items():
        assert field.description, key
    with pytest.raises(ValidationError):
        model(no_such_parameter=1)
    assert set(registry.info("datasets", name).files) <= set(model.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_made_without_touching_the_disk(name, tmp_path):
    made = registry.load("datasets", name)(registry.params_model("datasets", name)(), tmp_path / "a", tmp_path / "b")
    assert isinstance(made, Dataset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"openmoji", "tuxpaint_stamps"}])
def test_what_is_missing_is_a_clear_error_that_leaves_nothing(name, tmp_path):
    """Prepared before its files are there: one line for the user, and no half-made files."""
    made = registry.load("datasets", name)(registry.params_model("datasets", name)(), tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError):
        made.prepare()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_unknown_ready_features_are_told(name, tmp_path):
    made = registry.load("datasets", name)(registry.params_model("datasets", name)(), Path(tmp_path), Path(tmp_path))
    with pytest.raises(UserError):
        made.features("image", "no_such_features")


def test_the_listing_says_what_is_here(tmp_path, capsys):
    (tmp_path / "cache/datasets/wikipedia").mkdir(parents=True)
    (tmp_path / "cache/datasets/wikipedia/raw_features.mat").touch()
    (tmp_path / "cache/datasets/xmedia").mkdir()
    (tmp_path / "cache/datasets/xmedia/XMediaFeatures.mat.part").touch()
    (tmp_path / "config.yaml").write_text(f"cache: {tmp_path / 'cache'}\nno_such_key: 1\n")
    main(["list", "datasets", "--json", "--config", str(tmp_path / "config.yaml")])
    here = {dataset["name"]: dataset["here"] for dataset in json.loads(capsys.readouterr().out)}
    assert here["wikipedia"]
    assert here["openmoji"]
    assert not here["xmedia"]
    (tmp_path / "empty.yaml").write_text("{}")
    main(["list", "datasets", "--config", str(tmp_path / "empty.yaml")])
    listed = capsys.readouterr().out
    assert "2173_693" in listed
    assert "svcl.ucsd.edu" in listed
