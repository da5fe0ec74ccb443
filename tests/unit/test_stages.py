"""The stages on a tiny data set: what each writes, what a fit may see, and what happens to broken input."""

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from cmr import paths, publish, registry, row_source, store, vectors
from cmr.data import Items, Split, View, rows_of
from cmr.datasets.base import Dataset
from cmr.datasets.precomputed import Precomputed
from cmr.datasets.splitting import stratified
from cmr.errors import UserError
from cmr.methods.cca import CCA
from cmr.stages.split import check_parts
from toy_plan import Project, experiment, ids, written_features

CCA_ENTRY = {"id": "cca", "method": "cca", "params": {"components": 3}, "tune": {}, "dictionary": None, "sweep": {}}
CCA_ENTRY |= {"pairing": "ids"}
DLA_ENTRY = {
    "id": "dla",
    "method": "dla_cmr",
    "params": {"first_layers": [8, 4], "second_layers": [4], "epochs": 3, "batch_size": 16, "learning_rate": 0.01},
    "tune": {"margin": [0.1, 1.0]},
    "dictionary": "coupled",
    "sweep": {},
}
WITH_VALIDATION = {"train": 0.6, "validation": 0.2, "test": 0.2}
WITHOUT = {"train": 0.7, "test": 0.3}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a project, in the working directory: two ready features of three separable classes, and one method."""
    monkeypatch.chdir(tmp_path)

    def made(method=CCA_ENTRY, shares=WITH_VALIDATION, seeds=1):
        rng = np.random.default_rng(0)
        classes = np.repeat(["a", "b", "c"], 20)
        centres = {m: rng.normal(size=(3, d)) * 3 for m, d in (("image", 6), ("text", 5))}
        values = {m: centre[np.searchsorted(["a", "b", "c"], classes)] for m, centre in centres.items()}
        values = {m: rows + rng.normal(size=rows.shape) for m, rows in values.items()}
        data = written_features(tmp_path, values, classes, stratified(list(classes), shares, 0))
        more = {
            "dictionaries": [{"id": "coupled", "params": {"atoms": [7, 8], "iterations": 3}}],
            "metrics": [{"id": "map@all", "metric": "mean_average_precision"}, "precision_recall"],
        }
        return Project(tmp_path, {**data, **more, **experiment(["image", "text"], method, seeds=seeds)})

    return made


def test_a_file_that_a_plugin_names_and_that_is_not_there_is_told(project, monkeypatch):
    made = project()
    monkeypatch.setattr(Precomputed, "also_read", lambda self, items: ["gone.txt"])
    with pytest.raises(UserError, match=r"prepare: .*: 1 of \d files are not there, the first is gone\.txt$"):
        made.make(made.only("prepare"))


def test_an_own_file_that_comes_or_goes_meanwhile_has_changed(project):
    made, labels, elsewhere = project(), Path("labels.npy"), Path("elsewhere.npy")
    for before, after in ((labels, elsewhere), (elsewhere, labels)):
        changed = pytest.raises(UserError, match=r"labels\.npy: it changed while it was read")
        with changed, made.by_hand(made.only("prepare")):
            before.rename(after)


def split_of(project):
    return Split.read(project.make(project.only("split")).files[0])


def test_a_run_of_cca_beats_chance_and_records_its_origin(project):
    project = project()
    run = project.make(project.only("evaluate"))
    metrics, _, embeddings = run.files
    tasks = publish.read_json(metrics)["tasks"]
    assert [(t["query"], t["gallery"]) for t in tasks] == [("image", "text"), ("text", "image")]
    for task in tasks:
        assert task["metrics"]["map@all"]["value"] > 0.8 > task["metrics"]["map@all"]["chance"]
    record = publish.read_json(run.record)
    assert record["fits"][0]["method"] == CCA_ENTRY
    read = {re.sub("-[0-9a-f]{6}", "", file) for file in record["fits"][0]["input_hashes"]}
    features = {"results/features/made/all/image.h5", "results/features/made/all/text.h5"}
    data = {f"results/data/made/{name}" for name in ("items.parquet", "contents.sha256", "splits/default.csv")}
    assert read == features | data
    assert {"seconds", "peak_memory_mb"} <= set(record["usage"])
    embedded = store.read_matrix(f"{embeddings}/image.h5", "embeddings")
    assert set(embedded.ids) == set(split_of(project).ids("test"))


@pytest.mark.parametrize(("parts", "missing"), [(["train", "validation", ""], "test"), (["test", "test"], "train")])
def test_a_split_has_rows_to_learn_from_and_to_rank(parts, missing):
    with pytest.raises(UserError, match=f"no item is in the part {missing}, there are"):
        check_parts(np.array(parts))


def test_classes_that_a_modality_lacks_are_told(project, monkeypatch, caplog):
    made, genuine = project(), Precomputed.prepare

    def prepare(self):
        items = genuine(self)
        lacks = items.table["labels"].str[0] == "a"
        return Items(items.table.assign(image=items.table["image"].mask(lacks, None)), items.kinds)

    (prepared,) = made.results("prepare")
    made.make(prepared)
    assert "classes have no" not in caplog.text
    monkeypatch.setattr(Precomputed, "prepare", prepare)
    made.make(prepared, again=True)
    assert "1 of 3 classes have no image, the first: a" in caplog.text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.assign(labels=table["labels"].str[0]), "prepare: labels are not lists of texts"),
        (lambda table: table.assign(labels=[[0]] * len(table)), "prepare: labels are not lists of texts"),
        (lambda table: table.assign(labels=[[["a"]]] * len(table)), "prepare: labels are not lists of texts"),
        (lambda table: table.assign(labels=0), "prepare: labels are not lists of texts"),
        (lambda table: table.drop(columns="labels"), "prepare: no column labels"),
        (lambda table: table.assign(id=range(len(table))), "prepare: a cell of id is no text"),
        (lambda table: table.assign(image=range(len(table))), "prepare: a cell of image is no text"),
        (lambda table: table.assign(id="one"), "prepare: id 'one' stands on more than one row"),
        (lambda table: table[:0], "prepare: no item"),
        (None, "prepare gave NoneType, expected Items"),
    ],
)
def test_bad_items_of_a_plugin_are_told_and_not_published(project, monkeypatch, change, problem):
    made, genuine = project(), Precomputed.prepare

    def prepare(self):
        items = genuine(self)
        return change and Items(change(items.table), items.kinds)

    monkeypatch.setattr(Precomputed, "prepare", prepare)
    (prepared,) = made.results("prepare")
    with pytest.raises(UserError, match=rf"^data set plug-in 'precomputed': {re.escape(problem)}"):
        made.make(prepared)
    assert not made.path(prepared.record).exists()
    assert not made.path(prepared.files[0]).exists()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "gave NoneType, expected an array of 60 names, one an item"),
        (["train", "test"] * 30, "gave list, expected an array"),
        (np.array(["train", "test"]), "gave an array of shape (2,), expected an array of 60"),
        (np.array(["train", "tset"] * 30), "gave 'tset', expected train, validation, test, or '' for unused"),
        (np.zeros(60, int), "gave '0', expected train"),
    ],
)
def test_bad_parts_of_a_plugin_are_told_and_not_published(project, monkeypatch, given, problem):
    monkeypatch.setattr(Precomputed, "parts", lambda self, items, name: given)
    made = project()
    (split,) = made.results("split")
    with pytest.raises(UserError, match=rf"^data set plug-in 'precomputed': parts {re.escape(problem)}"):
        made.make(split)
    assert not made.path(split.files[0]).exists()


def test_folds_of_a_split_have_a_gallery_each(project, monkeypatch):
    plain_split = Dataset.split

    def in_two(self, items, name):
        table = plain_split(self, items, name).table
        tests = np.flatnonzero(table["part"] == "test")
        fold = np.full(len(table), "", object)
        fold[tests] = np.repeat(["1", "2"], len(tests) // 2)
        return Split(table.assign(fold=fold))

    monkeypatch.setattr(Dataset, "split", in_two)
    project = project()
    metrics, _, _ = project.make(project.only("evaluate")).files
    for task in publish.read_json(metrics)["tasks"]:
        assert (task["queries"], task["gallery_size"], task["folds"]) == (12, 6, 2)


def test_folds_of_other_names_have_no_gallery():
    items = [("i1", "1"), ("i2", "2"), ("t1", "1"), ("t3", "3")]
    table = pd.DataFrame(items, columns=["id", "fold"]).assign(part="test", held_out=False)
    images, texts = (View(np.array(names), np.zeros((2, 1))) for names in (["i1", "i2"], ["t1", "t3"]))
    with pytest.raises(UserError, match="folds 1, 2 of the queries, 1, 3 of the gallery"):
        row_source.RowSource(None, None, Split(table)).folds(images, texts)


@pytest.mark.parametrize("group", ["/", store.SELECTION])
def test_features_that_are_not_finite_are_written_to_no_group(tmp_path, group):
    rows = {name: store.Rows(ids(3), np.ones((3, 2), np.float32)) for name in ("/", store.SELECTION)}
    rows[group].values[1, 0] = np.nan
    with pytest.raises(
        UserError, match=r"a\.h5: 1 of 3 rows hold NaN or infinite values, the first is item 'item-00001'"
    ):
        store.write_groups(tmp_path / "a.h5", "features", rows, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_model_that_is_not_finite_is_not_written(tmp_path, value):
    arrays = {"whole": np.arange(3), "weights": np.array([1.0, value])}
    with pytest.raises(UserError, match=r"model\.safetensors: weights holds NaN or infinite values"):
        store.write_arrays(tmp_path / "model.safetensors", arrays)
    assert not list(tmp_path.iterdir())


def unpaired_project(folder, method, **more):
    """Forty images and twenty sounds of two classes that separate, none of one item."""
    rng = np.random.default_rng(0)
    sizes = {"image": (20, 6), "audio": (10, 5)}
    params = {"features": {}, "labels": {}, "shares": WITHOUT}
    for modality, (n, d) in sizes.items():
        classes = np.repeat([0, 1], n)
        np.save(folder / f"{modality}.npy", 4 * rng.normal(size=(2, d))[classes] + rng.normal(size=(2 * n, d)))
        np.save(folder / f"{modality}_labels.npy", classes)
        params["features"][modality] = f"{modality}.npy"
        params["labels"][modality] = f"{modality}_labels.npy"
    data = {
        "datasets": [{"id": "made", "dataset": "precomputed", "params": params}],
        "features": [{"id": m, "modality": m, "extractor": "ready"} for m in sizes],
        "metrics": [{"id": "map@all", "metric": "mean_average_precision"}],
    }
    return Project(folder, {**data, **experiment(list(sizes), method, **more)})


def test_pairs_are_drawn_by_the_seed_of_the_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"id": "cmpm_cmpc", "params": {"epochs": 1}, "pairing": "class"}
    project, drawn = unpaired_project(tmp_path, entry, seeds=2), []
    for fit in project.results("fit"):
        for source in fit.made_from:
            project.make(source)
        first, again = (row_source.RowSource.of(fit).training_data(with_labels=True).train["audio"] for _ in range(2))
        assert np.array_equal(first.features, again.features)
        drawn.append(first.features)
    assert drawn[0].shape == drawn[1].shape
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("method", ["cca", "cmpm_cmpc"])  # without labels, and with them
def test_modalities_without_pairs_are_paired_by_class_where_the_entry_says_so(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    tuned = {"cca": {"regularisation": [0.1, 1.0]}, "cmpm_cmpc": {"learning_rate": [0.01, 0.001]}}[method]
    params = {"epochs": 5} if method == "cmpm_cmpc" else {"components": 1}
    entry = {"id": method, "tune": tuned, "params": params}
    project = unpaired_project(tmp_path, entry)
    with pytest.raises(UserError, match="pairing: class in its entry draws them within a class"):
        project.make(project.only("fit"))
    paired = unpaired_project(tmp_path, entry | {"pairing": "class"})
    run = paired.make(paired.only("evaluate"))
    assert paired.only("fit").folder != project.only("fit").folder
    record = publish.read_json(run.record)["fits"][0]
    assert record["drawn_pairs"] == 28  # the training images; each of 14 sounds is in two pairs
    assert record["method"]["pairing"] == "class"
    for task in publish.read_json(run.files[0])["tasks"]:
        assert task["metrics"]["map@all"]["value"] > 0.75 > task["metrics"]["map@all"]["chance"]


def test_a_test_part_without_a_modality_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = unpaired_project(tmp_path, {"id": "cmpm_cmpc", "params": {"epochs": 1}, "pairing": "class"})
    with project.by_hand(project.only("split")) as work:
        items = Items.read(project.only("prepare").files[0])
        parts = np.where(items.has("audio"), "train", np.where(np.arange(len(items.ids)) % 4, "train", "test"))
        held_out = (np.arange(len(items.ids)) % 5 == 1) & (parts == "train")
        Split(pd.DataFrame({"id": items.ids, "part": parts, "held_out": held_out})).write(work.result.files[0])
    with pytest.raises(UserError, match="no item of the test part has audio; choose another split, or leave audio out"):
        project.make(project.only("evaluate"))


def test_dla_on_codes_is_tuned_on_validation_rows_and_repeatable(project):
    project = project(DLA_ENTRY)
    fit, run = project.only("fit"), project.make(project.only("evaluate"))
    selection = publish.read_json(fit.record)["selection"]
    assert [c["parameters"]["margin"] for c in selection["candidates"]] == [0.1, 1.0]
    best = max(selection["candidates"], key=lambda c: c["validation_score"])
    assert selection["chosen"] == best["parameters"]
    assert selection["on"] == "validation"
    metrics = publish.read_json(run.files[0])
    project.make(fit, again=True)
    project.make(run, again=True)
    assert publish.read_json(run.files[0]) == metrics
    assert not Path(paths.partial(fit.folder)).exists()


def test_without_validation_rows_the_best_is_fitted_again_on_all_training_rows(project):
    project = project(DLA_ENTRY, WITHOUT)
    fit = project.make(project.only("fit"))
    with h5py.File(project.only("encode").files[0]) as codes:
        assert {"image", "text"} == set(codes["selection"])
    record, coded = publish.read_json(fit.record), publish.read_json(project.only("encode").record)
    assert record["codes"] == {"iterations": coded["iterations"], "converged": coded["converged"]}
    assert (coded["iterations"], coded["converged"]) == (3, False)
    assert record["selection"]["on"].startswith("a tenth")
    history = pd.read_csv(f"{fit.folder}/history.csv")
    # The last fit had all training rows and a fixed number of epochs; the course that they were chosen by stands beside.
    assert history["label"].notna().sum() == record["selection"]["chosen"]["epochs"]
    assert history["validation"].notna().sum() == history["choosing"].notna().sum() == len(history)
    assert history["validation"].idxmax() == record["selection"]["chosen"]["epochs"] - 1


@pytest.mark.parametrize("shares", [WITH_VALIDATION, WITHOUT])
def test_a_fit_sees_training_and_held_out_rows_only(project, monkeypatch, shares):
    project = project(CCA_ENTRY | {"tune": {"regularisation": [0.1, 1.0]}}, shares)
    seen = []
    original = CCA.fit

    def spy(self, train, validation=None, unlabelled=None):
        seen.append((set(train["image"].ids), None if validation is None else set(validation["image"].ids), unlabelled))
        return original(self, train, validation, unlabelled)

    monkeypatch.setattr(CCA, "fit", spy)
    project.make(project.only("fit"))
    split = split_of(project)
    searching = [(set(split.selection_train), set(split.held_out), None)] * 2
    refit = [] if split.has_validation else [(set(split.ids("train")), None, None)]
    assert seen == searching + refit
    assert not any(set(split.ids("test")) & (train | (held or set())) for train, held, _ in seen)


def test_labels_reach_only_methods_that_say_so(project, monkeypatch):
    project = project()
    assert registry.info("methods", "cca").labels is False
    seen = []
    monkeypatch.setattr(
        CCA, "fit", lambda self, train, *rest: seen.append(train) or (_ for _ in ()).throw(UserError("stop"))
    )
    with pytest.raises(UserError, match="stop"):
        project.make(project.only("fit"))
    assert all(view.labels is None for view in seen[0].values())


@pytest.mark.parametrize("seed", [0, 1])
def test_training_codes_are_the_coupled_ones_and_the_others_are_transformed(project, seed):
    project = project(DLA_ENTRY, seeds=2)
    encoded = project.make(project.results("encode")[seed])
    plugin = registry.load("dictionaries", "coupled")
    params = registry.params_model("dictionaries", "coupled")(atoms=[7, 8], iterations=3)
    items, split = Items.read(encoded.source("prepare").files[0]), split_of(project)
    views = row_source.read_features(encoded.sources("extract"), items)
    train = split.ids("train")
    dictionary = plugin(params, ("image", "text"), seed)
    part = {m: rows_of(v, train, items) for m, v in views.items()}
    coupled = dictionary.fit(part)
    codes = store.read_matrix(encoded.files[0], "features", "image")
    in_training = np.isin(codes.ids, list(train))
    assert np.array_equal(codes.values[in_training], coupled["image"])
    transformed = dictionary.transform("image", views["image"].values)
    assert np.allclose(codes.values[~in_training], transformed[~in_training])
    assert not np.allclose(codes.values[in_training], transformed[in_training])


def test_codes_of_blocks_are_those_of_all_rows(project, monkeypatch):
    """Of one block bit for bit, of several up to rounding; training rows have what `fit` gave, whatever the block."""
    project = project(DLA_ENTRY, WITHOUT)
    encoded = project.make(project.only("encode"))
    (file,), train = encoded.files, split_of(project).ids("train")
    one = {name: store.read_matrix(file, "features", name) for name in ("image", "selection/text")}
    whole = Path(file).read_bytes()
    project.make(encoded, again=True)
    assert Path(file).read_bytes() == whole
    monkeypatch.setattr(vectors, "BLOCK_BYTES", 7 * 4 * 8)
    project.make(encoded, again=True)
    for name, before in one.items():
        after = store.read_matrix(file, "features", name)
        assert np.array_equal(after.ids, before.ids)
        assert np.allclose(after.values, before.values, rtol=1e-5, atol=1e-7)
        if name == "image":
            in_training = np.isin(after.ids, list(train))
            assert np.array_equal(after.values[in_training], before.values[in_training])
    assert not Path(paths.partial(file)).exists()


def test_broken_feature_files_are_named_and_leave_nothing(project):
    project = project()
    fit, features = project.only("fit"), project.make(project.only("fit").sources("extract")[0])
    image = features.files[0]
    good = Path(image).read_bytes()

    def failing(expected):
        with pytest.raises(UserError, match=expected):
            project.make(fit)
        assert not Path(fit.folder).exists()

    def write(*arguments):
        with project.by_hand(features):
            store.write_matrix(image, "features", *arguments)

    Path(image).write_bytes(good[: len(good) // 2])
    failing(r"all/image-\w+.h5: other bytes than results/.*/all/image-\w+.json says; delete both and run again")
    with project.by_hand(features):
        pass
    failing(r"image-\w+.h5: truncated or not an HDF5 file; delete it and run again")
    Path(image).write_bytes(good)
    with project.by_hand(features), h5py.File(image, "r+") as file:
        file["features"][3, 2] = np.nan
    failing(r"image-\w+.h5: 1 of 60 rows hold NaN or infinite values, the first is item 'item-00003' \(row 3\)")
    write(np.array([f"x{k}" for k in range(60)]), np.ones((60, 2)), {"extractor": "ready"})
    failing(r"image-\w+.h5: its 60 ids do not match the 60 items \(unknown item 'x0'\)")
    write(ids(50), np.ones((50, 2)), {"extractor": "ready"})
    failing(r"its 50 ids do not match the 60 items \(item 'item-00050' is missing\)")
    write(ids(60), np.ones((60, 2)), {"extractor": "vgg19_fc7"})
    failing(r"written by the extractor 'vgg19_fc7', but the configuration's 'image' is 'ready'")
    Path(image).unlink()
    failing(r"all/image-\w+.h5: no such file; run again")


def test_a_matrix_is_written_block_by_block_to_its_last_row(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "COPIED_ROWS", 3)
    values = np.arange(16, dtype=np.float32).reshape(8, 2)
    store.write_matrix(tmp_path / "f.h5", "features", np.array(list("abcdefgh")), values, {})
    assert np.array_equal(store.read_matrix(tmp_path / "f.h5", "features").values, values)


def test_a_model_may_be_read_by_those_who_may_read_other_results(tmp_path):
    before = os.umask(0o027)
    try:
        store.write_arrays(tmp_path / "model.safetensors", {"weight": np.ones(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640


def test_nan_features_are_not_written(tmp_path):
    values = np.zeros((3, 2))
    values[1, 1] = np.inf
    with pytest.raises(UserError, match=r"the first is item 'b' \(row 1\)"):
        store.write_matrix(tmp_path / "f.h5", "features", np.array(["a", "b", "c"]), values, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "r.json"
    publish.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        publish.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_results_hold_no_absolute_path(project, tmp_path):
    project = project()
    project.make(project.only("evaluate"))
    found = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(found) > 10
    for path in found:
        assert str(tmp_path).encode() not in path.read_bytes(), path
