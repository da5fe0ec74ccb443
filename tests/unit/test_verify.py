"""`cmr verify` on trees of made-up runs, and on a small chain of stages; what Snakemake leaves is in tests/workflow."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cmr import sharing
from cmr.machine import Machine
from cmr.publish import read_json, write_json
from cmr.sharing import verify
from reporting_tree import write_tree
from toy_plan import Project, experiment, written_features


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_tree(tmp_path / "results", methods=["cca", "ridge_label"], n=16)


def listed_but_missing(tree):
    _, findings = verify(tree, Machine(device="cpu"))
    return [f.path for f in findings if f.kind == "missing" and "listed by" in f.reason and "experiments" in f.reason]


def test_a_run_that_an_experiment_lists_is_missing_where_nothing_of_it_is_left(tree):
    assert listed_but_missing(tree) == []
    first, *others = sorted(path.parent for path in (tree / "runs").rglob("run.json"))
    shutil.rmtree(first)
    assert listed_but_missing(tree) == [str(first / "run.json")]
    shutil.rmtree(tree / "runs")
    assert len(listed_but_missing(tree)) == 1 + len(others)


METHODS = "cca", "ridge_label"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """The folder of a project whose two runs are made, of features of the user's own."""
    root, rng = tmp_path_factory.mktemp("verified") / "project", np.random.default_rng(0)
    values = {modality: rng.normal(size=(40, d)).astype(np.float32) for modality, d in (("image", 5), ("text", 4))}
    configuration = written_features(root, values, np.arange(40) % 2, np.repeat(["train", "test"], 20))
    metrics = {"metrics": [{"id": "map@all", "metric": "mean_average_precision"}]}
    project = Project(root, configuration | metrics | experiment(["image", "text"], *METHODS))
    for run in project.results("evaluate"):
        project.make(run)
    return project


@pytest.fixture
def made(made_once, tmp_path, monkeypatch):
    """The project, in a folder of its own."""
    shutil.copytree(made_once.root, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return made_once


def findings(**machine):
    checked, found = verify("results", Machine(device="cpu", **machine))
    assert checked == 2
    return {(finding.kind, finding.path, finding.reason.partition("; ")[0]) for finding in found}


def edit(result, **changes):
    write_json(result.record, read_json(result.record) | changes)


def of_method(project, stage, method):
    return next(result for result in project.results(stage) if f"/{method}" in result.record)


def test_a_chain_is_as_its_records_say(made):
    assert findings() == set()


def test_a_result_that_was_put_in_the_place_of_another_is_told_and_what_was_made_from_the_other(made):
    fit, run = (of_method(made, stage, "cca") for stage in ("fit", "evaluate"))
    edit(fit, identity="0" * 16)
    assert findings() == {
        ("damaged", fit.record, "its identity does not follow from what it says it is made from"),
        ("stale", run.record, f"made from another {fit.record} than is here"),
    }


def test_what_a_run_says_of_its_fits_is_what_they_say_themselves(made):
    fit, run = (of_method(made, stage, "cca") for stage in ("fit", "evaluate"))
    (copy,) = read_json(run.record)["fits"]
    edit(run, fits=[copy | {"usage": copy["usage"] | {"seconds": 0.001}}])
    assert findings() == {("damaged", run.record, f"what it says of {fit.record} is not what stands there")}


def test_files_of_the_users_are_compared_where_they_are_here(made, tmp_path):
    (prepared,) = made.results("prepare")
    changed = np.load("image.npy")
    changed[0, 0] += 1
    np.save("image.npy", changed)
    wrong = {(kind, path, reason.partition(": ")[2]) for kind, path, reason in findings()}
    assert ("stale", prepared.record, "other bytes than it was made from") in wrong
    assert {kind for kind, _, _ in wrong} == {"stale"}
    assert findings(base=str(tmp_path / "elsewhere")) == set()


def test_a_run_without_a_record_is_told_once_and_a_listed_one_too(made):
    run = of_method(made, "evaluate", "ridge_label")
    write_json("results/experiments/main-000000.json", {"runs": [run.folder], "run": Path(run.record).name})
    assert findings() == set()
    Path(run.record).unlink()
    assert findings() == {("missing", run.folder, "it has no run.json")}


def test_what_is_made_from_a_result_that_is_gone_is_told(made):
    fit = of_method(made, "fit", "cca")
    Path(fit.record).unlink()
    assert ("missing", fit.record, f"needed by {fit.record}") in findings()


def test_a_record_of_other_versions_is_foreign_and_names_both(made, monkeypatch):
    monkeypatch.setattr(sharing.provenance, "versions", lambda: {"python": "0"})
    reasons = {reason for kind, _, reason in findings() if kind == "foreign"}
    assert len(reasons) == 1
    assert "numpy" in reasons.pop()
    assert {kind for kind, _, _ in findings()} == {"foreign"}


def test_a_file_of_other_bytes_is_damaged_and_what_was_made_from_it_stale_and_one_that_is_gone_missing(made):
    fit, run = (of_method(made, stage, "cca") for stage in ("fit", "evaluate"))
    model = next(file for file in fit.files if file.endswith(".safetensors"))
    content = Path(model).read_bytes()
    Path(model).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert findings() == {
        ("damaged", model, f"{model}: other bytes than were written"),
        ("stale", run.record, f"{model}: other bytes than it was made from"),
    }
    Path(model).unlink()
    assert findings() == {("missing", model, f"named by {result.record}") for result in (fit, run)}


def test_other_code_is_told_with_the_plug_in_that_it_is_of(made, monkeypatch):
    of_stage = sharing.code.of_stage
    monkeypatch.setattr(
        sharing.code, "of_stage", lambda stage, plugins: "other" if stage == "fit" else of_stage(stage, plugins)
    )
    assert findings() == {
        ("stale", fit.record, f"the code that fit runs with {fit.settings['method']['method']} is another now")
        for fit in made.results("fit")
    }


def test_a_run_in_the_place_of_another_is_foreign(made):
    run = of_method(made, "evaluate", "cca")
    other = Path(run.folder).with_name("7")
    shutil.copytree(run.folder, other)
    _, found = verify("results", Machine(device="cpu"))
    ((kind, path, reason),) = [(finding.kind, finding.path, finding.reason) for finding in found]
    assert (kind, path) == ("foreign", str(other / Path(run.record).name))
    assert reason == f"its configuration leads to {run.record}"
