"""Somebody else: a copy in another folder, one lab folder for two, a folder that is not theirs to write."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conftest import toy

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(scope="module")
def shared(prepared):
    """A folder that everybody can reach, with a clone whose metrics are made; pytest's own folders are private."""
    with tempfile.TemporaryDirectory(prefix="cmr-people-") as folder:
        os.chmod(folder, 0o755)
        clone = toy.Clone(Path(folder) / "clone")
        shutil.copytree(prepared.root, clone.root)
        clone.snakemake("metrics")
        subprocess.run(["chmod", "-R", "a+rX", clone.root], check=True)
        yield clone


def whoever_has_this_python():
    """Nobody; root where the interpreter lies in root's home: nobody then has another version, which verify tells."""
    ask = ["-c", "import sys; print(sys.version)"]
    versions = [subprocess.run([*who, sys.executable, *ask], capture_output=True).stdout for who in (NOBODY, [])]
    return NOBODY if versions[0] == versions[1] else []


def as_nobody(folder, *command, person=NOBODY):
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, 65534, 65534)
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": ""}
    done = subprocess.run(
        [*person, sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_a_copy_has_nothing_to_be_done_and_verifies(shared):
    copied = shared.root.parent / "copied"
    subprocess.run(
        ["rsync", "-a", "--exclude=.snakemake", "--chown=65534:65534", f"{shared.root}/", copied], check=True
    )
    status, output = as_nobody(copied, "snakemake", "-n", "metrics")
    assert status == 0, output
    assert "Nothing to be done" in output
    status, output = as_nobody(copied / "workflow", "cmr", "verify", "../results", person=whoever_has_this_python())
    assert status == 0, output
    assert "2 runs checked: all are as their records say" in output
    edited = (copied / "config.yaml").read_text().replace("components: 2", "components: 1")
    (copied / "config.yaml").write_text(edited)
    status, output = as_nobody(copied, "snakemake", "-n", "metrics")
    assert status == 0, output
    told = output.rpartition("Job stats:")[2].split()
    counts = {rule: int(told[told.index(rule) + 1]) for rule in ("fit", "evaluate", "collect", "total")}
    assert counts == {"fit": 1, "evaluate": 1, "collect": 1, "total": 4}


def test_two_people_in_one_lab_folder(shared):
    """As docs/sharing.md sets it up."""
    lab = shared.root.parent / "lab"
    for folder in (lab, lab / "results", lab / ".snakemake"):
        folder.mkdir()
        os.chown(folder, 0, 65534)
        folder.chmod(0o2775)
    shutil.copy(shared.root / "config.yaml", lab)
    (lab / "config.yaml").chmod(0o644)
    before = os.umask(0o002)
    shared.snakemake("--directory", str(lab), "metrics")
    os.umask(before)
    theirs = subprocess.run([*NOBODY, "find", lab, "!", "-writable"], capture_output=True, text=True, check=True)
    assert theirs.stdout.splitlines() == [str(lab / "config.yaml")]  # which was copied there without the group's rights
    if person := whoever_has_this_python():
        arguments = ("--snakefile", str(shared.root / "Snakefile"), "--directory", str(lab), "--cores", "1")
        status, output = as_nobody(
            shared.root, "snakemake", *arguments, "metrics", "--forcerun", "evaluate", person=person
        )
        assert status == 0, output


def test_results_of_somebody_else_are_refused_in_words(shared):
    copied = shared.root.parent / "theirs"
    shutil.copytree(shared.root, copied)
    subprocess.run(["chown", "-R", "65534:65534", copied], check=True)
    os.chown(copied / "results", 0, 0)
    (copied / "results").chmod(0o755)
    status, output = as_nobody(copied, "snakemake", "metrics", "--forcerun", "evaluate")
    assert status != 0
    assert f"{copied}/results: you cannot write there" in output
    assert "Traceback" not in output
