"""Jobs, daemons and Snakemake itself killed: the work is resumed or it stops in words, and the figures are the same."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import ask, wait

CLUSTER = Path(os.environ.get("CMR_CLUSTER", "/tmp/cmr-cluster"))
LEFTOVERS = (
    """squeue --me --noheader --format='%A %j' | awk '$2 ~ /^cmr_/ {print $1}' | xargs --no-run-if-empty scancel"""
)


def jobs_of(clone, state="R"):
    """Numbers of the jobs that run in this clone's folder."""
    told = subprocess.run(["squeue", "-h", "-t", state, "-o", "%A %Z"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in told.stdout.splitlines() if line.split()[1] == str(clone.root)]


def checkpoint(clone, method):
    return next((clone.root / "results" / ".partial").glob(f"**/{method}*/0/*/*.pt"), None)


def whole(steps, count):
    return [int(row["step"]) for row in steps] == list(range(count))


def submissions(clone, method):
    """SLURM's numbers of the jobs that fit a method, in order."""
    return re.findall(rf"rule_fit/\S*_{method}[-_]\S*/(\d+)\.log\)", (clone.root / "log.txt").read_text())


@pytest.mark.long
def test_time_memory_and_scancel(clone, tmp_path):
    """Each fate in one run: s0 is over its time, s1 over its memory, s2 is cancelled."""
    steps = 90  # of a second: more than SLURM lets a job of one minute run, with room for the rest in a second one
    clone.steady({"steps": steps}, {"megabytes": 1200}, {"steps": 31})
    limits = ["--set-resources", "fit:runtime=1", "fit:mem_mb=1300*attempt"]
    with clone.in_background("metrics", *limits) as process:
        wait(lambda: checkpoint(clone, "s2"))
        subprocess.run(["scancel", submissions(clone, "s2")[0]], check=True)
        status = process.wait(timeout=1200)
    log = (clone.root / "log.txt").read_text()
    assert status == 0, log
    assert "'TIMEOUT'" in log
    assert "'CANCELLED" in log
    assert all(len(submissions(clone, method)) >= 2 for method in ("s0", "s1", "s2"))
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert clone.leftovers() == []
    made = {fit.split("/")[3].partition("-")[0]: rows for fit, rows in clone.steps().items()}
    for method, count in (("s0", steps), ("s2", 31)):
        assert whole(made[method], count), made[method]
        assert len({row["job"] for row in made[method]}) >= 2  # resumed, not begun again
    assert list((clone.root / "results" / ".partial").rglob("*.pt")) == []


def jobs_that_fitted(clone):
    """By the id of its method, the numbers of the jobs that made the steps of a fit."""
    return {
        fit.split("/")[3].partition("-")[0]: sorted({int(row["job"]) for row in rows})
        for fit, rows in clone.steps().items()
    }


def test_a_short_run_that_fails_leaves_the_others_theirs(clone):
    clone.steady({"steps": 1}, {"fails": True}, {"steps": 2}, method="brief")
    output = clone.slurm("metrics", "--retries", "1", check=False)
    assert output.count("has been submitted") == 2
    assert len(clone.metrics()) == 2
    fitted = jobs_that_fitted(clone)
    assert fitted["s0"] == fitted["s2"]
    assert len(fitted["s0"]) == 1  # the first one, not both
    assert "ValueError: made to fail" in output
    assert set(re.findall(r"output: \S+fits/\S+/(s\d)", output)) == {"s1"}
    assert clone.planned("metrics") == {"fit": 1, "evaluate": 1, "collect": 1}


@pytest.mark.long
def test_short_runs_cancelled(clone, tmp_path):
    clone.steady({"steps": 20}, {"steps": 21}, method="brief")
    with clone.in_background("metrics") as process:
        wait(lambda: list((clone.root / "results/fits").rglob("fit.json")))
        wait(lambda: checkpoint(clone, "s"))
        (job,) = jobs_of(clone)
        subprocess.run(["scancel", job], check=True)
        status = process.wait(timeout=1200)
    assert status == 0, (clone.root / "log.txt").read_text()
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert sorted(map(len, jobs_that_fitted(clone).values())) == [1, 2]  # not repeated, and resumed


@pytest.mark.long
def test_snakemake_killed_and_started_again(clone, tmp_path):
    clone.steady({"steps": 1}, {"steps": 40})
    with clone.in_background("metrics") as process:
        (finished,) = wait(lambda: list((clone.root / "results/fits").rglob("fit.json")))
        wait(lambda: checkpoint(clone, "s1"))
        wait(lambda: re.search(r"^ *\d+ of \d+ +fit ", (clone.root / "log.txt").read_text(), re.MULTILINE))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = finished.stat().st_mtime_ns
    assert jobs_of(clone), "the long fit goes on by itself"
    clone.snakemake("--unlock")
    clone.slurm("metrics")
    assert finished.stat().st_mtime_ns == before
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert clone.planned("metrics") == {}
    assert clone.leftovers() == []
    (long,) = [steps for steps in clone.steps().values() if len(steps) > 1]
    assert whole(long, 40), long


@pytest.mark.long
def test_the_line_that_cancels_leftovers(clone):
    clone.steady({"steps": 60})
    with clone.in_background("metrics"):
        wait(lambda: checkpoint(clone, "s0"))
    assert jobs_of(clone)
    assert LEFTOVERS in (Path(__file__).parents[2] / "README.md").read_text()
    subprocess.run(LEFTOVERS, shell=True, check=True)
    wait(lambda: not jobs_of(clone, "R,PD,CG"))


def test_a_gpu_job_without_a_gpu_fails_with_the_reason(clone):
    clone.edit(
        "workflow/cmr/methods/steady.py", "        taken =", "        assert self.device == 'cuda'\n        taken ="
    )
    clone.steady({"steps": 1})
    with (clone.root / "config.yaml").open("a") as file:
        file.write("device: cuda\n")
    output = clone.slurm("metrics", "--retries", "0", check=False)
    assert "error: device: cuda cannot be used" in output
    assert not list((clone.root / "results").rglob("fit.json"))


@pytest.mark.long
@pytest.mark.parametrize("requeue", [True, False])
def test_slurmd_killed(clone, tmp_path, requeue):
    """The node is lost with its job: SLURM starts it again when there is a node, or the run stops in words."""
    clone.steady({"steps": 40})
    up = Path(__file__).parent / "up.sh"
    with clone.in_background("metrics") as process:
        wait(lambda: checkpoint(clone, "s0"))
        (job,) = jobs_of(clone)
        subprocess.run(["scontrol", "update", f"jobid={job}", f"requeue={requeue:d}"], check=True)
        kill_node(job)
        killed = time.time()
        subprocess.run(["scontrol", "update", f"nodename={ask('hostname', '-s')[0]}", "state=down", "reason=killed"])
        if requeue:
            wait(lambda: jobs_of(clone, "PD"))
        else:
            assert process.wait(timeout=1200) != 0
            assert not list((clone.root / "results").rglob("fit.json"))
        subprocess.run([up], check=True, capture_output=True)
        process.wait(timeout=1200)
    log = (clone.root / "log.txt").read_text()
    assert process.returncode == (0 if requeue else 1), log
    assert requeue or ("failed due to a node failure" in log and "SLURM sbatch failed" in log), log
    clone.slurm("metrics")
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    (steps,) = clone.steps().values()
    assert whole(steps, 40)
    assert float(steps[0]["began"]) < killed < float(steps[-1]["began"])  # resumed, not begun again


def kill_node(job):
    """SIGKILL to slurmd and to all that it started for the job, as when a node loses its power."""
    daemon = int((CLUSTER / "run" / "slurmd.pid").read_text())
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    steps = [int(line.split()[0]) for line in listed.splitlines() if f"slurmstepd: [{job}." in line]
    inner = subprocess.run(["scontrol", "listpids", job], capture_output=True, text=True).stdout.splitlines()[1:]
    for pid in [daemon, *steps, *(int(line.split()[0]) for line in inner)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.mark.long
def test_slurmctld_down_for_a_minute(clone, tmp_path):
    clone.steady({"steps": 30}, {"steps": 45})
    up = Path(__file__).parent / "up.sh"
    with clone.in_background("metrics") as process:
        wait(lambda: checkpoint(clone, "s0") and checkpoint(clone, "s1"))
        os.kill(int((CLUSTER / "run" / "slurmctld.pid").read_text()), signal.SIGKILL)
        time.sleep(60)
        subprocess.run([up], check=True, capture_output=True)
        status = process.wait(timeout=1200)
    log = (clone.root / "log.txt").read_text()
    assert status == 0 or "SLURM sbatch failed" in log, log
    clone.slurm("metrics")
    assert clone.metrics() == clone.measured_locally(tmp_path / "local")
    assert all(whole(steps, len(steps)) for steps in clone.steps().values())
