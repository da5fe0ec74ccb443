"""Two hundred short runs share a few cluster jobs: what one run costs beyond its own work."""

import os
import time

import pytest

from conftest import toy

RUNS = int(os.environ.get("CMR_RUNS", "200"))


@pytest.mark.long
def test_overhead_of_a_short_run(clone, tmp_path):
    """The same runs on one core, through SLURM and without it; the difference is what SLURM and the executor cost."""
    values = [round(0.001 * (i + 1), 3) for i in range(RUNS)]
    methods = [{"id": "cca", "params": {"components": 2}, "sweep": {"regularisation": values}}]
    clone.configure(experiments=[{**toy.CONFIG["experiments"][0], "methods": methods}])
    local = clone.copy_inputs(tmp_path / "local")
    began = time.monotonic()
    output = clone.slurm("metrics", "--group-components", f"brief={RUNS}")
    through_slurm = time.monotonic() - began
    began = time.monotonic()
    local.run("metrics", "--cores", "1")
    without = time.monotonic() - began
    assert output.count("has been submitted") == 1
    assert clone.metrics() == local.metrics()
    print(f"{RUNS} runs: {through_slurm:.0f} s through SLURM, {without:.0f} s without, one core each")
    assert (through_slurm - without) / RUNS < 1
