"""Plug-ins in a folder outside of the project: what they make is made again where they change, and nowhere else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CONFIG, PLUGINS, Clone, copy_project
from own_plugins import write_folder
from robustness.chains import chain

KINDS = {"features": "extractors", "datasets": "datasets"}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A clone as it comes, and beside it a folder with a configuration and all plug-ins that it takes; all is made."""
    root = tmp_path_factory.mktemp("own") / "clone"
    root.mkdir()
    copy_project(root)
    own = write_folder(root.parent / "my")
    for plugin, folder in PLUGINS.items():
        place = own / KINDS[folder]
        place.mkdir(exist_ok=True)
        shutil.copy(Path(__file__).parent / "plugins" / f"{plugin}.py", place)
    clone = Clone(root)
    experiment = {**CONFIG["experiments"][0], "methods": ["shifted", "cut", "ridge_label"]}
    clone.configure("../my/my.yaml", plugins=".", experiments=[experiment])
    assert chain(clone, "make", FILE)["fit"] == 4  # of ridge_label one for each modality
    return clone


FILE = "../my/my.yaml"


@pytest.fixture
def made(made_once, tmp_path):
    shutil.copytree(made_once.root.parent, tmp_path / "all", symlinks=True)
    return Clone(tmp_path / "all" / "clone")


def test_records_name_them_and_verify_finds_nothing(made):
    assert chain(made, "findings", FILE) == []
    record = json.loads(next(made.root.glob("results/fits/toy/default/*/shifted/0/fit.json")).read_text())
    assert ["methods", "shifted"] in record["plugins"]


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("methods/cut.py", "[:, :2]", "[:, :1]", {"fit": 1, "evaluate": 1, "collect": 1}),
        ("helpers.py", "rows - mean", "rows - 2 * mean", {"fit": 2, "evaluate": 2, "collect": 1}),
        ("helpers.py", "  # a row each", "", {}),
    ],
)
def test_an_edit_makes_what_follows_from_it_again(made, file, old, new, again):
    made.edit(f"../my/{file}", old, new)
    assert chain(made, "make", FILE) == again


def test_another_place_of_the_folder_makes_nothing_again(made):
    (made.root.parent / "my").rename(made.root.parent / "yours")
    assert chain(made, "make", "../yours/my.yaml") == {}


def test_without_the_folder_each_result_of_theirs_is_foreign(made):
    made.configure("config.yaml", experiments=[{**CONFIG["experiments"][0], "data": ["openmoji"], "inputs": [["efficientnet_lite0", "bert"]], "methods": ["cca"]}], datasets=[], features=[])  # fmt: skip
    kinds = {kind for kind, _ in chain(made, "findings", "config.yaml")}
    assert kinds == {"foreign"}


def test_snakemake_and_its_jobs_find_them(made):
    shutil.rmtree(made.root / "results")
    made.snakemake("metrics", "--configfile", FILE)
    assert chain(made, "findings", FILE) == []
    assert made.planned("metrics", "--configfile", FILE) == {}


def test_a_rerun_takes_the_folder_from_the_users_configuration_alone(made):
    (run,) = made.root.glob("results/runs/toy/default/*/shifted/0")
    command = [sys.executable, "-m", "cmr", "rerun", str(run), "--directory", "../again/deep"]
    environment = os.environ | {"PYTHONPATH": str(made.root / "workflow")}
    refused = subprocess.run(command, cwd=made.root, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "where it is a plug-in of one's own, --config names the configuration with its folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    done = subprocess.run([*command, "--config", FILE], cwd=made.root, env=environment, capture_output=True, text=True)
    assert "equal: all" in done.stdout, done.stderr
