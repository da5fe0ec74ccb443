"""The chain of stages without Snakemake, in the working directory: quick, and free to stop anywhere.

python chains.py FUNCTION [ARGUMENT …]: by the package on the path; arguments and answer are JSON.
"""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import chdir
from pathlib import Path

import yaml

from cmr import config, records, registry
from cmr.machine import Machine
from cmr.plan import Plan

STAGES = ("download", "prepare", "split", "weights", "extract", "encode", "fit", "evaluate", "collect", "report")


def chain(clone, function="make", *arguments):
    """A function of this file in a clone, by the clone's package, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(clone.root / "workflow")}
    command = [sys.executable, __file__, function, *map(json.dumps, arguments)]
    done = subprocess.run(command, cwd=clone.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def planned(file="config.yaml"):
    """The plan of a configuration, and the machine that its jobs run on."""
    files = config.read_all([file])
    plugins = config.plugin_folder(files)
    registry.use(plugins)
    return Plan(config.load(file)), Machine(base=config.data_base(files), plugins=plugins)


def stale(file="config.yaml"):
    """The results that are there and would be others now, by stage."""
    from cmr import expected

    plan, machine = planned(file)
    return dict(Counter(found.result.stage for found in expected.Expected(machine).stale(plan.results())))


def chosen(file="config.yaml"):
    """What would be made: what is not there, what would be another now, and what is made from such results."""
    from cmr import expected

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
    from cmr import sharing

    _, machine = planned(file)
    return [(finding.kind, finding.path) for finding in sharing.verify("results", machine)[1]]


def again_here(run, directory, machine):
    """As `cmr.rerun.rerun`, without Snakemake."""
    from cmr.recorded import configuration_of, plan_of
    from cmr.reporting.runs import Run
    from cmr.rerun import compare

    plan, again = plan_of(run.record, str(run.file("run.json")))
    file = directory / "config.yaml"
    text = yaml.safe_dump(configuration_of(run.record) | {"base": os.path.abspath(machine.base)})
    assert not file.exists() or file.read_text() == text, "another configuration stands there"
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    with chdir(directory):
        make(until="evaluate")
    return compare(run, Run.listed(directory / "results", again.folder, Path(plan.run_files(again)["metrics"]).name))


def accepted(file="config.yaml", folder="again", sample=1):
    """What `cmr accept` says: run → whether it came out the same, how many results are accepted, how many are not."""
    from unittest import mock

    from cmr import accept

    _, machine = planned(file)
    with mock.patch.object(accept, "rerun", again_here):
        outcome = accept.accept(machine, Path(folder), sample)
    return dict(outcome.compared), len(outcome.accepted), outcome.kept


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(globals()[name](*map(json.loads, arguments))))
