"""What every extractor promises, over the registry: a new extractor file is tested without more.

Extractors whose weights are neither in a package nor downloaded here are checked without being run; their unit tests
run them on small networks.
"""

import numpy as np
import pytest
import soundfile
from PIL import Image

from cmr import registry, store
from cmr.errors import UserError
from cmr.features.base import Extractor
from cmr.features.extraction import Task, extract, transformed
from cmr.sets import Sets
from imitated_gpu import imitated_gpu

NAMES = [name for name in registry.names("extractors") if registry.info("extractors", name).modality != "any"]
FITTED = [name for name in NAMES if registry.info("extractors", name).kind == "fitted"]
FIXED = [name for name in NAMES if registry.info("extractors", name).kind == "fixed"]
N = 12
SMALL = {
    "lda": {"topics": 4},
    "doc2vec": {"dimensions": 8},
    "sift_bovw": {"words": 4},
    "word2vec_cnn": {"dimensions": 8, "maps": 2, "epochs": 2},
    "word_vectors": {"dimensions": 8, "epochs": 2},
    "image_patches": {"side": 2},
}
SETS = [name for name in NAMES if registry.info("extractors", name).gives != "vector"]
WORDS = ["red", "blue", "cat", "dog", "house", "tree", "runs", "sleeps", "near", "the", "big", "small"]
LABELS = np.eye(3, dtype=np.uint8)[np.arange(N) % 3]


def texts(folder, rng):
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(N)]


def pictures(folder, rng):
    paths = [folder / f"{rng.integers(1 << 60)}.png" for _ in range(N)]
    for path in paths:
        noise = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        noise.resize((96, 80), Image.Resampling.BICUBIC).save(path)
    return paths


def sounds(folder, rng):
    paths = [folder / f"{rng.integers(1 << 60)}.wav" for _ in range(N)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(4000), 22050)
    return paths


CONTENTS = {"text": texts, "image": pictures, "audio": sounds}


def contents_for(name, folder, seed=0):
    return CONTENTS[registry.info("extractors", name).modality](folder, np.random.default_rng(seed))


def create(name, cache, device="cpu"):
    model = registry.params_model("extractors", name)
    exact = {"storage": "float32"} if "storage" in model.model_fields else {}
    params = model(**SMALL.get(name, {}), **exact)
    return registry.load("extractors", name)(params, cache, device, 2)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the library has read it already


@pytest.fixture
def make(tmp_path, offline):
    """Makes extractors; skips the test where their weights would have to be downloaded."""

    def made(name, device="cpu"):
        extractor = create(name, tmp_path / "cache", device)
        try:
            extractor.fetch()
        except UserError as error:
            pytest.skip(f"weights are not here: {error}")
        return extractor

    return made


def labels_for(name, rows):
    return LABELS[rows] if registry.info("extractors", name).uses_labels else None


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name):
    info = registry.info("extractors", name)
    assert info.modality in CONTENTS
    assert info.kind == "fitted" or not info.uses_labels
    for field in registry.params_model("extractors", name).model_fields.values():
        assert field.description
        assert not field.is_required()
    assert set(info.files) <= set(registry.params_model("extractors", name).model_fields)
    assert registry.module("extractors", name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_fitted_ones_have_a_state_and_fixed_ones_none(name):
    plugin = registry.load("extractors", name)
    fitted = registry.info("extractors", name).kind == "fitted"
    for method in ("fit", "state", "load_state"):
        assert (getattr(plugin, method) is not getattr(Extractor, method)) == fitted
    assert registry.info("extractors", name).weights == (plugin.fetch is not Extractor.fetch)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_cannot_be_had_are_explained(name, tmp_path, offline):
    try:
        described = create(name, tmp_path).fetch()
    except UserError as error:
        assert "place it as" in str(error) or "hf download" in str(error)  # noqa: PT017
        return
    told = {"name", "sha256", "source"}
    assert set(described) in (set(), told, told | {"configuration"})
    assert not any(value.startswith("/") for value in described.values())


def check_features(name, features):
    assert len(features) == N
    assert isinstance(features, Sets) == (name in SETS)
    if name in SETS:
        assert (features.lengths > 0).all()
        assert features.dimension == features[0].shape[1]
    values = features.elements() if name in SETS else features
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert len({row.tobytes() for row in features}) > 1


def assert_close(found, expected, **limits):
    """Row by row, of vectors or sets."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **limits)


@pytest.mark.parametrize("name", FIXED)
def test_a_row_depends_on_its_content_alone(name, make, tmp_path):
    extractor, contents = make(name), contents_for(name, tmp_path)
    features = extractor.transform(contents)
    check_features(name, features)
    order = np.random.default_rng(1).permutation(N)[:5]
    few = extractor.transform([contents[row] for row in order])
    scale = np.abs(np.concatenate([np.atleast_2d(row) for row in features])).max()
    assert_close(few, features[order], atol=1e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize("name", FITTED)
def test_fitted_rows_depend_on_their_content_and_the_state(name, make, tmp_path):
    extractor, contents = make(name), contents_for(name, tmp_path)
    extractor.fit(contents[:8], labels_for(name, slice(8)))
    features = extractor.transform(contents)
    check_features(name, features)
    rows = store.Rows(np.arange(N).astype(str), features)
    store.write_groups(tmp_path / "a.h5", "features", {"/": rows}, {}, extractor.state())
    later = make(name)
    later.load_state(store.read_state(tmp_path / "a.h5"))
    assert_close(later.transform(contents), features, atol=0, rtol=0)
    order = np.random.default_rng(1).permutation(N)[:5]
    few = later.transform([contents[row] for row in order])
    assert_close(few, features[order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if registry.info("extractors", n).gpu])
def test_features_are_the_same_on_a_gpu(name, make, tmp_path):
    """An imitated one; what only a real one shows is in tests/gpu."""
    contents, fitted = contents_for(name, tmp_path), name in FITTED
    extractor = make(name)
    if fitted:
        extractor.fit(contents[:8], labels_for(name, slice(8)))
    features = extractor.transform(contents)
    with imitated_gpu():
        on_gpu = make(name, "cuda")
        if fitted:
            on_gpu.fit(contents[:8], labels_for(name, slice(8)))
            assert all(type(array) is np.ndarray for array in on_gpu.state().values())
            on_gpu.load_state(extractor.state())
        found = on_gpu.transform(contents)
    check_features(name, found)
    scale = np.abs(np.concatenate([np.atleast_2d(row) for row in features])).max()
    assert_close(found, features, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("name", FITTED)
def test_a_test_row_changes_nothing_in_the_fitted_state(name, make, tmp_path):
    train = np.arange(N) < 8
    contents, others = contents_for(name, tmp_path), contents_for(name, tmp_path, seed=7)
    changed = [a if is_train else b for a, b, is_train in zip(contents, others, train, strict=True)]
    ids = np.arange(N).astype(str)
    for label, given in (("a", contents), ("b", changed)):
        path, partial = tmp_path / f"{label}.h5", tmp_path / f"{label}.partial.h5"
        extract(Task(make(name), given, ids, train, labels_for(name, train)), path, {}, partial, "key", chunk=5)
    a, b = store.read_state(tmp_path / "a.h5"), store.read_state(tmp_path / "b.h5")
    assert a
    assert set(a) == set(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])
    before, after = (store.read_rows(tmp_path / f"{label}.h5", "features").values for label in "ab")
    assert_close(after[train], before[train], atol=1e-6, rtol=1e-5)
    assert any(not np.array_equal(*rows) for rows in zip(before[~train], after[~train], strict=True))


@pytest.mark.parametrize("name", SETS)
def test_sets_are_stored_in_half_precision_where_it_is_asked_for(name, make, tmp_path):
    assert set(registry.params_model("extractors", name).model_json_schema()["properties"]["storage"]["enum"]) == {
        "float32",
        "float16",
    }
    extractor, contents = make(name), contents_for(name, tmp_path)
    if name in FITTED:
        extractor.fit(contents, labels_for(name, slice(N)))
    whole = extractor.transform(contents)
    extractor.params = extractor.params.model_copy(update={"storage": "float16"})
    half = extractor.transform(contents)
    assert half.values.dtype == np.float16
    assert_close(half, [row.astype(np.float16) for row in whole], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [n for n in NAMES if registry.info("extractors", n).modality != "text"])
def test_content_that_cannot_be_decoded_is_named_with_its_item(name, make, tmp_path):
    extractor, contents = make(name), contents_for(name, tmp_path)
    contents[9] = tmp_path / "broken.file"
    contents[9].write_text("neither picture nor sound")
    ids = np.array([f"item{row}" for row in range(N)])
    train = np.arange(8) if name in FITTED else None
    labels = labels_for(name, slice(8))
    with pytest.raises(UserError, match=r"item 'item9': .*broken\.file"):
        extract(Task(extractor, contents, ids, train, labels), tmp_path / "a.h5", {}, tmp_path / "p.h5", "")
    assert not (tmp_path / "a.h5").exists()


class Wrong(Extractor):
    gives = None

    def transform(self, contents):
        return self.gives(np.ones((len(contents), 3), np.float32))


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (lambda rows: rows[1:], r"float32 of shape \(3, 3\), expected real numbers of shape \(4, d\)"),
        (lambda rows: rows[:, 0], r"float32 of shape \(4,\), expected"),
        (lambda rows: rows[:, :0], r"float32 of shape \(4, 0\), expected"),
        (lambda rows: rows.astype(str), "<U"),
        (lambda rows: [[1], [1, 2]], "list, expected"),
        (lambda rows: None, "NoneType, expected"),
        (lambda rows: Sets.flat(rows, np.arange(3)), r"int64 of shape \(2,\), expected real numbers of shape \(4,\)"),
        (lambda rows: Sets.flat(rows, np.array([0, 1, 1, 2, 3])), "an empty set for content 1"),
    ],
)
def test_what_transform_gives_is_checked(gives, message, tmp_path):
    extractor = Wrong(None, tmp_path)
    extractor.gives = gives
    with pytest.raises(UserError, match=f"^extractor 'test_extractors': transform.* gave {message}"):
        transformed(extractor, list("abcd"))
    with pytest.raises(UserError, match=f"^extractor 'test_extractors': transform.* gave {message}"):
        extract(Task(extractor, list("abcd"), np.arange(4).astype(str)), tmp_path / "a.h5", {}, tmp_path / "p.h5", "")
