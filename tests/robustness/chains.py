"""The chain of stages without Snakemake, in the working directory: quick, and free to stop anywhere.

python chains.py CONFIG [STAGE]: made in a process of its own, by the package on the path; prints what was made.
"""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path

from cmr import config, expected, records, sharing
from cmr.machine import Machine
from cmr.plan import Plan

STAGES = ("download", "prepare", "split", "weights", "extract", "encode", "fit", "evaluate", "collect", "report")


def planned(file="config.yaml"):
    """The plan of a configuration, and the machine that its jobs run on."""
    return Plan(config.load(file)), Machine(base=config.data_base([str(file)]))


def stale(file="config.yaml"):
    """The results that are there and would be others now, by stage."""
    plan, machine = planned(file)
    return dict(Counter(found.result.stage for found in expected.Expected(machine).stale(plan.results())))


def chosen(file="config.yaml"):
    """What would be made: what is not there, what would be another now, and what is made from such results."""
    plan, machine = planned(file)
    others = {found.result.record for found in expected.Expected(machine).stale(plan.results())}
    ahead = {}
    for result in plan.results():
        missing = records.recorded_identity(result.record) is None
        if missing or result.record in others or any(source.record in ahead for source in result.made_from):
            ahead[result.record] = result
    return list(ahead.values()), machine


def make(file="config.yaml", until="collect", stop=None):
    """Makes what is to be made, up to the stage ``until``; how many results of each stage.

    ``stop``: a stage after whose first result the chain breaks off, as one that is killed then.
    """
    made = Counter()
    results, machine = chosen(file)
    for result in results:
        if STAGES.index(result.stage) <= STAGES.index(until):
            importlib.import_module(f"cmr.stages.{result.stage}").make(result, machine)
            made[result.stage] += 1
            if result.stage == stop:
                break
    return dict(made)


def figures(folder="results"):
    """Every figure of every run, by path."""
    runs = Path(folder) / "runs"
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.rglob("metrics*.json"))}


def findings(file="config.yaml"):
    """What `cmr verify` finds: kind and file."""
    _, machine = planned(file)
    return [(finding.kind, finding.path) for finding in sharing.verify("results", machine)[1]]


if __name__ == "__main__":
    print(json.dumps(make(*sys.argv[1:])))
