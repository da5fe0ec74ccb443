"""The file that one copies to add a method: as it stands it passes the contract and runs in the workflow."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import CONFIG, ROOT

NAME = "class_means"


@pytest.fixture
def copied(fresh):
    """A clone in which what `docs/adding.md` says has been typed."""
    shutil.copy(ROOT / "workflow/templates/method.py", fresh.root / f"workflow/cmr/methods/{NAME}.py")
    return fresh


def test_the_template_is_short():
    assert len((ROOT / "workflow/templates/method.py").read_text().splitlines()) < 60


def test_the_copied_template_passes_every_contract_test(copied):
    shutil.copytree(ROOT / "tests", copied.root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(copied.root / "workflow"), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    command = [sys.executable, "-m", "pytest", "-v", "tests/contract/test_methods.py", "-k", NAME]
    done = subprocess.run(command, cwd=copied.root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"[{NAME}] PASSED") >= 10, done.stdout


def test_the_copied_template_runs_and_can_be_tuned(copied):
    methods = [{"id": NAME, "tune": {"temperature": [0.05, 0.5]}}]
    copied.configure(experiments=[{**CONFIG["experiments"][0], "methods": methods}])
    copied.snakemake("metrics")
    assert len(list(copied.root.glob(f"results/runs/toy/default/image+text/{NAME}-*/0/metrics*.json"))) == 1
