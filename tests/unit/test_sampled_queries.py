"""A sample of the queries against the whole gallery: which they are, what they give, and that they stand apart."""

import numpy as np
import pytest

from cmr import cli, paths, recorded
from cmr.data import View
from cmr.directions import sampled
from cmr.publish import read_json
from cmr.reporting import collect, significance
from cmr.store import open_hdf5
from toy_plan import Project, experiment, written_features

N = 60


def test_a_sample_depends_on_the_ids_alone_and_a_larger_one_holds_a_smaller_one():
    ids = np.array([f"item{number}" for number in range(200)])
    view = View(ids, np.arange(200.0)[:, None])
    small, large = sampled(view, 20), sampled(view, 50)
    assert len(small) == 20
    assert set(small.ids) < set(large.ids)
    assert list(small.ids) == [item for item in ids if item in set(small.ids)]  # in their order
    order = np.random.default_rng(0).permutation(200)
    assert set(sampled(view.rows(order), 20).ids) == set(small.ids)
    assert sampled(view, 200) is sampled(view, None) is view


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    values = {m: np.eye(3)[labels] + rng.normal(size=(N, 3)) for m in ("image", "text")}
    data = written_features(tmp_path, values, labels, np.array(["train", "test"])[np.arange(N) % 2])
    methods = [{"id": "cca", "params": {"components": 2}}, "ridge_label"]
    return data | experiment(("image", "text"), *methods)


def evaluated(configuration):
    made = Project(".", configuration)
    return [(run, made.record(made.make(run))) for run in made.results("evaluate")]


def test_a_sampled_run_is_of_these_queries_and_says_so(project):
    (whole, _), *_ = evaluated(project)
    (run, record), *_ = evaluated(project | {"queries": 10})
    assert record["queries"] == 10
    metrics, curves, _ = run.files
    assert metrics != whole.files[0]
    for task in read_json(metrics)["tasks"]:
        assert (task["queries"], task["gallery_size"], task["sample"]) == (10, N // 2, 10)
    assert "sample" not in read_json(whole.files[0])["tasks"][0]
    with open_hdf5(whole.files[1]) as all_, open_hdf5(curves) as some:
        ids, values = (all_[f"image→text/{key}"][()] for key in ("ids", "map@all/per_query"))
        of = dict(zip(ids, values, strict=True))
        asked = some["image→text/ids"][()]
        assert some["image→text/map@all/per_query"][()].tolist() == [of[item] for item in asked]


def test_more_queries_than_there_are_are_all(project):
    (run, _), *_ = evaluated(project | {"queries": 1000})
    assert "sample" not in read_json(run.files[0])["tasks"][0]


def test_figures_of_other_samples_share_no_column(project, capsys):
    for queries in (None, 10):
        made = Project(".", project | {"queries": queries})
        for run in made.results("collect"):
            made.make(run)
    found = collect.load(paths.RESULTS)
    rows = [row for row in found.united_rows() if row["key"] == "map@all"]
    assert {row["metric"] for row in rows} == {"map@all", "map@all, 10 queries"}
    assert len({significance.column_of(row) for row in rows}) == 2 * 3  # both directions and their average
    evidence = significance.weigh(found, rows)
    for row in rows:
        assert evidence[significance.column_of(row), row["group"]].mean.value == pytest.approx(row["mean"], abs=1e-6)
    cli.main(["summary", "--metric", "map@all*"])
    assert "map@all, 10 queries" in capsys.readouterr().out


def test_a_record_leads_to_the_same_sample(project):
    (run, record), *_ = evaluated(project | {"queries": 10})
    plan, planned = recorded.plan_of(record, "run.json")
    assert plan.run(planned).files == run.files
