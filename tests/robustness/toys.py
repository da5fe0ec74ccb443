"""What is asked of toy clones here, beside `toy_clones`."""

import os
import subprocess
import sys

from toy_clones import CONFIG, DLA

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
