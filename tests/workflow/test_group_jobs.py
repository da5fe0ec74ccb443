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


@pytest.mark.slow
def test_all_runs_of_a_job_share_one_snakemake(fresh, calls):
    values = [0.1, 0.2, 0.3]
    methods = [{"id": "cca", "params": {"components": 2}, "sweep": {"regularisation": values}}]
    fresh.configure(experiments=[{**CONFIG["experiments"][0], "methods": methods}])
    fresh.snakemake("features")
    variants = set(re.findall(r"method=([^,]+), seed=0", fresh.snakemake("-n", "metrics")))
    jobs = [
        f"{rule}:data=toy,split=default,inputs=image+text,method={method},seed=0"
        for rule in ("fit", "evaluate")
        for method in sorted(variants)
    ]
    fresh.snakemake(  # as the executor calls it in the job
        *("--target-jobs", *jobs, "--allowed-rules", "fit", "evaluate", "--executor", "slurm-jobstep", "--jobs", "1"),
        *("--cores", "all", "--mode", "remote", "--nolock", "--no-hooks", "--force", "--local-groupid", "group"),
    )
    (call,) = calls.read_text().splitlines()
    assert all(job in call for job in jobs)
    assert len(list(fresh.root.glob("results/runs/**/metrics*.json"))) == len(values)
