"""Clones that run through a real SLURM on this machine: `make test-cluster` brings it up and ends it."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

import toy_clones as toy

# Threads do not spin while they wait: the node has fewer cores than it says.
SITE = (
    "account: lab\npartition: cpu\ngpu_partition: gpu\nqos: brief\ngpu_qos: cards\n"
    "environment: {OMP_WAIT_POLICY: PASSIVE}\n"
)
QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--max-status-checks-per-second", "1", "--latency-wait", "5")
PROFILE = ("--profile", "slurm", *QUICK)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: minutes; left out by `make test-cluster`")
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended", returncode=1))  # so that what runs is ended, too


def pytest_collection_modifyitems(items):
    if subprocess.run(["sinfo"], capture_output=True).returncode if shutil.which("sinfo") else True:
        pytest.exit("no SLURM answers: tests/cluster/up.sh starts one", returncode=1)


class Cluster(toy.Clone):
    """A clone whose jobs go to SLURM."""

    def slurm(self, *arguments, check=True):
        """As `snakemake`, with the jobs sent to SLURM."""
        return self.run(*PROFILE, *arguments, check=check)

    def run(self, *arguments, check=True):
        """As `snakemake`, with more time."""
        with self.started(*arguments) as process:
            status = process.wait(timeout=2400)
        output = (self.root / "log.txt").read_text()
        assert (status == 0) == check, output
        return output

    def in_background(self, *arguments):
        """A run through SLURM that goes on during the block; killed at its end if it still runs then."""
        return self.started(*PROFILE, *arguments)

    @contextmanager
    def started(self, *arguments):
        environment = os.environ | {"PYTHONPATH": ""}
        command = [sys.executable, "-m", "snakemake", *arguments]
        with (self.root / "log.txt").open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def steady(self, *methods, method="steady", **changes):
        """Configures one experiment; ``methods`` are the parameters of ``method``, an id each."""
        entries = [{"id": f"s{i}", "method": method, "params": params} for i, params in enumerate(methods)]
        experiment = {**toy.CONFIG["experiments"][0], "methods": entries, **changes}
        self.configure(experiments=[experiment])

    def metrics(self):
        """Every figure of every run, by path."""
        runs = self.root / "results" / "runs"
        return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.rglob("metrics*.json"))}

    def measured_locally(self, where):
        """The figures of the same configuration without SLURM, in a clone of its own, with as many threads."""
        local = self.copy_inputs(where)
        os.environ["STEADY_SECONDS"] = "0"
        try:
            local.snakemake("metrics")
        finally:
            del os.environ["STEADY_SECONDS"]
        return local.metrics()

    def copy_inputs(self, where):
        made = type(self)(where)
        skipped = shutil.ignore_patterns("runs", "fits", "experiments", ".partial", ".snakemake")
        shutil.copytree(self.root, where, ignore=skipped)
        return made

    def steps(self):
        """The recorded steps of each fit that is finished."""
        found = {}
        for path in sorted((self.root / "results" / "fits").rglob("history.csv")):
            with path.open() as file:
                found[str(path.parent.relative_to(self.root / "results" / "fits"))] = list(csv.DictReader(file))
        return found

    def leftovers(self):
        return [path for path in (self.root / "results").rglob("*") if ".tmp" in path.suffixes]


def wait(condition: Callable[[], object], seconds: float = 300) -> object:
    """What ``condition`` gives, once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"not so after {seconds} seconds: {condition.__name__}")


def ask(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A clone with the toy data's features, made locally."""
    made = toy.clone(tmp_path_factory.mktemp("prepared") / "clone")
    for plugin in (Path(__file__).parent / "plugins").glob("*.py"):
        shutil.copy(plugin, made.root / "workflow" / "cmr" / "methods")
    (made.root / "slurm" / "site.yaml").write_text(SITE)
    made.snakemake("features")
    return Cluster(made.root)


@pytest.fixture
def clone(prepared, tmp_path):
    shutil.copytree(prepared.root, tmp_path / "clone")
    return Cluster(tmp_path / "clone")
