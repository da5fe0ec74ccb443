"""The losses of the contrastive heads and their gradients, against their formulas written out as loops."""

import math

import numpy as np
import pytest
import torch

from cmr.data import View, paired
from cmr.methods.heads import negatives
from cmr.methods.infonce import info_nce
from cmr.methods.vsepp import hardest_triplets
from synthetic import create, separable

GROUPS = [0, 1, 0, 2, 3, 3, 3]
B = len(GROUPS)
SCORES = np.random.default_rng(5).normal(size=(B, B))


def literal_info_nce(scores, groups, scale):
    total = 0.0
    for i in range(B):
        others = [j for j in range(B) if j == i or groups[j] != groups[i]]
        for of in (lambda j, i=i: scale * scores[i, j], lambda j, i=i: scale * scores[j, i]):
            total -= of(i) - math.log(sum(math.exp(of(j)) for j in others))
    return total / (2 * B)


def literal_triplets(scores, groups, margin):
    total = 0.0
    for i in range(B):
        others = [j for j in range(B) if groups[j] != groups[i]]
        for of in (lambda j, i=i: scores[i, j], lambda j, i=i: scores[j, i]):
            total += max([0.0, *(margin + of(j) - of(i) for j in others)])
    return total / B


LOSSES = {
    "infonce": (lambda s, n: info_nce(3.0 * s, n), lambda s, g: literal_info_nce(s, g, 3.0)),
    "vsepp": (lambda s, n: hardest_triplets(s, n, 0.4), lambda s, g: literal_triplets(s, g, 0.4)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("groups", [GROUPS, list(range(B)), [7] * B])
def test_losses_and_gradients_are_those_of_the_loops(name, groups):
    loss, literal = LOSSES[name]
    scores = torch.tensor(SCORES, requires_grad=True)
    found = loss(scores, negatives(torch.tensor(groups)[:, None]))
    found.backward()
    assert found.item() == pytest.approx(literal(SCORES, groups), abs=1e-12)
    step = 1e-6
    for i in range(B):
        for j in range(B):
            higher, lower = SCORES.copy(), SCORES.copy()
            higher[i, j] += step
            lower[i, j] -= step
            slope = (literal(higher, groups) - literal(lower, groups)) / (2 * step)
            assert scores.grad[i, j].item() == pytest.approx(slope, abs=1e-7)


def test_the_scale_is_learned_and_stays_below_a_hundred():
    train = separable(40, seed=3)
    method = create("infonce", dimension=8, epochs=3, learning_rate=0.01)
    method.fit(train)
    learned = method.network.scale().item()
    assert learned != pytest.approx(1 / 0.07, rel=1e-3)
    with torch.no_grad():
        method.network.log_scale.fill_(20.0)
        method.network.log_scale.grad = None
    scale = method.network.scale()
    assert scale.item() == pytest.approx(100)
    scale.backward()
    assert method.network.log_scale.grad.item() == pytest.approx(100)  # so that it may fall again


@pytest.mark.parametrize("name", ["infonce", "vsepp"])
def test_terms_are_the_loss_of_the_cosines_of_a_batch(name):
    train = separable(B, seed=3)
    method = create(name, dimension=5, layers=(6,), **{"infonce": {"temperature": 0.2}, "vsepp": {"margin": 0.4}}[name])
    torch.manual_seed(0)
    method.network = method.build({m: view.features.shape[1] for m, view in train.items()}, 1)
    inputs = [torch.as_tensor(view.features) for view in train.values()]
    (term,) = method.terms(inputs, torch.tensor(GROUPS)[:, None]).values()
    u, v = (out.detach().numpy().astype(float) for out in method.embed_all(inputs))
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in v] for a in u])
    literal = (
        literal_info_nce(cosines, GROUPS, 1 / 0.2) if name == "infonce" else literal_triplets(cosines, GROUPS, 0.4)
    )
    assert term.item() == pytest.approx(literal, rel=1e-4)
    first, relu, last = method.network.embed["image"]
    assert (first.out_features, type(relu), last.out_features) == (6, torch.nn.ReLU, 5)


@pytest.mark.parametrize("name", ["infonce", "vsepp"])
def test_other_captions_of_a_picture_are_no_negatives_in_training(name, monkeypatch):
    """A fit on two captions a picture sees, in each batch, which rows are of one picture."""
    part = separable(20, seed=3)
    groups = np.repeat(np.arange(20), 2).astype(str)
    text = View(np.char.add("t", np.arange(40).astype(str)), part["text"].features.repeat(2, axis=0), None, groups)
    train = {"image": View(np.arange(20).astype(str), part["image"].features), "text": text}
    assert len(paired(train, ("image", "text"))[0]) == 40
    seen = []
    method = create(name, dimension=4, epochs=1, batch_size=40)
    terms = method.terms
    monkeypatch.setattr(method, "terms", lambda inputs, labels: seen.append(labels) or terms(inputs, labels))
    method.fit(train)
    (labels,) = seen
    assert (negatives(labels).sum(1) == 38).all()
