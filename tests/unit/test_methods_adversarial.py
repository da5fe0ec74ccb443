"""Adversarial losses against literal formulas."""

import math

import pytest
import torch
from torch import nn

from cmr.methods.adversarial import discriminator_loss, modality_loss, reverse_gradient


def test_gradient_reversal():
    x = torch.ones(3, requires_grad=True)
    y = reverse_gradient(x, 0.25)
    assert torch.equal(y, x)
    y.sum().backward()
    assert torch.equal(x.grad, torch.full((3,), -0.25))


def test_modality_loss_is_the_cross_entropy_with_its_gradient_reversed():
    classifier = nn.Linear(4, 2)
    u, v = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = modality_loss(classifier, u, v, 0.01)
    first, second = torch.softmax(classifier(u), 1), torch.softmax(classifier(v), 1)
    plain = -(first[:, 0].log().sum() + second[:, 1].log().sum()) / 5
    assert float(loss) == pytest.approx(float(plain), rel=1e-6)
    reversed_gradient, own = torch.autograd.grad(loss, (u, classifier.weight), retain_graph=True)
    forward_gradient, own_plain = torch.autograd.grad(plain, (u, classifier.weight))
    assert torch.allclose(reversed_gradient, -0.01 * forward_gradient, atol=1e-7)
    assert torch.allclose(own, own_plain, atol=1e-6)


def test_discriminator_loss_is_the_binary_cross_entropy():
    classifier, v, t = nn.Linear(4, 1), torch.randn(5, 4), torch.randn(3, 4)
    expected = 0.0
    for row in v:
        expected -= math.log(1 / (1 + math.exp(-float(classifier(row))))) / 5
    for row in t:
        expected -= math.log(1 - 1 / (1 + math.exp(-float(classifier(row))))) / 3
    assert float(discriminator_loss(classifier, v, t)) == pytest.approx(expected, rel=1e-5)


def test_gradients_of_the_discriminator_loss_are_those_of_finite_differences():
    discriminator = nn.Linear(4, 1).double()
    v, t = (torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda v, t: discriminator_loss(discriminator, v, t), (v, t))
