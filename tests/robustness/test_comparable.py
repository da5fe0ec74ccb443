"""Methods are compared only on the same items, split and features, and by the same code of all fits and of the evaluation."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmr.reporting.collect import load
from robustness.chains import findings, make, stale

MAP = [{"id": "map@all", "metric": "mean_average_precision"}]
CCA, RIDGE, PLS = {"id": "cca", "params": {"components": 2}}, "ridge_label", "pls"


def configured(folder, *methods, seeds=1, data="mine", base=""):
    """A configuration of ready features, whose files lie in ``base``."""
    params = {"features": {"image": f"{base}x.npy", "text": f"{base}y.npy"}, "labels": f"{base}labels.npy"}
    configuration = {
        "datasets": [{"id": data, "dataset": "precomputed", "params": params}],
        "features": [{"id": m, "extractor": "ready", "modality": m} for m in ("image", "text")],
        "metrics": MAP,
        "experiments": [
            {"id": "main", "data": [data], "inputs": [["image", "text"]], "methods": [*methods], "seeds": seeds}
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))


def numbers(folder, seed, n=60):
    generator = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    for name, width in (("x", 6), ("y", 5)):
        centres = generator.normal(size=(3, width))
        np.save(folder / f"{name}.npy", centres[classes] + generator.normal(size=(n, width)))
    np.save(folder / "labels.npy", classes)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers(tmp_path, seed=1)
    return tmp_path


def summary(results="results"):
    """Method → mean of the averages and number of seeds, and the notes."""
    found = load(results)
    averages = [row for row in found.united_rows() if row["query"] == "average"]
    assert len({row["method"] for row in averages}) == len(averages), "one row a method"
    return {row["method"]: (row["mean"], row["seeds"]) for row in averages}, found.notes


def value(run):
    """The average that a run's metrics say."""
    (file,) = Path("results").glob(f"{run}/metrics*.json")
    return json.loads(file.read_text())["average"]["map@all"]


def runs():
    return sorted(str(file.parent.relative_to("results")) for file in Path("results").glob("runs/**/run*.json"))


@pytest.mark.mended("a method on features of an edited extractor stood beside methods on the features before")
def test_runs_on_features_of_old_and_of_new_code_have_no_common_column(project, edited):
    configured(project, CCA, RIDGE)
    make()
    edited("extract")
    configured(project, CCA)
    assert make() == {"extract": 2, "fit": 1, "evaluate": 1, "collect": 1}
    found, notes = summary()
    assert set(found) == {"cca"}
    (note,) = notes
    assert "other features than are here" in note


@pytest.mark.mended("a method chosen by edited code of the choice stood beside methods chosen by the code before")
def test_runs_chosen_by_old_and_by_new_code_have_no_common_column(project, edited):
    """An edit of what all fits share, such as selection.py; a method's own file is its own affair."""
    configured(project, CCA, RIDGE)
    make()
    edited("fit")
    configured(project, CCA)
    assert make() == {"fit": 1, "evaluate": 1, "collect": 1}
    found, notes = summary()
    assert set(found) == {"cca"}
    (note,) = notes
    assert "other code of the fits" in note


def test_an_edited_method_beside_another_is_shown(project, edited):
    configured(project, CCA, RIDGE)
    make()
    edited("fit", "evaluate", plugin="cca")
    configured(project, CCA)
    assert make() == {"fit": 1, "evaluate": 1, "collect": 1}
    found, notes = summary()
    assert set(found) == {"cca", "ridge_label"}
    assert notes == ()


def test_runs_measured_by_old_and_by_new_code_have_no_common_column(project, edited):
    configured(project, CCA, RIDGE)
    make()
    edited("evaluate")
    configured(project, CCA)
    assert make() == {"evaluate": 1, "collect": 1}
    found, notes = summary()
    assert set(found) == {"cca"}
    (note,) = notes
    assert "other code of the evaluation" in note


@pytest.mark.mended("runs on two versions of a data set stood in one column where the data had not travelled along")
def test_a_tree_without_its_data_shows_what_most_runs_were_made_from(project):
    configured(project, CCA, RIDGE, PLS)
    make()
    numbers(project, seed=2)
    configured(project, CCA)
    make()
    for folder in ("data", "features", "fits"):
        shutil.rmtree(f"results/{folder}")
    found, notes = summary()
    assert set(found) == {"ridge_label", "pls"}
    (note,) = notes
    assert "other data" in note
    assert "cca" in note


def test_two_data_sets_of_one_name_in_two_folders(project):
    """One after the other into one results folder: each time the whole chain is of the present one."""
    for name, seed in (("a", 3), ("b", 4)):
        configured(project / name, CCA, RIDGE if name == "a" else PLS)
        numbers(project / name, seed)
    make("a/config.yaml")
    of_a = summary()[0]
    make("b/config.yaml")
    found, notes = summary()
    assert set(found) == {"cca", "pls"}
    assert found["cca"] != of_a["cca"]
    assert "ridge_label" in notes[0]
    make("a/config.yaml")
    assert summary()[0] == of_a


@pytest.mark.mended("two people's data sets of one id and file name became one in a merge")
def test_a_merge_of_two_data_sets_of_one_name(tmp_path):
    """As `rsync -a --ignore-existing` does it: what is here stays."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder, seed, methods in ((mine, 1, (CCA, RIDGE)), (theirs, 2, (CCA, PLS))):
        configured(folder, *methods)
        numbers(folder, seed)
        with chdir(folder):
            make()
    for file in (theirs / "results").rglob("*"):
        target = mine / "results" / file.relative_to(theirs / "results")
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    with chdir(mine):
        before = {run: value(run) for run in runs()}
        found, notes = summary()
        assert set(found) == {"cca", "ridge_label"}
        (note,) = notes
        assert "other data than are here" in note
        assert "pls/0" in note
        assert {Path(path).parts[-3] for kind, path in findings() if kind == "stale"} == {"pls"}
        assert stale() == {}  # pls is not asked for
        configured(mine, CCA, RIDGE, PLS)
        assert make() == {"fit": 1, "evaluate": 1, "collect": 1}
        assert set(summary()[0]) == {"cca", "ridge_label", "pls"}
        assert {run: value(run) for run in runs() if "pls" not in run} == {
            run: figure for run, figure in before.items() if "pls" not in run
        }
        assert findings() == []
