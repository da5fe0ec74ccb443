"""Two hundred short runs share a few cluster jobs: what one run costs beyond its own work."""

import math
import os
import time
from pathlib import Path

import pytest

from conftest import toy

RUNS = int(os.environ.get("CMR_RUNS", "200"))


@pytest.fixture
def equal_shares():
    """Every process has the same share of the processors, whatever session it belongs to: a cluster job is one each."""
    switch = Path("/proc/sys/kernel/sched_autogroup_enabled")
    before = switch.read_text()
    switch.write_text("0")
    yield
    switch.write_text(before)


@pytest.mark.long
@pytest.mark.usefixtures("equal_shares")
def test_overhead_of_a_short_run(clone, tmp_path):
    """The same runs through SLURM and without it, side by side; the difference is what SLURM and the executor cost.

    What the slower of the two still has to compute when the other ends, it computes up to twice as fast as before.
    """
    values = [round(0.001 * (i + 1), 3) for i in range(RUNS)]
    methods = [{"id": "cca", "params": {"components": 2}, "sweep": {"regularisation": values}}]
    clone.configure(experiments=[{**toy.CONFIG["experiments"][0], "methods": methods}])
    local = clone.copy_inputs(tmp_path / "local")
    jobs = math.ceil(RUNS / 50)
    began = time.monotonic()
    # As delivered: asked every 20 seconds, 50 runs a job; as many runs at once without.
    with (
        clone.started("--profile", "slurm", "metrics") as through_slurm,
        local.started("metrics", "--cores", str(jobs)) as without,
    ):
        ends = {}
        while len(ends) < 2:
            ends |= {p: time.monotonic() - began for p in (through_slurm, without) if p not in ends and p.poll() == 0}
            assert not through_slurm.poll(), (clone.root / "log.txt").read_text()
            assert not without.poll(), (local.root / "log.txt").read_text()
            time.sleep(0.2)
    assert (clone.root / "log.txt").read_text().count("has been submitted") == jobs
    assert len(clone.metrics()) == RUNS
    assert clone.metrics() == local.metrics()
    each = (ends[through_slurm] - ends[without]) / RUNS
    print(f"{RUNS} runs: {ends[through_slurm]:.0f} s through SLURM, {ends[without]:.0f} s without: {each:.2f} s a run")
    assert each < 1
