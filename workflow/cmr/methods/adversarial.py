"""Losses of networks that tell the modality of a representation, and of those that hide it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


def reverse_gradient(x: Tensor, weight: float) -> Tensor:
    """The gradient reversal layer: the identity, whose gradient is multiplied by −``weight``.

    Ganin and Lempitsky, Unsupervised domain adaptation by backpropagation, ICML 2015.
    """
    return _Reverse.apply(x, weight)


def modality_loss(classifier: nn.Module, u: Tensor, v: Tensor, reversal: float) -> Tensor:
    """Cross-entropy of which of u and v (b, k) each row is of, mean over the pairs, behind the gradient reversal layer.

    ``classifier``: rows (2b, k) → logits (2b, 2). ``reversal``: the weight of the reversed gradient.
    """
    logits = classifier(reverse_gradient(torch.cat([u, v]), reversal))
    modality = torch.arange(2, device=u.device).repeat_interleave(len(u))
    return functional.cross_entropy(logits, modality, reduction="sum") / len(u)


def discriminator_loss(discriminator: nn.Module, ones: Tensor, zeros: Tensor) -> Tensor:
    """−log D − log(1 − D), means over the rows of ``ones`` and of ``zeros``; D is the sigmoid of the output (b, 1)."""
    return functional.softplus(-discriminator(ones)).mean() + functional.softplus(discriminator(zeros)).mean()
