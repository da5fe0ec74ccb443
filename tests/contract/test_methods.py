"""What every method that is not quoted promises, on sixty small items. A new method file is tested without more."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cmr import registry, sets, vectors
from cmr.arrays import contents
from cmr.data import Part, View
from cmr.errors import UserError
from cmr.methods import zero_shot
from cmr.methods.base import Method, unit_rows
from cmr.pairing import paired_by_class
from cmr.store import read_arrays, write_arrays
from synthetic import CLASSES, create, for_method, mapped, permuted, separable, small

NAMES = [name for name in registry.names("methods") if registry.info("methods", name).implementation != "quoted"]
NETWORKS = [name for name in NAMES if hasattr(registry.params("methods", name, {}), "precision")]
QUOTED = [name for name in registry.names("methods") if name not in NAMES]
TAKES_ALIGNED = {"zero_shot"}  # compares features as they come
TAKES_UNITS = {
    "sdml",
    "clip4cmr",
    "coupled_projections",
}  # do not scale features by default, and are not free of their unit


def data(name: str, seed: int, modalities: tuple[str, ...] = ("image", "text")) -> Part:
    return for_method(name, separable(modalities=modalities, seed=seed, aligned=name in TAKES_ALIGNED), seed)


def training(name: str) -> Part:
    return data(name, seed=0)


def held_back(name: str) -> Part:
    return data(name, seed=1)


def groups(name: str, modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The modalities of each fit."""
    return [(m,) for m in modalities] if registry.info("methods", name).modalities == 1 else [modalities]


def fit(name: str, train: Part | None = None, seed: int = 0, **params) -> dict[str, Method]:
    """Modality → the method fitted on it; one method for all where the method takes them together."""
    train = training(name) if train is None else train
    unlabelled = {m: view.without_labels() for m, view in held_back(name).items()}
    of_modality = {}
    for group in groups(name, tuple(train)):
        method = create(name, group, seed, **{**small(name), **params})
        method.fit(
            {m: train[m] for m in group}, None, unlabelled if registry.info("methods", name).transductive else None
        )
        of_modality |= dict.fromkeys(group, method)
    return of_modality


def scores(name: str, methods: dict[str, Method], query: str = "image", gallery: str = "text") -> np.ndarray:
    test = held_back(name)
    embedded = {m: methods[m].embed(m, test[m].features) for m in (query, gallery)}
    return methods[query].similarity(query, embedded[query], gallery, embedded[gallery])


@cache
def fitted(name: str) -> dict[str, Method]:
    return fit(name)


def mean_average_precision(block: np.ndarray, relevance: np.ndarray) -> float:
    total = 0.0
    for row, relevant in zip(block, relevance, strict=True):
        ranked = relevant[np.argsort(-row, kind="stable")]
        hits = np.flatnonzero(ranked) + 1
        total += np.mean(np.arange(1, len(hits) + 1) / hits)
    return total / len(block)


every = pytest.mark.parametrize("name", NAMES)


@every
def test_scores_have_the_right_shape_and_are_finite(name):
    methods = fitted(name)
    few = {m: methods[m].embed(m, held_back(name)[m].features[:7]) for m in held_back(name)}
    for modality, embedded in few.items():
        assert embedded.dtype == np.float32
        assert embedded.ndim == 2
        assert len(embedded) == 7, modality
    for query, gallery in (("image", "text"), ("text", "image")):
        block = methods[query].similarity(query, few[query][:3], gallery, few[gallery])
        assert block.shape == (3, 7)
        assert np.isfinite(block).all()


@every
def test_a_block_of_scores_does_not_depend_on_the_others(name):
    methods = fitted(name)
    whole = scores(name, methods)
    query, gallery = (methods[m].embed(m, held_back(name)[m].features[10:20]) for m in ("image", "text"))
    block = methods["image"].similarity("image", query, "text", gallery)
    assert np.allclose(block, whole[10:20, 10:20], rtol=1e-4, atol=1e-5)


@every
def test_the_same_seed_gives_the_same_scores(name):
    methods = fitted(name)
    assert np.array_equal(scores(name, fit(name)), scores(name, methods))


@every
def test_a_stochastic_method_depends_on_its_seed_and_no_other_does(name):
    methods = fitted(name)
    same = np.array_equal(scores(name, fit(name, seed=1)), scores(name, methods))
    assert same != registry.info("methods", name).stochastic


@every
def test_state_gives_the_same_scores(name, tmp_path):
    methods = fitted(name)
    loaded = {}
    for group in groups(name, tuple(held_back(name))):
        file = tmp_path / f"{'+'.join(group)}.safetensors"
        write_arrays(file, methods[group[0]].state())
        method = create(name, group, **small(name))
        method.load_state(read_arrays(file))
        loaded |= dict.fromkeys(group, method)
    for direction in (("image", "text"), ("text", "image")):
        assert np.array_equal(scores(name, loaded, *direction), scores(name, methods, *direction))


@pytest.mark.parametrize("name", [n for n in NAMES if not registry.info("methods", n).stochastic])
def test_the_order_of_the_training_rows_does_not_matter(name):
    assert np.allclose(scores(name, fit(name, permuted(training(name)))), scores(name, fitted(name)), atol=2e-4)


@every
def test_separable_classes_are_found_in_both_directions(name):
    methods = fitted(name)
    for query, gallery in (("image", "text"), ("text", "image")):
        relevance = held_back(name)[query].labels @ held_back(name)[gallery].labels.T > 0
        value = mean_average_precision(scores(name, methods, query, gallery), relevance)
        chance = 1 / CLASSES
        assert value < chance + 0.1 if name == "random" else value > chance + 0.2, f"{query}→{gallery}: {value:.3f}"


@every
@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_it_leaves_what_it_is_given_as_it_is(name):
    """Arrays are read-only, and tensors that share their memory are not changed either."""
    train = training(name)
    before = {m: contents(view.features) for m, view in train.items()}
    methods = fit(name, train)
    for modality, view in train.items():
        methods[modality].embedded(modality, view.features)
    assert {m: contents(view.features) for m, view in train.items()} == before


class InPlace(zero_shot.ZeroShot):
    def embed(self, modality, features):
        features -= 1
        return features


@pytest.mark.parametrize("form", ["array", "file", "sets"])
def test_a_method_cannot_change_the_rows_that_it_is_given(form, tmp_path):
    own = np.arange(12, dtype=np.float32).reshape(6, 2)
    own.tofile(tmp_path / "rows")
    given = {"array": own, "file": vectors.Vectors.of(tmp_path / "rows", 0, own.shape)}
    given["sets"] = sets.Sets.flat(own, np.arange(7))
    view = View(np.arange(6).astype(str), given[form], np.ones((6, 1), np.uint8))
    rows = view.features.values if form == "sets" else view.features
    with pytest.raises(ValueError, match="read-only"):
        InPlace(None, ("image",)).embedded("image", rows)
    for array in (view.labels, view.ids, view.groups, view.rows(np.arange(6) > 2).features):
        assert form == "file" or not getattr(array, "values", array).flags.writeable
    assert own.flags.writeable
    assert np.shares_memory(np.asarray(rows), own) or form == "file"
    assert own.ravel().tolist() == list(range(12))


WRONG = [
    (lambda rows: rows[:1], r"float32 of shape \(1, 2\), expected real numbers of shape \(6, d\)"),
    (lambda rows: rows[:, 0], r"float32 of shape \(6,\), expected"),
    (lambda rows: rows[:, :0], r"float32 of shape \(6, 0\), expected"),
    (lambda rows: None, "NoneType, expected"),
    (lambda rows: [[1], [1, 2]], "list, expected"),
    (lambda rows: rows * 1j, r"complex64 of shape \(6, 2\), expected"),
    (lambda rows: rows.astype(str), "<U"),
    (lambda rows: rows / (np.arange(6)[:, None] != 2), "NaN or infinite values in 1 of 6 rows, the first is row 2"),
]


@pytest.mark.parametrize("form", ["array", "file"])
@pytest.mark.parametrize(("embed", "message"), WRONG)
def test_what_embed_gives_is_checked(embed, message, form, tmp_path):
    rows = np.ones((6, 2), np.float32)
    rows.tofile(tmp_path / "rows")
    given = rows if form == "array" else vectors.Vectors.of(tmp_path / "rows", 0, rows.shape)
    method = InPlace(None, ("image",))
    method.embed = lambda modality, features: embed(features)
    with pytest.raises(UserError, match=f"^method 'test_methods': embed of image gave {message}"):
        method.embedded("image", given)


def test_what_similarity_gives_is_checked():
    method = InPlace(None, ("image",))
    method.similarity = lambda query_modality, query, gallery_modality, gallery: query[:, 0]
    with pytest.raises(UserError, match=r"^method 'test_methods': similarity gave .*, expected .* \(3, 4\)"):
        method.scores("image", np.ones((3, 2)), "text", np.ones((4, 2)))


@every
def test_one_class_is_an_error(name):
    if registry.info("methods", name).labels:
        first = training(name)["image"].labels[:, 0] == 1
        with pytest.raises(UserError, match="class"):
            fit(name, {m: view.rows(first) for m, view in training(name).items()})


@every
def test_missing_labels_are_an_error_where_they_are_needed(name):
    train = {m: view.without_labels() for m, view in training(name).items()}
    if registry.info("methods", name).labels:
        with pytest.raises(UserError, match="label"):
            fit(name, train)
    else:
        assert np.array_equal(scores(name, fit(name, train)), scores(name, fitted(name))), "labels must not be used"


@every
def test_a_number_of_modalities_that_it_cannot_take_is_an_error(name):
    takes = registry.info("methods", name).modalities
    train = data(name, 0, ("image", "text", "audio"))
    for count in {1: (2,), 2: (1, 3), "any": (1,)}[takes]:
        part = dict(list(train.items())[:count])
        with pytest.raises(UserError, match="modalit"):
            create(name, tuple(part), **small(name)).fit(part)


@every
def test_methods_for_any_number_take_three(name):
    if registry.info("methods", name).modalities != 2:
        methods = fit(name, data(name, 0, ("image", "text", "audio")))
        audio = data(name, 1, ("audio",))["audio"]
        embedded = methods["audio"].embed("audio", audio.features)
        text = methods["text"].embed("text", held_back(name)["text"].features)
        assert methods["text"].similarity("text", text, "audio", embedded).shape == (60, 60)


@every
def test_rows_without_a_partner_are_used_or_left_out(name):
    """Modalities of an item may be missing: the image rows then start with ten that have no text."""
    train = {"image": training(name)["image"], "text": training(name)["text"].rows(np.arange(10, 60))}
    assert np.isfinite(scores(name, fit(name, train))).all()


def unpaired(name: str) -> Part:
    """Modalities without an item in common, one with half the rows of the other."""
    image, text = training(name).values()
    text = text.rows(np.arange(0, 60, 2))
    others = np.char.add("other ", text.ids)
    return {"image": image, "text": replace(text, ids=others, groups=others)}


@every
def test_pairs_are_needed_where_info_says_so_and_nowhere_else(name):
    if registry.info("methods", name).pairs:
        with pytest.raises(UserError, match=r"needs pairs: .* pairing: class in its entry draws them"):
            fit(name, unpaired(name))
    else:
        assert np.isfinite(scores(name, fit(name, unpaired(name)))).all()


@every
def test_pairs_that_are_drawn_within_a_class_are_enough(name):
    """What is drawn tells the classes, also to methods that take no labels."""
    rows = unpaired(name)
    of_item = {item: own for view in rows.values() for item, own in zip(view.ids, view.labels, strict=True)}
    train = paired_by_class(rows, lambda ids: np.array([of_item[item] for item in ids]), 0)
    methods = fit(name, train)
    relevance = held_back(name)["image"].labels @ held_back(name)["text"].labels.T > 0
    value = mean_average_precision(scores(name, methods), relevance)
    assert value < 1 / CLASSES + 0.1 if name == "random" else value > 1 / CLASSES + 0.2, f"{value:.3f}"


@every
@pytest.mark.parametrize("value", [0, 0.3, 1e9])
@pytest.mark.parametrize("modalities", [("text",), ("image", "text")])
def test_features_that_are_the_same_in_all_rows_are_an_error(name, value, modalities):
    def constant(features: np.ndarray) -> np.ndarray:
        same = np.full_like(features, value)
        same[::2] = np.nextafter(same[::2], np.float32(np.inf)) if value else 0
        return same

    train = dict(training(name))
    for modality in modalities:
        train[modality] = replace(train[modality], features=mapped(constant, train[modality].features))
    with pytest.raises(UserError, match=r"features of all 60 training rows are the same"):
        fit(name, train)


@every
def test_the_unit_of_the_features_does_not_matter(name, monkeypatch, caplog):
    """But to methods that take features as they are: these say so."""

    own_units = data

    def in_units(*which, **more) -> Part:
        part = own_units(*which, **more)
        return {m: replace(v, features=mapped(lambda x: x * np.float32(1e-15), v.features)) for m, v in part.items()}

    relevance = held_back(name)["image"].labels @ held_back(name)["text"].labels.T > 0
    expected = mean_average_precision(scores(name, fitted(name)), relevance)
    monkeypatch.setitem(globals(), "data", in_units)
    found = mean_average_precision(scores(name, fit(name)), relevance)
    if name in TAKES_UNITS:
        assert "features of up to 1e-14 are taken as they are" in caplog.text
    else:
        assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", QUOTED)
def test_a_quoted_method_says_why(name):
    assert len(registry.info("methods", name).reason) > 20


def test_cosine_of_zero_rows_is_zero():
    assert not unit_rows(np.zeros((2, 3))).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows_of_ordinary_rows_are_the_plain_quotient(dtype):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((200, 7)) * 10.0 ** rng.integers(-11, 17, (200, 1))).astype(dtype)
    rows[3] = 0
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    expected = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    before = rows.copy()
    assert np.array_equal(unit_rows(rows), expected)
    assert np.array_equal(rows, before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 37), (np.float64, 307)])
def test_unit_rows_of_the_shortest_and_the_longest_rows(dtype, largest):
    rows = np.random.default_rng(0).standard_normal((2 * largest, 5))
    scales = 10.0 ** np.arange(-largest, largest)[:, None]
    found = unit_rows((rows * scales).astype(dtype))
    assert found.dtype == dtype
    wanted = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_in_bfloat16_where_it_is_asked_for_and_stay_float32(name):
    full, half = fitted(name), fit(name, precision="bf16")
    assert np.isfinite(scores(name, half)).all()
    assert not np.array_equal(scores(name, half), scores(name, full))
    for modality, method in half.items():
        assert method.embed(modality, held_back(name)[modality].features).dtype == np.float32
        kinds = {key: value.dtype for key, value in full[modality].state().items()}
        assert {key: value.dtype for key, value in method.state().items()} == kinds


BY_THE_BLOCK = [name for name in NAMES if registry.info("methods", name).memory == "block of rows"]
LEARN_NOTHING = {"random", "zero_shot"}
AT_ONCE = 16  # rows of a block or a batch in the next test


def on_disk(part: Part, folder: Path) -> Part:
    """The same part, its features left in files, every other row of which it is."""
    left = {}
    for modality, view in part.items():
        rows = np.repeat(view.features, 2, axis=0)
        rows[1::2] = np.nan
        rows.tofile(folder / modality)
        left[modality] = replace(view, features=vectors.Vectors.of(folder / modality, 0, rows.shape)[::2])
    return left


def without_large_reads(monkeypatch) -> list[int]:
    """How many rows are read each time, from now on; blocks have `AT_ONCE` rows."""
    read: list[int] = []
    whole = vectors.Vectors.__array__

    def counting(self, dtype=None, copy=None):
        read.append(len(self))
        return whole(self, dtype)

    monkeypatch.setattr(vectors.Vectors, "__array__", counting)
    monkeypatch.setattr(vectors, "rows_at_once", lambda row_bytes: AT_ONCE)
    if "cmr.methods.training" in sys.modules:
        monkeypatch.setattr(
            sys.modules["cmr.methods.training"], "INPUT_BYTES", AT_ONCE
        )  # of what a network is applied to
    return read


@pytest.mark.parametrize("name", BY_THE_BLOCK)
def test_rows_that_stay_in_their_file_are_read_by_the_block_and_give_the_same(name, tmp_path, monkeypatch):
    batch = {"batch_size": AT_ONCE} if "batch_size" in type(registry.params("methods", name, {})).model_fields else {}
    whole = fit(name, **batch)
    read = without_large_reads(monkeypatch)
    in_memory = fit(name, **batch)
    for folder in ("train", "held_back"):
        (tmp_path / folder).mkdir()
    stayed = fit(name, on_disk(training(name), tmp_path / "train"), **batch)
    assert max(read) <= AT_ONCE
    assert sum(read) > 2 * len(training(name)["image"]) or name in LEARN_NOTHING
    for modality, method in stayed.items():
        for key, value in method.state().items():
            assert np.array_equal(value, in_memory[modality].state()[key]), key
            assert np.allclose(np.abs(value), np.abs(whole[modality].state()[key]), rtol=1e-3, atol=1e-3), key
    test = held_back(name)
    for modality, view in on_disk(test, tmp_path / "held_back").items():
        embedded = stayed[modality].embedded(modality, view.features)
        assert np.allclose(embedded, stayed[modality].embed(modality, test[modality].features), rtol=1e-4, atol=1e-5)
    for group in groups(name, tuple(test)):
        held = {m: test[m] for m in group}
        left = {m: replace(view, features=on_disk({m: view}, tmp_path)[m].features) for m, view in held.items()}
        expected = stayed[group[0]].validation_score(held)
        assert stayed[group[0]].validation_score(left) == pytest.approx(expected, abs=1e-6)
    assert max(read) <= AT_ONCE
