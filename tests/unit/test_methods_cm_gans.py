"""CM-GANs: each loss term and its gradient against literal loops, who learns from what, and what is shared."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cmr.methods import cm_gans
from cmr.methods.cm_gans import CMGANs, Params
from synthetic import fitted, separable

SMALL = {"hidden": 7, "dimension": 5, "discriminator_hidden": 6, "batch_size": 10, "epochs": 3, "learning_rate": 1e-2}
SIZES = {"image": 4, "text": 3}


def untrained(**params):
    method = CMGANs(Params(**SMALL | params), ("image", "text"))
    torch.manual_seed(0)
    method.network = method.build(SIZES, 3).double()
    for module in method.network.modules():
        if isinstance(module, nn.BatchNorm1d):  # weights other than 1 and 0
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return method


@pytest.fixture(autouse=True)
def precise(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # literal loops and gradients to many digits


def batch(n=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(n, d, generator=g, dtype=torch.float64) for d in SIZES.values()]
    return inputs, torch.eye(3, dtype=torch.float64)[torch.arange(n) % 3]


def linear(module, rows):
    biases = torch.zeros(len(module.weight)) if module.bias is None else module.bias
    return [[sum(w * x for w, x in zip(ws, row, strict=True)) + b for ws, b in zip(module.weight, biases, strict=True)]
            for row in rows]  # fmt: skip


def normalise(module, rows):
    """Batch normalisation by the rows' own mean and variance, number by number."""
    out = [[None] * len(rows[0]) for _ in rows]
    for k in range(len(rows[0])):
        mean = sum(row[k] for row in rows) / len(rows)
        variance = sum((row[k] - mean) ** 2 for row in rows) / len(rows)
        for i, row in enumerate(rows):
            out[i][k] = (row[k] - mean) / (variance + module.eps) ** 0.5 * module.weight[k] + module.bias[k]
    return out


def run(network, rows):
    """A network of the method's layers on rows, number by number."""
    for module in network:
        if isinstance(module, nn.Linear):
            rows = linear(module, rows)
        elif isinstance(module, nn.BatchNorm1d):
            rows = normalise(module, rows)
        else:
            rows = [[x if x > 0 else 0.2 * x for x in row] for row in rows]
    return rows


def loss(logits, wanted):
    """Binary cross-entropy of the sigmoid, mean over the rows."""
    total = 0
    for (logit,) in logits:
        p = 1 / (1 + torch.exp(-logit))
        total = total - torch.log(p if wanted else 1 - p)
    return total / len(logits)


def side_by_side(codes, rows):
    return [list(code) + list(row) for code, row in zip(codes, rows, strict=True)]


def label_loss(classifier, codes, labels):
    total = 0
    for logits, label in zip(linear(classifier, codes), labels, strict=True):
        total = total - logits[int(label.argmax())] + torch.log(sum(torch.exp(x) for x in logits))
    return total / len(codes)


def literal_generator_terms(method, inputs, labels):
    g, d = method.network.generator, method.network.discriminator
    v, t = inputs
    c_v, c_t = run(g.embed["image"], v), run(g.embed["text"], t)
    within = loss(linear(d.within["image"], run(g.decode["image"], c_v)), 1)
    within = within + loss(linear(d.within["text"], run(g.decode["text"], c_t)), 1)
    across = loss(run(d.across["image"], side_by_side(c_t, v)), 1)
    across = across + loss(run(d.across["text"], side_by_side(c_v, t)), 1)
    label = label_loss(g.label["image"], c_v, labels) + label_loss(g.label["text"], c_t, labels)
    return {"deceive_within": within, "deceive_across": across, "label": label}


def literal_discriminator_terms(method, inputs, wrong, found):
    g, d = method.network.generator, method.network.discriminator
    v, t = inputs
    codes = {"image": run(g.embed["image"], v), "text": run(g.embed["text"], t)}
    within, across = 0, 0
    for m, other, x in (("image", "text", v), ("text", "image", t)):
        w = x[wrong]
        within = within + loss(linear(d.within[m], x), 1) + loss(linear(d.within[m], run(g.decode[m], codes[m])), 0)
        across = across + loss(run(d.across[m], side_by_side(codes[m], x)), 1)
        across = across + loss(run(d.across[m], side_by_side(codes[other], x)), 0) / 2
        of_wrong = run(d.across[m], side_by_side(run(g.embed[m], w), w))
        across = across + loss([logit for logit, counts in zip(of_wrong, found, strict=True) if counts], 0) / 2
    return {"within": within, "across": across}


def gradients(value, side):
    return torch.autograd.grad(value, list(side.parameters()), allow_unused=True, retain_graph=True)


def assert_same(found, expected, learner):
    """Each term and its gradient in what learns from it."""
    assert set(found) == set(expected)
    for name in found:
        assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-9), name
        pairs = zip(gradients(found[name], learner), gradients(expected[name], learner), strict=True)
        for mine, literal in pairs:
            assert (mine is None) == (literal is None), name
            if mine is not None:
                assert torch.allclose(mine, literal, rtol=1e-7, atol=1e-10), name


def test_terms_of_the_autoencoders():
    method = untrained()
    inputs, labels = batch()
    found = method.terms(inputs, labels)
    assert_same(found, literal_generator_terms(method, inputs, labels), method.network.generator)
    sum(found.values()).backward()
    assert all(weight.grad is None for weight in method.network.discriminator.parameters())


def test_terms_of_the_discriminators(monkeypatch):
    method = untrained()
    inputs, labels = batch()
    wrong = torch.tensor([1, 2, 3, 4, 5, 0, 7, 6])
    has_another = torch.tensor([True, False, True, True, False, True, True, True])
    monkeypatch.setattr(cm_gans, "rows_of_other_classes", lambda _: (wrong, has_another))
    found = method.discriminator_terms(inputs, labels)
    expected = literal_discriminator_terms(method, inputs, wrong, has_another)
    assert_same(found, expected, method.network.discriminator)
    assert all(g is None for term in found.values() for g in gradients(term, method.network.generator))


def test_rows_without_another_class_go_without_the_term():
    logits = torch.tensor([[0.5], [-1.0], [2.0]], dtype=torch.float64)
    counted = torch.tensor([True, False, True])
    expected = (math.log(1 + math.exp(0.5)) + math.log(1 + math.exp(2.0))) / 2
    assert cm_gans.fake(logits, counted).item() == pytest.approx(expected)
    assert cm_gans.fake(logits, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_the_item_of_another_class_shares_no_label_and_any_may_be_drawn():
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=torch.float64)
    torch.manual_seed(0)
    drawn = [cm_gans.rows_of_other_classes(labels)[0] for _ in range(100)]
    assert [{int(rows[i]) for rows in drawn} for i in range(4)] == [{2, 3}, {2, 3}, {0, 1}, {0, 1}]
    assert cm_gans.rows_of_other_classes(labels[:2])[1].tolist() == [False, False]


def test_each_update_moves_its_own_side_and_the_autoencoders_take_five_steps():
    method = untrained()
    method.inputs, method.labels = batch()
    updates = method.updates()
    assert len(updates) == 6
    assert len({id(update) for update in updates[1:]}) == 1
    assert {group["betas"] for update in updates for group in update.optimizer.param_groups} == {(0.5, 0.999)}
    sides = (method.network.discriminator, method.network.generator)
    for update, moves, stays in ((updates[0], *sides), (updates[1], *sides[::-1])):
        before = [[p.detach().clone() for p in side.parameters()] for side in (moves, stays)]
        update.optimizer.zero_grad()
        sum(update.terms(torch.arange(8)).values()).backward()
        update.optimizer.step()
        assert not any(torch.equal(a, b) for a, b in zip(before[0], moves.parameters(), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(before[1], stays.parameters(), strict=True))


def test_the_encoders_share_their_last_layer_but_not_its_statistics():
    method = untrained()
    inputs, _ = batch()
    image, text = (method.network.embed[m] for m in ("image", "text"))
    assert image[3] is text[3]
    assert image[4].weight is text[4].weight
    method.embed_all(inputs)
    assert not torch.equal(image[4].running_mean, text[4].running_mean)
    assert image[0] is not text[0]


def test_the_step_is_halved_where_the_code_halves_it():
    """train.lua halves before the batches of each epoch, counted from 1, that ``decay_every`` divides."""
    method = untrained(halving=2)
    method.updates()
    rates = []
    for epoch in range(1, 6):
        method.each_epoch(epoch)
        rates.append([group["lr"] for optimizer in method.optimizers for group in optimizer.param_groups])
    assert rates == [[0.01] * 2, [0.005] * 2, [0.005] * 2, [0.0025] * 2, [0.0025] * 2]


def test_codes_are_standardised_by_the_training_rows(monkeypatch):
    monkeypatch.undo()
    train = separable(40, seed=3)
    method = fitted("cm_gans", train, **SMALL)
    for m, view in train.items():
        embedded = method.embed(m, view.features).astype(float)
        assert np.allclose(embedded.mean(axis=0), 0, atol=1e-4)
        assert np.allclose(embedded.std(axis=0), 1, atol=1e-3)
        assert np.allclose(method.embed(m, view.features[:3]), embedded[:3], atol=1e-5)
