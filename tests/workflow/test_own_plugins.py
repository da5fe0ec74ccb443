"""Plug-ins in a folder outside of the project: what they make is made again where they change, and nowhere else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import get_model

from cmr import templates
from own_plugins import write_folder
from robustness.chains import chain
from test_template import write_pictures
from toy_clones import CONFIG, PLUGINS, ROOT, Clone, copy_project

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


@pytest.mark.slow
def test_snakemake_and_its_jobs_find_them(made):
    shutil.rmtree(made.root / "results")
    made.snakemake("metrics", "--configfile", FILE)
    assert chain(made, "findings", FILE) == []
    assert made.planned("metrics", "--configfile", FILE) == {}


@pytest.mark.slow
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


@pytest.mark.slow
def test_another_checkpoint_under_its_name_makes_its_features_again(made, tmp_path):
    """The file lies beside the configuration that names it, which is not the one that configures the data."""
    write_pictures(made.root / "pictures")
    templates.new("dataset", "captioned_folders", made.root / "../my")
    made.configure(
        "config.yaml",
        plugins="../my",
        datasets=[{"id": "mine", "dataset": "captioned_folders", "params": {"folder": "pictures"}}],
        features=["bow"],
        experiments=[{"id": "main", "data": ["mine"], "inputs": [["net", "bow"]], "methods": ["ridge_label"]}],
    )
    params = {"model": "resnet18", "weights": "net.pt"}
    own = {"features": [{"id": "net", "extractor": "torchvision_backbone", "params": params}, "bow"]}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own.yaml").write_text(yaml.safe_dump(own))
    for seed, again in ((0, 2), (0, 0), (1, 1)):
        torch.manual_seed(seed)
        torch.save({"model": get_model("resnet18", num_classes=3).state_dict()}, tmp_path / "own" / "net.pt")
        assert extractions(made, "config.yaml", str(tmp_path / "own" / "own.yaml")) == again


def extractions(clone, *files):
    """How many features the chain makes, of a configuration in several files."""
    code = (
        "import sys; from cmr import settings, config; from cmr.plan import Plan; import chains; "
        "chains.planned = lambda files: (Plan(config.validate(settings.merged(files))), settings.machine(files)); "
        "print(chains.make(sys.argv[1:], until='extract').get('extract', 0))"
    )
    path = f"{clone.root / 'workflow'}:{ROOT / 'tests' / 'robustness'}"
    command = [sys.executable, "-c", code, *files]
    done = subprocess.run(
        command, cwd=clone.root, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])
