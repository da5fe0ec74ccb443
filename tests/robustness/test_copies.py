"""Results that were copied, merged or made while a clock was wrong: records decide, not times, notes or profiles."""

import os
import shutil
import subprocess
import time

import pytest

from robustness.toys import measured
from toy_clones import CONFIG, clone

MAIN = CONFIG["experiments"][0]
ITS_RUNS = {"fit": 1, "evaluate": 1, "collect": 1}
"""What an edit of the one method costs."""
DAY = 86_400
COPIES = {
    "cp -a": ["cp", "-a"],
    "rsync -a": ["rsync", "-a"],
    "cp -r, without times": ["cp", "-r"],
    "rsync -r, without times": ["rsync", "-r"],
    "the documented merge": ["rsync", "-a", "--safe-links", "--ignore-existing"],
}
OLD_SCRIPTS, YOUNG_SCRIPTS = -400 * DAY, DAY


def copied(how, source, target):
    if shutil.which(COPIES[how][0]) is None:
        pytest.skip("rsync is not installed")
    subprocess.run([*COPIES[how], str(source), str(target)], check=True)


def timed(folder, seconds):
    """Gives all files of a folder one time, some seconds from now."""
    moment = time.time() + seconds
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))


def edited(made):
    made.edit("workflow/cmr/methods/cca.py", "class CCA", "NEW = 1\n\n\nclass CCA")


def with_results(root, source, how, notes, scripts):
    """A clone of another age than the results that are copied into it; ``notes``: with Snakemake's own."""
    made = clone(root)
    for folder in ("results", ".snakemake") if notes else ("results",):
        copied(how, source.root / folder, root)
    for folder in ("workflow", "profiles"):
        timed(made.root / folder, scripts)
    return made


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.mended("runs of another tree that were older than the data they were merged with were made again")
@pytest.mark.parametrize(
    ("how", "notes", "scripts"),
    [
        ("cp -a", True, YOUNG_SCRIPTS),
        ("rsync -a", False, OLD_SCRIPTS),
        long("cp -a", False, YOUNG_SCRIPTS),
        long("cp -a", True, OLD_SCRIPTS),
        long("rsync -a", False, YOUNG_SCRIPTS),
        long("rsync -a", True, YOUNG_SCRIPTS),
        long("cp -r, without times", True, YOUNG_SCRIPTS),
        long("cp -r, without times", False, OLD_SCRIPTS),
        long("rsync -r, without times", False, YOUNG_SCRIPTS),
    ],
)
@pytest.mark.slow
def test_a_copy_is_complete_and_an_edited_method_costs_its_runs(finished_once, tmp_path, how, notes, scripts):
    made = with_results(tmp_path / "copy", finished_once, how, notes, scripts)
    assert made.planned("metrics") == {}
    edited(made)
    timed(made.root / "workflow", scripts)
    assert made.planned("metrics") == ITS_RUNS


@pytest.mark.slow
def test_another_branch_and_back(finished):
    """What other code made is made again, nothing else, and is what it was."""
    before = measured(finished)
    source = finished.root / "workflow/cmr/methods/cca.py"
    text = source.read_text()
    source.write_text(text.replace("[back(x_basis, x_map)", "[-back(x_basis, x_map)"))
    finished.snakemake("metrics")
    assert measured(finished) != before
    source.write_text(text)
    assert finished.planned("metrics") == ITS_RUNS
    finished.snakemake("metrics")
    assert finished.planned("metrics") == {}
    assert measured(finished) == before


@pytest.mark.slow
@pytest.mark.parametrize("days", [-1, long(1)], ids=["older", "younger"])
def test_a_merge_with_older_or_younger_runs_makes_nothing_again(finished, tmp_path, days):
    """Times of two trees lie across each other: data of one, runs of the other."""
    theirs = finished.copy(tmp_path / "theirs")
    both = {"experiments": [{**MAIN, "methods": [*MAIN["methods"], "pls"]}]}
    theirs.configure(**both)
    theirs.snakemake("metrics")
    timed(theirs.root / "results", days * DAY)
    copied("the documented merge", f"{theirs.root}/results/", f"{finished.root}/results/")
    shutil.rmtree(finished.root / ".snakemake")
    finished.configure(**both)
    assert finished.planned("metrics") == {}
    edited(finished)
    assert finished.planned("metrics") == ITS_RUNS


@pytest.mark.slow
@pytest.mark.mended("what was made while the clock was ahead ended each later job, or was made again for ever")
def test_results_from_a_clock_that_was_ahead(finished):
    timed(finished.root / "results", 30 * DAY)
    finished.configure(experiments=[{**MAIN, "methods": [*MAIN["methods"], "pls"]}])
    finished.snakemake("metrics")
    shutil.rmtree(finished.root / ".snakemake")
    assert finished.planned("metrics") == {}
    edited(finished)
    assert finished.planned("metrics") == ITS_RUNS


@pytest.mark.parametrize(
    "arguments",
    [
        ("--profile", "mine"),
        long(("--workflow-profile", "none", "--cores", "1")),
        long(("--rerun-triggers", "code", "params")),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.slow
def test_profiles_and_options_of_ones_own_decide_nothing(finished, arguments):
    """Nor do Snakemake's notes of the rules, which have changed here."""
    (finished.root / "mine").mkdir()
    (finished.root / "mine" / "config.yaml").write_text("cores: 1\nrerun-triggers: [mtime, code, input, params]\n")
    finished.edit("workflow/rules/common.smk", "--threads {threads} {output.record:q}", "--threads 1 {output.record:q}")
    timed(finished.root / "workflow", YOUNG_SCRIPTS)
    assert finished.planned("metrics", *arguments) == {}
    edited(finished)
    assert finished.planned("metrics", *arguments) == ITS_RUNS
