"""Through SLURM as without it: the same figures, one GPU a job, one cluster job for many short runs."""

import re
import subprocess
from itertools import combinations

from conftest import toy

METHODS = [{"id": "cca", "params": {"components": 2}}, "ridge_label", {"id": "s0", "method": "steady"}]


def test_the_same_figures_and_one_gpu_a_job(prepared, tmp_path):
    clone = prepared.copy_inputs(tmp_path / "clone")
    for folder in ("data", "features"):
        for path in sorted((clone.root / "results" / folder).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    clone.configure(experiments=[{**toy.CONFIG["experiments"][0], "methods": METHODS, "seeds": 5}])
    output = clone.slurm("metrics")
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert len(clone.metrics()) == 7
    assert clone.planned("metrics") == {}
    assert clone.leftovers() == []

    rows = {fit: steps for fit, steps in clone.steps().items() if "/s0/" in fit}
    assert len(rows) == 5
    assert {row["gpus"] for steps in rows.values() for row in steps} <= {"0", "1"}
    times = [(steps[0]["gpus"], float(steps[0]["began"]), float(steps[-1]["ended"])) for steps in rows.values()]
    assert not [(a, b) for a, b in combinations(times, 2) if a[0] == b[0] and a[1] < b[2] and b[1] < a[2]]

    run = re.search(r"SLURM run ID: (\S+)", output)[1]
    assert run.startswith("cmr_")
    told = subprocess.run(
        ["sacct", "--name", run, "-X", "-n", "-P", "-o", "Partition,AllocTRES,Comment"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    on_gpu = [line for line in told if line.startswith("gpu|")]
    assert len(on_gpu) == 10  # a fit and an evaluation for each seed
    assert all("gres/gpu=1," in f"{line.split('|')[1]}," for line in on_gpu)
    # The others: data set and split, two features, and one job for all short runs.
    assert sum(line.startswith("cpu|") for line in told) == 4
    assert not any("gres/gpu" in line for line in told if line.startswith("cpu|"))
