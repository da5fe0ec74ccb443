"""What nothing may learn from: the rows that choices are made on, the rows of the test part, and their labels.

An extractor and a dictionary tell of each row whether they learned from it; a method keeps what it is given.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cmr import publish, registry
from cmr.data import TEST, TRAIN, VALIDATION, Split, View
from cmr.dictionary.coupled import CoupledDictionaries
from cmr.errors import UserError
from cmr.features.sift_bovw import SiftBagOfVisualWords
from cmr.features.word2vec_cnn import Word2VecCNN
from cmr.methods.base import History
from cmr.methods.cca import CCA
from cmr.row_source import RowSource
from cmr.stages import fit as fit_stage
from cmr.stages.extract import joint_usage, key_of
from synthetic import create
from toy_plan import Project, experiment, written_features

N = 40
CLASSES = np.array(["a", "b"])[np.arange(N) % 2]
PARTS = np.where(np.arange(N) < 30, TRAIN, TEST)
WITH_VALIDATION = np.where(np.arange(N) % 5 == 4, VALIDATION, PARTS)


@pytest.fixture
def given(monkeypatch):
    """The training and the held-out rows of each fit of CCA, which computes nothing here."""
    fits = []

    def fit(self, train, validation=None, unlabelled=None):
        fits.append((train, validation))
        return History()

    monkeypatch.setattr(CCA, "fit", fit)
    monkeypatch.setattr(CCA, "state", lambda self: {"nothing": np.zeros(1)})
    monkeypatch.setattr(CCA, "validation_score", lambda self, held_out: 0.0)
    return fits


@pytest.fixture
def telling_extractors(monkeypatch):
    """Features are 1 of what was learned from, else 0. That of texts learns from labels, that of pictures does not."""
    for extractor in (Word2VecCNN, SiftBagOfVisualWords):
        monkeypatch.setattr(extractor, "fit", lambda self, contents, labels=None: setattr(self, "seen", set(contents)))
        monkeypatch.setattr(extractor, "transform", lambda self, contents: marked([c in self.seen for c in contents]))
        monkeypatch.setattr(extractor, "state", lambda self: {})
        monkeypatch.setattr(extractor, "gaps", lambda self, contents: {})


@pytest.fixture
def telling_dictionary(monkeypatch):
    """Coefficients are 1 of what was learned from, else 0."""

    def fit(self, train):
        self.converged = True
        return {modality: marked(np.ones(len(view))) for modality, view in train.items()}

    monkeypatch.setattr(CoupledDictionaries, "fit", fit)
    monkeypatch.setattr(CoupledDictionaries, "transform", lambda self, modality, rows: marked(np.zeros(len(rows))))
    monkeypatch.setattr(CoupledDictionaries, "state", lambda self: {"objective": np.zeros(2)})


def marked(seen):
    return np.repeat(np.asarray(seen, np.float32)[:, None], 2, axis=1)


def of_contents(folder, parts):
    """Pictures and texts of a table."""
    for row in range(N):
        Image.new("RGB", (8, 8), (6 * row, 0, 0)).save(folder / f"{row}.png")
    table = pd.DataFrame({"picture": [f"{row}.png" for row in range(N)], "text": [f"text {row}" for row in range(N)]})
    table.assign(label=CLASSES, part=parts).to_csv(folder / "my.csv", index=False)
    params = {"file": "my.csv", "image": "picture", "text": "text", "label": "label", "split": "part"}
    return {
        "datasets": [{"id": "made", "dataset": "table", "params": params}],
        "features": [{"id": "image", "extractor": "sift_bovw"}, {"id": "text", "extractor": "word2vec_cnn"}],
    }


def of_vectors(folder, parts=PARTS):
    rng = np.random.default_rng(0)
    return written_features(folder, {m: rng.normal(size=(N, 3)) for m in ("image", "text")}, CLASSES, parts)


def tuned(folder, data, **more):
    """A project of CCA that is chosen among two, and its one fit."""
    entry = {"id": "cca", "tune": {"regularisation": [0.1, 1.0]}} | ({"dictionary": "coupled"} if more else {})
    project = Project(folder, {**data, **more, **experiment(["image", "text"], entry)})
    return project, project.only("fit")


def seen(part, modality):
    """The marks of the rows of a part, each once."""
    return set(part[modality].features.ravel().tolist())


@pytest.mark.parametrize("parts", [PARTS, WITH_VALIDATION])
def test_features_to_choose_by_learned_from_no_held_out_row(tmp_path, monkeypatch, given, telling_extractors, parts):
    monkeypatch.chdir(tmp_path)
    project, fit = tuned(tmp_path, of_contents(tmp_path, parts))
    project.make(fit)
    *choosing, (train, held_out) = given
    choosing += [] if held_out is None else [(train, held_out)]
    assert len(choosing) == 2
    for some, others in choosing:
        assert (seen(some, "text"), seen(others, "text")) == ({1}, {0})
    assert seen(train, "text") == {1}
    assert seen(RowSource.of(fit).test_rows(with_labels=False), "text") == {0}


def test_coefficients_to_choose_by_learned_from_no_held_out_row(tmp_path, monkeypatch, given, telling_dictionary):
    monkeypatch.chdir(tmp_path)
    project, fit = tuned(tmp_path, of_vectors(tmp_path), dictionaries=[{"id": "coupled"}])
    project.make(fit)
    *choosing, (final, _) = given
    assert [(seen(train, "image"), seen(held_out, "image")) for train, held_out in choosing] == [({1}, {0})] * 2
    assert seen(final, "image") == {1}
    assert len(final["image"]) == (PARTS == TRAIN).sum() > len(choosing[0][0]["image"])


@pytest.mark.parametrize("labels", [True, False])
def test_a_transductive_method_gets_test_rows_without_labels(tmp_path, monkeypatch, labels):
    monkeypatch.chdir(tmp_path)
    project, fit = tuned(tmp_path, of_vectors(tmp_path))
    for source in fit.made_from:
        project.make(source)
    info = registry.info("methods", "cmcp").model_copy(update={"labels": labels})
    data = fit_stage._Rows(RowSource.of(fit), info).data_for({})
    tested = set(Split.read(fit.source("split").files[0]).ids(TEST))
    for modality, view in data.unlabelled.items():
        assert set(view.ids) == tested
        assert view.labels is None
        assert (data.train[modality].labels is not None) == labels


def test_a_picture_that_changed_since_the_items_were_prepared_is_refused(tmp_path, monkeypatch, telling_extractors):
    monkeypatch.chdir(tmp_path)
    project, fit = tuned(tmp_path, of_contents(tmp_path, PARTS))
    pictures, texts = fit.sources("extract")
    project.make(pictures.source("prepare"))
    Image.new("RGB", (8, 8), "white").save("7.png")
    with pytest.raises(UserError, match=r"7\.png: it changed since the items were prepared; run again"):
        project.make(pictures)
    project.make(texts)


def test_no_row_of_one_modality_is_among_its_own_answers():
    """By hand: items at 0° and 90° are of one class, those at 10° and 100° of the other."""
    angles = np.radians([0, 10, 90, 100])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = np.array(list("abcd"), object)
    rows = {"text": View(ids, points, np.array([[1, 0], [0, 1]] * 2, np.uint8), groups=ids)}
    score = create("random", ("text",)).score_of(rows, {"text": points})
    assert score == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)


def test_unfinished_work_on_other_bytes_has_another_name(tmp_path, monkeypatch):
    """Features that are made again have the same identity, and other bytes on another machine."""
    monkeypatch.chdir(tmp_path)
    project, fit = tuned(tmp_path, of_vectors(tmp_path))
    project.make(fit.sources("extract")[0])
    keys, identities = set(), set()
    for bits in (b"", b"other"):
        features = fit.sources("extract")[0]
        with project.by_hand(features), open(features.files[0], "ab") as file:
            file.write(bits)
        with project.by_hand(fit) as made:
            keys.add(made.key)
            identities.add(made.origin.identity)
            for file in fit.files:
                publish.write_json(file, {})
    assert (len(keys), len(identities)) == (2, 1)


def test_unfinished_features_are_named_by_code_parameters_weights_and_what_was_learned(tmp_path):
    def key(code="one", words=5, weights="one", learned="one"):
        publish.write_json(tmp_path / "weights.json", {"weights": {"sha256": weights}})
        sources = {
            "weights": [SimpleNamespace(record=tmp_path / "weights.json")],
            "learn": [SimpleNamespace(files=["l"])],
        }
        result = SimpleNamespace(
            settings={"feature": {"params": {"words": words}}}, sources=lambda stage: sources[stage]
        )
        return key_of(result, SimpleNamespace(origin=SimpleNamespace(code=code), input_hashes={"l": learned}))

    assert key() == key()
    assert len({key(), key(code="two"), key(words=6), key(weights="two"), key(learned="two")}) == 5


def test_jobs_of_one_result_add_up_their_seconds_and_have_the_most_memory_of_one():
    usages = [{"seconds": 2.0, "peak_memory_mb": 5.0}, {"seconds": 3.0, "peak_memory_mb": 4.0}]
    records = [{"usage": usage, "hardware": {"threads": number}} for number, usage in enumerate(usages)]
    assert joint_usage(records) == {"usage": {"seconds": 5.0, "peak_memory_mb": 5.0}, "hardware": {"threads": 0}}
