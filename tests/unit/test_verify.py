"""`cmr verify` on trees of made-up runs; what a chain of jobs leaves is in tests/workflow."""

import shutil

import pytest

from cmr.machine import Machine
from cmr.sharing import verify
from reporting_tree import write_tree


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_tree(tmp_path / "results", methods=["cca", "ridge_label"], n=16)


def listed_but_missing(tree):
    _, findings = verify(tree, Machine(device="cpu"))
    return [f.path for f in findings if f.kind == "missing" and "listed by" in f.reason and "experiments" in f.reason]


def test_a_run_that_an_experiment_lists_is_missing_where_nothing_of_it_is_left(tree):
    assert listed_but_missing(tree) == []
    first, *others = sorted(path.parent for path in (tree / "runs").rglob("run.json"))
    shutil.rmtree(first)
    assert listed_but_missing(tree) == [str(first / "run.json")]
    shutil.rmtree(tree / "runs")
    assert len(listed_but_missing(tree)) == 1 + len(others)
