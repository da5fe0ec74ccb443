"""The stages on a tiny data set: what each writes, what a fit may see, and what happens to broken input."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from cmr import inputs, publish, registry, stages, store
from cmr.data import Items, Split
from cmr.datasets.splitting import stratified, with_held_out
from cmr.errors import UserError
from cmr.methods.cca import CCA

FEATURES = [
    {"id": "pixels", "extractor": "efficientnet_lite0", "modality": "image", "params": {}},
    {"id": "words", "extractor": "bow", "modality": "text", "params": {}},
]
CCA_ENTRY = {"id": "cca", "method": "cca", "params": {"components": 3}, "tune": {}, "dictionary": None, "sweep": {}}
DLA_ENTRY = {
    "id": "dla",
    "method": "dla_cmr",
    "params": {"first_layers": [8, 4], "second_layers": [4], "epochs": 3, "batch_size": 16, "learning_rate": 0.01},
    "tune": {"margin": [0.1, 1.0]},
    "dictionary": "coupled",
    "sweep": {},
}
METRICS = [
    {"id": "map@all", "metric": "mean_average_precision", "params": {}},
    {"id": "precision_recall", "metric": "precision_recall", "params": {}},
]


class Project:
    """Items, a split and two feature files of three separable classes, in a folder."""

    def __init__(self, root, shares):
        self.root = root
        rng = np.random.default_rng(0)
        classes = np.repeat(["a", "b", "c"], 20)
        self.ids = np.array([f"i{k:02}" for k in range(60)])
        table = pd.DataFrame({"id": self.ids, "image": self.ids, "text": self.ids, "labels": [[c] for c in classes]})
        items = Items(table, {"image": "image", "text": "text"})
        self.items, self.split = str(root / "items.parquet"), str(root / "split.csv")
        items.write(self.items)
        with_held_out(items, stratified(list(classes), shares, 0)).write(self.split)
        centres = {m: rng.normal(size=(3, d)) * 3 for m, d in (("image", 6), ("text", 5))}
        self.files = []
        for feature in FEATURES:
            centre = centres[feature["modality"]][np.searchsorted(["a", "b", "c"], classes)]
            values = centre + rng.normal(size=centre.shape)
            self.files.append(str(root / f"{feature['id']}.h5"))
            store.write_matrix(self.files[-1], "features", self.ids, values, {"extractor": feature["extractor"]})

    def ids_of(self, part):
        return Split.read(self.split).ids(part)

    def encode(self):
        entry = {"id": "coupled", "dictionary": "coupled", "params": {"atoms": [7, 8], "iterations": 3}}
        output = str(self.root / "codes.h5")
        stages.encode(entry, FEATURES, self.items, self.split, self.files, output, 0, "code")
        return output

    def fit(self, method, files=None, name="fit", seed=0):
        configuration = {
            "data": {"id": "d", "dataset": "openmoji", "params": {}},
            "split": "default",
            "features": FEATURES,
            "dictionary": {"id": "coupled"} if len(files or []) == 1 else None,
            "method": method,
            "seed": seed,
        }
        folder = str(self.root / name)
        files = files or self.files
        stages.fit(configuration, self.items, self.split, files, folder, f"{folder}.partial", "cpu", "c")
        return folder

    def evaluate(self, folder, files=None):
        files = files or self.files
        fit = {
            "folder": folder,
            "inputs": ["pixels", "words"],
            "files": files,
        }
        outputs = {
            k: str(self.root / "run" / n)
            for k, n in (
                ("metrics", "metrics.json"),
                ("curves", "curves.h5"),
                ("run", "run.json"),
                ("embeddings", "embeddings"),
            )
        }
        stages.evaluate([fit], METRICS, self.items, self.split, outputs, "cpu", 1, "c")
        return publish.read_json(outputs["metrics"])


WITH_VALIDATION = {"train": 0.6, "validation": 0.2, "test": 0.2}
WITHOUT = {"train": 0.7, "test": 0.3}


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, WITH_VALIDATION)


def test_a_run_of_cca_beats_chance_and_records_its_origin(project):
    folder = project.fit(CCA_ENTRY)
    metrics = project.evaluate(folder)
    assert [(t["query"], t["gallery"]) for t in metrics["tasks"]] == [("image", "text"), ("text", "image")]
    for task in metrics["tasks"]:
        assert task["metrics"]["map@all"]["value"] > 0.8 > task["metrics"]["map@all"]["chance"]
    record = publish.read_json(project.root / "run" / "run.json")
    assert record["fits"][0]["method"] == CCA_ENTRY
    assert set(record["fits"][0]["input_hashes"]) == {project.items, project.split, *project.files}
    assert {"seconds", "peak_memory_mb"} <= set(record["usage"])
    embedded = store.read_matrix(project.root / "run" / "embeddings" / "image.h5", "embeddings")
    assert set(embedded.ids) == project.ids_of("test")


def test_dla_on_codes_is_tuned_on_validation_rows_and_repeatable(project):
    codes = project.encode()
    first = project.fit(DLA_ENTRY, [codes])
    record = publish.read_json(f"{first}/fit.json")
    selection = record["selection"]
    assert [c["parameters"]["margin"] for c in selection["candidates"]] == [0.1, 1.0]
    best = max(selection["candidates"], key=lambda c: c["validation_score"])
    assert selection["chosen"] == best["parameters"]
    assert selection["on"] == "validation"
    metrics = project.evaluate(first, [codes])
    again = project.evaluate(project.fit(DLA_ENTRY, [codes], name="again"), [codes])
    assert metrics == again
    assert not (project.root / "fit.partial").exists()


def test_without_validation_rows_the_best_is_fitted_again_on_all_training_rows(tmp_path):
    project = Project(tmp_path, WITHOUT)
    with h5py.File(project.encode()) as codes:
        assert {"image", "text"} == set(codes["selection"])
    folder = project.fit(DLA_ENTRY, [str(tmp_path / "codes.h5")])
    record = publish.read_json(f"{folder}/fit.json")
    assert record["selection"]["on"].startswith("a tenth")
    history = pd.read_csv(f"{folder}/history.csv")
    assert "validation" not in history  # the last fit had all training rows and a fixed number of epochs
    assert len(history) == record["selection"]["chosen"]["epochs"]


@pytest.mark.parametrize("shares", [WITH_VALIDATION, WITHOUT])
def test_a_fit_sees_training_and_held_out_rows_only(tmp_path, monkeypatch, shares):
    project = Project(tmp_path, shares)
    seen = []
    original = CCA.fit

    def spy(self, train, validation=None, unlabelled=None):
        seen.append((set(train["image"].ids), None if validation is None else set(validation["image"].ids), unlabelled))
        return original(self, train, validation, unlabelled)

    monkeypatch.setattr(CCA, "fit", spy)
    project.fit(CCA_ENTRY | {"tune": {"regularisation": [0.1, 1.0]}})
    split = Split.read(project.split)
    searching = [(split.selection_train, split.held_out, None)] * 2
    refit = [] if split.has_validation else [(split.ids("train"), None, None)]
    assert seen == searching + refit
    assert not any(split.ids("test") & (train | (held or set())) for train, held, _ in seen)


def test_labels_reach_only_methods_that_say_so(project, monkeypatch):
    assert registry.info("methods", "cca").labels is False
    seen = []
    monkeypatch.setattr(
        CCA, "fit", lambda self, train, *rest: seen.append(train) or (_ for _ in ()).throw(UserError("stop"))
    )
    with pytest.raises(UserError, match="stop"):
        project.fit(CCA_ENTRY)
    assert all(view.labels is None for view in seen[0].values())


def test_training_codes_are_the_coupled_ones_and_the_others_are_transformed(project):
    path = project.encode()
    entry = registry.load("dictionaries", "coupled")
    params = registry.params_model("dictionaries", "coupled")(atoms=[7, 8], iterations=3)
    items, split = Items.read(project.items), Split.read(project.split)
    views = inputs.read_features(project.files, FEATURES, items)
    train = split.ids("train")
    dictionary = entry(params, ("image", "text"), 0)
    part = {m: inputs.rows_of(v, train, items) for m, v in views.items()}
    coupled = dictionary.fit(part)
    codes = store.read_matrix(path, "features", "image")
    in_training = np.isin(codes.ids, list(train))
    assert np.array_equal(codes.values[in_training], coupled["image"])
    transformed = dictionary.transform("image", views["image"].values)
    assert np.allclose(codes.values[~in_training], transformed[~in_training])
    assert not np.allclose(codes.values[in_training], transformed[in_training])


def test_broken_feature_files_are_named_and_leave_nothing(project):
    image = project.files[0]
    good = Path(image).read_bytes()

    def failing(expected):
        with pytest.raises(UserError, match=expected):
            project.fit(CCA_ENTRY)
        assert not (project.root / "fit").exists()

    Path(image).write_bytes(good[: len(good) // 2])
    failing(r"pixels.h5: truncated or not an HDF5 file; delete it and run again")
    Path(image).write_bytes(good)
    with h5py.File(image, "r+") as file:
        file["features"][3, 2] = np.nan
    failing(r"pixels.h5: 1 of 60 rows hold NaN or infinite values, the first is item 'i03' \(row 3\)")
    store.write_matrix(
        image, "features", np.array([f"x{k}" for k in range(60)]), np.ones((60, 2)), {"extractor": "efficientnet_lite0"}
    )
    failing(r"pixels.h5: its 60 ids do not match the 60 items \(unknown item 'x0'\)")
    store.write_matrix(image, "features", project.ids[:50], np.ones((50, 2)), {"extractor": "efficientnet_lite0"})
    failing(r"its 50 ids do not match the 60 items \(item 'i50' is missing\)")
    store.write_matrix(image, "features", project.ids, np.ones((60, 2)), {"extractor": "vgg19_fc7"})
    failing(r"written by the extractor 'vgg19_fc7', but the configuration's 'pixels' is 'efficientnet_lite0'")


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


def test_results_hold_no_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path.relative_to(tmp_path), WITH_VALIDATION)
    project.evaluate(project.fit(CCA_ENTRY))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
