"""Machines on which something is missing, scarce or odd: the runs come out the same, bit for bit."""

import os
import shutil
import subprocess
import sys

import pytest

from robustness.test_copies import ITS_RUNS, edited
from robustness.test_disk import mount
from robustness.toys import cmr, measured

WITHOUT_HOME = {"HOME": None, "XDG_CACHE_HOME": None}
HOME_OF_NOBODY = {"HOME": "/proc/1/nowhere", "XDG_CACHE_HOME": "/tmp/cmr-tests-cache"}
NO_TEMPORARY = {"TMPDIR": "/nowhere/tmp"}
PLAIN_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FEW_FILES = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash"]
POLITE = ["nice", "-n", "10", "taskset", "-c", str(min(os.sched_getaffinity(0)))]


def evaluated(clone, environment, prefix):
    """The figures after a method was edited, as they are made in an environment."""
    edited(clone)
    command = [*prefix, sys.executable, "-m", "snakemake", "metrics"]
    bare = {"PYTHONPATH": "", "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", **environment}
    kept = {name: value for name, value in (os.environ | bare).items() if value is not None}
    done = subprocess.run(
        command, cwd=clone.root, env=kept, capture_output=True, text=True, errors="replace", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert clone.planned("metrics") == {}
    return measured(clone)


@pytest.mark.parametrize(
    ("environment", "prefix"),
    [
        (NO_TEMPORARY | PLAIN_LOCALE | WITHOUT_HOME, FEW_FILES + POLITE),
        pytest.param(WITHOUT_HOME, [], marks=pytest.mark.long),
        pytest.param(HOME_OF_NOBODY, [], marks=pytest.mark.long),
        pytest.param(NO_TEMPORARY, [], marks=pytest.mark.long),
        pytest.param(PLAIN_LOCALE, [], marks=pytest.mark.long),
        pytest.param({}, FEW_FILES, marks=pytest.mark.long),
        pytest.param({}, POLITE, marks=pytest.mark.long),
    ],
    ids=["all", "no home", "home of nobody", "no temporary folder", "locale C", "64 open files", "nice, one core"],
)
@pytest.mark.slow
def test_the_same_figures(finished, environment, prefix):
    if shutil.which("taskset") is None:
        pytest.skip("taskset is not installed")
    before = measured(finished)
    assert evaluated(finished, environment, prefix) == before


@pytest.mark.mended("a clone that cannot be written was a stack trace of `snakemake`")
def test_a_clone_that_cannot_be_written_is_one_line(finished):
    if (done := mount("--bind", finished.root, finished.root)).returncode:
        pytest.skip(f"nothing can be mounted here (it needs root): {done.stderr.strip()}")
    try:
        assert mount("-o", "remount,ro,bind", finished.root).returncode == 0
        command = [sys.executable, "-m", "snakemake", "metrics"]
        done = subprocess.run(command, cwd=finished.root, capture_output=True, text=True, timeout=300)
    finally:
        subprocess.run(["umount", finished.root], check=True)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "/.snakemake/cmr: you cannot write there; " in said
    assert "Traceback" not in said
    assert "cluster.py" not in said  # as in a trace of Snakemake's form


@pytest.mark.slow
def test_results_on_another_disk_and_the_clone_by_another_name(finished, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (done := mount("-t", "tmpfs", "-o", "size=50m", "tmpfs", disk)).returncode:
        pytest.skip(f"no tmpfs can be mounted here (it needs root): {done.stderr.strip()}")
    try:
        shutil.move(finished.root / "results", disk / "results")
        (finished.root / "results").symlink_to(disk / "results", target_is_directory=True)
        (tmp_path / "other name").symlink_to(finished.root, target_is_directory=True)
        before = measured(finished)
        by_name = type(finished)(tmp_path / "other name")
        assert by_name.planned("metrics") == {}
        edited(by_name)
        assert finished.planned("metrics") == ITS_RUNS
        by_name.snakemake("metrics")
        assert finished.planned("metrics") == {}
        assert measured(finished) == before
        done = cmr(by_name, "verify")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        subprocess.run(["umount", disk], check=True)
