"""FGCrossNet's losses, MRL and the shared classifier: each term and its gradient against literal loops."""

import numpy as np
import pytest
import torch

from cmr.methods.fgcrossnet import Centres, FGCrossNet, Params, quadruplet_loss
from cmr.methods.mrl import MRL, robust_clustering
from cmr.methods.mrl import Params as MRLParams
from cmr.methods.shared_classifier import Params as SharedParams
from cmr.methods.shared_classifier import SharedClassifier
from synthetic import fitted, separable

SIZES = {"image": 4, "text": 3, "audio": 5}


@pytest.fixture(autouse=True)
def precise(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def untrained(plugin, params, modalities=("image", "text")):
    method = plugin(params, modalities)
    torch.manual_seed(0)
    method.network = method.build({m: SIZES[m] for m in modalities}, 4).double()
    return method


def batch(modalities=("image", "text"), n=6):
    g = torch.Generator().manual_seed(1)
    labels = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 1, 0, 2, 1, 3])[:n]]
    labels[0, 3] = 1  # an item of two classes
    return [torch.randn(n, SIZES[m], generator=g, dtype=torch.float64) for m in modalities], labels


def cross_entropy(scores, labels):
    total = 0
    for row, label in zip(scores, labels, strict=True):
        log_sum = torch.log(sum(torch.exp(x) for x in row))
        for x, y in zip(row, label, strict=True):
            total = total - y / label.sum() * (x - log_sum)
    return total / len(scores)


def length(x):
    return torch.sqrt(sum(value**2 for value in x))


def literal_quadruplets(rows, labels, margin):
    n, total, positive = len(rows), 0 * rows.sum(), 0
    same = [[bool((labels[i] * labels[j]).sum() > 0) for j in range(n)] for i in range(n)]
    for a in range(n):
        for p in range(n):
            if p == a or not same[a][p]:
                continue
            for k in range(n):
                for m in range(n):
                    if same[a][k] or same[a][m] or same[k][m]:
                        continue
                    near, far, apart = (length(rows[i] - rows[j]) for i, j in ((a, p), (a, k), (k, m)))
                    loss = 2 * near - far - apart + margin
                    if loss > 0:
                        total, positive = total + loss, positive + 1
    return total / max(positive, 1), positive


def assert_same(found, expected, over):
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    of = [torch.autograd.grad(value, over, retain_graph=True, allow_unused=True) for value in (found, expected)]
    for mine, literal in zip(*of, strict=True):
        assert (mine is None) == (literal is None)
        assert mine is None or torch.allclose(mine, literal, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("margin", [0.1, 1.5, 50.0])
def test_quadruplets_are_those_of_four_loops(margin):
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 2, 2, 3, 0, 1])]
    labels[0, 2] = 1
    expected, positive = literal_quadruplets(rows, labels, margin)
    assert positive > 0
    assert_same(quadruplet_loss(rows, labels @ labels.T > 0, margin), expected, [rows])


def test_there_are_no_quadruplets_of_two_classes():
    rows = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(2, dtype=torch.float64)[torch.arange(6) % 2]
    loss = quadruplet_loss(rows, labels @ labels.T > 0, 1.5)
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_equal_rows_have_a_finite_gradient():
    rows = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(6) % 3]
    quadruplet_loss(rows, labels @ labels.T > 0, 1.5).backward()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_terms_of_fgcrossnet(modalities):
    params = Params(hidden=6, centre_weight=0.3, quadruplet_weight=0.7, margin=2.0)
    method = untrained(FGCrossNet, params, modalities)
    inputs, labels = batch(modalities)
    found = method.terms(inputs, labels)
    scores = [method.network.embed[m](x) for m, x in zip(modalities, inputs, strict=True)]
    rows, row_labels = torch.cat(scores), torch.cat([labels] * len(modalities))
    centre = 0
    for row, label in zip(rows, row_labels, strict=True):
        own = sum(label[c] / label.sum() * method.network.centres.weight[c] for c in range(4))
        centre = centre + sum((row - own) ** 2) / len(rows)
    expected = {
        "label": sum(cross_entropy(each, labels) for each in scores),
        "centre": 0.3 * centre,
        "quadruplet": 0.7 * literal_quadruplets(rows, row_labels, 2.0)[0],
    }
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(method.network.parameters()))


def test_the_centres_are_one_a_class():
    centres = Centres(3)
    share = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]], dtype=torch.float32)
    first = (centres.weight[0] - 1).square().sum()
    second = ((centres.weight[1] + centres.weight[2]) / 2 - 1).square().sum()
    assert centres(torch.ones(2, 3), share).item() == pytest.approx(((first + second) / 2).item(), rel=1e-6)


def test_the_modalities_share_the_class_scores_and_posteriors_are_compared(monkeypatch):
    monkeypatch.undo()
    method = fitted("fgcrossnet", separable(30, seed=3), hidden=8, epochs=2)
    assert method.network.embed["image"][2] is method.network.embed["text"][2]
    embedded = method.embed("image", separable(5, seed=9)["image"].features)
    assert embedded.shape == (5, 3)
    assert np.allclose(embedded.sum(axis=1), 1, atol=1e-5)
    assert embedded.min() >= 0


@pytest.mark.parametrize("layers", [(), (6,), (6, 5)])
@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_the_shared_classifier_sees_every_modality(layers, modalities):
    method = untrained(SharedClassifier, SharedParams(layers=layers, dimension=3), modalities)
    inputs, labels = batch(modalities)
    expected = 0
    for m, x in zip(modalities, inputs, strict=True):
        scores = []
        for h in x:
            for module in method.network.embed[m]:
                h = torch.stack([(w * h).sum() + b for w, b in zip(module.weight, module.bias, strict=True)]) \
                    if hasattr(module, "weight") else torch.stack([x if x > 0 else 0 * x for x in h])  # fmt: skip
            label = method.network.label
            scores.append(torch.stack([(w * h).sum() + b for w, b in zip(label.weight, label.bias, strict=True)]))
        expected = expected + cross_entropy(scores, labels)
    found = method.terms(inputs, labels)
    assert set(found) == {"label"}
    assert len(method.network.embed["image"]) == 2 * len(layers) + 1
    assert_same(found["label"], expected, list(method.network.parameters()))


def literal_mrl(z, centres, labels, clustering, t_label, t_contrast):
    """Eqs. 2 and 5 to 8 of MRL, item by item; z of each modality and the centres of unit length."""
    n, robust, contrast = len(labels), 0, 0
    for of_modality in z:
        for row, label in zip(of_modality, labels, strict=True):
            weights = [torch.exp((c * row).sum() / t_label) for c in centres]
            own = sum(w for w, y in zip(weights, label, strict=True) if y)
            robust = robust + torch.log(1 - own / sum(weights)) / n
    for i, of_modality in enumerate(z):
        for j, row in enumerate(of_modality):
            own, every = 0, 0
            for k, other in enumerate(z):
                for t, candidate in enumerate(other):
                    if (k, t) == (i, j):
                        continue
                    weight = torch.exp((candidate * row).sum() / t_contrast)
                    every = every + weight
                    own = own + weight if t == j else own
            contrast = contrast - torch.log(own / every) / n
    return {"clustering": clustering * robust, "contrast": (1 - clustering) * contrast}


@pytest.mark.parametrize("modalities", [("image", "text"), ("image", "text", "audio")])
def test_terms_of_mrl(modalities):
    params = MRLParams(layers=(6,), dimension=5, clustering=0.3, label_temperature=0.7, contrast_temperature=0.4)
    method = untrained(MRL, params, modalities)
    inputs, labels = batch(modalities)
    outputs = [method.network.embed[m](x) for m, x in zip(modalities, inputs, strict=True)]
    z = [[row / length(row) for row in output] for output in outputs]
    centres = [row / length(row) for row in method.network.label.weight]
    expected = literal_mrl(z, centres, labels, 0.3, 0.7, 0.4)
    found = method.terms(inputs, labels)
    assert set(found) == set(expected)
    for name in found:
        assert_same(found[name], expected[name], list(method.network.parameters()))


def test_mrls_centres_start_orthogonal():
    weight = untrained(MRL, MRLParams(layers=(), dimension=6)).network.label.weight
    assert torch.allclose(weight @ weight.T, torch.eye(4, dtype=torch.float64), atol=1e-6)


def test_a_row_of_every_class_has_a_finite_clustering_loss():
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = robust_clustering(logits, torch.tensor([[1.0, 1, 1], [1, 0, 0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
