"""Through SLURM as without it: the same figures, one GPU a job, one cluster job for many short runs."""

import re
import shutil
import subprocess
from itertools import combinations

import pytest

from conftest import SITE, Cluster, toy

METHODS = [{"id": "cca", "params": {"components": 2}}, "ridge_label", {"id": "s0", "method": "steady"}]


def test_the_same_figures_and_one_gpu_a_job(prepared, tmp_path):
    clone = prepared.copy_inputs(tmp_path / "clone")
    for folder in ("data", "features"):
        for path in sorted((clone.root / "results" / folder).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    clone.configure(experiments=[{**toy.CONFIG["experiments"][0], "methods": METHODS, "seeds": 3}])
    output = clone.slurm("metrics")
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert len(clone.metrics()) == 5
    assert clone.planned("metrics") == {}
    assert clone.leftovers() == []

    rows = {fit: steps for fit, steps in clone.steps().items() if "/s0/" in fit}
    assert len(rows) == 3
    assert {row["gpus"] for steps in rows.values() for row in steps} <= {"0", "1"}
    times = [(steps[0]["gpus"], float(steps[0]["began"]), float(steps[-1]["ended"])) for steps in rows.values()]
    assert not [(a, b) for a, b in combinations(times, 2) if a[0] == b[0] and a[1] < b[2] and b[1] < a[2]]

    jobs = accounted(output)
    on_gpu = [job for job in jobs if job["Partition"] == "gpu"]
    assert len(on_gpu) == 6  # a fit and an evaluation for each seed
    assert all(gpus_of(job) == 1 for job in on_gpu)
    # The others: data set and split, two features, and one job for all short runs.
    assert len(jobs) - len(on_gpu) == 4
    assert not any(gpus_of(job) for job in jobs if job not in on_gpu)
    assert {(job["Partition"], job["QOS"]) for job in jobs} == {("cpu", "brief"), ("gpu", "cards")}


@pytest.mark.long
def test_the_default_run(tmp_path):
    """config.yaml as it is delivered, to its report: the same figures, and one GPU a job that has a network."""
    clone = Cluster(toy.clone(tmp_path / "clone").root)
    shutil.copy(toy.ROOT / "config.yaml", clone.root)
    (clone.root / "slurm" / "site.yaml").write_text(SITE)
    local = clone.copy_inputs(tmp_path / "local")
    output = clone.slurm()
    assert (clone.root / "results" / "report" / "index.html").exists()
    assert clone.leftovers() == []
    local.run()
    assert len(clone.metrics()) == 14  # two closed-form methods of four inputs, two network methods of three seeds
    assert clone.metrics() == local.metrics()

    jobs = accounted(output)
    on_gpu = [job for job in jobs if job["Partition"] == "gpu"]
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    assert len(on_gpu) == 14  # two extractions with networks; a fit and an evaluation of each run
    assert all(gpus_of(job) == 1 for job in on_gpu)
    assert not any(gpus_of(job) for job in jobs if job not in on_gpu)
    assert max(sum(job["Start"] <= other["Start"] < job["End"] for job in on_gpu) for other in on_gpu) <= 2


def accounted(output):
    """What SLURM's accounting says of the jobs of a run, from Snakemake's output."""
    run = re.search(r"SLURM run ID: (\S+)", output)[1]
    assert run.startswith("cmr_")
    keys = ["Partition", "QOS", "AllocTRES", "State", "Start", "End"]
    command = ["sacct", "--name", run, "-X", "-n", "-P", "-o", ",".join(keys)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(keys, line.split("|"), strict=True)) for line in told.splitlines()]


def gpus_of(job):
    return sum(int(count) for count in re.findall(r"gres/gpu=(\d+)", job["AllocTRES"]))
