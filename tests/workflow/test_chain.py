"""The whole chain on the toy clone, dictionary and network included: the page, the summary, the same bits again."""

import json
import math
import os
import re
import subprocess
import sys
import zipfile

import pytest

from toy_clones import CONFIG, DLA, clone

pytestmark = pytest.mark.slow
WHOLE = {
    "dictionaries": [{"id": "small", "dictionary": "coupled", "params": {"atoms": [6, 7], "iterations": 3}}],
    "metrics": [*CONFIG["metrics"], "precision_recall", "precision_scope"],
    "experiments": [{**CONFIG["experiments"][0], "methods": [DLA, "ridge_label"], "seeds": 2}],
}


def run_whole(root):
    made = clone(root)
    made.configure(**WHOLE)
    made.snakemake()
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run_whole(tmp_path_factory.mktemp("whole") / "clone")


def cmr(clone, *arguments):
    environment = os.environ | {"PYTHONPATH": str(clone.root / "workflow")}
    command = [sys.executable, "-m", "cmr", *arguments]
    return subprocess.run(command, cwd=clone.root, env=environment, capture_output=True, text=True)


def measured(clone):
    """Every figure of every run, by path."""
    runs = clone.root / "results/runs"
    return {str(p.relative_to(runs)): p.read_bytes() for p in sorted(runs.rglob("metrics*.json"))}


def test_the_report_stands_and_there_is_nothing_left_to_do(whole):
    page = (whole.root / "results/report/index.html").read_text()
    assert "Toy" in page
    assert "ridge_label" in page
    assert whole.planned() == {}
    assert not list((whole.root / "results/.partial").rglob("*.pt"))


def test_summary_has_a_row_a_method_metric_and_direction(whole):
    rows = json.loads(cmr(whole, "summary", "--json").stdout)
    row = next(r for r in rows if (r["id"], r["query"]) == ("dla", "image"))
    expected = {
        "dataset": "toy",
        "split": "default",
        "inputs": "image+text",
        "experiment": "main",
        "method": "dla_cmr",
        "metric": "map@all",
        "gallery": "text",
        "seeds": 2,
    }
    assert expected.items() <= row.items()
    assert 0 < row["mean"] <= 1
    assert row["std"] >= 0
    text = cmr(whole, "summary").stdout
    assert "ridge_label" in text
    assert "chance" in text


def test_summary_of_nothing_is_one_line_and_a_status(whole, tmp_path):
    done = cmr(whole, "summary", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_page_of_a_read_only_tree_is_the_same(whole, tmp_path):
    done = cmr(whole, "report", "results", "--out", str(tmp_path / "page"), "--title", "Toy")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page/index.html").read_bytes() == (whole.root / "results/report/index.html").read_bytes()


def test_snakemakes_own_report_carries_the_page(whole, tmp_path):
    whole.snakemake("--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        (page,) = (name for name in report.namelist() if name.endswith("/index.html"))
        assert report.read(page) == (whole.root / "results/report/index.html").read_bytes()
        assert "report/report.html" in report.namelist()
    assert whole.planned() == {}


def test_from_scratch_again_every_figure_is_the_same(whole, tmp_path):
    again = run_whole(tmp_path / "clone")
    assert measured(again) == measured(whole)
    assert len(measured(whole)) == 3


def test_jobs_of_small_data_ask_for_a_fixed_amount_and_for_their_input(finished):
    """The table of docs/cluster.md; the bound of large data is far."""
    output = finished.snakemake("-n", "--forceall", "metrics")
    jobs = re.findall(r"rule (\w+):\n +input: (.+)\n(?: +.+\n)*? +resources: .*?mem_mb=(\d+)", output)
    asked = {rule: set() for rule in ("split", "extract", "fit", "evaluate")}
    for rule, input_files, memory in jobs:
        at_least, a_megabyte = {"split": (2000, 10), "extract": (3000, 100)}.get(rule, (2000, 20))
        size = sum((finished.root / file).stat().st_size for file in input_files.split(", ")) / 1e6
        if rule in asked:
            asked[rule].add(int(memory) == math.ceil(500 + at_least + a_megabyte * size))
    assert all(found == {True} for found in asked.values()), asked
