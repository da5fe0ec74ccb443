"""Clones whose folders have odd names, and environments that hold another clone: the code of the one typed in runs."""

import os
import subprocess
import sys

import pytest

from toy_clones import clone

ODD = "a:b %s 'q\" é $x"
OTHER = "raise SystemExit('the code of another clone')\n"


@pytest.fixture
def other(tmp_path):
    """The folder of another clone's package, of which any use would be seen."""
    folder = tmp_path / "other"
    (folder / "cmr").mkdir(parents=True)
    (folder / "cmr" / "__init__.py").write_text(OTHER)
    return folder


def ran(root, other, *command):
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(other), "PATH": path}
    done = subprocess.run([sys.executable, "-m", *command], cwd=root, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.mended("a clone whose path has a colon ran the code of another clone, and recorded its own")
@pytest.mark.slow
def test_the_code_of_the_clone_that_is_typed_in_runs(tmp_path, other):
    made = clone(tmp_path / ODD)
    made.edit("workflow/cmr/stages/split.py", "def make", "print('of this clone')\n\n\ndef make")
    status, said = ran(made.root, other, "snakemake", "--cores", "1", "results/data/toy/splits/default.csv")
    assert status == 0, said
    assert "of this clone" in said
    assert "another clone" not in said


@pytest.mark.mended("a clone whose path has braces was a stack trace of Snakemake's")
def test_braces_are_refused_in_a_line(tmp_path, other):
    made = clone(tmp_path / "{data}")
    status, said = ran(made.root, other, "snakemake", "-n")
    assert status == 1
    assert "takes braces in a folder's name for wildcards" in said
    assert "Traceback" not in said


def test_a_command_of_another_clone_says_so(tmp_path):
    made = clone(tmp_path / "clone")
    (tmp_path / "second").mkdir()
    made.copy(tmp_path / "second" / "clone")
    status, said = ran(made.root, tmp_path / "second" / "clone" / "workflow", "cmr", "list", "metrics")
    assert status == 1
    assert "this clone's code is not what runs" in said
    assert ran(made.root, made.root / "workflow", "cmr", "list", "metrics")[0] == 0
