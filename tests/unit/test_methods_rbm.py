"""Restricted Boltzmann machines against sums over all states of their units."""

import itertools
import math

import pytest
import torch

from cmr.methods.rbm import RBM, divergence, stacked

V, H = 3, 4
KINDS = ["gaussian", "binary", "counts"]


def machine(units, **params):
    torch.manual_seed(0)
    rbm = RBM(V, H, units, **params).double()
    with torch.no_grad():
        for weights in rbm.parameters():
            weights.normal_(0, 0.7)
    return rbm


def rows(units, n=5):
    g = torch.Generator().manual_seed(1)
    if units == "gaussian":
        return torch.randn(n, V, generator=g, dtype=torch.float64)
    if units == "binary":
        return torch.rand(n, V, generator=g, dtype=torch.float64)
    return torch.randint(0, 4, (n, V), generator=g).double() + torch.eye(V, dtype=torch.float64)[0]


def energy(rbm, v, h):
    """Of one state, as the module's docstring has it."""
    interaction = sum(v[i] * rbm.weight[i, j] * h[j] for i in range(V) for j in range(H))
    hidden = sum(rbm.hidden_bias[j] * h[j] for j in range(H))
    visible = sum(rbm.visible_bias[i] * v[i] for i in range(V))
    if rbm.units == "gaussian":
        visible = -sum((v[i] - rbm.visible_bias[i]) ** 2 for i in range(V)) / 2
    if rbm.units == "counts":
        hidden = sum(v) * hidden
    return -visible - hidden - interaction


STATES = list(itertools.product((0.0, 1.0), repeat=H))


@pytest.mark.parametrize("units", KINDS)
def test_the_free_energy_sums_over_the_hidden_states(units):
    rbm, v = machine(units), rows(units)
    for row, found in zip(v, rbm.free_energy(v), strict=True):
        expected = -torch.log(sum(torch.exp(-energy(rbm, row, h)) for h in STATES))
        assert found.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("units", KINDS)
def test_hidden_units_are_on_as_often_as_in_the_hidden_states(units):
    rbm, v = machine(units), rows(units)
    for row, found in zip(v, rbm(v), strict=True):
        weights = [torch.exp(-energy(rbm, row, h)) for h in STATES]
        for j in range(H):
            on = sum(w for w, h in zip(weights, STATES, strict=True) if h[j]) / sum(weights)
            assert found[j].item() == pytest.approx(on.item(), rel=1e-9)


def visible_states(units, draws):
    """All states of the visible units; of counts, one for each sequence of draws."""
    if units == "binary":
        return [torch.tensor(v, dtype=torch.float64) for v in itertools.product((0.0, 1.0), repeat=V)]
    unit = torch.eye(V, dtype=torch.float64)
    return [sum(unit[i] for i in drawn) for drawn in itertools.product(range(V), repeat=draws)]


@pytest.mark.parametrize("units", ["binary", "counts"])
def test_visible_units_have_the_mean_of_their_states(units):
    rbm, h, draws = machine(units), torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64), 3
    states = visible_states(units, draws)
    weights = [torch.exp(-energy(rbm, v, h)) for v in states]
    expected = sum(w * v for w, v in zip(weights, states, strict=True)) / sum(weights)
    assert torch.allclose(rbm.visible(h[None], torch.tensor([[float(draws)]]))[0], expected)


def test_gaussian_units_have_their_least_energy_at_their_mean():
    rbm, h = machine("gaussian"), torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    mean = rbm.visible(h[None], None)[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(energy(rbm, mean, h), mean)
    assert torch.allclose(slope, torch.zeros(V, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("units", KINDS)
def test_the_gradient_is_that_of_contrastive_divergence(units, steps):
    rbm, v = machine(units), rows(units)
    torch.manual_seed(5)
    terms = rbm.terms(v, steps)
    found = torch.autograd.grad(terms["divergence"], list(rbm.parameters()))
    torch.manual_seed(5)
    with torch.no_grad():
        again = v
        for _ in range(steps):
            again = rbm.visible(torch.bernoulli(rbm(again)), v.sum(1, keepdim=True))
        on, on_again = rbm(v), rbm(again)
    assert not torch.allclose(again, v)
    n = len(v)
    for i in range(V):
        for j in range(H):
            expected = sum(again[r, i] * on_again[r, j] - v[r, i] * on[r, j] for r in range(n)) / n
            assert found[0][i, j].item() == pytest.approx(expected.item(), abs=1e-10)
        expected = sum(again[r, i] - v[r, i] for r in range(n)) / n
        assert found[1][i].item() == pytest.approx(expected.item(), abs=1e-10)
    for j in range(H):
        counted = v.sum(1) if units == "counts" else torch.ones(n)
        expected = sum(counted[r] * (on_again[r, j] - on[r, j]) for r in range(n)) / n
        assert found[2][j].item() == pytest.approx(expected.item(), abs=1e-10)


def test_counts_keep_their_sum():
    rbm, v = machine("counts"), rows("counts")
    assert torch.allclose(rbm.visible(rbm(v), v.sum(1, keepdim=True)).sum(1), v.sum(1))


def test_penalties():
    rbm, v = machine("binary", sparsity_cost=0.3, target=0.2, decay=0.05), rows("binary")
    terms = rbm.terms(v)
    assert set(terms) == {"divergence", "sparsity", "decay"}
    sparsity, weights = 0.0, 0.0
    on = rbm(v)
    for j in range(H):
        q = sum(on[r, j].item() for r in range(len(v))) / len(v)
        sparsity += 0.2 * math.log(0.2 / q) + 0.8 * math.log(0.8 / (1 - q))
        weights += sum(rbm.weight[i, j].item() ** 2 for i in range(V))
    assert terms["sparsity"].item() == pytest.approx(0.3 * sparsity, rel=1e-6)
    assert terms["decay"].item() == pytest.approx(0.025 * weights, rel=1e-9)
    assert set(machine("binary").terms(v)) == {"divergence", "decay"}


def test_the_gradient_of_the_sparsity_is_that_of_finite_differences():
    q = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: divergence(0.2, q), [q])
    assert divergence(0.2, torch.tensor([0.2]).double()).item() == pytest.approx(0, abs=1e-7)
    assert torch.isfinite(divergence(0.2, torch.tensor([0.0, 1.0]))).all()


def log_likelihood(rbm, v):
    """Exact, of binary rows."""
    states = torch.stack(visible_states("binary", 0))
    return (-rbm.free_energy(v) - torch.logsumexp(-rbm.free_energy(states), 0)).mean().item()


@pytest.mark.parametrize(("units", "deviation"), [("gaussian", 0.1), ("binary", 0.1), ("counts", 1e-5)])
def test_weights_start_small(units, deviation):
    torch.manual_seed(0)
    rbm = RBM(400, 100, units)
    assert rbm.weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert not rbm.visible_bias.any()
    assert not rbm.hidden_bias.any()


@pytest.mark.parametrize(("units", "decay"), [("gaussian", 0.001), ("counts", 0.007)])
def test_two_machines_stand_one_upon_the_other(units, decay):
    first, second = stacked(6, (5, 4), units, sparsity_cost=0.3, draws=70)
    assert (first.weight.shape, second.weight.shape) == ((6, 5), (5, 4))
    assert (first.units, second.units) == (units, "binary")
    assert (first.decay, second.decay) == (pytest.approx(decay), 0.001)
    assert (first.target, second.target) == (0.2, 0.1)
    assert (first.sparsity_cost, second.sparsity_cost) == (0.3, 0.3)


def test_learning_raises_the_likelihood():
    torch.manual_seed(0)
    rbm = RBM(V, 8).double()
    torch.nn.init.normal_(rbm.weight, std=0.01)
    v = torch.tensor([[1.0, 1, 0], [0, 0, 1]], dtype=torch.float64).repeat(20, 1)
    before = log_likelihood(rbm, v)
    optimizer = torch.optim.Adam(rbm.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        sum(rbm.terms(v).values()).backward()
        optimizer.step()
    assert before == pytest.approx(-3 * math.log(2), abs=0.01)  # eight states alike
    assert log_likelihood(rbm, v) > -2 * math.log(2)  # nearer to the best, which is two states alike


@pytest.mark.parametrize("columns", [slice(0, 2), slice(2, None)])
def test_missing_units_are_inferred_in_turns(columns):
    rbm, v = machine("binary").requires_grad_(False), rows("binary")
    known = v[:, columns]
    found = rbm.infer(known, columns, steps=3)
    for row, expected in zip(known, found, strict=True):
        state = [0.0] * V
        for _ in range(3):
            state[columns] = [float(x) for x in row]
            h = [
                1 / (1 + math.exp(-rbm.hidden_bias[j] - sum(state[i] * rbm.weight[i, j] for i in range(V))))
                for j in range(H)
            ]
            state = [
                1 / (1 + math.exp(-rbm.visible_bias[i] - sum(h[j] * rbm.weight[i, j] for j in range(H))))
                for i in range(V)
            ]
        assert expected.tolist() == pytest.approx(h, rel=1e-9)
    assert not torch.allclose(found, rbm.infer(known, columns, steps=1))


def test_ten_turns_are_taken():
    rbm, known = machine("binary").requires_grad_(False), rows("binary")[:, :2]
    found = rbm.infer(known, slice(0, 2))
    assert torch.equal(found, rbm.infer(known, slice(0, 2), steps=10))
    assert not torch.equal(found, rbm.infer(known, slice(0, 2), steps=9))
