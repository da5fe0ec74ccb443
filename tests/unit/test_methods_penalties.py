"""Penalties against torch's own operations and literal loops."""

import pytest
import torch
from torch import nn

from cmr.methods.penalties import decay, norm


def test_a_norm_and_its_gradient_are_torchs():
    weight = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found, expected = 3 * norm(weight), 3 * weight.norm()
    assert found.item() == expected.item()
    of = [torch.autograd.grad(value, weight)[0] for value in (found, expected)]
    assert torch.allclose(*of, rtol=1e-14)
    assert torch.autograd.gradcheck(lambda w: norm(w).square(), weight)


def test_the_gradient_at_0_is_0():
    weight = torch.zeros(4, 2, requires_grad=True)
    norm(weight).backward()
    assert weight.grad.tolist() == torch.zeros(4, 2).tolist()


def test_decay_leaves_biases_out():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.ones_(network[0].bias)
    weights = [layer.weight.tolist() for layer in (network[0], network[2])]
    literal = sum(number**2 for weight in weights for row in weight for number in row)
    found = decay(network, 0.3)
    assert found.item() == pytest.approx(0.3 / 2 * literal, rel=1e-6)
    found.backward()
    assert torch.allclose(network[2].weight.grad, 0.3 * network[2].weight)
    assert network[0].bias.grad is None


def test_decay_counts_biases_where_it_is_asked_to():
    network = nn.Linear(4, 3)
    literal = network.weight.square().sum() + network.bias.square().sum()
    found = decay(network, 0.3, biases=True)
    assert found.item() == pytest.approx(0.3 / 2 * literal.item(), rel=1e-6)
    found.backward()
    assert torch.allclose(network.bias.grad, 0.3 * network.bias)
