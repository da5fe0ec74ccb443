"""What a cluster job does with the short runs that it was given, with a stand-in for SLURM's `srun`."""

import os
import re

import pytest

from toy_clones import CONFIG

SRUN = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The file of the command lines that `srun` was called with, in a process that takes itself for a cluster job."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(srun.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    return srun.parent / "calls"


def jobs_of(clone):
    """The short runs of a clone, as the executor names them."""
    variants = set(re.findall(r"method=([^,]+), seed=0", clone.snakemake("-n", "metrics")))
    return [
        f"{rule}:data=toy,split=default,inputs=image+text,method={method},seed=0"
        for rule in ("fit", "evaluate")
        for method in sorted(variants)
    ]


def run(clone, jobs, *more, check=True):
    """As the executor calls Snakemake in the job."""
    return clone.snakemake(
        *("--target-jobs", *jobs, "--allowed-rules", "fit", "evaluate", "--executor", "slurm-jobstep", "--jobs", "1"),
        *("--cores", "all", "--mode", "remote", "--nolock", "--no-hooks", "--force", "--local-groupid", "group"),
        *("--ignore-incomplete", *more),
        check=check,
    )


@pytest.mark.slow
def test_all_runs_of_a_job_share_one_snakemake(fresh, calls):
    values = [0.1, 0.2, 0.3]
    methods = [{"id": "cca", "params": {"components": 2}, "sweep": {"regularisation": values}}]
    fresh.configure(experiments=[{**CONFIG["experiments"][0], "methods": methods}])
    fresh.snakemake("features")
    jobs = jobs_of(fresh)
    run(fresh, jobs)
    (call,) = calls.read_text().splitlines()
    assert all(job in call for job in jobs)
    assert len(list(fresh.root.glob("results/runs/**/metrics*.json"))) == len(values)


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others_theirs_and_they_are_not_repeated(fresh, calls):
    methods = [{"id": "cca", "sweep": {"components": [1, 2]}}]
    fresh.configure(experiments=[{**CONFIG["experiments"][0], "methods": methods}])
    solve = "    def solve(self, features: list[Rows]) -> list[np.ndarray]:\n"
    fails = "        assert self.params.components == 1, 'made to fail'\n"
    fresh.edit("workflow/cmr/methods/cca.py", solve, solve + fails)
    fresh.snakemake("features")
    jobs = jobs_of(fresh)

    told = run(fresh, jobs, check=False)
    made = {path: path.stat().st_mtime_ns for path in fresh.root.glob("results/**/*.json")}
    (run_made,) = [path for path in made if path.name.startswith("metrics")]
    _, last = told.rsplit("Error in group", 1)  # of the Snakemake that called srun
    assert "rule fit:" in last
    assert "rule evaluate:" not in last, last
    assert len(set(re.findall(r"output: \S+fits/(\S+)/model", last))) == 1, last

    run(fresh, jobs, "--attempt", "2", check=False)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert len(calls.read_text().splitlines()[1].split("evaluate:")) == 2  # the one whose fit failed

    run(fresh, jobs, check=False)  # a first attempt makes what it is sent for, whatever there is
    assert run_made.stat().st_mtime_ns > made[run_made]
