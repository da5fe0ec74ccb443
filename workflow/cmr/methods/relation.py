"""DRSL's relation network: scores of all pairs of image and text representations.

The first layer of a fusion that is linear in both sides splits into one product a side, W [u; v] = A u + B v, so n·m
pairs cost n + m rows of products. What is left of a network with one hidden layer, Σ_k w_k max(0, a_ik + b_jk), is
limited by memory: `PairScores` computes it, and its gradient, tile by tile in cache and keeps nothing of size n·m·h.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CACHED = (8, 64)  # rows and columns of pairs whose 1024 hidden neurons fit a core's cache
STREAMED = (64, 64)  # and of those that are scored at once where all pairs would not fit the memory


class Relation(nn.Module):
    """``layers`` hidden layers of ``hidden`` neurons, each with ReLU, on pairs of fused representations; one output.

    ``fusion`` of u and v (``size`` each): concatenation [u; v], multiplication u ∘ v, addition or subtraction u − v.
    """

    def __init__(self, fusion: str, size: int, hidden: int, layers: int, batch_normalisation: bool):
        super().__init__()
        self.fusion = fusion
        fused = 2 * size if fusion == "concatenation" else size
        self.first = nn.Linear(fused, hidden, bias=not batch_normalisation)
        self.norm = PairNorm(hidden) if batch_normalisation else None
        self.rest = nn.Sequential(*hidden_layers((hidden,) * layers, batch_normalisation), nn.Linear(hidden, 1))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Scores (n, m) of all pairs of rows of ``u`` (n, size) and ``v`` (m, size)."""
        return self._pairs(*self._sides(u, v))

    def stream(self, u: Tensor, v: Tensor) -> Tensor:
        """As `forward`, in memory for the scores and one tile of pairs."""
        a, b = self._sides(u, v)
        scores = u.new_empty(len(u), len(v))
        for rows, columns in tiles(len(u), len(v), *STREAMED):
            scores[rows, columns] = self._pairs(a[rows], b[columns])
        return scores

    def _sides(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """a and b whose sums a_i + b_j are what enters the first ReLU; u and v where there are none."""
        weight = self.first.weight
        if self.fusion == "multiplication":
            return u, v
        if self.fusion == "concatenation":
            of_u, of_v = weight.split(u.shape[1], dim=1)
        else:
            of_u, of_v = weight, weight if self.fusion == "addition" else -weight
        a, b = functional.linear(u, of_u, self.first.bias), functional.linear(v, of_v)
        return self.norm.of_sides(a, b) if self.norm else (a, b)

    def _pairs(self, a: Tensor, b: Tensor) -> Tensor:
        if self.fusion == "multiplication":
            fused = self.first((a[:, None] * b).flatten(0, 1))
            hidden = functional.relu(self.norm(fused) if self.norm else fused)
        elif len(self.rest) == 1 and not a.is_cuda:
            weight, bias = self.rest.parameters()
            return PairScores.apply(a, b, weight[0]) + bias
        else:
            hidden = functional.relu(a[:, None] + b).flatten(0, 1)
        return self.rest(hidden).view(len(a), len(b))


def hidden_layers(sizes: tuple[int, ...], batch_normalisation: bool) -> list[nn.Module]:
    """Linear layers sizes[0] → sizes[1] → …, each followed by batch normalisation, where it is on, and ReLU.

    A bias before a batch normalisation would do nothing; Adam would move it by what rounding leaves of its gradient.
    """
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        norm = [nn.BatchNorm1d(outer)] if batch_normalisation else []
        layers += [nn.Linear(inner, outer, bias=not norm), *norm, nn.ReLU()]
    return layers


class PairNorm(nn.BatchNorm1d):
    """Batch normalisation over all pairs."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def of_sides(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Of the n·m rows a_i + b_j, as two sides again: the sum of the results' rows i and j is the normalised row.

        Exact, since over all pairs the two summands are independent: means add up, and so do variances.
        """
        a, b = a.to(self.weight.dtype), b.to(self.weight.dtype)  # mixed precision would lose the moments
        if self.training:
            mean = a.mean(0) + b.mean(0)
            variance = a.var(0, correction=0) + b.var(0, correction=0)
            self._remember(mean.detach(), variance.detach(), len(a) * len(b))
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (a - mean) * scale + self.bias, b * scale

    def _remember(self, mean: Tensor, variance: Tensor, pairs: int) -> None:
        """The running moments, as `torch.nn.BatchNorm1d` keeps them: the variance without bias."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * pairs / (pairs - 1), self.momentum)


class PairScores(torch.autograd.Function):
    """R_ij = Σ_k w_k max(0, a_ik + b_jk), (n, m), of ``a`` (n, h), ``b`` (m, h) and ``w`` (h,).

    With M_ijk = 1 where a_ik + b_jk > 0 else 0, G the gradient of R, U_ik = Σ_j G_ij M_ijk and V_jk = Σ_i G_ij M_ijk:
    ∂a = w U, ∂b = w V, ∂w_k = Σ_i a_ik U_ik + Σ_j b_jk V_jk. M is computed again in the backward pass, in cache.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, w)
        scores = a.new_empty(len(a), len(b))
        for rows, columns, sums in _sums_of_tiles(a, b):
            scores[rows, columns] = sums.clamp_(min=0) @ w
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b, w = ctx.saved_tensors
        u, v = torch.zeros_like(a), torch.zeros_like(b)
        for rows, columns, sums in _sums_of_tiles(a, b):
            masked = sums.gt_(0).mul_(gradient[rows, columns, None])
            u[rows] += masked.sum(1)
            v[columns] += masked.sum(0)
        return u * w, v * w, (a * u).sum(0) + (b * v).sum(0)


def _sums_of_tiles(a: Tensor, b: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """a_i + b_j (rows, columns, h) of one tile of pairs after the other, all in the same memory, free to be changed."""
    memory = a.new_empty(CACHED[0] * CACHED[1] * a.shape[1])
    for rows, columns in tiles(len(a), len(b), *CACHED):
        left, right = a[rows, None], b[columns]
        sums = memory[: left.shape[0] * right.numel()].view(left.shape[0], *right.shape)
        yield rows, columns, torch.add(left, right, out=sums)


def tiles(n: int, m: int, rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Slices that cut a matrix (n, m) into tiles of at most ``rows`` × ``columns``."""
    for j in range(0, m, columns):
        for i in range(0, n, rows):
            yield slice(i, min(i + rows, n)), slice(j, min(j + columns, m))
