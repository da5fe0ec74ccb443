"""The toy clones of tests/workflow, for tests of another folder."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _loaded(name: str, file: Path):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


workflow = _loaded("toy_clones", ROOT / "tests" / "workflow" / "conftest.py")
CONFIG, DLA, clone = workflow.CONFIG, workflow.DLA, workflow.clone

WHOLE = {
    "dictionaries": [{"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 3}}],
    "metrics": [*CONFIG["metrics"], "precision_recall"],
    "experiments": [{**CONFIG["experiments"][0], "methods": [DLA]}],
}
"""Every stage: download, prepare, split, extract, dictionary, network, evaluation, report."""


def cmr(clone, *arguments, **options):
    """`python -m cmr` in a clone, by the clone's code."""
    environment = os.environ | {"PYTHONPATH": str(clone.root / "workflow")}
    command = [sys.executable, "-m", "cmr", *map(str, arguments)]
    return subprocess.run(command, cwd=clone.root, env=environment, capture_output=True, text=True, **options)


def measured(clone):
    """Every figure of every run, by path."""
    runs = clone.root / "results" / "runs"
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.rglob("metrics*.json"))}


def temporaries(clone):
    """Temporary files and folders anywhere under results, and unfinished work."""
    results = clone.root / "results"
    return temporaries_in(results) + [path for path in (results / ".partial").rglob("*") if path.is_file()]


def temporaries_in(folder):
    return [path for path in folder.rglob("*") if path.suffix == ".tmp"]
