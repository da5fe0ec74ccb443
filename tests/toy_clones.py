"""A clone of the project with toy plug-ins, each one new file, and ways to run Snakemake in it.

The fixtures are those of the folders whose conftest names them.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PLUGIN_FILES = ROOT / "tests" / "workflow" / "plugins"
PLUGINS = {
    "toy": "datasets",
    "placed": "datasets",
    "numbers": "features",
    "centred": "features",
    "bytes_of": "features",
}
CONFIG = {
    "title": "Toy",
    "datasets": [{"id": "toy"}],
    "features": [{"id": "image", "extractor": "numbers"}, {"id": "text", "extractor": "centred"}],
    "metrics": [{"id": "map@all", "metric": "mean_average_precision"}],
    "experiments": [
        {
            "id": "main",
            "data": ["toy"],
            "inputs": [["image", "text"]],
            "methods": [{"id": "cca", "params": {"components": 2}}, "ridge_label"],
        }
    ],
}
DLA = {
    "id": "dla",
    "method": "dla_cmr",
    "dictionary": "small",
    "params": {"first_layers": [8, 4], "second_layers": [4], "epochs": 4, "batch_size": 16},
}


@dataclass
class Clone:
    """A clone at ``root`` whose results lie there too."""

    root: Path

    def snakemake(self, *arguments, check=True):
        """The output of a run; fails the test where the exit status is not 0 (or, without check, is 0)."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        environment = os.environ | {"PYTHONPATH": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == check, output
        return output

    def planned(self, *arguments):
        """The jobs of a dry run by rule, without targets: {} where there is nothing to be done."""
        output = self.snakemake("-n", *arguments)
        stats = output.rpartition("Job stats:")[2]
        counts = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}
        targets = {"total", "report", "metrics", "fits", "codes", "features"}
        return {rule: count for rule, count in counts.items() if rule not in targets}

    def configure(self, name="config.yaml", **changes):
        (self.root / name).write_text(yaml.safe_dump({**CONFIG, **changes}))
        return name

    def edit(self, file, old, new):
        path = self.root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def copy(self, root, everything=True):
        ignored = None if everything else shutil.ignore_patterns(".snakemake")
        shutil.copytree(self.root, root, ignore=ignored, symlinks=True)
        return Clone(root)


def copy_project(root) -> None:
    """What the package and the rules consist of, with the links of `cmr.project`."""
    skipped = shutil.ignore_patterns("__pycache__")
    for folder in ("workflow", "profiles", "slurm", "envs", "resources"):
        shutil.copytree(ROOT / folder, root / folder, ignore=skipped, symlinks=True)
    shutil.copy(ROOT / "Snakefile", root)


def clone(root) -> Clone:
    copy_project(root)
    for plugin, folder in PLUGINS.items():
        shutil.copy(PLUGIN_FILES / f"{plugin}.py", root / "workflow" / "cmr" / folder)
    made = Clone(root)
    made.configure()
    return made


@pytest.fixture
def fresh(tmp_path) -> Clone:
    return clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Clone:
    """A clone whose metrics are made, by the first of pytest's workers that asks: one for all of them."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "finished.done"
        if done.exists():
            return Clone(folder / "finished" / "clone")
        made = clone(folder / "finished" / "clone")
        made.snakemake("metrics")
        done.touch()
    return made


@pytest.fixture
def finished(finished_once, tmp_path) -> Clone:
    """A clone whose metrics are made, in a folder of its own: copied with its times, as `rsync -a` does."""
    return finished_once.copy(tmp_path / "clone")
