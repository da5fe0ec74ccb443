"""What a summary shows: chosen rows, the best first, and what is finished of an experiment that failed."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmr import cli, paths
from cmr.errors import UserError
from cmr.reporting import choice, collect, headline, significance, summary, unfinished
from cmr.reporting.protocols import protocols
from reporting_tree import write_tree
from toy_plan import Project, experiment, written_features


def rows(tmp_path, **options):
    return collect.load(write_tree(tmp_path / "results", **options)).united_rows()


def names(text):
    return [line.split()[0] for line in text.splitlines()[2:]]


def test_the_best_average_comes_first_and_a_star_marks_the_best_of_a_column(tmp_path):
    found = choice.matching(rows(tmp_path), {"metric": "map@all"})
    text = summary.table(found)
    average = {row["id"]: row["mean"] for row in found if row["query"] == "average"}
    assert names(text) == [*sorted(average, key=lambda name: -average[name]), "chance"]
    for column in ("image", "text", "average"):
        of_column = {row["id"]: row for row in found if row["query"] == column}
        best = max(of_column, key=lambda name: of_column[name]["mean"])
        starred = [line for line in text.splitlines() if f"{summary.cell(of_column[best])}*" in line]
        assert [line.split()[0] for line in starred] == [best]
    assert text.count("*") == 3


def test_the_lowest_is_best_where_the_metric_says_so():
    row = {
        "dataset": "d", "split": "s", "inputs": "i", "metric": "median_rank", "plugin": "median_rank", "std": None,
        "query": "image", "gallery": "text", "seconds": 1.0, "peak_memory_mb": 1.0, "chance": None,
        "at_edge": "", "note": "",
    }  # fmt: skip
    found = [{**row, "group": f"d/s/i/{name}", "id": name, "mean": mean} for name, mean in (("a", 9.0), ("b", 2.0))]
    text = summary.table(found)
    assert names(text) == ["b", "a", "chance"]
    assert "2.000*" in text
    assert summary.table([*found, {**found[1], "group": "d/s/i/c", "id": "c"}]).count("2.000*") == 2, (
        "equal to the best"
    )


def test_what_the_evaluation_says_of_a_figure_stands_below_its_table_and_at_its_lines(tmp_path):
    note = "its cut at 100 is beyond the gallery's 24 items"
    results = write_tree(tmp_path / "results")
    for file in results.glob("runs/**/metrics.json"):
        told = json.loads(file.read_text())
        for task in told["tasks"]:
            task["metrics"]["map@5"]["note"] = note
        file.write_text(json.dumps(told))
    collection = collect.load(results)
    rows = collection.united_rows()
    assert {row["metric"] for row in rows if row["note"] == note} == {"map@5"}
    text = summary.table(choice.matching(rows, {"metric": "map@5"}))
    assert text.splitlines()[-1] == f"note: {note}"
    assert note not in summary.table(choice.matching(rows, {"metric": "map@all"}))
    evidence = significance.weigh(collection, rows)
    for block in headline.blocks(protocols(collection), rows, evidence):
        told = {note in line.badges for line in block.lines if line.kind == headline.MEASURED}
        assert told == {block.metric == "map@5"}


def test_chances_that_differ_stand_from_the_least_to_the_greatest():
    assert summary._chance([{"chance": chance} for chance in (10.5, 9.5, 9.5001, None)]) == "9.500 to 10.500"
    assert summary._chance([{"chance": None}]) == "–"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"id": "d*"}, {"dla"}),
        ({"id": "[cr]*"}, {"cca", "ridge"}),
        ({"experiment": "main", "dataset": "shapes", "inputs": "lite0+*"}, {"cca", "ridge", "dla"}),
    ],
)
def test_rows_are_chosen_by_patterns(tmp_path, patterns, expected):
    assert {row["id"] for row in choice.matching(rows(tmp_path), patterns)} == expected


def test_notes_are_of_the_chosen_data_sets(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = write_tree(tmp_path / "results", ["shapes", "forms"], ["cca"])
    for file in results.glob("runs/**/metrics.json"):
        told = json.loads(file.read_text())
        told["tasks"][0]["queries_without_relevant"] = 3
        file.write_text(json.dumps(told))
    for chosen in ("shapes", "forms"):
        cli.main(["summary", "--data", chosen])
        assert re.findall(r"^(\w+),", capsys.readouterr().err, re.MULTILINE) == [chosen]


def test_a_pattern_that_matches_nothing_says_what_there_is(tmp_path):
    with pytest.raises(UserError, match="no method matches 'x'; there are cca, dla, ridge"):
        choice.matching(rows(tmp_path), {"id": "x"})


def test_the_command_filters_and_writes_csv_and_latex(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "results")
    chosen = ["summary", "--metric", "map@all", "--method", "d*"]
    cli.main(chosen)
    assert names(capsys.readouterr().out) == ["dla", "chance"]
    cli.main([*chosen, "--csv"])
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {(row["id"], row["query"]) for row in read} == {("dla", q) for q in ("image", "text", "average")}
    assert all(0 <= float(row["mean"]) <= 1 for row in read)
    with pytest.raises(SystemExit):
        cli.main([*chosen, "--csv", "--latex"])
    assert "not allowed with argument" in capsys.readouterr().err
    cli.main([*chosen, "--latex"])
    latex = capsys.readouterr().out
    assert latex.count(r"\textbf{") == 3
    assert r"dla & \textbf{" in latex
    assert latex.count(r"\begin{tabular}{lrrrrr}") == latex.count(r"\end{tabular}") == 1


@pytest.fixture
def failed(tmp_path, monkeypatch):
    """A project with a finished run of CCA, and the log of a fit that failed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = {modality: rng.normal(size=(40, 4)).astype(np.float32) for modality in ("image", "text")}
    configuration = written_features(tmp_path, values, np.arange(40) % 2, ["train"] * 20 + ["test"] * 20)
    configuration |= experiment(["image", "text"], "cca", "ridge_label")
    Path("config.yaml").write_text(yaml.safe_dump(configuration))
    made = Project(tmp_path, configuration)
    for run in made.results("evaluate"):
        if "/cca/" in run.record:
            made.make(run)
        else:
            (first, _) = run.sources("fit")
    log = Path(first.folder.replace(paths.RESULTS, f"{paths.RESULTS}/.logs") + ".log")
    log = Path(str(log).replace("/fits/", "/fit/"))
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 cmr: begun\nerror: labels.npy: a row is odd\n")
    return made, first


def test_what_is_finished_of_an_experiment_is_shown_and_what_failed_is_named(failed, capsys):
    _, fit = failed
    cli.main(["summary", "--metric", "map@all"])
    shown = capsys.readouterr()
    assert {"cca", "chance"} <= set(names(shown.out))
    assert "ridge_label" not in shown.out
    assert "experiment main: 1 of 2 runs are finished; run `snakemake` again" in shown.err
    assert f"fit of {fit.folder.removeprefix('results/')}: labels.npy: a row is odd" in shown.err


def test_a_finished_experiment_has_no_such_line(failed, capsys):
    made, _ = failed
    made.make(made.only("collect"))
    cli.main(["summary", "--metric", "map@all"])
    shown = capsys.readouterr()
    assert {"cca", "ridge_label"} <= set(names(shown.out))
    assert "finished" not in shown.err


@pytest.mark.parametrize("ended", [True, False])
def test_a_link_may_lead_to_a_folder_that_the_configuration_names(failed, ended, capsys, tmp_path_factory):
    made, _ = failed
    if ended:
        made.make(made.only("collect"))
    big = tmp_path_factory.mktemp("big")
    Path("results/runs").symlink_to(Path("results/runs").rename(big / "runs"))
    Path("root.yaml").write_text(f"data_root: {big}\n")
    for command in (["summary"], ["report", "--out", "page"])[: 1 + ended]:
        with pytest.raises(SystemExit):
            cli.main(command)
        assert "a link that leaves results" in capsys.readouterr().err
        cli.main([*command, "--config", "root.yaml"])


def test_without_any_run_the_failure_is_told(failed, capsys):
    made, _ = failed
    for run in made.results("evaluate"):
        Path(run.record).unlink(missing_ok=True)
    with pytest.raises(SystemExit):
        cli.main(["summary"])
    error = capsys.readouterr().err
    assert error.startswith("error: results/experiments: no finished experiment")
    assert "labels.npy: a row is odd" in error


def test_logs_are_looked_for_where_the_rules_write_them():
    rules = "".join(path.read_text() for path in sorted(Path("workflow/rules").glob("*.smk")))
    written = set(re.findall(r'"results/(\.logs/[^"]*\.log)"', rules))
    looked_for = {unfinished._log(stage, record) for stage, record in paths.RECORDS.items() if stage != "report"}
    assert {log.removeprefix("results/") for log in looked_for} - written == {
        ".logs/evaluate/{data}/{split}/{inputs}/{method}/{seed}.log"  # which the rule gives the metrics' digest
    }
    run = "results/runs/emoji/default/lite0+bert/cca/0/run-1a2b3c.json"
    assert unfinished._log("evaluate", run) == "results/.logs/evaluate/emoji/default/lite0+bert/cca/0-1a2b3c.log"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("line\nTraceback\nerror: ValueError: matrices of unequal\nshape\n", "ValueError: matrices of unequal"),
        ("error: row 3: NaN\n", "row 3: NaN"),
        ("epoch 1 of 2\n", ""),
    ],
)
def test_what_a_log_ends_with_is_the_first_line_of_its_error(tmp_path, text, error):
    (tmp_path / "job.log").write_text(text)
    assert unfinished._error(tmp_path / "job.log") == error
    assert unfinished._error(tmp_path / "none.log") == ""
