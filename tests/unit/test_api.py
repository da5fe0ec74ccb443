"""From Python: the same bits as the workflow's stages, every form of labels, and one true line for a mistake."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from scipy.sparse import csr_array

import cmr
from cmr import api, registry
from cmr.api import configured_metric
from cmr.publish import read_json, write_json
from toy_plan import Project, experiment, ids, written_features

LAYERS = {"first_layers": [8, 4], "second_layers": [4]}
METHODS = [
    {"id": "cca", "tune": {"components": [2, 3, 5]}},
    {"id": "ridge_label", "tune": {"alpha": [1.0, 100.0]}},
    {"id": "sdml", "params": {"epochs": 3}},
    {"id": "dscmr", "params": {"epochs": 3}},
    {"id": "dla_cmr", "params": {"epochs": 2, "batch_size": 16, **LAYERS}},
    {"id": "jrl", "params": {"iterations": 2}},
]
METRICS = [
    {"id": "map@all", "metric": "mean_average_precision"},
    {"id": "map@5", "metric": "mean_average_precision", "params": {"at": 5}},
    {"id": "recall@3", "metric": "recall_at_k", "params": {"k": 3}},
]


def rows(n=120, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    names = np.array(["dog", "cat", "owl"])[rng.permutation(np.arange(n) % classes)]
    means = rng.normal(size=(classes, 6))[np.searchsorted(["cat", "dog", "owl"], names)]
    image, text = ((means @ rng.normal(size=(6, d)) + rng.normal(size=(n, d))).astype(np.float32) for d in (7, 5))
    image[1], text[1] = image[0], text[0]  # one content twice, which a split keeps together
    return {"image": image, "text": text}, names


VALUES, NAMES = rows()
PARTS = {"without validation": [90, 0, 30], "with validation": [70, 20, 30]}


@pytest.fixture(scope="module", params=PARTS)
def made(request, tmp_path_factory):
    """A project whose runs are finished, and the part of each row."""
    root, sizes = tmp_path_factory.mktemp("project"), PARTS[request.param]
    parts = np.repeat(["train", "validation", "test"], sizes)
    configuration = written_features(root, VALUES, NAMES, parts)
    main = experiment(["image", "text"], *METHODS)
    made = Project(root, {**configuration, **main, "metrics": METRICS})
    for run in made.results("evaluate"):
        made.make(run)
    return made, parts


def picked(mask):
    return {modality: values[mask] for modality, values in VALUES.items()}


def fitted(method, parts):
    train, validation, test = (parts == part for part in ("train", "validation", "test"))
    more = {"validation": (picked(validation), NAMES[validation])} if validation.any() else {}
    if registry.info("methods", method["id"]).transductive:
        more["test"] = picked(test)
    options = {**method.get("params", {}), **more, "tune": method.get("tune")}
    return cmr.fit(method["id"], picked(train), labels=NAMES[train], device="cpu", **options)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["id"])
def test_the_same_bits_as_a_run_of_the_workflow(made, method, tmp_path):
    project, parts = made
    (run,) = [r for r in project.results("evaluate") if f"/{method['id']}" in r.folder]
    model, test = fitted(method, parts), parts == "test"
    model.save(tmp_path)
    for fit, own in zip(run.sources("fit"), model.fits, strict=True):
        folder = project.path(fit.folder)
        stored = load_file(folder / "model.safetensors")
        arrays = load_file(tmp_path / "+".join(own.modalities) / "model.safetensors")
        assert set(stored) == set(arrays)
        assert all(np.array_equal(stored[name], arrays[name]) for name in stored)
        assert read_json(folder / "fit.json")["selection"] == own.record["selection"]
        assert (folder / "history.csv").read_bytes() == (
            tmp_path / "+".join(own.modalities) / "history.csv"
        ).read_bytes()
    metrics, _, embeddings = (project.path(file) for file in run.files)
    for modality, values in picked(test).items():
        with h5py.File(embeddings / f"{modality}.h5") as file:
            assert np.array_equal(file["ids"].asstr()[()], ids(len(NAMES))[test])
            assert np.array_equal(file["embeddings"][()], model.embed(modality, values))
    found = cmr.evaluate(model, picked(test), labels=NAMES[test], metrics=["map@all", "map@5", "recall@3"])
    for task in read_json(metrics)["tasks"]:
        for name, entry in task["metrics"].items():
            figure = found[f"{task['query']}→{task['gallery']}"][name]
            assert figure.value == entry["value"]
            assert list(figure.ci95) == entry["ci95"]
            assert figure.chance == entry["chance"]
            assert dict(figure.per_class) == entry["per_class"]
            assert np.nanmean(figure.per_query) == pytest.approx(figure.value)


def test_a_model_is_saved_and_loaded_as_it_was(tmp_path):
    for method in ("sdml", "cca"):  # one fit a modality, one fit
        model = cmr.fit(method, VALUES, labels=NAMES, seed=3, **({"epochs": 1} if method == "sdml" else {}))
        model.save(tmp_path / method)
        loaded = cmr.load(tmp_path / method)
        assert loaded.modalities == model.modalities == ("image", "text")
        assert loaded.get_params() == model.get_params()
        for modality, values in VALUES.items():
            assert np.array_equal(loaded.embed(modality, values), model.embed(modality, values))
    (fit,) = (tmp_path / "cca").glob("*/fit.json")
    assert np.array_equal(cmr.load(fit.parent).embed("text", VALUES["text"]), model.embed("text", VALUES["text"]))


def test_a_seed_may_be_a_number_of_numpy():
    first, again = (cmr.fit("dscmr", VALUES, labels=NAMES, epochs=1, seed=seed) for seed in (2, np.arange(3)[2]))
    assert np.array_equal(first.embed("text", VALUES["text"]), again.embed("text", VALUES["text"]))


def test_a_finished_runs_fit_is_a_model(made):
    project, parts = made
    (run,) = [r for r in project.results("evaluate") if "/cca" in r.folder]
    (fit,) = run.sources("fit")
    model = cmr.load(project.path(fit.folder))
    with h5py.File(project.path(run.files[2]) / "text.h5") as file:
        assert np.array_equal(model.embed("text", VALUES["text"][parts == "test"]), file["embeddings"][()])


def test_a_fit_that_took_codes_is_loaded_with_its_run_alone(tmp_path):
    cmr.fit("cca", VALUES).save(tmp_path / "model")
    (file,) = (tmp_path / "model").rglob("fit.json")
    write_json(file, read_json(file) | {"dictionary": {"id": "small", "dictionary": "coupled", "params": {}}})
    with pytest.raises(cmr.UserError, match="takes coefficients of a dictionary; load its run"):
        cmr.load(tmp_path / "model")


NUMBERS = np.searchsorted(np.unique(NAMES), NAMES)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (NAMES, ["cat", "dog", "owl"]),
        (list(NAMES), ["cat", "dog", "owl"]),
        ([[name] for name in NAMES], ["cat", "dog", "owl"]),
        (pd.Series(NAMES), ["cat", "dog", "owl"]),
        (NUMBERS, ["0", "1", "2"]),
        (NUMBERS.astype(float)[:, None], ["0", "1", "2"]),
        (np.eye(3)[NUMBERS], ["0", "1", "2"]),
        (np.eye(3, dtype=bool)[NUMBERS], ["0", "1", "2"]),
        (torch.tensor(NUMBERS), ["0", "1", "2"]),
        (pd.get_dummies(pd.Series(NAMES)), ["cat", "dog", "owl"]),
    ],
)
def test_labels_in_every_form_give_the_same_model(labels, classes):
    model = cmr.fit("ridge_label", VALUES, labels=labels)
    assert model.classes == tuple(classes)
    expected = cmr.fit("ridge_label", VALUES, labels=NAMES).embed("text", VALUES["text"])
    assert np.array_equal(model.embed("text", VALUES["text"]), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_are_taken_as_arrays(dtype):
    tensors = {name: torch.tensor(rows).to(dtype).requires_grad_() for name, rows in VALUES.items()}
    arrays = {name: rows.detach().float().numpy() for name, rows in tensors.items()}
    expected = cmr.fit("cca", arrays).embed("text", arrays["text"])
    assert np.array_equal(cmr.fit("cca", tensors).embed("text", tensors["text"]), expected)


def test_numbers_of_numpy_are_parameters():
    model = cmr.fit("cca", VALUES, components=np.int64(2), regularisation=np.float32(0.5))
    assert model.get_params().items() >= {"components": 2, "regularisation": 0.5}.items()
    chosen = cmr.fit("cca", VALUES, tune={"components": np.array([3])})
    assert chosen.get_params()["components"] == 3


def test_all_arguments_may_be_named():
    model = cmr.fit(method="cca", views=VALUES)
    assert np.array_equal(model.embed("text", VALUES["text"]), cmr.fit("cca", VALUES).embed("text", VALUES["text"]))


def test_a_folder_holds_one_model(tmp_path):
    cmr.fit("ridge_label", VALUES, NAMES, alpha=1).save(tmp_path)
    cmr.fit("ridge_label", VALUES, NAMES, alpha=2).save(tmp_path)
    with pytest.raises(cmr.UserError, match=r"holds another model, in .*(image|text); save into another folder"):
        cmr.fit("cca", VALUES).save(tmp_path)
    assert cmr.load(tmp_path).get_params()["alpha"] == 2


def test_a_figure_is_formatted_as_its_value():
    figure = cmr.Figure(0.5, (0.25, 0.75))
    assert f"{figure:.2f} {figure}" == "0.50 0.500 [0.250, 0.750]"


def test_several_labels_a_row_are_relevant_where_one_is_shared():
    embeddings = {"image": np.eye(3), "text": np.array([[3, 2, 1], [1, 3, 2], [2, 1, 3]])}
    found = cmr.evaluate(embeddings, labels=[["a"], ["a", "b"], ["b"]], metrics=["map@all"])
    # image 0 ranks texts 0, 2, 1, of which 0 and 1 share its label; image 1: 1, 0, 2, all; image 2: 2, 1, 0
    assert found["image→text"]["map@all"].per_query.tolist() == pytest.approx([(1 + 2 / 3) / 2, 1, 1])


def test_without_labels_an_items_own_pair_is_asked_for():
    text = np.array([[1, 2, 0], [0, 1, 0], [0, 0, 1]])  # text 0 is nearest to image 1, then to its own
    found = cmr.evaluate({"image": np.eye(3), "text": text})
    assert found["text→image"]["recall@1"].per_query.tolist() == [0, 1, 1]
    assert found["text→image"]["recall@5"].value == 1
    with pytest.raises(cmr.UserError, match="metric 'map@all': it is by class: pass labels="):
        cmr.evaluate({"image": np.eye(3), "text": text}, metrics=["recall@1", "map@all"])


def captions():
    """Six pictures, and fourteen captions of them in an order of their own: embeddings and what belongs to what."""
    rng = np.random.default_rng(5)
    of_text = np.array(["f", "a", "b", "c", "d", "e", "a", "a", "b", "c", "f", "f", "e", "d"])
    of_image = np.array(list("abcdef"))
    image = rng.normal(size=(6, 4))
    text = image[np.searchsorted(of_image, of_text)] + rng.normal(size=(14, 4))
    return {"image": image, "text": text}, {"image": of_image, "text": of_text}


def test_several_captions_of_a_picture_are_found_by_their_group():
    embeddings, groups = captions()
    found = cmr.evaluate(embeddings, groups=groups, metrics=["recall@1", "recall@2"])
    assert 0 < found["text→image"]["recall@1"].value < 1
    for query, gallery in (("image", "text"), ("text", "image")):
        for k in (1, 2):
            hits = []
            for x, own in zip(embeddings[query], groups[query], strict=True):
                cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in embeddings[gallery]]
                best = sorted(range(len(cosines)), key=lambda row: -cosines[row])[:k]
                hits.append(any(groups[gallery][row] == own for row in best))
            figure = found[f"{query}→{gallery}"][f"recall@{k}"]
            assert figure.per_query.tolist() == hits
            assert figure.value == pytest.approx(np.mean(hits))


def test_groups_of_a_model_and_labels_of_each_modality():
    embeddings, groups = captions()
    kind = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z", "f": "z"}
    labels = {m: [kind[group] for group in of_rows] for m, of_rows in groups.items()}
    of_text = np.searchsorted(groups["image"], groups["text"])
    model = cmr.fit("cca", {"image": embeddings["image"][of_text], "text": embeddings["text"]}, components=2)
    found = cmr.evaluate(model, embeddings, labels=labels, groups=groups, metrics=["map@all", "recall@1"])
    mapped = {m: model.embed(m, rows) for m, rows in embeddings.items()}
    by_group = cmr.evaluate(mapped, groups=groups, metrics=["recall@1"])
    for direction, figures in by_group.items():
        assert figures["recall@1"].per_query.tolist() == found[direction]["recall@1"].per_query.tolist()
    assert len(found["text→image"]["map@all"].per_query) == 14
    assert len(found["image→text"]["map@all"].per_query) == 6


@pytest.mark.parametrize(
    ("groups", "labels", "message"),
    [
        ({"image": range(6)}, None, "groups: with groups, expected those of the rows of image, text, each"),
        ([1, 2], None, "groups: with groups, expected"),
        ({"image": range(5), "text": range(14)}, None, r"groups: image: expected a number or name for each of 6 rows"),
        (
            {"image": ["a", None, "b", "c", "d", None], "text": range(14)},
            None,
            "groups: image: 2 rows have none, .* row 1",
        ),
        ({"image": ["a"] * 5 + [float("nan")], "text": range(14)}, None, "groups: image: 1 rows have none, .* row 5"),
        ({"image": range(6), "text": [*range(13), float("nan")]}, None, "groups: text: 1 rows have none, .* row 13"),
        (
            {"image": np.arange(6.0), "text": range(14)},
            None,
            "groups: image: expected whole numbers or names, found float64",
        ),
        ({"image": range(6), "text": range(20, 34)}, None, "groups: image and text have none in common: '0', '20'"),
        ({"image": range(6), "text": range(14)}, ["x"] * 6, "labels: with groups, expected those of the rows of image"),
    ],
)
def test_groups_that_say_nothing_are_refused(groups, labels, message):
    with pytest.raises(cmr.UserError, match=message):
        cmr.evaluate(captions()[0], groups=groups, labels=labels, metrics=["recall@1"])


def test_embeddings_are_compared_in_their_own_precision():
    angles = np.array([0, 1e-9, 2e-9])
    image = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = cmr.evaluate({"image": 1e20 * image, "text": image}, metrics=["recall@1"])
    assert 0 <= found["image→text"]["recall@1"].value <= 1


def test_three_modalities_are_fitted_a_pair_at_a_time():
    three = {**VALUES, "audio": VALUES["image"][:, ::-1] ** 2}
    model = cmr.fit("gmlda" if registry.info("methods", "gmlda").modalities == 2 else "mdcr", three, labels=NAMES)
    assert [fit.modalities for fit in model.fits] == [("image", "text"), ("image", "audio"), ("text", "audio")]
    with pytest.raises(cmr.UserError, match=r"image is embedded by the fits of image\+text, image\+audio; .* other="):
        model.embed("image", three["image"])
    own = model.fits[1].embed("image", three["image"])
    assert np.array_equal(model.embed("image", three["image"], other="audio"), own)
    assert len(cmr.evaluate(model, three, labels=NAMES)) == 6


WRONG = np.zeros((120, 2))
FLAGS = [[0, 1]] * 60 + [[1, 0]] * 60


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: cmr.fit("sdmll", VALUES), "unknown method 'sdmll'; did you mean 'sdml'?"),
        (lambda: cmr.fit("jlslr", VALUES), "'jlslr' is quoted from papers and cannot be run"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, epoch=3), "parameter epoch: unknown key; did you mean 'epochs'?"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, epochs=0), "method 'sdml': parameter epochs: expected greater than"),
        (lambda: cmr.fit("cca", VALUES, tune={"component": [1]}), "did you mean 'components'?"),
        (lambda: cmr.fit("sdml", VALUES), "method 'sdml' learns from labels: pass labels="),
        (lambda: cmr.fit("cca", {"image": VALUES["image"]}), "method 'cca' needs two modalities, views has image alone"),
        (lambda: cmr.fit("cca", VALUES["image"]), "views: expected {modality: array (n, d)}, found ndarray"),
        (lambda: cmr.fit("cca", {**VALUES, "text": WRONG[:3]}), "views: image has 120, text has 3 rows; row i of every"),
        (lambda: cmr.fit("cca", {**VALUES, "text": WRONG[:, 0]}), "text: expected a matrix of numbers (n, d), found float64 of shape (120,)"),
        (lambda: cmr.fit("cca", {**VALUES, "text": WRONG + np.nan}), "text: 120 rows hold NaN or infinite values, the first is row 0"),
        (lambda: cmr.fit("cca", {**VALUES, "te/xt": WRONG}), "views: expected a modality's name: up to"),
        (lambda: cmr.fit("sdml", VALUES, NAMES[:9]), "labels: 9 for 120 rows"),
        (lambda: cmr.fit("sdml", VALUES, [None, *NAMES[1:]]), "labels: 1 of 120 rows have none, the first is row 0"),
        (lambda: cmr.fit("sdml", VALUES, np.array(["nan", *NAMES[1:]])), "labels: 1 of 120 rows have none, the first is row 0, which says 'nan'"),
        (lambda: cmr.fit("sdml", VALUES, FLAGS), "labels: lists of 0 and 1 alone have two meanings"),
        (lambda: cmr.fit("sdml", VALUES, WRONG + 0.5), "labels: expected labels as one column or as a matrix of 0 and 1"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, validation=VALUES), "validation: expected a pair"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, validation=(VALUES, None)), "validation: labels are missing"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, validation=(VALUES, ["bee"] * 120)), "validation: class 'bee' has no training row"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, validation=({**VALUES, "text": WRONG}, NAMES)), "validation: text has 2 columns, the training rows 5"),
        (lambda: cmr.fit("jrl", VALUES, NAMES), "method 'jrl' is transductive: pass the test items' views"),
        (lambda: cmr.fit("cca", VALUES, test=VALUES), "method 'cca' is not transductive"),
        (lambda: cmr.fit("cca", VALUES).embed("image", WRONG), "image: 2 columns, the model was fitted on 7"),
        (lambda: cmr.fit("cca", VALUES).embed("images", WRONG), "the model has no modality 'images'; did you mean 'image'?"),
        (lambda: cmr.fit("cca", VALUES).embed("image", WRONG[:0]), "image: no rows"),
        (lambda: cmr.evaluate(VALUES, NAMES), "pass labels by name, labels="),
        (lambda: cmr.evaluate({"image": WRONG}, labels=NAMES), "views: one modality alone"),
        (lambda: cmr.evaluate(VALUES, labels=NAMES), "embeddings of 7 and 5 dimensions cannot be compared"),
        (lambda: cmr.evaluate(cmr.fit("cca", VALUES), {"image": WRONG}), "evaluate: expected views of image, text"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["mapp@all"]), "metric 'mapp@all': unknown; did you mean 'map'?"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, labels=NAMES, metrics=["map@x"]), "metric 'map@x': expected map@ and a number"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["map@²"]), "metric 'map@²': expected map@ and a number"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["recall@²"]), "metric 'recall@²': expected recall@ and a number"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["recall@1", "recall@1"]), "metrics: the id 'recall@1' stands twice; ids must differ"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=[{"metric": "recall_at_k", "k": 3}]), "k: unknown key; known: id, metric, params"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["map@0"]), "metric 'map@0': parameter at: expected greater than"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["precision_recall"]), "a curve, not a number"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["median_rank@5"]), "metric 'median_rank@5': expected 'median_rank', which has no cut"),
        (lambda: cmr.extract("bertt", ["a"]), "unknown extractor 'bertt'; did you mean 'bert'?"),
        (lambda: cmr.extract("bert", "a"), "expected a list of contents, found one str"),
        (lambda: cmr.extract("bert", ["a"], training=["a"]), "extractor 'bert': it is not fitted, leave training= out"),
        (lambda: cmr.extract("bow", ["a"]), "extractor 'bow': it is fitted, pass training="),
        (lambda: cmr.extract("bow", ["a"], training=["a"], word=3), "parameter word: unknown key"),
        (lambda: cmr.fit("CCA", VALUES), "unknown method 'CCA'; did you mean 'cca'?"),
        (lambda: cmr.fit(len, VALUES), "method: expected a name, found builtin_function_or_method"),
        (lambda: cmr.fit("cca", VALUES, seed=np.float64(1)), "seed: expected an integer"),
        (lambda: cmr.fit("cca", VALUES, seed=1.5), "seed: expected an integer, found 1.5"),
        (lambda: cmr.fit("cca", VALUES, device="gpu"), "device: expected auto, cpu, cuda, found 'gpu'"),
        (lambda: cmr.fit("cca", {**VALUES, "text": [[1, 2], [3]] * 60}), "text: expected a matrix of numbers (n, d), found rows of several"),
        (lambda: cmr.fit("cca", {**VALUES, "text": csr_array(WRONG)}), "text: a sparse matrix; pass the dense one, text.toarray()"),
        (lambda: cmr.fit("cca", {**VALUES, "text": torch.tensor(WRONG).to_sparse()}), "text: a sparse tensor; pass the dense one, text.to_dense()"),
        (lambda: cmr.fit("cca", {**VALUES, "text": np.ma.masked_array(WRONG, np.arange(240).reshape(120, 2) == 5)}), "text: 1 rows hold NaN or infinite values, the first is row 2"),
        (lambda: cmr.fit("cca", {**VALUES, "text": pd.DataFrame(WRONG).astype("Float64").where(np.arange(240).reshape(120, 2) != 7)}), "text: 1 rows hold NaN or infinite values, the first is row 3"),
        (lambda: cmr.fit("cca", {**VALUES, "text": np.array([[1.0, "a"]] * 120, object)}), "text: row 0: expected numbers, found str 'a'"),
        (lambda: cmr.fit("sdml", VALUES, csr_array(WRONG)), "labels: a sparse matrix; pass the dense one, labels.toarray()"),
        (lambda: cmr.fit("sdml", VALUES, (name for name in NAMES)), "for each row, found generator"),
        (lambda: cmr.fit("sdml", VALUES, np.ma.masked_equal(np.arange(120) % 4, 3)), "labels: 30 rows are masked, the first is row 3; leave them out"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, NAMES, metrics=["map@all"]), "pass labels by name, labels="),
        (lambda: cmr.fit("sdml", VALUES, 3), "labels: expected a label, or a list of labels, for each row, found int"),
        (lambda: cmr.fit("sdml", VALUES, "cat"), "for each row, found str"),
        (lambda: cmr.fit("sdml", VALUES, {"image": NAMES}), "for each row, found dict"),
        (lambda: cmr.fit("sdml", VALUES, WRONG[None]), "labels: expected an array (n,) or (n, c), found shape (1, 120, 2)"),
        (lambda: cmr.fit("sdml", VALUES, range(120), epochs=1), "nothing is held out to choose parameters or epochs on"),
        (lambda: cmr.fit("sdml", VALUES, NAMES, validation=(VALUES, NAMES[:9])), "validation: labels: 9 for 120 rows"),
        (lambda: cmr.fit("jrl", VALUES, NAMES, test={"image": VALUES["image"]}), "test: no rows of text"),
        (lambda: cmr.fit("jrl", VALUES, NAMES, test={**VALUES, "text": WRONG}), "test: text has 2 columns, the training rows 5"),
        (lambda: cmr.fit("cca", VALUES).embed(WRONG, "image"), "expected a modality's name before its rows, found ndarray"),
        (lambda: cmr.fit("cca", VALUES).save("a_file"), "a_file: a file; a model is saved as a folder"),
        (lambda: cmr.evaluate(WRONG, labels=NAMES), "expected a model of fit, or embeddings {modality: array}, found ndarray"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["map@all"]), "metric 'map@all': it is by class: pass labels="),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics="map@all"), "metrics: expected a list of names, found 'map@all'"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=[]), "metrics: none is named"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=[3]), "metrics: expected names or entries, found int"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["recall@all"]), "metric 'recall@all': expected recall@ and a number of results"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["recall"]), "metric 'recall': expected recall@ and a number of results"),
        (lambda: cmr.evaluate({"a": WRONG, "b": WRONG}, metrics=["map@"]), "metric 'map@': expected map@ and a number of results, or map@all"),
        (lambda: cmr.extract("bert", []), "extractor 'bert': no contents"),
        (lambda: cmr.extract("bert", ["a", None]), "extractor 'bert': content 1: expected a text, found NoneType"),
        (lambda: cmr.extract("bert", ["a", " "]), "extractor 'bert': content 1: empty text"),
        (lambda: cmr.extract("efficientnet_lite0", [WRONG]), "content 0: expected the path of a file, found ndarray"),
        (lambda: cmr.extract("torchvision_backbone", ["a.png"], weights="no.pt"), "parameter weights: no.pt: no such file; the path is relative to the working directory"),
        (lambda: cmr.load("nowhere"), "nowhere: no model; expected fit.json"),
        (lambda: cmr.load("results/runs/a/b/c/d/0"), "results/runs/a/b/c/d/0: no such run"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_true_line(call, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    with pytest.raises(cmr.UserError) as caught:
        call()
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("methods", {"method", "views", "labels", "seed", "validation", "tune", "test", "device"}),
        ("extractors", {"extractor", "contents", "training", "labels", "cache", "device"}),
    ],
)
def test_no_parameter_of_a_plug_in_hides_behind_one_of_the_function(kind, own):
    for name in registry.names(kind):
        assert not own & set(registry.params_model(kind, name).model_fields), name


@pytest.mark.parametrize(
    ("name", "plugin", "params"),
    [
        ("map@all", "mean_average_precision", {"at": None}),
        ("map@50", "mean_average_precision", {"at": 50}),
        ("recall@10", "recall_at_k", {"k": 10}),
        ("ndcg@10", "ndcg", {"at": 10}),
        ("median_rank", "median_rank", {}),
        ("map", "mean_average_precision", {"at": None}),
        ("recall_at_k", "recall_at_k", {"k": 10}),
    ],
)
def test_metrics_by_name(name, plugin, params):
    metric = configured_metric(name)
    assert (metric.id, metric.name) == (name, plugin)
    assert params.items() <= metric.params.model_dump().items()


def test_texts_are_extracted_as_the_extractor_does():
    texts = ["a red fruit", "a green leaf", "the sea"]
    found = cmr.extract("bow", texts, training=["red fruit red", "green leaf"], weighting="tfidf")
    assert found.shape == (3, 4)
    assert found.dtype == np.float32
    assert found[2].tolist() == [0, 0, 0, 0]
    assert found[0, 3] == found[0, 0] > 0 or np.count_nonzero(found[0]) == 2


def test_importing_the_package_loads_nothing():
    code = "import cmr, sys; print(*sorted(name for name in sys.modules if name.startswith('cmr.') or name in ('numpy', 'torch', 'pandas')))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_what_the_package_shows_is_there():
    assert set(cmr.__all__) <= set(dir(cmr))
    assert all(getattr(cmr, name) is not None for name in cmr.__all__)
    with pytest.raises(AttributeError, match="module 'cmr' has no attribute 'fitt'"):
        _ = cmr.fitt


def test_other_labels_and_other_held_out_rows_are_another_fit():
    rows = np.arange(24, dtype=np.float32).reshape(12, 2) % 7
    views = {"image": rows, "text": rows[::-1].copy()}
    labels = ["a", "b"] * 6

    def identity(views=views, labels=labels, **options):
        return (
            cmr.fit("ridge_label", {"image": views["image"]}, labels=labels, device="cpu", **options)
            .fits[0]
            .record["identity"]
        )

    others = [
        identity(labels=["a", "a", "b", "b"] * 3),
        identity(validation=({"image": rows[:4]}, labels[:4])),
        identity(validation=({"image": rows[4:8]}, labels[4:8])),
        identity(views={"image": rows + 1}),
    ]
    assert len({identity(), *others}) == 5
    assert identity() == identity()


@pytest.mark.parametrize(
    "method", ["infonce", "dscmr", "cdpae", "drsl", "cm_gans", "smcr", "gpldan", "mvldan", "dla_cmr"]
)
def test_a_modality_may_have_a_name_that_torch_has_too(method, tmp_path):
    rng = np.random.default_rng(0)
    views = {name: rng.normal(size=(40, 6)).astype(np.float32) for name in ("image.v2", "type")}
    model = cmr.fit(method, views, labels=["a", "b"] * 20, device="cpu", epochs=1)
    model.save(tmp_path / "model")
    for name in views:
        assert np.array_equal(cmr.load(tmp_path / "model").embed(name, views[name]), model.embed(name, views[name]))


def test_rows_that_are_no_seed_are_refused():
    for seed in (-1, 2**32, 2**63):
        with pytest.raises(cmr.UserError, match=f"seed: expected 0 to 4294967295, found {seed}"):
            cmr.fit("random", {"image": np.ones((20, 2))}, labels=["a", "b"] * 10, seed=seed)


@pytest.mark.parametrize("method", ["acmr", "dla_cmr"])
def test_networks_that_end_in_other_spaces_are_refused_before_a_fit(method):
    for layers in ([20], []):
        with pytest.raises(cmr.UserError, match="first_layers"):
            cmr.fit(method, {"image": np.ones((20, 2)), "text": np.ones((20, 2))}, ["a", "b"] * 10, first_layers=layers)


def test_a_matrix_that_cannot_be_inverted_is_told_with_its_remedy():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 3)).astype(np.float32)
    views = {"image": np.hstack([image, image]), "text": image}
    with pytest.raises(cmr.UserError, match="raise the method's regularisation"):
        cmr.fit("cca", views, regularisation=1e-20, device="cpu")


def test_numbers_of_python_in_a_table_are_numbers():
    rows = pd.DataFrame(VALUES["text"]).astype(object)
    views = {**VALUES, "text": rows}
    assert np.array_equal(
        cmr.fit("cca", views).embed("text", rows), cmr.fit("cca", VALUES).embed("text", VALUES["text"])
    )


def test_what_embeddings_leave_open_is_told(caplog):
    embeddings = {"image": np.eye(4)[[0, 1, 2, 3]], "text": np.zeros((4, 4))}
    found = cmr.evaluate(embeddings, labels=["cat", "cat", "dog", "dog"], metrics=["map@all"])["image→text"]["map@all"]
    assert found.bounds == pytest.approx(((1 / 3 + 2 / 4) / 2, 1))
    assert repr(found).endswith("ties 0.417 to 1.000")
    assert "text: 4 of 4 rows are zero, and score 0 against every other" in caplog.text
    told = cmr.evaluate(
        {"image": np.eye(4), "text": np.eye(4)}, labels=["cat", "cat", "dog", "dog"], metrics=["map@all"]
    )
    assert told["image→text"]["map@all"].bounds is not None  # three of four are at a right angle
    rows = np.random.default_rng(0).standard_normal((4, 3))
    assert cmr.evaluate({"a": rows, "b": rows}, labels=list("ccdd"))["a→b"]["map@all"].bounds is None


def test_queries_without_a_pair_are_told(caplog):
    rows = {"image": np.eye(3), "text": np.eye(3)}
    cmr.evaluate(rows, groups={"image": [0, 1, 2], "text": [0, 1, 9]}, metrics=["recall@1"])
    assert "image→text: recall@1: 1 of 3 queries have nothing to find in the gallery, and do not count" in caplog.text


def test_queries_that_a_metric_by_class_gives_no_value_are_told_as_that(caplog):
    (configured,) = api._configured(["map@all"], True)
    api._tell_queries_left_out("image→text", {"map@all": np.array([0.5, np.nan])}, [configured])
    assert "image→text: map@all: 1 of 2 queries have no value, and do not count" in caplog.text


def test_a_class_that_may_stand_for_no_label_is_told(caplog):
    cmr.evaluate(dict.fromkeys("ab", VALUES["image"]), labels=[-1] * 20 + [0, 1] * 50)
    assert "labels: 20 rows are of a class '-1'; if it stands for no label, leave them out" in caplog.text


def test_embeddings_without_a_dimension_are_warned_of(caplog):
    rng = np.random.default_rng(0)
    views = {"image": rng.normal(size=(40, 3)), "text": rng.normal(size=(40, 3))}
    cmr.fit("cca", views, regularisation=1e12, device="cpu")
    assert "no direction has anything in common" in caplog.text
