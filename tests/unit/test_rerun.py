"""`cmr rerun` without the place of the data says how to name it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cmr import accept, cli, rerun
from cmr.machine import Machine
from cmr.reporting.runs import Run
from reporting_tree import write_tree
from toy_plan import Project, experiment, written_features


def test_data_that_are_not_here_are_asked_for_by_config(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    values = {modality: rng.normal(size=(40, 4)).astype(np.float32) for modality in ("image", "text")}
    configuration = written_features(tmp_path / "own", values, np.arange(40) % 2, ["train"] * 20 + ["test"] * 20)
    made = Project(tmp_path / "own", configuration | experiment(["image", "text"], "cca"))
    run = made.make(made.only("evaluate"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cli.main(["rerun", str(made.path(run.folder)), "--directory", "again"])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "no such file: ./image.npy" in error
    assert error.rstrip().endswith("--config names the configuration that the run was made with")
    assert not Path("again").exists()


def test_a_relative_data_root_is_the_same_folder_in_the_new_one(tmp_path):
    settings = rerun._settings(Machine(data_root="big"), tmp_path / "again")
    assert settings["data_root"] == str(Path("big").absolute())
    assert rerun._settings(Machine(), tmp_path / "again")["data_root"] is None


def test_embeddings_of_which_one_file_is_missing_do_not_agree(tmp_path):
    write_tree(tmp_path / "then", methods=["cca"], n=16)
    shutil.copytree(tmp_path / "then", tmp_path / "now")
    then, now = (Run(tmp_path / name, "runs/shapes/default/lite0+bert/cca/0", "") for name in ("then", "now"))
    assert accept._embeddings_agree(then, now)
    (now.file("embeddings") / "text.h5").unlink()
    assert not accept._embeddings_agree(then, now)


def test_a_run_of_other_metrics_is_named_with_their_digest_behind_its_path():
    run = Run(Path("results"), "runs/v1.0/default/lite0+bert/cca/0", "1a2b3c")
    assert accept.Candidate(run, None, ()).name == "runs/v1.0/default/lite0+bert/cca/0-1a2b3c"
