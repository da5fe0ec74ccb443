"""The same bits from the same seed, nearly the same from other threads, and a record that is enough to run again."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from threadpoolctl import threadpool_limits

from cmr import registry, rerun
from cmr.machine import Machine
from cmr.provenance import file_hash
from cmr.reporting.runs import Run
from robustness.toys import WHOLE, cmr
from synthetic import create, for_method, separable, small
from toy_clones import clone

TOLERANCE = 1e-3
"""Largest difference of two scores (cosines, mostly) after fits with one thread and with two; docs/robustness.md."""
FEW_EPOCHS = {"cm_gans": {"epochs": 3}}
"""Of methods whose training makes rounding grow until it decides."""
NAMES = [n for n in registry.names("methods") if registry.info("methods", n).implementation != "quoted"]


def scores(name, threads):
    """Scores of the test rows after a fit with as many threads."""
    aligned = name == "zero_shot"
    groups = [("image",), ("text",)] if registry.info("methods", name).modalities == 1 else [("image", "text")]
    train, test = (for_method(name, separable(seed=seed, aligned=aligned), seed) for seed in (0, 1))
    unlabelled = {m: view.without_labels() for m, view in test.items()}
    embedded, method_of, before = {}, {}, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            for group in groups:
                method = create(name, group, **small(name) | FEW_EPOCHS.get(name, {}))
                transductive = registry.info("methods", name).transductive
                method.fit({m: train[m] for m in group}, None, unlabelled if transductive else None)
                embedded |= {m: method.embed(m, test[m].features) for m in group}
                method_of |= dict.fromkeys(group, method)
            return method_of["image"].similarity("image", embedded["image"], "text", embedded["text"])
    finally:
        torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_threads_is_within_the_tolerance(name):
    one, two = scores(name, 1), scores(name, 2)
    assert np.array_equal(one, scores(name, 1))
    scale = max(1.0, np.abs(one).max())
    assert np.abs(one - two).max() <= TOLERANCE * scale


# One run made again ---------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path):
    """A run in another results tree: of what was copied over, only its record and its figures are left."""
    made = clone(tmp_path / "clone")
    made.configure(**WHOLE)
    made.snakemake("metrics")
    (folder,) = made.root.glob("results/runs/toy/default/image+text/dla*/0")
    copied = tmp_path / "theirs" / folder.relative_to(made.root)
    copied.mkdir(parents=True)
    for file in [*folder.glob("run*.json"), *folder.glob("metrics*.json")]:
        shutil.copy(file, copied)
    shutil.rmtree(made.root / "results")
    return made, copied


@pytest.mark.long
def test_a_record_is_enough_to_run_again(recorded, tmp_path):
    made, run = recorded
    made.configure()  # has neither the method nor the dictionary
    again = cmr(made, "rerun", run, "--directory", tmp_path / "again")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-1].startswith("equal: all ")
    (now,) = (tmp_path / "again").glob("results/runs/toy/default/image+text/*/0/metrics*.json")
    (then,) = run.glob("metrics*.json")
    assert now.read_bytes() == then.read_bytes()

    figures = json.loads(then.read_text())
    figures["tasks"][0]["metrics"]["map@all"]["value"] += 0.001
    then.write_text(json.dumps(figures))
    refused = cmr(made, "rerun", run, "--directory", tmp_path / "again")
    assert refused.returncode == 1
    assert f"{then}: other bytes than were written" in refused.stderr

    (record,) = run.glob("run*.json")  # as of a machine that gave another figure
    told = json.loads(record.read_text())
    told["output_hashes"][str(then.relative_to(tmp_path / "theirs"))] = file_hash(then)
    record.write_text(json.dumps(told))
    another = cmr(made, "rerun", run, "--directory", tmp_path / "again")
    assert another.returncode == 1
    assert "1 of " in another.stdout
    assert "tasks[0].metrics.map@all.value: " in another.stdout

    (tmp_path / "again/config.yaml").write_text("title: mine\n")
    refused = cmr(made, "rerun", run, "--directory", tmp_path / "again")
    assert refused.returncode == 1
    assert "another configuration stands there" in refused.stderr


COMMON = {
    "schema_version": 2,
    "identity": "0" * 16,
    "plugins": [],
    "made_from": {},
    "own_files": {},
    "contents": "",
    "output_hashes": {},
    "project": {"version": "0.1.0"},
    "usage": {"seconds": 1.0, "peak_memory_mb": 1.0},
}
RECORD = COMMON | {
    "stage": "evaluate",
    "measured_by": "a",
    "test_part": "test",
    "fits": [
        COMMON
        | {
            "stage": "fit",
            "modalities": ["image", "text"],
            "selection": {"chosen": {}, "candidates": []},
            "data": {"id": "mine", "dataset": "table", "params": {"file": "my.csv", "text": "t", "image": "i"}},
            "split": "default",
            "features": [
                {"id": "image", "extractor": "sift_bovw", "params": {}, "modality": "image"},
                {"id": "text", "extractor": "bow", "params": {}, "modality": "text"},
            ],
            "dictionary": None,
            "method": {"id": "cca", "method": "cca", "params": {}, "dictionary": None, "tune": {}, "sweep": {}},
            "seed": 0,
            "code": "a",
            "versions": {"numpy": "1"},
            "hardware": {},
            "input_hashes": {},
        }
    ],
    "metrics": [{"id": "map@all", "metric": "mean_average_precision", "params": {}}],
    "code": "a",
    "versions": {},
    "hardware": {},
    "input_hashes": {},
}


def written(folder, value, **record):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RECORD | record))
    (folder / "metrics.json").write_text(json.dumps({"tasks": [{"metrics": {"map@all": {"value": value}}}]}))
    return Run(folder.parents[5], str(folder.relative_to(folder.parents[5])), "")


RUN = "results/runs/mine/default/image+text/cca/0"


def test_the_configuration_is_the_recorded_one_and_data_are_found_where_they_lie(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(rerun.subprocess, "run", lambda command: asked.append(command) or Failed)
    run = written(tmp_path / "theirs" / RUN, 0.5)
    machine = Machine(cache="cache", device="cpu", base=str(tmp_path / "lab"))
    with pytest.raises(rerun.UserError, match=r"no such file: .*my\.csv.*; --config names the configuration"):
        rerun.rerun(run, tmp_path / "new", machine)
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/my.csv").touch()
    with pytest.raises(rerun.UserError, match="Snakemake ended with status 3"):
        rerun.rerun(run, tmp_path / "new", machine)
    configuration = yaml.safe_load((tmp_path / "new/config.yaml").read_text())
    assert configuration["datasets"] == [RECORD["fits"][0]["data"]]
    assert configuration["base"] == "../lab"
    assert configuration["experiments"][0]["methods"] == [RECORD["fits"][0]["method"]]
    assert asked[0][-3:] == ["--directory", str(tmp_path / "new"), asked[0][-1]]
    assert asked[0][-1].startswith("results/runs/mine-")


class Failed:
    returncode = 3


def test_what_differs_is_said(tmp_path):
    then = written(tmp_path / "a" / RUN, 0.5)
    now = written(tmp_path / "b" / RUN, 0.25, versions={"numpy": "2"})
    comparison = rerun.compare(then, now)
    assert comparison.differing == (("tasks[0].metrics.map@all.value", 0.5, 0.25),)
    assert comparison.origins == (("evaluation.versions.numpy", None, "2"),)
    text = rerun.described(comparison)
    assert "map@all.value: 0.5 recorded, 0.25 now" in text
    assert "equal" not in text
    assert rerun.described(rerun.compare(then, then)).startswith("equal: all 1 ")
