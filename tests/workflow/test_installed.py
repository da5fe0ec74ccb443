"""The built package, unpacked into a folder of its own, does without a clone what the clone does."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import yaml

from toy_clones import ROOT, copy_project

CLONE = ROOT / "workflow"
READ = """
import json
from dataclasses import asdict
import cmr
from cmr.datasets.downloads import sources
from cmr.reporting.published import read
keys = json.loads(input())
print(json.dumps([cmr.__file__, read(), [asdict(source) for key in keys for source in sources(*key)]]))
"""
CONFIG = {
    "title": "Installed",
    "datasets": [
        {
            "id": "mine",
            "dataset": "precomputed",
            "params": {"features": {"image": "a.npy", "text": "b.npy"}, "labels": "l.npy"},
        }
    ],
    "features": [{"id": modality, "modality": modality, "extractor": "ready"} for modality in ("image", "text")],
    "metrics": [{"id": "map@all", "metric": "mean_average_precision"}],
    "experiments": [{"id": "main", "data": ["mine"], "inputs": [["image", "text"]], "methods": ["class_means"]}],
}


def build(kind, source, target):
    """The path of the ``sdist`` or ``wheel`` of the project in ``source``, by its build backend, without the net."""
    target.mkdir()
    code = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, target], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.iterdir()
    return built


def content(wheel):
    """File → bytes, without what the build says of itself."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the project in which something has been compiled."""
    root = tmp_path_factory.mktemp("source") / "project"
    copy_project(root)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, root)
    for folder in ("workflow/cmr", "workflow/scripts"):
        (root / folder / "__pycache__").mkdir()
        (root / folder / "__pycache__/cli.cpython-311.pyc").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build("wheel", source, tmp_path_factory.mktemp("wheel") / "built")


@pytest.fixture
def site(wheel, tmp_path):
    """A folder with the package alone."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def own(tmp_path):
    """An empty folder but for two files of embeddings and their labels."""
    folder, rng, labels = tmp_path / "own", np.random.default_rng(0), np.repeat([0, 1, 2], 10)
    folder.mkdir()
    for name in "ab":
        np.save(folder / f"{name}.npy", np.eye(3)[labels] + 0.5 * rng.normal(size=(30, 3)))
    np.save(folder / "l.npy", labels)
    return folder


def python(folder, path, *arguments, **options):
    """The output of Python in ``folder`` with ``path`` before the environment's own packages."""
    environment = os.environ | {"PYTHONPATH": str(path)}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_package_and_no_other(source, wheel):
    package = {}
    for folder, _, files in os.walk(source / "workflow/cmr", followlinks=True):
        for file in files:
            if not file.endswith(".pyc"):
                path = os.path.join(folder, file)
                with open(path, "rb") as opened:
                    package[os.path.relpath(path, source / "workflow")] = opened.read()
    assert content(wheel) == package
    resources = [file for file in (ROOT / "resources").rglob("*") if file.is_file()]
    assert len(resources) > 10
    for file in [*resources, ROOT / "Snakefile", *(ROOT / "workflow/rules").iterdir()]:
        assert package[f"cmr/project/{file.relative_to(ROOT)}"] == file.read_bytes()


def test_the_source_archive_builds_the_same_wheel(source, wheel, tmp_path):
    with tarfile.open(build("sdist", source, tmp_path / "built")) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert content(build("wheel", unpacked, tmp_path / "again")) == content(wheel)


def test_the_installed_package_reads_what_the_clone_reads(site, own):
    with open(ROOT / "resources/sources.csv", newline="", encoding="utf-8") as rows:
        keys = list(dict.fromkeys((row["dataset"], row["file"]) for row in csv.DictReader(rows)))
    here, there = (json.loads(python(own, path, "-c", READ, input=json.dumps(keys))) for path in (site, CLONE))
    where, quotes, sources = here
    assert where == str(site / "cmr/__init__.py")
    assert here[1:] == there[1:]
    tables = [file.read_text("utf-8").splitlines() for file in (ROOT / "resources/published").iterdir()]
    assert len(quotes) == sum(len(lines) - 1 for lines in tables)
    assert {(source["dataset"], source["file"]) for source in sources} == set(keys)


def test_the_installed_command_line_says_what_the_clone_says(site, own):
    for command in (["list"], ["metrics", "a.npy", "b.npy", "--labels", "l.npy"]):
        said, expected = (python(own, path, "-m", "cmr", *command) for path in (site, CLONE))
        assert len(said) > 100
        assert said == expected


def test_the_installed_package_begins_plug_ins(site, own):
    assert (
        python(own, site, "-m", "cmr", "new", "metric", "precision_at_k", "--to", "my")
        == "my/metrics/precision_at_k.py\n"
    )
    written = (own / "my/metrics/precision_at_k.py").read_text()
    assert written == (ROOT / "workflow/templates/metric.py").read_text()


def test_an_installed_package_without_its_figures_says_so(site, own):
    shutil.rmtree(site / "cmr/project/resources/published")
    with pytest.raises(AssertionError, match=r"UserError: .*site/cmr/project/resources/published: no printed"):
        python(own, site, "-c", "from cmr.reporting.published import read; read()")


@pytest.mark.slow
def test_the_installed_rules_run_the_installed_code_and_make_a_run_again(site, own):
    """The method is in the unpacked package alone, not in the one that the environment has installed."""
    shutil.copy(ROOT / "workflow/templates/method.py", site / "cmr/methods/class_means.py")
    (own / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    python(own, "", "-m", "snakemake", "--snakefile", site / "cmr/project/Snakefile", "metrics")
    (run,) = own.glob("results/runs/mine*/default/*/class_means/0")
    said = python(own, site, "-m", "cmr", "rerun", run.relative_to(own), "--directory", "again")
    assert said.splitlines()[-1].startswith("equal: all ")
