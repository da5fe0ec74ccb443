"""Penalties on the weights of networks, whose gradients are one pass over each weight, where torch's make several."""

from typing import Any

import torch
from torch import Tensor, nn

from cmr.methods.training import total


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(weight)
        ctx.save_for_backward(weight, length)
        return length

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        weight, length = ctx.saved_tensors
        return weight * torch.where(length > 0, gradient / length, 0)


def norm(weight: Tensor) -> Tensor:
    """The unsquared Frobenius norm of a weight; its gradient at 0 is 0."""
    found: Tensor = _Norm.apply(weight)
    return found


def decay(network: nn.Module, weight: float, biases: bool = False) -> Tensor:
    """``weight``/2 times the squared weights, without ``biases`` or with them."""
    decaying = (w for name, w in network.named_parameters() if biases or name.endswith("weight"))
    return weight / 2 * total(norm(w).square() for w in decaying)
