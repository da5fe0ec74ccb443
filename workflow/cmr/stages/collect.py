"""The index of an experiment: which runs it consists of, and the names of their files."""

from pathlib import Path

from cmr.machine import Machine
from cmr.plan import Result
from cmr.recording import recording


def make(result: Result, machine: Machine) -> None:
    runs = result.sources("evaluate")
    with recording(result, machine, reads=False) as made:
        made.facts = {
            "configuration": dict(result.settings),
            "runs": [run.folder for run in runs],
            "metrics": Path(runs[0].files[0]).name,
            "run": Path(runs[0].record).name,
        }
