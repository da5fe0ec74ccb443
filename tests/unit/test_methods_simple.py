"""The closed forms of cca, ridge_label, semantic_matching and random, and their shared scaling."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from cmr import registry
from cmr.data import View
from cmr.errors import UserError
from cmr.methods.base import History, Method
from cmr.methods.linear import ridge
from cmr.methods.scaling import Scaling
from literal import average_precision, best_first


def fitted(name, part, **params):
    method = registry.load("methods", name)(registry.params_model("methods", name)(**params), tuple(part))
    method.fit(part)
    return method


def views(n=40, dims=(6, 4), classes=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.eye(classes, dtype=np.uint8)[generator.integers(classes, size=n)]
    ids = np.array([f"item{i}" for i in range(n)])
    return {
        modality: View(
            ids, (labels @ generator.normal(size=(classes, d)) + generator.normal(size=(n, d))).astype("f4"), labels
        )
        for modality, d in zip(("image", "text"), dims, strict=True)
    }


def test_scaling_modes_by_hand():
    rows = np.array([[1, 5, 2], [3, 5, 6]], np.float32)
    assert np.allclose(Scaling.fit(rows)(rows), [[-1, 0, -1], [1, 0, 1]])
    one = np.sqrt((1 + 0 + 4) / 3)
    assert np.allclose(Scaling.fit(rows, "centre")(rows) * one, [[-1, 0, -2], [1, 0, 2]])
    assert np.array_equal(Scaling.fit(rows, "none")(rows), rows)


@pytest.mark.parametrize("mode", ["standardise", "centre"])
@pytest.mark.parametrize("factor", [1e-30, 1e-15, 1e15])
def test_scaled_features_have_no_unit(mode, factor):
    rows = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32) + 3
    scaled = rows * np.float32(factor)
    np.testing.assert_allclose(Scaling.fit(scaled, mode)(scaled), Scaling.fit(rows, mode)(rows), atol=1e-5)


def test_a_ridge_that_is_lost_beside_the_features_is_told():
    rows = 3e7 + np.random.default_rng(0).standard_normal((60, 12))
    with pytest.raises(UserError, match=r"ridge of 0\.02 is lost beside features of up to 3e\+07"):
        ridge(rows, rows[:, :2], 0.02)


def test_scaling_is_of_the_training_rows():
    train = np.array([[0.0], [2.0]], np.float32)
    assert np.allclose(Scaling.fit(train)(np.array([[5.0]], np.float32)), 4)


@pytest.mark.parametrize("dims", [(6, 4), (70, 55)])
def test_cca_solves_the_generalised_eigenproblem(dims):
    part, r = views(dims=dims), 0.1
    method = fitted("cca", part, components=3, regularisation=r)
    x, y = (method.scaling[m](part[m].features) for m in part)
    n, (dx, dy) = len(x), dims
    cross = np.block([[np.zeros((dx, dx)), x.T @ y / n], [y.T @ x / n, np.zeros((dy, dy))]])
    own = scipy.linalg.block_diag(x.T @ x / n + r * np.eye(dx), y.T @ y / n + r * np.eye(dy))
    stacked = np.vstack([method.maps["image"], method.maps["text"]])
    assert np.abs(cross @ stacked - own @ stacked * method.correlations).max() < 1e-10
    assert np.allclose(method.correlations, scipy.linalg.eigh(cross, own)[0][::-1][:3])


def test_cca_has_uncorrelated_components_of_unit_penalised_variance():
    part = views()
    method = fitted("cca", part, components=4, regularisation=0.2)
    for modality in part:
        x = method.scaling[modality](part[modality].features)
        w = method.maps[modality]
        assert np.allclose(w.T @ (x.T @ x / len(x) + 0.2 * np.eye(x.shape[1])) @ w, np.eye(4))


def test_cca_stops_at_the_rank():
    part = views(dims=(6, 4))
    duplicated = np.repeat(part["text"].features[:, :1], 4, axis=1)
    part["text"] = View(part["text"].ids, duplicated, part["text"].labels)
    assert fitted("cca", part, components=4).maps["text"].shape == (4, 1)


@pytest.mark.parametrize("d", [5, 80])
def test_ridge_has_zero_gradient_in_both_forms(d):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(40, d)), generator.normal(size=(40, 3))
    w = ridge(x, y, 0.3)
    assert np.abs(x.T @ (x @ w - y) / 40 + 0.3 * w).max() < 1e-12


def test_ridge_label_is_ridge_on_centred_labels():
    part = {"text": views()["text"]}
    method = fitted("ridge_label", part, alpha=0.3)
    x, y = method.scaling["text"](part["text"].features), part["text"].labels
    expected = np.linalg.solve(x.T @ x / 40 + 0.3 * np.eye(4), x.T @ (y - y.mean(axis=0)) / 40)
    assert np.allclose(method.maps["text"], expected)


class AsTheyAre(Method):
    """Compares features by the cosine."""

    def fit(self, train, validation=None, unlabelled=None):
        return History()

    def embed(self, modality, features):
        return features.astype(np.float32)

    def state(self):
        return {}

    def load_state(self, state):
        pass


def noisy(n, modalities):
    """Of each modality a noisy copy of the same rows."""
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(n, 5))
    return {m: (rows + generator.normal(size=(n, 5))).astype(np.float32) for m in modalities}


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_with_labels_choices_are_made_by_the_mean_precision_of_all_directions():
    rows, labels = noisy(15, ("image", "text", "audio")), np.eye(3, dtype=np.uint8)[np.arange(15) % 3]
    found = []
    for query in rows:
        for gallery in rows.keys() - {query}:
            for q, label in zip(rows[query], labels, strict=True):
                ranked = best_first([cosine(q, g) for g in rows[gallery]], [bool(label @ other) for other in labels])
                found.append(average_precision(ranked))
    held_out = {m: View(np.arange(15).astype(str), x, labels) for m, x in rows.items()}
    assert AsTheyAre(None, tuple(rows)).validation_score(held_out) == pytest.approx(np.mean(found), abs=1e-6)


@pytest.mark.parametrize(("n", "among"), [(8, 1), (40, 4), (130, 10)])
def test_without_labels_choices_are_made_by_the_share_of_pairs_among_the_first_ten_or_a_tenth(n, among):
    rows, found = noisy(n, ("image", "text")), []
    for query, gallery in (("image", "text"), ("text", "image")):
        for i, q in enumerate(rows[query]):
            found.append(i in best_first([cosine(q, g) for g in rows[gallery]], range(n))[:among])
    assert 0.2 < np.mean(found) < 0.8
    held_out = {m: View(np.arange(n).astype(str), x) for m, x in rows.items()}
    assert AsTheyAre(None, ("image", "text")).validation_score(held_out) == pytest.approx(np.mean(found))


def test_a_method_of_one_modality_is_chosen_by_the_ranking_of_each_row_s_others():
    held_out = views(n=14, seed=1)["text"]
    method = fitted("ridge_label", {"text": views()["text"]})
    embedded, found = method.embed("text", held_out.features), []
    for i, (row, label) in enumerate(zip(embedded, held_out.labels, strict=True)):
        others = [j for j in range(14) if j != i]
        cosines = [cosine(row, embedded[j]) for j in others]
        found.append(average_precision(best_first(cosines, [bool(label @ held_out.labels[j]) for j in others])))
    assert method.validation_score({"text": held_out}) == pytest.approx(np.mean(found), abs=1e-6)


def test_semantic_matching_is_at_the_minimum_of_its_loss():
    part = {"text": views()["text"]}
    method = fitted("semantic_matching", part, alpha=0.1)
    x, y = method.scaling(part["text"].features), part["text"].labels
    posteriors = method.embed("text", part["text"].features)
    assert np.allclose(posteriors.sum(axis=1), 1, atol=1e-6)
    assert np.abs(x.T @ (posteriors - y) / len(x) + 0.1 * method.weights).max() < 1e-3


def test_semantic_matching_of_two_classes_has_the_weights_of_the_second_alone():
    view = views(classes=2)["text"]
    method = fitted("semantic_matching", {"text": view}, alpha=0.1)
    assert not method.weights[:, 0].any()
    x, posteriors = method.scaling(view.features), method.embed("text", view.features)
    for row, posterior in zip(x, posteriors, strict=True):
        odds = sum(a * b for a, b in zip(row, method.weights[:, 1], strict=True)) + method.offset[1]
        assert posterior == pytest.approx([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], abs=1e-6)
    gradient = x.T @ (posteriors[:, 1] - view.labels[:, 1]) / len(x) + 0.1 * method.weights[:, 1]
    assert np.abs(gradient).max() < 1e-3


@pytest.mark.parametrize("present", [2, 3])
def test_semantic_matching_gives_an_absent_class_no_probability(present):
    view = views(classes=present)["text"]
    labels = np.zeros((len(view), 5), np.uint8)
    labels[:, 1 : 1 + present] = view.labels
    part = {"text": View(view.ids, view.features, labels)}
    posteriors = fitted("semantic_matching", part).embed("text", view.features)
    assert posteriors.shape == (40, 5)
    assert np.all(posteriors[:, [0, 4]] == 0)
    assert (posteriors.argmax(axis=1) == labels.argmax(axis=1)).mean() > 0.6


def test_semantic_matching_shares_a_row_among_its_labels():
    view = views(classes=3)["text"]
    labels = view.labels.copy()
    labels[:20, 2] = 1
    part = {"text": View(view.ids, view.features, labels)}
    method = fitted("semantic_matching", part, alpha=0.1)
    x, targets = method.scaling(view.features), labels / labels.sum(axis=1, keepdims=True)
    gradient = x.T @ (method.embed("text", view.features) - targets) / len(x) + 0.1 * method.weights
    assert np.abs(gradient).max() < 1e-3


def test_semantic_matching_is_chosen_by_the_likelihood_of_held_out_rows():
    part, held_out = {"text": views()["text"]}, {"text": views(n=12, seed=1)["text"]}
    several = np.vstack([[1, 1, 0], held_out["text"].labels[1:]])
    held_out["text"] = replace(held_out["text"], labels=several)
    method = fitted("semantic_matching", part, alpha=0.1)
    posteriors = method.embed("text", held_out["text"].features)
    total = 0.0
    for posterior, labels in zip(posteriors, held_out["text"].labels, strict=True):
        total += sum(np.log(posterior[c]) for c in range(3) if labels[c]) / sum(labels)
    assert method.validation_score(held_out) == pytest.approx(total / 12, abs=1e-6)


def test_a_class_that_training_rows_lack_has_no_part_in_the_likelihood():
    view, other = views(classes=2)["text"], views(n=12, classes=2, seed=1)["text"]
    part, known = {"text": View(view.ids, view.features, np.pad(view.labels, ((0, 0), (0, 1))))}, np.arange(12) > 0
    labels = np.pad(other.labels, ((0, 0), (0, 1)))
    labels[0] = 0, 0, 1
    method = fitted("semantic_matching", part)
    score = method.validation_score({"text": View(other.ids, other.features, labels)})
    assert score == method.validation_score({"text": View(other.ids[known], other.features[known], labels[known])})
    with pytest.raises(UserError, match="no held-out row is of a class"):
        method.validation_score({"text": View(other.ids[:1], other.features[:1], labels[:1])})


def test_random_is_a_function_of_seed_modality_and_row():
    view = views()["text"]
    method = fitted("random", {"text": view})
    embedded = method.embed("text", view.features)
    assert np.array_equal(embedded[5:9], method.embed("text", view.features[5:9]))
    assert not np.array_equal(embedded, method.embed("image", view.features))
    assert abs(np.corrcoef(embedded[0], embedded[1])[0, 1]) < 0.5


def test_zero_shot_is_the_cosine_of_the_features_themselves():
    part = {"image": views()["image"]}
    method = fitted("zero_shot", part)
    rows = part["image"].features
    block = method.similarity("image", rows[:3], "text", rows)
    expected = rows[0] @ rows[5] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[5])
    assert block[0, 5] == pytest.approx(expected, rel=1e-5)


def test_zero_shot_refuses_features_of_different_spaces():
    method = fitted("zero_shot", {"image": views()["image"]})
    with pytest.raises(UserError, match="clip_image"):
        method.similarity("image", np.ones((2, 4)), "text", np.ones((2, 3)))


def test_coupled_projections_are_the_dictionaries_last_update():
    part = views(dims=(60, 50))
    method = fitted("coupled_projections", part, ridge=0.3)
    a_v, a_t = (part[m].features.T.astype(float) for m in part)
    p1 = a_v @ a_t.T @ np.linalg.inv(a_t @ a_t.T + 0.3 * np.eye(50))
    p2 = a_t @ a_v.T @ np.linalg.inv(a_v @ a_v.T + 0.3 * np.eye(60))

    literal = [[(cosine(v, p1 @ t) + cosine(p2 @ v, t)) / 2 for t in a_t.T] for v in a_v.T]
    image, text = (method.embed(m, part[m].features) for m in part)
    assert np.allclose(method.similarity("image", image, "text", text), literal, atol=1e-5)


def test_a_feature_that_is_constant_in_training_is_0_in_new_rows_too():
    """Nothing tells how large a deviation of it would be: in raw units it could outweigh all others."""
    train = np.array([[1, 0], [2, 0], [4, 0]], np.float32)
    assert np.allclose(Scaling.fit(train)(np.array([[1, 50.0]]), np.float32), [[(1 - 7 / 3) / train[:, 0].std(), 0]])
    assert np.isfinite(list(Scaling.fit(train).state("x").values())[1].astype(np.float32)).all()


def test_what_float32_rounds_off_a_constant_is_no_variance():
    rows = np.array([[1000, 1], [np.nextafter(np.float32(1000), np.float32(2000)), 3]], np.float32)
    assert rows[0, 0] != rows[1, 0]
    assert np.allclose(Scaling.fit(rows)(rows), [[0, -1], [0, 1]])
