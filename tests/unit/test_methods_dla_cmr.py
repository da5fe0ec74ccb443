"""DLA-CMR: each loss term against a literal loop over the paper's formula, and what each parameter switches."""

import numpy as np
import pytest
import torch
from torch import nn

from cmr.data import View
from cmr.methods import dla_cmr
from cmr.methods.adversarial import modality_loss
from cmr.methods.dla_cmr import (
    DLACMR,
    Params,
    drawn_triplet_sum,
    drawn_triplets,
    label_loss,
    triplet_sum,
    weight_norms,
)

SMALL = {"first_layers": (8, 6), "second_layers": (6,), "batch_size": 8, "epochs": 3, "learning_rate": 1e-2}


def batch(n=7, c=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.zeros(n, c)
    labels[torch.arange(n), torch.arange(n) % c] = 1
    return [torch.randn(n, 5, generator=g), torch.randn(n, 4, generator=g)], labels


def part(n=20, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    labels = np.eye(3, dtype=np.uint8)[classes]
    ids = np.array([f"i{k}" for k in range(n)])
    return {
        m: View(ids, (rng.normal(size=(n, d)) + 2 * rng.normal(size=(3, d))[classes]).astype(np.float32), labels)
        for m, d in (("image", 5), ("text", 4))
    }


def test_triplets_are_the_sum_of_equation_11():
    u, v = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    classes = [0, 0, 1, 2, 1, 0]
    relevant = torch.tensor([[a == b for b in classes] for a in classes])
    expected = 0.0
    for i in range(6):
        for j in range(6):
            for k in range(6):
                if classes[i] == classes[j] and classes[i] != classes[k]:
                    positive, negative = (u[i] - v[j]).norm(), (u[i] - v[k]).norm()
                    expected += max(0.0, float(positive - negative) + 0.3)
    assert float(triplet_sum(torch.cdist(u, v), relevant, 0.3)) == pytest.approx(expected)


@pytest.mark.parametrize("of_batch", [triplet_sum, drawn_triplet_sum])
def test_triplets_of_a_batch_without_negatives_are_zero(of_batch):
    distance = torch.rand(4, 4, requires_grad=True)
    loss = of_batch(distance, torch.ones(4, 4, dtype=torch.bool), 1.0)
    assert float(loss.detach()) == 0
    loss.backward()
    assert not distance.grad.any()


def test_drawn_triplets_are_one_a_row_and_of_its_labels():
    """Over many draws every relevant and every irrelevant row comes up, as often as the others."""
    classes = torch.tensor([0, 0, 1, 2, 1, 0, 0])
    relevant = classes[:, None] == classes
    torch.manual_seed(0)
    drawn = [drawn_triplets(relevant) for _ in range(3000)]
    counts = torch.zeros(2, 7, 7)
    for anchor, positive, negative in drawn:
        assert anchor.tolist() == list(range(7))
        for i, j, k in zip(anchor.tolist(), positive.tolist(), negative.tolist(), strict=True):
            assert classes[i] == classes[j]
            assert classes[i] != classes[k]
            counts[0, i, j] += 1
            counts[1, i, k] += 1
    for count, mask in zip(counts, (relevant, ~relevant), strict=True):
        expected = 3000 * mask / mask.sum(1, keepdim=True)
        assert ((count - expected).abs() <= 4 * expected.sqrt()).all()  # four deviations


def test_drawn_triplets_are_equation_11_with_its_gradient():
    u, v = (torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    classes = torch.tensor([0, 0, 1, 2, 1, 0])
    relevant = classes[:, None] == classes
    torch.manual_seed(3)
    loss = drawn_triplet_sum(torch.cdist(u, v), relevant, 0.3)
    torch.manual_seed(3)
    expected, gradient_u, gradient_v = 0.0, torch.zeros(6, 3), torch.zeros(6, 3)
    for i, j, k in zip(*(rows.tolist() for rows in drawn_triplets(relevant)), strict=True):
        positive, negative = u[i] - v[j], u[i] - v[k]
        violation = float(positive.norm() - negative.norm()) + 0.3
        if violation > 0:
            towards, away = positive / positive.norm(), negative / negative.norm()
            expected += violation
            gradient_u[i] += (towards - away).detach()
            gradient_v[j] -= towards.detach()
            gradient_v[k] += away.detach()
    assert float(loss) == pytest.approx(expected)
    assert expected > 0
    for found, wanted in zip(torch.autograd.grad(loss, (u, v)), (gradient_u, gradient_v), strict=True):
        assert torch.allclose(found.float(), wanted, atol=1e-6)


@pytest.mark.parametrize("triplets", ["all", "drawn"])
def test_a_fit_with_either_form_of_triplets_repeats_itself(triplets):
    fits = [DLACMR(Params(**SMALL, triplets=triplets, margin=1), ("image", "text")) for _ in range(2)]
    terms = [[row["triplet"] for row in fit.fit(part(), None).rows] for fit in fits]
    assert terms[0] == terms[1]
    assert min(terms[0]) > 0


@pytest.mark.parametrize(("scales", "reversed_by"), [("embeddings", 0.7), ("classifier", 1.0)])
def test_the_terms_are_those_of_equation_14(scales, reversed_by):
    weights = {"label_weight": 3.0, "triplet_weight": 0.4, "norm_weight": 0.02, "reversal": 0.7, "margin": 0.9}
    params = Params(**SMALL | weights, triplets="all", reversal_scales=scales)
    method = DLACMR(params, ("image", "text"))
    torch.manual_seed(0)
    method.network = method.build({"image": 5, "text": 4}, 3)
    inputs, labels = batch(n=30)  # more than the 25 rows from which torch may take a matrix product
    labels[0, 1] = 1
    terms = method.terms(inputs, labels)
    u, v = (out.double() for out in method.embed_all(inputs))
    triplets = torch.zeros((), dtype=torch.float64)
    for anchors, others in ((u, v), (v, u)):
        for i in range(30):
            for j in range(30):
                for k in range(30):
                    if labels[i] @ labels[j] > 0 and labels[i] @ labels[k] == 0:
                        gap = (anchors[i] - others[j]).norm() - (anchors[i] - others[k]).norm() + 0.9
                        triplets = triplets + torch.clamp(gap, min=0)
    logits = [method.network.label(out.float()) for out in (u, v)]
    label = sum(label_loss(found, labels) for found in logits)
    norms = sum(w.norm() for name, w in method.network.embed.named_parameters() if name.endswith("weight"))
    expected = {
        "label": 3.0 * label,
        "triplet": 0.4 * triplets,
        "norm": 0.02 * norms,
        "modality": modality_loss(method.network.modality, u.float(), v.float(), reversed_by),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5)
    over = list(method.network.embed.parameters())
    for name in ("label", "triplet", "modality"):
        mine, literal = (
            torch.autograd.grad(x[name], over, retain_graph=True, allow_unused=True) for x in (terms, expected)
        )
        for a, b in zip(mine, literal, strict=True):
            assert torch.allclose(a, b.float(), rtol=1e-3, atol=1e-5)


def test_distances_are_as_exact_as_the_margin_needs():
    g = torch.Generator().manual_seed(0)
    u, v = (0.9 + 0.001 * torch.randn(64, 100, generator=g) for _ in range(2))
    expected = torch.cdist(u.double(), v.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert (dla_cmr.euclidean(u, v).double() - expected).abs().max() < 1e-6


def test_label_loss_is_equation_15():
    logits, labels = torch.randn(5, 3), torch.eye(3)[[0, 2, 1, 1, 0]]
    p = torch.softmax(logits, 1)
    expected = -sum(float(torch.log(p[i, labels[i].argmax()])) for i in range(5)) / 5
    assert float(label_loss(logits, labels)) == pytest.approx(expected, rel=1e-6)


def test_weight_norms_are_equation_13():
    networks = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)), "b": nn.Linear(4, 2)})
    expected = sum(
        float(sum(w**2 for row in layer.weight.tolist() for w in row)) ** 0.5
        for layer in (networks["a"][0], networks["a"][2], networks["b"])
    )
    assert weight_norms(networks).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"label_weight": 0.0}, "label"),
        ({"triplet_weight": 0.0}, "triplet"),
        ({"norm_weight": 0.0}, "norm"),
        ({"margin": 2.0}, "triplet"),
    ],
)
def test_each_parameter_changes_exactly_its_term(change, term):
    def terms(params):
        model = DLACMR(params, ("image", "text"))
        torch.manual_seed(0)
        model.network = model.build({"image": 5, "text": 4}, 3)
        return model.terms(*batch())

    before, after = terms(Params(**SMALL)), terms(Params(**SMALL | change))
    changed = {name for name in before if float(before[name]) != float(after[name])}
    assert changed == {term}
    assert set(before) == {"label", "triplet", "norm", "modality"}


@pytest.mark.parametrize("scales", ["embeddings", "classifier"])
def test_without_reversal_the_modality_classifier_does_not_reach_the_embedding(scales):
    model = DLACMR(Params(**SMALL, reversal=0, reversal_scales=scales), ("image", "text"))
    model.network = model.build({"image": 5, "text": 4}, 3)
    model.terms(*batch())["modality"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.network.embed.parameters())
    assert any(p.grad.any() for p in model.network.modality.parameters())


@pytest.mark.parametrize(
    ("scales", "of_embeddings", "of_classifier"), [("embeddings", 0.01, 1.0), ("classifier", 1.0, 0.01)]
)
def test_lambda_scales_the_networks_gradient_or_the_classifiers_step(scales, of_embeddings, of_classifier):
    """Of Algorithm 1's gradients of −L_adv: what the networks descend, and the rate at which the classifier ascends."""
    model = DLACMR(Params(**SMALL, reversal=0.01, reversal_scales=scales), ("image", "text"))
    torch.manual_seed(0)
    model.network = model.build({"image": 5, "text": 4}, 3)
    inputs, labels = batch()
    weights = list(model.network.embed.parameters())
    u, v = (model.network.embed[m](x) for m, x in zip(("image", "text"), inputs, strict=True))
    first, second = (torch.softmax(model.network.modality(rows), 1) for rows in (u, v))
    adversarial = -(first[:, 0].log() + second[:, 1].log()).mean()
    descended = torch.autograd.grad(model.terms(inputs, labels)["modality"], weights)
    for found, plain in zip(descended, torch.autograd.grad(-adversarial, weights), strict=True):
        assert torch.allclose(found, of_embeddings * plain, atol=1e-8)
    (update,) = model.updates()
    rate_of = {w: group["lr"] for group in update.optimizer.param_groups for w in group["params"]}
    assert set(rate_of) == set(model.network.parameters())
    for name, weight in model.network.named_parameters():
        expected = of_classifier if name.startswith("modality") else 1.0
        assert rate_of[weight] == pytest.approx(expected * SMALL["learning_rate"])


def test_the_papers_layers_are_the_defaults():
    model = DLACMR(Params(), ("image", "text"))
    network = model.build({"image": 4096, "text": 5000}, 10)
    sizes = {
        m: [layer.out_features for layer in net if isinstance(layer, nn.Linear)] for m, net in network.embed.items()
    }
    assert sizes == {"image": [2000, 512, 200, 100], "text": [512, 200, 100]}
    assert all(isinstance(layer, nn.Tanh) for net in network.embed.values() for layer in list(net)[1::2])


def test_labels_that_are_several_share_their_mass():
    logits = torch.randn(1, 3)
    both = label_loss(logits, torch.tensor([[1.0, 1.0, 0.0]]))
    log = torch.log_softmax(logits, 1)[0]
    assert float(both) == pytest.approx(-float(log[0] + log[1]) / 2, rel=1e-6)


def test_the_epoch_is_chosen_on_validation_rows_only(monkeypatch):
    model = DLACMR(Params(**SMALL), ("image", "text"))
    scores = iter([0.2, 0.9, 0.1])
    monkeypatch.setattr(DLACMR, "validation_score", lambda self, rows: next(scores))
    history = model.fit(part(), part(9, seed=1))
    assert history.chosen == {"epochs": 2}
    assert dla_cmr.INFO.chooses == ("epochs",)
