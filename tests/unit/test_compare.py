"""Two runs on the same queries: differences as a literal loop finds them."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cmr import cli, compare
from cmr.data import Items
from cmr.errors import UserError
from cmr.metrics.crossed import QUERIES, QUERIES_AND_SEEDS
from cmr.reporting.runs import located
from reporting_tree import write_experiment, write_items, write_run


@pytest.fixture
def tree(tmp_path):
    results = tmp_path / "results"
    items = write_items(results, "shapes", 48)
    runs = [
        write_run(results, items, "shapes", "lite0+bert", m, s)
        for m, s in (("cca", 0), *(("dla", s) for s in range(3)))
    ]
    write_experiment(results, "main-aaaaaa", runs)
    return results


def values(run, direction, metric):
    with h5py.File(run / "curves.h5") as file:
        return file[f"{direction}/ids"].asstr()[()], file[f"{direction}/{metric}/per_query"][()]


def test_differences_are_those_of_a_loop_over_the_queries(tree):
    a, b = tree / "runs/shapes/default/lite0+bert/cca/0", tree / "runs/shapes/default/lite0+bert/dla"
    found = compare.compare(compare.seeds(a), compare.seeds(b), "map@all", worst=3)
    labels = Items.read(tree / "data/shapes/items.parquet").table.set_index("id")["labels"]
    assert {(one.query, one.gallery) for one in found} == {("image", "text"), ("text", "image")}
    for one in found:
        direction = f"{one.query}→{one.gallery}"
        ids, first = values(a, direction, "map@all")
        second = [values(b / seed, direction, "map@all")[1] for seed in ("0", "1", "2")]
        gaps, of_class = {}, {}
        for row, item in enumerate(ids):
            gaps[item] = first[row] - sum(of_seed[row] for of_seed in second) / 3
            for name in labels[item]:
                of_class.setdefault(name, []).append(gaps[item])
        assert one.difference.value == pytest.approx(np.mean(list(gaps.values())))
        assert one.a - one.b == pytest.approx(one.difference.value)
        assert one.difference.ci95[0] <= one.difference.value <= one.difference.ci95[1]
        assert dict(one.per_class) == pytest.approx({name: np.mean(own) for name, own in of_class.items()})
        largest = sorted((abs(gap) for gap in gaps.values()), reverse=True)[:3]
        assert [abs(query.a - query.b) for query in one.queries] == pytest.approx(largest)
        assert all(query.a - query.b == pytest.approx(gaps[query.id]) for query in one.queries)


def test_a_run_is_named_as_search_names_it(tree, tmp_path, monkeypatch, capsys):
    (run,) = compare.seeds(tree / "runs/shapes/default/lite0+bert/cca/../dla/0")
    assert run.path == "runs/shapes/default/lite0+bert/dla/0"
    assert located("runs/shapes/default/lite0+bert/cca") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "big").mkdir()
    moved = (tree / "runs").rename(tmp_path / "big" / "runs")
    (tree / "runs").symlink_to(moved)
    command = ["compare", *(f"results/runs/shapes/default/lite0+bert/{name}" for name in ("cca/0", "dla"))]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    command[1:] = [f"../{name}" for name in command[1:]]
    with pytest.raises(SystemExit):
        cli.main(command)
    assert "link" in capsys.readouterr().err
    (elsewhere / "root.yaml").write_text(f"data_root: {tmp_path / 'big'}\n")
    cli.main([*command, "--config", "root.yaml"])
    assert "map@all" in capsys.readouterr().out


def test_a_method_with_itself_differs_nowhere(tree):
    own = compare.seeds(tree / "runs/shapes/default/lite0+bert/dla")
    for one in compare.compare(own, own):
        assert (one.difference.value, one.difference.p_value, one.queries) == (0, 1, [])


def test_seeds_that_are_covered_of_one_method_alone_are_not_tested(tree):
    """With one seed each a test is over queries; three against one would call equal methods different too often."""
    a, b = (tree / "runs/shapes/default/lite0+bert" / name for name in ("cca", "dla"))
    cca, dla = compare.seeds(a), compare.seeds(b)
    assert {one.difference.covers for one in compare.compare(cca, dla[:1])} == {QUERIES}
    assert {one.difference.covers for one in compare.compare(dla[:1], dla[1:2])} == {QUERIES}
    assert {one.difference.covers for one in compare.compare(cca, dla)} == {QUERIES_AND_SEEDS}
    for few in (compare.compare(dla, dla[:1]), compare.compare(cca, dla[:2])):
        assert {one.difference for one in few} == {None}


def test_seeds_of_other_code_are_not_in_the_mean(tree, caplog):
    record = tree / "runs/shapes/default/lite0+bert/dla/2/run.json"
    record.write_text(record.read_text().replace('"code": "', '"code": "9'))
    assert [run.seed for run in compare.seeds(record.parents[1])] == [0, 1]
    assert "left out, made with other code" in caplog.text


def measured_again(run, metric):
    """The files of a run once more, as of another set of metrics, newer and with another id for the first."""
    for file in list(run.iterdir()):
        name = f"{file.stem}-abcdef{file.suffix}"
        (shutil.copytree if file.is_dir() else shutil.copy)(file, run / name)
    record = json.loads((run / "run-abcdef.json").read_text())
    record["metrics"][0]["id"] = metric
    (run / "run-abcdef.json").write_text(json.dumps(record))
    os.utime(run / "run.json", (0, 0))


def test_of_several_sets_of_metrics_the_one_that_most_seeds_have_is_compared(tree, caplog):
    dla = tree / "runs/shapes/default/lite0+bert/dla"
    measured_again(dla / "0", "map@7")
    assert [(run.seed, run.digest) for run in compare.seeds(dla)] == [(0, ""), (1, ""), (2, "")]
    assert "dla: measured with 2 sets of metrics; run.json is taken" in caplog.text
    assert [(run.seed, run.digest) for run in compare.seeds(dla, metrics="map@7")] == [(0, "abcdef")]
    assert "left out, not measured with the metrics of run-abcdef.json: runs/shapes" in caplog.text
    assert "other code" not in caplog.text


def test_of_sets_of_metrics_that_all_seeds_have_the_others_counts_then_the_newest(tree):
    cca, dla = (tree / "runs/shapes/default/lite0+bert" / name for name in ("cca", "dla"))
    for seed in range(3):
        measured_again(dla / str(seed), "map@7")
    assert {run.digest for run in compare.seeds(dla)} == {"abcdef"}
    assert {run.digest for run in compare.seeds(dla, cca / "0")} == {""}
    measured_again(cca / "0", "map@7")
    assert {run.digest for run in compare.seeds(dla, cca / "0")} == {"abcdef"}


def test_the_command_compares_what_both_were_measured_with(tree, capsys):
    cca, dla = (str(tree / "runs/shapes/default/lite0+bert" / name) for name in ("cca", "dla"))
    measured_again(tree / "runs/shapes/default/lite0+bert/dla/0", "map@7")
    for folders in ([cca, dla], [dla, cca]):
        cli.main(["compare", *folders])
        assert "dla, 3 seeds" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["compare", dla, cca, "--metric", "map@7"])
    assert "no metric 'map@7' that both runs have" in capsys.readouterr().err


def test_the_command_prints_lines_and_json(tree, capsys):
    folders = [str(tree / "runs/shapes/default/lite0+bert" / name) for name in ("cca/0", "dla")]
    cli.main(["compare", *folders, "--metric", "map@all", "-k", "2"])
    text = capsys.readouterr().out
    assert "A  shapes/default/lite0+bert/cca, seed 0" in text
    assert "B  shapes/default/lite0+bert/dla, 3 seeds" in text
    assert "image→text: queries whose map@all differs most" in text
    cli.main(["compare", *folders, "--metric", "map@all", "--json"])
    assert {one["metric"] for one in json.loads(capsys.readouterr().out)} == {"map@all"}


def test_without_labels_there_is_no_table_of_classes(tree):
    a, b = (compare.seeds(tree / "runs/shapes/default/lite0+bert" / name) for name in ("cca/0", "dla/0"))
    found = compare.compare(a, b)
    assert "by the query's class" in compare.described(found, a, b)
    without = [replace(one, per_class={}) for one in found]
    text = compare.described(without, a, b)
    assert "by the query's class" not in text
    assert "queries whose" in text


def test_a_metric_that_is_no_mean_over_queries_is_told_from_one_that_is_not_there(tree):
    run = tree / "runs/shapes/default/lite0+bert/cca/0"
    record = json.loads((run / "run.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    record["metrics"].append({"id": "medr", "metric": "median_rank", "params": {}})
    for task in metrics["tasks"]:
        task["metrics"]["medr"] = {"metric": "median_rank", "params": {}, "value": 3.0}
    (run / "run.json").write_text(json.dumps(record))
    (run / "metrics.json").write_text(json.dumps(metrics))
    own = compare.seeds(run)
    with pytest.raises(UserError, match=r"^medr: no mean over queries that both runs have; compare map@all, map@5$"):
        compare.compare(own, own, "medr")
    for one in own:
        for task in one.tasks.values():
            task.per_query.clear()
    with pytest.raises(UserError, match=r"medr: no mean over queries .*; evaluate with one that is"):
        compare.compare(own, own, "medr")


def test_a_metric_that_the_data_have_no_labels_for_is_left_out(tree):
    run = tree / "runs/shapes/default/lite0+bert/cca/0"
    metrics = json.loads((run / "metrics.json").read_text())
    for task in metrics["tasks"]:
        del task["metrics"]["map@5"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    own = compare.seeds(run)
    assert {one.metric for one in compare.compare(own, own)} == {"map@all"}
    with pytest.raises(UserError, match=r"^map@5: no mean over queries that both runs have; compare map@all$"):
        compare.compare(own, own, "map@5")


def test_what_cannot_be_compared_is_told(tree):
    run = tree / "runs/shapes/default/lite0+bert/cca/0"
    with pytest.raises(UserError, match="neither a run nor a method with runs"):
        compare.seeds(tree / "runs")
    with pytest.raises(UserError, match=r"no metric 'mapp@all' that both runs have; did you mean 'map@all'\?"):
        compare.compare(compare.seeds(run), compare.seeds(run), "mapp@all")
    record = json.loads((run / "run.json").read_text())
    other = Path(str(run).replace("cca", "pls"))
    other.parent.mkdir()
    import shutil

    shutil.copytree(run, other)
    changed = {path: "another" if "/data/" in path else identity for path, identity in record["made_from"].items()}
    changed["results/data/shapes/items.json"] = "another"
    (other / "run.json").write_text(json.dumps(record | {"made_from": changed}))
    with pytest.raises(UserError, match="made from other items or another split than runs/shapes"):
        compare.compare(compare.seeds(run), compare.seeds(other))
