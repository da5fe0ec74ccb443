"""Runs on sets, from pictures and texts to embeddings: new items, search, export, and the same from Python."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from test_search import CONFIG, MACHINE, write_data

import cmr
from cmr import embedding, new_items, store
from cmr.data import Items
from cmr.errors import UserError
from cmr.export import export
from cmr.finished import FinishedRun
from cmr.paths import ITEMS
from cmr.publish import read_json
from cmr.search import find, search
from cmr.sets import Sets, VectorsAndSets
from toy_plan import Project

POOL = {"id": "attention_pool", "params": {"dimension": 8, "attention": 4, "epochs": 3, "batch_size": 16}}
SETS = CONFIG | {
    "features": [
        {"id": "grid", "extractor": "efficientnet_lite0_grid"},
        {"id": "lite0", "extractor": "efficientnet_lite0"},
        {"id": "tokens", "extractor": "bert_tokens"},
        {"id": "words", "extractor": "word_vectors", "params": {"dimensions": 6, "epochs": 2}},
    ],
    "experiments": [
        {"id": "sets", "data": ["mine"], "inputs": [["grid", "tokens"], ["grid", "lite0", "words"]], "methods": [POOL]}
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_data(root)
        Path("config.yaml").write_text(yaml.safe_dump(SETS | {"cache": "cache", "device": "cpu"}))
        made = Project(root, SETS)
        for run in made.results("evaluate"):
            made.make(run)
        yield root, made.plan


@pytest.fixture
def folders(project, monkeypatch):
    """Of the run on sets alone, and of that on sets and vectors."""
    monkeypatch.chdir(project[0])
    return sorted((run.folder for run in project[1].runs), key=len)


def stored(folder, modality):
    (file,) = Path(folder).glob(f"embeddings*/{modality}.h5")
    rows = store.read_matrix(file, "embeddings")
    return rows.ids, rows.values


def test_the_record_says_what_the_fit_took(folders):
    alone, both = (read_json(find(folder).fit_folders[0] / "fit.json") for folder in folders)
    assert alone["dimensions"] == {"image": {"set": 1280}, "text": {"set": 384}}
    assert both["dimensions"] == {"image": {"set": 1280, "vector": 1280}, "text": {"set": 6}}
    assert [feature["id"] for feature in both["features"]] == ["grid", "lite0", "words"]


def test_features_of_sets_are_stored_flat(folders):
    (file,) = Path("results/features").glob("mine*/all/grid*.h5")
    rows = store.read_rows(file, "features")
    assert rows.values.lengths.tolist() == [49] * 30
    assert rows.values.values.dtype == np.float16


def test_new_items_are_embedded_as_test_items_were(folders, tmp_path):
    run = find(folders[0])
    ids, embeddings = stored(folders[0], "image")
    named = Items.read(ITEMS.format(data=run.data)).table.set_index("id")["image"]
    pictures = embedding.NewItems("image", tuple(ids), tuple(Path(named[item]) for item in ids))
    assert embedding.embed(run, pictures, tmp_path / "new.h5", MACHINE) == embeddings.shape
    found = store.read_matrix(tmp_path / "new.h5", "embeddings").values
    np.testing.assert_allclose(found, embeddings, atol=1e-3)
    again = FinishedRun(run, MACHINE).embed("image", list(pictures.contents))
    np.testing.assert_allclose(again, found, atol=1e-3)


@pytest.mark.parametrize("number", [0, 1])
def test_a_text_is_searched_for_by_its_set(folders, number):
    run = find(folders[number])
    (answer,) = search(run, "text", "sea sky old", 3, MACHINE)
    ids, gallery = stored(folders[number], "image")
    method = new_items.fitted(run, 0, MACHINE).method
    extractor, _ = new_items.extractor(run, "text", MACHINE)
    scores = method.similarity("text", method.embed("text", extractor.transform(["sea sky old"])), "image", gallery)[0]
    assert [hit.id for hit in answer.hits] == ids[np.argsort(-scores, kind="stable")[:3]].tolist()


def test_what_has_a_vector_and_a_set_is_not_searched_by(folders, tmp_path):
    with pytest.raises(UserError, match=r"its image has both a vector and a set \(grid, lite0\)"):
        search(find(folders[1]), "image", Path("0.png"), 3, MACHINE)
    written = export(find(folders[1]), "npz", tmp_path / "e.npz")
    assert np.load(written[0])["embeddings_image"].shape[1] == 8


# From Python ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, 40)
    offsets = np.concatenate([[0], lengths.cumsum()])
    sets = Sets.flat(rng.normal(size=(lengths.sum(), 5)).astype(np.float16), offsets)
    vectors = np.array([item.astype(float).mean(0) for item in sets]) + 0.1 * rng.normal(size=(40, 5))
    return {"image": vectors, "text": sets}


SMALL = {"dimension": 8, "attention": 4, "epochs": 2, "batch_size": 16}


def test_a_method_is_fitted_on_sets_saved_and_loaded(given, tmp_path):
    model = cmr.fit("attention_pool", given, **SMALL)
    assert cmr.evaluate(model, given)["text→image"]["recall@10"].value > 0
    model.save(tmp_path / "model")
    loaded = cmr.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.embed("text", given["text"]), model.embed("text", given["text"]))
    both = VectorsAndSets(given["image"], given["text"])
    assert cmr.fit("attention_pool", {"image": given["image"], "text": both}, **SMALL).embed("text", both).shape == (
        40,
        8,
    )


def test_what_does_not_fit_is_told_in_one_line(given):
    model = cmr.fit("attention_pool", given, **SMALL)
    values = given["text"].values.copy()
    values[given["text"].starts[3]] = np.nan
    bad = Sets(values, given["text"].starts, given["text"].lengths)
    narrow = Sets(given["text"].values[:, :3], given["text"].starts, given["text"].lengths)
    for made, message in (
        (lambda: cmr.fit("cca", given), "CCA: takes a vector of each modality, given a set of text"),
        (lambda: model.embed("text", given["image"]), "text: 5 columns, the model was fitted on a set of 5 columns"),
        (lambda: model.embed("text", narrow), "text: a set of 3 columns, the model was fitted on a set of 5 columns"),
        (lambda: cmr.fit("attention_pool", {**given, "text": bad}, **SMALL), "text: 1 of 40 rows hold NaN"),
        (lambda: cmr.evaluate(given), "evaluate: text: embeddings are arrays \\(n, k\\)"),
    ):
        with pytest.raises(UserError, match=message) as error:
            made()
        assert "\n" not in str(error.value)


def test_equal_sets_are_not_held_out_beside_each_other(given):
    """As equal vectors are: a choice on a row that was trained on says nothing."""
    from cmr.arrays import Given, held_out_rows

    twice = {m: rows[np.arange(40) // 2] for m, rows in given.items()}
    held_out = held_out_rows(Given.of(twice))
    assert held_out.any()
    np.testing.assert_array_equal(held_out[::2], held_out[1::2])


def test_extracted_sets_are_what_a_fit_takes(tmp_path):
    texts = [f"word{row} and word{row % 7}" for row in range(30)]
    sets = cmr.extract("word_vectors", texts, training=texts, dimensions=6, epochs=1, cache=tmp_path)
    assert sets.lengths.tolist() == [3] * 30
    model = cmr.fit("attention_pool", {"image": np.random.default_rng(0).normal(size=(30, 4)), "text": sets}, **SMALL)
    assert model.embed("text", sets).shape == (30, 8)
