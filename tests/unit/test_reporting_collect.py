import json
import subprocess
import sys
from pathlib import Path

import pytest

from cmr import cli
from cmr.errors import UserError
from cmr.provenance import file_hash
from cmr.reporting import collect, summary
from cmr.reporting.collect import load
from reporting_tree import HEADLINE, write_experiment, write_items, write_run, write_tree


def row_of(rows: list[dict], **wanted: str) -> dict:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def value(results: Path, run: str, task: int, metric: str = "map@all") -> float:
    return json.loads((results / run / "metrics.json").read_text())["tasks"][task]["metrics"][metric]["value"]


def test_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", seeds=3)
    rows = collect.load(results).rows()
    values = [value(results, f"runs/shapes/default/lite0+bert/dla/{seed}", 0) for seed in range(3)]
    mean = sum(values) / 3
    row = row_of(rows, id="dla", metric="map@all", query="image", gallery="text")
    assert row["mean"] == pytest.approx(mean, abs=1e-12)
    assert row["std"] == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5, abs=1e-12)
    assert row["seeds"] == 3
    assert (row["dataset"], row["split"], row["inputs"]) == ("shapes", "default", "lite0+bert")
    assert (row["experiment"], row["method"]) == ("main", "dla_cmr")


def test_average_is_the_mean_over_directions_and_one_seed_has_no_deviation(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results")
    row = row_of(collect.load(results).rows(), id="cca", metric="map@all", query="average")
    run = "runs/shapes/default/lite0+bert/cca/0"
    assert row["mean"] == pytest.approx((value(results, run, 0) + value(results, run, 1)) / 2, abs=1e-12)
    assert row["gallery"] == "average"
    assert row["std"] is None


def test_a_figure_without_a_value_is_named_with_its_reason_and_a_curve_is_not(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["cca", "ridge"], seeds=1)
    for file in results.glob("runs/**/metrics.json"):
        metrics = json.loads(file.read_text())
        undefined = {"metric": "recall_at_k", "params": {"k": 1}, "note": "no query has a pair in the gallery"}
        metrics["tasks"][0]["metrics"]["recall@1"] = undefined
        metrics["tasks"][0]["metrics"]["precision_scope"]["note"] = "scopes 50 are cut"
        file.write_text(json.dumps(metrics))
    told = "shapes, default, lite0+bert: image→text: recall@1: no query has a pair in the gallery"
    assert load(results).notes == (told,)


def test_queries_that_have_nothing_to_find_are_told_once(tmp_path: Path, monkeypatch, capsys) -> None:
    results = write_tree(tmp_path / "results", methods=["cca", "ridge"], seeds=1)
    assert load(results).notes == ()
    for file in results.glob("runs/**/metrics.json"):
        metrics = json.loads(file.read_text())
        metrics["tasks"][1]["queries_without_relevant"] = 3
        file.write_text(json.dumps(metrics))
    told = "shapes, default, lite0+bert: text→image: 3 of 24 queries have nothing relevant in the gallery"
    assert load(results).notes == (told,)
    monkeypatch.chdir(tmp_path)
    cli.main(["summary"])
    assert told in capsys.readouterr().err.splitlines()


def test_a_chance_that_one_direction_lacks_has_no_average(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["cca"], seeds=1)
    file = results / "runs/shapes/default/lite0+bert/cca/0/metrics.json"
    metrics = json.loads(file.read_text())
    known = [task["metrics"]["map@all"]["chance"] for task in metrics["tasks"]]
    average = {"id": "cca", "metric": "map@all", "query": "average"}
    assert row_of(collect.load(results).rows(), **average)["chance"] == pytest.approx(sum(known) / 2, abs=1e-12)
    metrics["tasks"][0]["metrics"]["map@all"]["chance"] = None
    file.write_text(json.dumps(metrics))
    assert row_of(collect.load(results).rows(), **average)["chance"] is None


def test_indices_of_one_id_are_united_and_no_run_counts_twice(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", methods=["dla"], seeds=2)
    items = write_items(results, "shapes", 48)
    third = write_run(results, items, "shapes", "lite0+bert", "dla", 2)
    write_experiment(results, "main-bbbbbb", ["runs/shapes/default/lite0+bert/dla/0", third])
    collection = collect.load(results)
    assert len(collection.experiments) == 1
    assert row_of(collection.rows(), id="dla", metric="map@all", query="average")["seeds"] == 3


def test_rows_never_mix_inputs_parameters_or_metric_options(tmp_path: Path) -> None:
    results = tmp_path / "results"
    items = write_items(results, "shapes", 48)
    relevant = {"map@5": {"at": 5, "normalise": "relevant"}}
    first = [
        write_run(results, items, "shapes", "lite0+bert", "dla", 0),
        write_run(results, items, "shapes", "lite0+lda", "dla", 1),
        write_run(results, items, "shapes", "lite0+lda-123456", "dla", 2),
        write_run(results, items, "shapes", "lite0+bert", "dla", 3, params={"margin": 2.0}),
    ]
    other = write_run(results, items, "shapes", "lite0+bert", "dla", 1, digest="abc123", options=relevant)
    write_experiment(results, "main-aaaaaa", first)
    write_experiment(results, "main-bbbbbb", [other], digest="abc123")
    rows = [row for row in collect.load(results).rows() if row["query"] == "average"]
    assert {row["seeds"] for row in rows} == {1}
    assert {row["metric"] for row in rows} == {"map@all", "map@5 (normalise=retrieved)", "map@5 (normalise=relevant)"}
    assert len(rows) == 4 * len(HEADLINE) + 1
    assert {row["inputs"] for row in rows} == {"lite0+bert", "lite0+lda", "lite0+lda-123456"}
    assert {row["id"] for row in rows} == {"dla"}


def test_chosen_experiments_only(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", seeds=1)
    write_experiment(results, "other-cccccc", ["runs/shapes/default/lite0+bert/cca/0"])
    rows = collect.load(results, [results / "experiments" / "other-cccccc.json"]).rows()
    assert {(row["experiment"], row["id"]) for row in rows} == {("other", "cca")}


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished experiment"):
        collect.load(tmp_path)
    with pytest.raises(UserError, match="nothere: no such folder; name a folder of results"):
        collect.load(tmp_path / "nothere")
    with pytest.raises(UserError, match=r"gone\.json"):
        collect.load(tmp_path, [tmp_path / "gone.json"])
    write_experiment(tmp_path, "main-aaaaaa", ["runs/shapes/default/lite0+bert/cca/0"])
    with pytest.raises(UserError, match=r"cca/0/run\.json"):
        collect.load(tmp_path).rows()
    results = write_tree(tmp_path / "results", methods=["cca"])
    (results / "runs/shapes/default/lite0+bert/cca/0/metrics.json").unlink()
    with pytest.raises(UserError, match=r"cca/0/metrics\.json"):
        collect.load(results).rows()


def test_figures_that_were_edited_are_not_shown(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "results", methods=["cca"], n=16)
    for run in load(tree).runs:
        record = json.loads(run.file("run.json").read_text())
        record["output_hashes"] = {f"results/{run.path}/metrics.json": file_hash(run.file("metrics.json"))}
        run.file("run.json").write_text(json.dumps(record))
    before = load(tree).rows()
    file = load(tree).runs[0].file("metrics.json")
    file.write_text(file.read_text().replace("0.", "0.9", 1))
    with pytest.raises(UserError, match=r"metrics\.json: other bytes than were written; delete it and run again"):
        load(tree).rows()
    assert before


def test_summary_shows_every_method_and_direction_with_chance(tmp_path: Path) -> None:
    results = write_tree(tmp_path / "results", seeds=2)
    rows = collect.load(results).rows()
    text = summary.table(rows)
    lines = text.splitlines()
    assert lines[0].split() == ["method", "image→text", "text→image", "average", "fit", "memory"]
    heads = [number for number, line in enumerate(lines) if " · " in line]
    assert [lines[number] for number in heads] == [f"shapes · default · lite0+bert · {m}" for m in ("map@all", "map@5")]
    block = lines[heads[0] : heads[1]]
    row = row_of(rows, id="dla", metric="map@all", query="image")
    assert f"{row['mean']:.3f} ± {row['std']:.3f}" in next(line for line in block if line.startswith("dla"))
    assert block[-1].split() == ["chance", "0.250", "0.250", "0.250"]
    assert {row["metric"] for row in summary.headline(rows)} == {"map@all"}
    json.dumps(rows)


def test_summary_tells_variants_of_one_id_apart(tmp_path: Path) -> None:
    results = tmp_path / "results"
    items = write_items(results, "shapes", 48)
    runs = [write_run(results, items, "shapes", "lite0+bert", "dla", 0, params=p) for p in ({}, {"margin": 2.0})]
    write_experiment(results, "main-aaaaaa", runs)
    names = [line.split()[0] for line in summary.table(collect.load(results).rows()).splitlines()[2:4]]
    assert names == [run.split("/")[4] for run in runs]
    assert len(set(names)) == 2


def test_summary_imports_nothing_heavy() -> None:
    code = "import sys, cmr.reporting.summary; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "plotly", "matplotlib", "torch", "sklearn"} & set(loaded)
