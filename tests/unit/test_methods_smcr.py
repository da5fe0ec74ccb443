"""SMCR: each loss term against a literal loop over the paper's formula, and what each parameter switches."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cmr.methods import deep, smcr, training
from cmr.methods.smcr import SMCR, Params, constraint, distance
from synthetic import separable

SMALL = {
    "hidden": 8,
    "dimension": 6,
    "discriminator_layers": (5, 4),
    "batch_size": 10,
    "epochs": 3,
    "learning_rate": 1e-2,
}


def model(seed=0, **params):
    method = SMCR(Params(**SMALL | params), ("image", "text"))
    torch.manual_seed(seed)
    method.network = method.build({"image": 5, "text": 4}, 3)
    return method


def batch(n=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 5, generator=g), torch.randn(n, 4, generator=g)], torch.eye(3)[torch.arange(n) % 3]


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def length(x, y):
    return math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)))


def literal_constraint(v, t, refined_v, refined_t):
    """Eqs. 5 to 7, pair by pair."""
    total = 0.0
    for i in range(len(v)):
        total += max(0.0, length(refined_v[i], t[i]) - length(refined_v[i], v[i]))
        total += max(0.0, length(refined_t[i], v[i]) - length(refined_t[i], t[i]))
    return total / len(v)


def softmax(logits):
    total = sum(math.exp(float(x)) for x in logits)
    return [math.exp(float(x)) / total for x in logits]


def test_distance_is_the_length_of_each_difference_and_has_no_gradient_at_zero():
    x, y = rows(5, 3), rows(5, 3, seed=1)
    assert distance(x, y).tolist() == pytest.approx([length(a, b) for a, b in zip(x, y, strict=True)], rel=1e-6)
    x.requires_grad_()
    distance(x, x.detach()).sum().backward()
    assert not x.grad.any()


def test_constraint_is_equations_5_to_7():
    v, t, refined_v, refined_t = (rows(9, 4, seed=s) for s in range(4))
    found = float(constraint((v, t), (refined_v, refined_t)))
    assert found == pytest.approx(literal_constraint(v, t, refined_v, refined_t), rel=1e-6)
    assert found > 0


def test_constraint_is_zero_where_each_refined_row_is_nearer_to_the_other_medium():
    v, t = rows(4, 3), rows(4, 3, seed=1)
    assert float(constraint((v, t), (t, v))) == 0


@pytest.mark.parametrize("function", ["distance", "constraint"])
def test_gradients_are_those_of_finite_differences(function, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # float32 is too coarse for differences
    of = {
        "distance": lambda v, t, *_: distance(v, t),
        "constraint": lambda v, t, a, b: constraint((v, t), (a, b)),
    }[function]
    assert torch.autograd.gradcheck(of, [rows(5, 4, seed=s).requires_grad_() for s in range(4)])


@pytest.mark.parametrize("labelled", ["base", "refined", "both"])
@pytest.mark.parametrize("discriminated", ["base", "refined", "both"])
def test_terms_are_equations_1_to_10(labelled, discriminated):
    method = model(alpha=0.5, beta=3.0, labelled=labelled, discriminated=discriminated)
    (image, text), labels = batch()
    network, n = method.network, len(labels)
    v, t = network.base["image"](image), network.base["text"](text)
    outputs = {"base": (v, t), "refined": (network.refine["image"](v), network.refine["text"](t))}
    label = before = after = adversarial = 0.0
    for i in range(n):
        for space in smcr.spaces_of(labelled):
            p_v, p_t = (softmax(network.label[space](s[i])) for s in outputs[space])
            label -= sum(float(y) * (math.log(a) + math.log(b)) for y, a, b in zip(labels[i], p_v, p_t, strict=True))
            if space == smcr.spaces_of(labelled)[0]:
                before += length(p_v, p_t)
        after += length(v[i], t[i])
        for space in smcr.spaces_of(discriminated):
            d_v, d_t = (torch.sigmoid(network.discriminator(s[i])).item() for s in outputs[space])
            adversarial -= math.log(d_v) + math.log(1 - d_t)
    expected = {
        "label": label / n,
        "consistency": 0.5 * (before + after) / n,
        "constraint": 3 * literal_constraint(v, t, *outputs["refined"]),
        "adversarial": -adversarial / n,
    }
    found = {name: term.item() for name, term in method.terms([image, text], labels).items()}
    assert found == pytest.approx(expected, rel=1e-5)
    assert method.discriminator_terms([image, text])["media"].item() == pytest.approx(adversarial / n, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"alpha": 0.0}, "consistency"),
        ({"beta": 0.0}, "constraint"),
        ({"semantics_before": "none"}, "consistency"),
        ({"labelled": "base"}, "label"),
        ({"discriminated": "refined"}, "adversarial"),
    ],
)
def test_each_parameter_changes_exactly_its_term(change, term):
    base = {"labelled": "both", "discriminated": "base", "semantics_before": "predicted"}
    unchanged, changed = model(**base), model(**base | change)
    changed.network.load_state_dict(unchanged.network.state_dict(), strict=False)  # it may have fewer classifiers
    before, after = unchanged.terms(*batch()), changed.terms(*batch())
    assert {name for name in before if float(before[name]) != float(after[name])} == {term}
    assert set(before) == {"label", "consistency", "constraint", "adversarial"}
    if set(change.values()) == {0.0}:
        assert float(after[term]) == 0


def test_without_semantics_before_only_the_mapped_distance_is_left():
    method = model(semantics_before="none")
    (image, text), labels = batch()
    v, t = method.network.base["image"](image), method.network.base["text"](text)
    expected = sum(length(a, b) for a, b in zip(v, t, strict=True)) / len(v)
    assert method.terms([image, text], labels)["consistency"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("space", ["base", "refined"])
def test_retrieval_compares_the_chosen_space(space):
    method = SMCR(Params(**SMALL, retrieved=space), ("image", "text"))
    part = separable(n=12)
    method.fit(part)
    inputs = torch.as_tensor(method.scaling["text"](part["text"].features, np.float32))
    expected = method.network.base["text"](inputs)
    if space == "refined":
        expected = method.network.refine["text"](expected)
    assert np.allclose(method.embed("text", part["text"].features), expected.detach().numpy(), atol=1e-6)


def test_the_discriminator_takes_one_step_after_k_of_the_networks(monkeypatch):
    steps = []

    def record(network, updates, **options):
        steps.extend((update.optimizer, update.optimizer.defaults["lr"]) for update in updates)
        return training.History()

    monkeypatch.setattr(deep, "train", record)
    method = SMCR(Params(**SMALL, mapping_steps=3, discriminator_rate=0.1), ("image", "text"))
    method.fit(separable(n=12))
    mapping, discriminator = steps[0][0], steps[-1][0]
    assert [optimizer for optimizer, _ in steps] == [mapping] * 3 + [discriminator]
    assert [rate for _, rate in steps] == pytest.approx([0.01, 0.01, 0.01, 0.001])
    own = {id(w) for w in method.network.discriminator.parameters()}
    everything = {id(w) for w in method.network.parameters()}
    assert {id(w) for w in discriminator.param_groups[0]["params"]} == own
    assert {id(w) for w in mapping.param_groups[0]["params"]} == everything - own


def test_the_history_holds_the_mean_of_each_term_whatever_k_is():
    first, second = (
        SMCR(Params(**SMALL | {"mapping_steps": k, "learning_rate": 1e-12, "epochs": 1}), ("image", "text")).fit(
            separable(n=20)
        )
        for k in (1, 3)
    )
    assert first.rows[0] == pytest.approx(second.rows[0], rel=1e-5)


def test_the_discriminators_update_does_not_reach_the_networks():
    method = model()
    (image, text), _ = batch()
    method.discriminator_terms([image, text])["media"].backward()
    assert all(w.grad is None for w in method.network.mapping_parameters())
    assert all(w.grad is not None for w in method.network.discriminator.parameters())


def test_the_discriminator_has_three_layers_and_the_nets_one_structure():
    network = SMCR(Params(), ("image", "text")).build({"image": 4096, "text": 5000}, 10)
    assert sum(isinstance(layer, nn.Linear) for layer in network.discriminator) == 3

    def outputs(net):
        return [layer.out_features for layer in net if isinstance(layer, nn.Linear)]

    assert outputs(network.base["image"]) == outputs(network.refine["image"]) == outputs(network.refine["text"])


@pytest.mark.parametrize("size", [2, 50])
def test_small_and_large_batches_and_equal_rows_give_finite_terms(size):
    part = {m: view.rows(np.array([0, 0, 0, 0, 4, 5, 6])) for m, view in separable().items()}
    history = SMCR(Params(**SMALL | {"batch_size": size}), ("image", "text")).fit(part)
    assert np.isfinite([list(row.values()) for row in history.rows]).all()


def test_the_epoch_is_chosen_on_validation_rows_only(monkeypatch):
    scores = iter([0.2, 0.9, 0.1])
    monkeypatch.setattr(SMCR, "validation_score", lambda self, part: next(scores))
    history = SMCR(Params(**SMALL), ("image", "text")).fit(separable(n=20), separable(n=9, seed=1))
    assert history.chosen == {"epochs": 2}
    assert smcr.INFO.chooses == ("epochs",)
