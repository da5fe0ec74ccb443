"""Measured results as data: what `cmr summary --csv` writes is read as it was written, and what the project keeps is whole."""

import csv
from pathlib import Path

import pytest

from cmr.errors import UserError
from cmr.reporting import collect, measured, significance, summary
from reporting_tree import write_experiment, write_tree

KEPT = sorted((Path(__file__).parents[2] / "resources/measured").glob("*.csv"))


def test_a_file_gives_the_summary_that_it_was_written_from(tmp_path):
    found = collect.load(write_tree(tmp_path / "results"))
    (file := tmp_path / "measured.csv").write_text(measured.as_csv(found.rows(), found), "utf-8")
    assert [line for line in summary.table(measured.read(file)).splitlines() if "±" in line or "chance" in line]
    assert summary.table(measured.read(file)) == summary.table(found.rows())


def test_a_row_says_how_sure_it_is_and_what_made_it(tmp_path):
    found = collect.load(write_tree(tmp_path / "results"))
    rows = {(row["group"], row["metric"], row["query"]): row for row in found.rows()}
    known = significance.weigh(found, rows.values())
    lines = csv.DictReader(measured.as_csv(list(rows.values()), found).splitlines())
    for row, line in zip(rows.values(), lines, strict=True):
        estimate = known[significance.column_of(row), row["group"]].mean
        low, high = estimate.ci95 if estimate else ("", "")
        assert (
            [line["ci95_low"], line["ci95_high"]] == [str(round(low, 6)), str(round(high, 6))] if estimate else ["", ""]
        )
        fits = [fit for run in found.runs if run.group == row["group"] for fit in run.fits]
        commits = {f"{fit['project']['commit'] or ''}{'+' * bool(fit['project']['changed'])}" for fit in fits}
        assert set(line["commit"].split(", ")) == commits


def test_a_row_is_of_the_runs_of_its_own_experiment(tmp_path):
    results = write_tree(tmp_path / "results", methods=["dla"], seeds=3)
    paths = [run.path for run in collect.load(results).runs]
    write_experiment(results, "two-bbbbbb", paths[:2])
    both = collect.load(results)
    lines = list(csv.DictReader(measured.as_csv(both.rows(), both).splitlines()))
    for name, file in (("main", "main-aaaaaa.json"), ("two", "two-bbbbbb.json")):
        alone = collect.load(results, [results / "experiments" / file])
        wanted = list(csv.DictReader(measured.as_csv(alone.rows(), alone).splitlines()))
        assert [line for line in lines if line["experiment"] == name] == wanted
        assert all(line["ci95_low"] for line in wanted)


def test_another_table_is_refused(tmp_path):
    (file := tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other\.csv: not a table of `cmr summary --csv`"):
        measured.read(file)


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.name)
def test_what_is_kept_is_of_commits_without_edits(file):
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
    assert tuple(reader.fieldnames) == measured.COLUMNS
    assert {row["commit"] for row in rows if not row["commit"] or "+" in row["commit"]} == set()
