"""One direction evaluated: against loops over queries, in blocks, with several labels, without pairs; the files."""

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score

import literal
from cmr import directions, evaluation
from cmr.data import View
from cmr.errors import UserError
from cmr.evaluation import (
    ConfiguredMetric,
    Product,
    ProductOfCodes,
    evaluate_task,
    mean_average_precisions,
    scorer,
    write_curves,
    write_metrics,
)
from cmr.measure import metrics_of_files
from cmr.methods.base import Method
from cmr.metrics import crossed, ranking
from cmr.metrics.bootstrap import bootstrap_interval
from cmr.metrics.relevance import shared_labels
from cmr.publish import read_json

CLASSES = ["animals", "food", "objects"]
ENTRIES = [
    ("map@all", "mean_average_precision", {}),
    ("map@5", "mean_average_precision", {"at": 5}),
    ("pr", "precision_recall", {}),
    ("pr_full", "precision_recall", {"points": "all", "interpolated": False}),
    ("scope", "precision_scope", {"scopes": [2, 10, 99]}),
    ("recall", "recall_at_k", {"k": 5}),
    ("rank", "median_rank", {}),
    ("ndcg", "ndcg", {}),
    ("hubs", "hubness", {"k": 3}),
]
METRICS = [ConfiguredMetric.from_entry({"id": i, "metric": m, "params": p}) for i, m, p in ENTRIES]


def view(seed: int, rows: int = 40, multi: bool = False) -> View:
    rng = np.random.default_rng(seed)
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, rows)]
    if multi:
        labels |= (rng.random((rows, 3)) < 0.3).astype(np.uint8)
    features = (labels @ np.random.default_rng(9).standard_normal((3, 6)) + rng.standard_normal((rows, 6))) * 2
    return View(np.array([f"item{i}" for i in range(rows)]), features, labels)


@pytest.fixture(params=[False, True], ids=["one label", "several labels"])
def views(request) -> tuple[View, View]:
    return view(0, multi=request.param), view(1, 50, multi=request.param)


def evaluated(query: View, gallery: View, metrics=METRICS, **options) -> evaluation.Evaluation:
    return evaluate_task(scorer(query.features, gallery.features), query, gallery, metrics, CLASSES, **options)


def loops(query: View, gallery: View) -> tuple[np.ndarray, np.ndarray]:
    return 1 - cdist(query.features, gallery.features, "cosine"), query.labels.astype(int) @ gallery.labels.T


def test_items_that_share_hundreds_of_labels():
    """Tags: each of the three classes stands for 300 labels."""
    query, gallery = view(0, multi=True), view(1, 50, multi=True)
    tagged = [replace(v, labels=np.repeat(v.labels, 300, axis=1)) for v in (query, gallery)]
    kept = [metric for metric in METRICS if metric.id != "ndcg"]
    few, many = evaluated(query, gallery, kept), evaluated(*tagged, kept)
    for metric in kept:
        few_value, many_value = (e.task["metrics"][metric.id].get("value") for e in (few, many))
        assert few_value == many_value, metric.id
    ndcg = [METRICS[[m.id for m in METRICS].index("ndcg")]]
    values = [evaluated(*views, ndcg).per_query["ndcg"] for views in ((query, gallery), tagged)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)  # linear gains: 300 times as large


@pytest.mark.parametrize("factor", [1e-30, 1e-23, 1e-15, 1, 1e15, 1e20, 1e30])
def test_the_cosine_does_not_depend_on_the_length_of_rows(factor):
    query, gallery = (view(seed).features.astype(np.float32) for seed in (0, 1))
    scaled = scorer(query * np.float32(factor), gallery * np.float32(factor))
    rows = slice(0, len(query))
    np.testing.assert_allclose(scaled(rows), scorer(query.astype(float), gallery.astype(float))(rows), atol=1e-6)


def test_numbers_are_those_of_loops_over_queries(views):
    query, gallery = views
    scores, shared = loops(query, gallery)
    found = evaluated(*views, modalities=("image", "text"))
    per_query = literal.average_precisions(scores, shared > 0)
    assert found.per_query["map@all"] == pytest.approx(per_query, abs=1e-9)
    entry = found.task["metrics"]["map@all"]
    assert entry["value"] == pytest.approx(np.mean(per_query))
    assert entry["per_class"] == pytest.approx(
        {
            name: np.mean([v for v, row in zip(per_query, query.labels, strict=True) if row[c]])
            for c, name in enumerate(CLASSES)
        }
    )
    assert entry["ci95"] == pytest.approx(crossed.mean(crossed.Sample(np.array([per_query]), (0, 1))).ci95)
    assert found.task["metrics"]["map@5"]["value"] == pytest.approx(
        np.mean(literal.average_precisions(scores, shared > 0, at=5))
    )
    order = np.argsort(-scores, axis=1)
    ranks = [list(row).index(i) + 1 for i, row in enumerate(order)]
    assert found.per_query["rank"].tolist() == ranks
    assert found.task["metrics"]["rank"]["value"] == np.median(ranks)
    of_medians = bootstrap_interval(np.array(ranks, float), lambda draws: np.median(draws, axis=-1))
    assert found.task["metrics"]["rank"]["ci95"] == list(of_medians)
    assert found.task["metrics"]["recall"]["value"] == np.mean(np.array(ranks) <= 5)
    assert found.top.tolist() == order[:, :10].tolist()
    assert found.ids.tolist() == query.ids.tolist()


def test_task_has_the_schema_of_metrics_json(views):
    task = evaluated(*views, modalities=("image", "text")).task
    assert {k: v for k, v in task.items() if k != "metrics"} == {
        "query": "image",
        "gallery": "text",
        "queries": 40,
        "gallery_size": 50,
        "queries_without_relevant": 0,
    }
    number = {"metric", "params", "value", "chance", "pessimistic", "optimistic", "ci95", "per_class"}
    keys = {key: set(entry) for key, entry in task["metrics"].items()}
    assert keys["map@all"] == keys["ndcg"] == keys["rank"] == number
    assert keys["pr"] == {"metric", "params"}
    assert keys["hubs"] == {"metric", "params", "value"}
    assert task["metrics"]["map@5"]["params"] == {"at": 5, "normalise": "retrieved"}
    assert task["metrics"]["scope"]["note"] == "scopes 99 are cut to the gallery's 50 items"


def test_curves_are_means_over_queries(views):
    scores, shared = loops(*views)
    relevant = np.take_along_axis(shared > 0, np.argsort(-scores, axis=1), axis=1)
    curves = evaluated(*views).curves
    assert curves["scope"][0].tolist() == [2, 10, 50]
    assert curves["scope"][1] == pytest.approx([relevant[:, :k].mean() for k in (2, 10, 50)])
    assert curves["pr"][0].tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    recall, precision = curves["pr_full"]
    assert recall == pytest.approx((relevant.cumsum(1) / relevant.sum(1, keepdims=True)).mean(0))
    assert precision == pytest.approx((relevant.cumsum(1) / np.arange(1, 51)).mean(0))


def test_blocks_and_threads_change_nothing(views, monkeypatch):
    whole = evaluated(*views, threads=1)
    monkeypatch.setattr(evaluation, "SCORES_AT_ONCE", 50 * 17)
    monkeypatch.setattr(ranking.row_blocks, "__defaults__", (50 * 4,))
    blocks = evaluated(*views, threads=3)
    assert blocks.task == whole.task
    assert blocks.top.tolist() == whole.top.tolist()
    for key, values in whole.per_query.items():
        assert blocks.per_query[key].tolist() == values.tolist()
    for key, (x, y) in whole.curves.items():
        assert blocks.curves[key][0] == pytest.approx(x, abs=1e-12)
        assert blocks.curves[key][1] == pytest.approx(y, abs=1e-12)


def test_only_blocks_of_queries_are_asked_for(monkeypatch):
    query, gallery = view(0), view(1, 50)
    monkeypatch.setattr(evaluation, "SCORES_AT_ONCE", 50 * 16)
    asked = []
    matrix = query.features @ gallery.features.T

    def score_block(rows: slice) -> np.ndarray:
        asked.append((rows.start, rows.stop))
        return matrix[rows]

    evaluate_task(score_block, query, gallery, METRICS[:1], CLASSES)
    assert asked == [(0, 16), (16, 32), (32, 40)]


def test_a_score_matrix_is_evaluated_as_it_is(views):
    scores, shared = loops(*views)
    found = evaluate_task(scores.__getitem__, *views, METRICS[:1], CLASSES)
    assert found.per_query["map@all"] == pytest.approx(literal.average_precisions(scores, shared > 0))


def test_bounds_enclose_the_value_and_meet_it_without_ties(views):
    query, gallery = views
    matrix = query.features @ gallery.features.T
    clear = evaluate_task(matrix.__getitem__, query, gallery, METRICS, CLASSES).task["metrics"]
    coarse = np.round(matrix / 20)
    tied = evaluate_task(coarse.__getitem__, query, gallery, METRICS, CLASSES).task["metrics"]
    for key in ("map@all", "map@5", "recall", "ndcg"):
        assert clear[key]["pessimistic"] == clear[key]["value"] == clear[key]["optimistic"]
        assert tied[key]["pessimistic"] < tied[key]["value"] < tied[key]["optimistic"]
    assert tied["rank"]["pessimistic"] > tied["rank"]["value"] > tied["rank"]["optimistic"]
    _, shared = loops(*views)
    worst = ranking.average_precision(coarse, shared > 0, ties="pessimistic")
    assert tied["map@all"]["pessimistic"] == pytest.approx(worst.mean())


def test_chance_is_what_random_embeddings_reach():
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.uint8)[rng.choice(3, 600, p=[0.6, 0.3, 0.1])]
    query, gallery = (View(np.arange(600).astype(str), rng.standard_normal((600, 30)), labels) for _ in range(2))
    found = evaluated(query, gallery).task["metrics"]
    for key in ("map@all", "map@5", "ndcg"):
        assert found[key]["value"] == pytest.approx(found[key]["chance"], abs=0.02)


def test_queries_without_anything_relevant_are_counted_and_score_zero():
    query, gallery = view(0), view(1, 50)
    gallery = gallery.rows(gallery.labels[:, 0] == 0)
    found = evaluated(query, gallery)
    alone = query.labels[:, 0] == 1
    assert found.task["queries_without_relevant"] == alone.sum() > 0
    assert not found.per_query["map@all"][alone].any()
    assert found.task["metrics"]["map@all"]["per_class"]["animals"] == 0


def test_queries_without_a_pair_are_left_out_of_paired_metrics():
    query, gallery = view(0), view(1, 50).rows(np.arange(49, 9, -1))
    found = evaluated(query, gallery)
    scores, _ = loops(query, gallery)
    place = {item: column for column, item in enumerate(gallery.ids)}
    ranks = [(scores[i] > scores[i, place[item]]).sum() + 1 for i, item in enumerate(query.ids) if item in place]
    assert np.isnan(found.per_query["rank"][:10]).all()
    assert found.task["metrics"]["rank"]["value"] == np.median(ranks)
    of_medians = bootstrap_interval(np.array(ranks, float), lambda draws: np.median(draws, axis=-1))
    assert found.task["metrics"]["rank"]["ci95"] == list(of_medians)
    assert found.task["metrics"]["recall"]["chance"] == pytest.approx(5 / 40)


def test_a_paired_metric_without_any_pair_has_no_value_and_says_so():
    other = View(np.array([f"else{i}" for i in range(50)]), view(1, 50).features, view(1, 50).labels)
    found = evaluated(view(0), other).task["metrics"]
    assert set(found["rank"]) == {"metric", "params", "note"}
    assert found["rank"]["note"] == "no query has a pair in the gallery"
    assert "value" in found["map@all"]


def test_a_metric_that_has_two_notes_keeps_both():
    other = View(np.array(["else0", "else1"]), view(1, 2).features, view(1, 2).labels)
    note = evaluated(view(0), other).task["metrics"]["recall"]["note"]
    assert note == "no query has a pair in the gallery; its cut at 5 is beyond the gallery's 2 items"


def test_an_empty_side_is_refused():
    nothing = view(0).rows(np.arange(0))
    for sides in ((nothing, view(1)), (view(1), nothing)):
        with pytest.raises(UserError, match="image→text: no query or no gallery item"):
            evaluated(*sides, modalities=("image", "text"))


def test_items_of_one_label_and_of_several_share_those_that_both_have():
    one, several = view(0).labels, view(1, 50, multi=True).labels
    for query, gallery in ((one, several), (several, one)):
        wanted = [[sum(a * b for a, b in zip(q, g, strict=True)) for g in gallery.tolist()] for q in query.tolist()]
        assert shared_labels(query, gallery)(slice(0, len(query))).astype(int).tolist() == wanted


def test_without_labels_there_is_the_gallery_s_number_and_no_query_without_anything_relevant():
    query, gallery = (replace(view(seed), labels=None) for seed in (0, 1))
    found = evaluate_task(scorer(query.features, gallery.features), query, gallery, METRICS, [])
    assert set(found.task["metrics"]) == {"recall", "rank", "hubs"}
    assert found.task["queries_without_relevant"] == 0


def test_an_interval_ends_at_the_bounds_of_its_metric():
    query, gallery = view(0), view(1)
    scores = np.eye(40)
    scores[5, :5] = 2  # one query alone does not find its pair among the first five
    found = evaluate_task(scores.__getitem__, query, gallery, METRICS, CLASSES).task["metrics"]["recall"]
    mean, error = 39 / 40, np.sqrt(39 / 40 * 1 / 40 / 39)
    assert found["value"] == mean
    assert found["ci95"] == [pytest.approx(mean - stats.t.ppf(0.975, 39) * error), 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_rank_as_scipy_s_cosine_distances_do(dtype):
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 7)).astype(dtype) + 5 for n in (12, 30))
    found = scorer(query, gallery)(slice(2, 9))
    assert found.dtype == dtype
    wanted = np.argsort(cdist(query[2:9].astype(float), gallery.astype(float), "cosine"), axis=1)
    assert np.argsort(-found, axis=1).tolist() == wanted.tolist()


def test_scorer_of_different_widths_is_refused():
    with pytest.raises(UserError, match="6 and 7 dimensions"):
        scorer(np.ones((2, 6)), np.ones((2, 7)))


def test_metrics_and_curves_are_written_as_documented(tmp_path):
    query, gallery = view(0), view(1, 50)
    tasks = [
        evaluated(query, gallery, modalities=("image", "text")),
        evaluated(gallery, query, modalities=("text", "image")),
    ]
    write_metrics(tmp_path / "metrics.json", tasks)
    write_curves(tmp_path / "curves.h5", tasks)
    written = read_json(tmp_path / "metrics.json")
    assert written["schema_version"] == 2
    assert written["tasks"] == [t.task for t in tasks]
    values = [t.task["metrics"]["map@all"]["value"] for t in tasks]
    assert written["average"]["map@all"] == pytest.approx(np.mean(values))
    assert set(written["average"]) == {"map@all", "map@5", "recall", "rank", "ndcg", "hubs"}
    with h5py.File(tmp_path / "curves.h5") as file:
        assert set(file) == {"image→text", "text→image"}
        group = file["image→text"]
        assert group["ids"].asstr()[()].tolist() == query.ids.tolist()
        assert group["top"].shape == (40, 10)
        assert group["map@all/per_query"][()].mean() == pytest.approx(values[0])
        assert group["pr/x"].shape == group["pr/y"].shape == (11,)
        assert "hubs" not in group


# Embeddings in files.


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    a, b = view(0), view(1)
    paths = {
        name: tmp_path / name
        for name in ("a.npy", "b.npy", "b.h5", "labels.npy", "labels.csv", "labels.txt", "hot.npy")
    }
    np.save(paths["a.npy"], a.features)
    np.save(paths["b.npy"], b.features)
    with h5py.File(paths["b.h5"], "w") as file:
        file["features"] = b.features
    names = [CLASSES[c] for c in a.labels.argmax(axis=1)]
    np.save(paths["labels.npy"], np.array(names))
    np.save(paths["hot.npy"], a.labels)
    for name in ("labels.csv", "labels.txt"):
        paths[name].write_text("\n".join(names) + "\n")
    return paths


def test_metrics_of_files_are_those_of_loops(files):
    a, b = view(0), view(1)
    relevance = a.labels @ a.labels.T > 0
    scores = 1 - cdist(a.features, b.features, "cosine")
    found = metrics_of_files(files["a.npy"], files["b.npy"], files["labels.npy"], at=7)
    assert set(found) == {"map@all", "map@7", "rows", "rows_without_label", "queries_without_relevant"}
    assert (found["rows"], found["rows_without_label"], found["queries_without_relevant"]) == (40, 0, 0)
    for name, at in (("map@all", None), ("map@7", 7)):
        there = np.mean(literal.average_precisions(scores, relevance, at=at))
        back = np.mean(literal.average_precisions(scores.T, relevance.T, at=at))
        assert found[name] == pytest.approx({"a_to_b": there, "b_to_a": back, "average": (there + back) / 2})


def test_every_form_of_file_gives_the_same(files):
    wanted = metrics_of_files(files["a.npy"], files["b.npy"], files["labels.npy"])
    for b, labels in [("b.h5", "labels.csv"), ("b.npy", "labels.txt"), ("b.h5", "hot.npy")]:
        assert metrics_of_files(files["a.npy"], files[b], files[labels]) == wanted


def test_labels_of_several_classes_are_read_as_multi_hot(files, tmp_path):
    labels = view(0, multi=True).labels
    assert (labels.sum(axis=1) > 1).any()
    np.save(tmp_path / "multi.npy", labels)
    scores = 1 - cdist(view(0).features, view(1).features, "cosine")
    wanted = np.mean(literal.average_precisions(scores, labels @ labels.T > 0))
    found = metrics_of_files(files["a.npy"], files["b.npy"], tmp_path / "multi.npy")
    assert found["map@all"]["a_to_b"] == pytest.approx(wanted)


def saved(path: Path, array: np.ndarray, **options) -> Path:
    np.save(path, array, **options)
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


BAD = {
    "rows": (lambda f, t: {"b": saved(t / "short.npy", np.ones((39, 6)))}, r"a\.npy has 40 rows, .*short\.npy has 39"),
    "label rows": (lambda f, t: {"labels": written(t / "l.txt", "x\ny\n")}, r"l\.txt has 2"),
    "dimensions": (lambda f, t: {"b": saved(t / "b5.npy", np.ones((40, 5)))}, "6 and 5 dimensions"),
    "NaN": (lambda f, t: {"b": saved(t / "nan.npy", np.full((40, 6), np.nan))}, r"nan\.npy: 40 rows hold NaN"),
    "vector": (lambda f, t: {"a": saved(t / "v.npy", np.ones(40))}, r"v\.npy: expected a matrix"),
    "strings": (lambda f, t: {"a": saved(t / "s.npy", np.full((40, 2), "x"))}, r"s\.npy: expected a matrix"),
    "pickle": (
        lambda f, t: {"a": saved(t / "p.npy", np.array([{}], object), allow_pickle=True)},
        r"p\.npy: holds Python objects, and loading a pickle can execute code",
    ),
    "no npy": (
        lambda f, t: {"a": written(t / "text.npy", "hello")},
        r"text\.npy: cannot be read: not a file of np\.save",
    ),
    "missing": (lambda f, t: {"a": t / "none.npy"}, r"none\.npy: no such file"),
    "missing labels": (lambda f, t: {"labels": t / "none.csv"}, r"none\.csv: no such file"),
    "suffix": (lambda f, t: {"a": t / "a.json"}, r"a\.json: expected one of \.npy"),
    "label suffix": (lambda f, t: {"labels": t / "a.json"}, r"a\.json: expected one of \.npy"),
    "no HDF5": (lambda f, t: {"a": written(t / "a.h5", "hello")}, r"a\.h5: .*not an HDF5"),
    "two columns": (lambda f, t: {"labels": written(t / "two.csv", "1,cat\n" * 40)}, "line 1 holds 2 values"),
    "matrix of classes": (lambda f, t: {"labels": saved(t / "m.npy", np.full((40, 3), 2))}, "a matrix of 0 and 1"),
    "cut": (lambda f, t: {"at": 0}, "--at 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_do_not_fit_are_refused_by_name(files, tmp_path, case):
    make, message = BAD[case]
    given = {"a": files["a.npy"], "b": files["b.npy"], "labels": files["labels.npy"]} | make(files, tmp_path)
    with pytest.raises(UserError, match=message):
        metrics_of_files(**given)


def test_files_whose_ids_differ_are_refused(tmp_path, files):
    for name, first in (("x.h5", "a"), ("y.h5", "other")):
        with h5py.File(tmp_path / name, "w") as file:
            file["embeddings"] = view(0).features
            file["ids"] = np.array([first, *map(str, range(39))], object)
    with pytest.raises(UserError, match="row 0 is 'a' and 'other'"):
        metrics_of_files(tmp_path / "x.h5", tmp_path / "y.h5", files["labels.npy"])


def test_embeddings_are_named_where_a_file_has_several_arrays(tmp_path, files):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["group/a"], file["group/b"] = np.load(files["a.npy"]), np.load(files["b.npy"])
    with pytest.raises(UserError, match=r"two\.h5: holds 2 arrays; name one as two\.h5:KEY"):
        metrics_of_files(tmp_path / "two.h5", files["b.npy"], files["labels.npy"])
    named = [f"{tmp_path}/two.h5:group/{name}" for name in "ab"]
    assert metrics_of_files(*named, files["labels.npy"]) == metrics_of_files(
        files["a.npy"], files["b.npy"], files["labels.npy"]
    )


def test_embeddings_in_a_struct_of_matlab(tmp_path, files):
    scipy.io.savemat(tmp_path / "d.mat", {"s": {name: np.load(files[f"{name}.npy"]) for name in "ab"}})
    found = metrics_of_files(f"{tmp_path}/d.mat:s.a", f"{tmp_path}/d.mat:s.b", files["labels.npy"])
    assert found == metrics_of_files(files["a.npy"], files["b.npy"], files["labels.npy"])


# Real features.


@pytest.fixture(scope="module")
def wikipedia() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test images, texts and class numbers of the Wikipedia set."""
    folder = os.environ.get("CMR_WIKIPEDIA")
    if not folder:
        pytest.skip("CMR_WIKIPEDIA does not name the folder of raw_features.mat")
    from scipy.io import loadmat

    features = loadmat(Path(folder) / "raw_features.mat")
    lines = (Path(folder) / "testset_txt_img_cat.list").read_text().split("\n")
    labels = np.array([int(line.split("\t")[2]) for line in lines if line])
    return features["I_te"].astype(float), features["T_te"].astype(float), labels


def test_random_scores_on_wikipedia_equal_scikit_learn(wikipedia):
    labels = wikipedia[2]
    scores = np.random.default_rng(0).standard_normal((693, 693))
    relevance = labels[:, None] == labels
    wanted = [average_precision_score(r, s) for r, s in zip(relevance, scores, strict=True)]
    assert ranking.average_precision(scores, relevance) == pytest.approx(wanted, abs=1e-9)


def test_projected_wikipedia_features_equal_scikit_learn(wikipedia):
    """Through the whole evaluation, by cosine; where duplicate rows tie, scikit-learn lies between the bounds."""
    images, texts, labels = wikipedia
    rng = np.random.default_rng(1)
    views = [
        View(
            np.arange(693).astype(str),
            x @ rng.standard_normal((x.shape[1], 12)),
            np.eye(10, dtype=np.uint8)[labels - 1],
        )
        for x in (images, texts)
    ]
    names = [str(c) for c in range(10)]
    for query, gallery in (views, views[::-1]):
        scores = scorer(query.features, gallery.features)(slice(0, 693))
        found = evaluate_task(scores.__getitem__, query, gallery, METRICS[:1], names).task["metrics"]["map@all"]
        wanted = [average_precision_score(labels == c, s) for c, s in zip(labels, scores, strict=True)]
        clear = [len(np.unique(s)) == len(s) for s in scores]
        assert found["pessimistic"] - 1e-9 <= np.mean(wanted) <= found["optimistic"] + 1e-9
        ours = ranking.average_precision(scores, labels[:, None] == labels)
        assert ours[clear] == pytest.approx(np.array(wanted)[clear], abs=1e-9)


def test_equal_gallery_items_have_equal_scores():
    """A product of matrices rounds a column by its place, which would decide what ties leave open."""
    rng = np.random.default_rng(0)
    query, distinct = (rng.standard_normal((n, 384)).astype(np.float32) for n in (200, 40))
    distinct[3] = 0
    which = rng.integers(0, 40, 322)
    gallery = distinct[which]
    gallery[np.flatnonzero(which == 3)[0]] *= -1  # zeros of the other sign
    scores = scorer(query, gallery)(slice(0, 200))
    assert scores.shape == (200, 322)
    assert all(np.ptp(scores[:, which == each], axis=1).max() == 0 for each in np.unique(which))
    assert scores == pytest.approx(scorer(query, distinct)(slice(0, 200))[:, which], abs=1e-4)


@pytest.mark.parametrize("bits", [12, 16, 32, 48, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("form", ["signs", "zeros and ones", "of length one"])
def test_codes_at_one_distance_are_tied(bits, dtype, form):
    """Cosines of rounded rows differ in their last digit, which decided what ties leave open."""
    rng = np.random.default_rng(bits)
    codes, labels = [np.sign(rng.standard_normal((200, bits)) - 0.01).astype(int) for _ in range(2)], np.arange(200) % 5
    if form == "zeros and ones":
        codes = [np.maximum(code, 0) for code in codes]
        codes[1][7] = 0
    lengths = [np.sqrt((code**2).sum(axis=1)) for code in codes]
    exact = np.divide(codes[0] @ codes[1].T, np.outer(*lengths), where=np.outer(*lengths) > 0, out=np.zeros((200, 200)))
    rows = [code.astype(dtype) for code in codes]
    if form == "of length one" and dtype != np.int8:
        rows = [(code / length[:, None]).astype(dtype) for code, length in zip(codes, lengths, strict=True)]
    ties = ("pessimistic", "fixed", "optimistic")
    wanted = mean_average_precisions(lambda part: np.round(exact[part], 9), labels, labels, ties=ties)
    assert mean_average_precisions(scorer(*rows), labels, labels, ties=ties) == wanted
    np.testing.assert_allclose(scorer(*rows)(slice(0, 200)), exact, atol=1e-6)


@pytest.mark.parametrize("row", [[1, 0.5, 0.3], [1e8, 1, 1], [np.nan, 1, 1]])
def test_rows_that_are_no_codes_are_compared_by_their_cosines(row):
    query, gallery = np.array([[1, -1, 1], row], np.float32), np.array([[1, 1, 1], [-1, 1, -1]], np.float32)
    assert type(scorer(query, gallery)) is Product
    assert type(scorer(gallery, gallery)) is ProductOfCodes


def test_zeros_of_either_sign_make_no_rows_distinct():
    rows = np.array([[0.0, 1, 2], [3, 0, 1], [-0.0, 1, 2]])
    found, which = evaluation.distinct(rows)
    assert (found.tolist(), which.tolist()) == ([[0, 1, 2], [3, 0, 1]], [0, 1, 0])


def test_long_codes_of_unlike_lengths_are_told_apart():
    """Of a query of signs, s is the sum over the l ones of a code: s²/l of these two differ by one in 10⁹."""
    d, codes = 4096, [(1191, 2131), (1169, 2053)]
    query = np.where(np.arange(d) < d // 2, 1, -1)[None]
    gallery = np.zeros((2, d), int)
    for row, (s, length) in zip(gallery, codes, strict=True):
        row[: (length + s) // 2] = row[d // 2 : d // 2 + (length - s) // 2] = 1
    assert (query @ gallery.T).tolist() == [[s for s, _ in codes]]
    first, second = scorer(query, gallery)(slice(0, 1))[0]
    assert first > second


def test_a_collapsed_gallery_leaves_everything_open():
    gallery = np.tile(np.random.default_rng(1).standard_normal(64).astype(np.float32), (100, 1))
    query, labels = np.random.default_rng(2).standard_normal((100, 64)), np.arange(100) // 5
    found = mean_average_precisions(scorer(query, gallery), labels, labels, ties=("pessimistic", "fixed", "optimistic"))
    assert found["optimistic"] == [1]
    assert found["pessimistic"][0] < found["fixed"][0] < 0.2


def test_equal_gallery_items_have_equal_scores_by_any_method():
    """Whatever a method's own scores round by the place of an item in the gallery."""

    class Rounding(Method):
        fit = embed = state = load_state = None

        def similarity(self, query_modality, query, gallery_modality, gallery):
            return query @ gallery.T + 1e-6 * np.arange(len(gallery))

    rng = np.random.default_rng(0)
    query, distinct = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    gallery = distinct[[0, 1, 0, 2, 3, 1, 1]]
    views = [View(np.arange(len(rows)).astype(str), rows, None) for rows in (query, gallery)]
    scores = directions._scores(Rounding(None, ("a", "b")), "a", views[0], "b", views[1])(slice(1, 4))
    assert scores.shape == (3, 7)
    assert np.array_equal(scores[:, 0], scores[:, 2])
    assert np.array_equal(scores[:, 1], scores[:, 5])
    assert np.allclose(scores, query[1:4] @ gallery.T, atol=1e-5)
