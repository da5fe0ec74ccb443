"""Restricted Boltzmann machines: logistic hidden units h over Gaussian, binary or counted visible units v.

    gaussian  E(v, h) = ½ ‖v − c‖² − bᵀh − vᵀW h          with variance 1
    binary    E(v, h) = −cᵀv − bᵀh − vᵀW h                 v in [0, 1]
    counts    E(v, h) = −cᵀv − n bᵀh − vᵀW h,  n = Σ v     the replicated softmax: n draws of one of the units

The last is Salakhutdinov and Hinton's, "Replicated softmax", NIPS 2009. Learning is by contrastive divergence, Hinton,
"Training products of experts by minimizing contrastive divergence", 2002: with F(v) = −log Σ_h e^(−E) the free energy
and ṽ what Gibbs sampling makes of v, the gradient of mean F(v) − F(ṽ), ṽ held fixed. Hidden units are sampled on the
way to ṽ, visible ones are their means.

Where weights start, and the penalties of `stacked`, are those of the public codes of `cmdn` and `ccl`. Of counts these
codes divide the statistics by n, and so the gradient of all but the decay; here n multiplies the decay. What goes up
from counts weighs ten times as much there as what comes down, so that no energy has both; here it weighs as much.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmr.methods.penalties import norm
from cmr.methods.steps import Terms

Units = Literal["gaussian", "binary", "counts"]
FIRST_WEIGHTS_OF_COUNTS = 1e-5  # their deviation; of other machines it is 1/√hidden
TARGETS = (0.2, 0.1)  # mean activities of two machines, one upon the other
DECAY, DECAY_OF_A_COUNT = 0.001, 0.0001
SMALLEST = 1e-6


class RBM(nn.Module):
    """``sparsity_cost`` is that of mean activities other than ``target``, ``decay`` that of the squared weights."""

    def __init__(
        self,
        visible: int,
        hidden: int,
        units: Units = "binary",
        sparsity_cost: float = 0,
        target: float = 0.1,
        decay: float = 0,
    ):
        super().__init__()
        self.units, self.sparsity_cost, self.target, self.decay = units, sparsity_cost, target, decay
        first = FIRST_WEIGHTS_OF_COUNTS if units == "counts" else hidden**-0.5
        self.weight = nn.Parameter(first * torch.randn(visible, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, v: Tensor) -> Tensor:
        """The probabilities (n, h) of the hidden units."""
        return torch.sigmoid(self._hidden_input(v))

    def visible(self, h: Tensor, draws: Tensor) -> Tensor:
        """The mean of the visible units (n, v) given hidden ones; ``draws`` (n, 1) is n of counts."""
        x = h @ self.weight.T + self.visible_bias
        if self.units == "gaussian":
            return x
        return torch.sigmoid(x) if self.units == "binary" else draws * torch.softmax(x, dim=1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F (n,) of visible units, without what does not depend on them or the weights."""
        return self._free_energy(v, self._hidden_input(v))

    def terms(self, v: Tensor, steps: int = 1) -> Terms:
        """What is minimised on rows (n, v): the contrastive divergence of ``steps`` Gibbs steps, and the penalties."""
        x = self._hidden_input(v)  # one product serves the energy, the first sample and the sparsity
        with torch.no_grad():
            again = self._gibbs_step(v, torch.sigmoid(x))
            for _ in range(steps - 1):
                again = self._gibbs_step(again, self(again))
        terms = {"divergence": (self._free_energy(v, x) - self.free_energy(again)).mean()}
        if self.sparsity_cost:
            terms["sparsity"] = self.sparsity_cost * divergence(self.target, torch.sigmoid(x).mean(dim=0)).sum()
        return terms | {"decay": self.decay / 2 * norm(self.weight).square()}

    def infer(self, known: Tensor, columns: slice, steps: int = 10) -> Tensor:
        """The hidden units (n, h) where only the visible units ``columns`` are known: (n, k).

        The others start at 0, and take turns with the hidden ones: each gets its mean given the other (mean field).
        """
        v = known.new_zeros(len(known), len(self.weight))
        for _ in range(steps):
            v[:, columns] = known
            h = self(v)
            v = self.visible(h, v.sum(1, keepdim=True))
        return h

    def _gibbs_step(self, v: Tensor, h: Tensor) -> Tensor:
        """The mean of the visible units given a sample of the hidden ones, which are on with probability ``h``."""
        return self.visible(torch.bernoulli(h), v.sum(1, keepdim=True))

    def _free_energy(self, v: Tensor, hidden_input: Tensor) -> Tensor:
        linear = -v @ self.visible_bias
        if self.units == "gaussian":
            linear = (v - self.visible_bias).square().sum(1) / 2
        return linear - functional.softplus(hidden_input).sum(1)

    def _hidden_input(self, v: Tensor) -> Tensor:
        bias = self.hidden_bias if self.units != "counts" else v.sum(1, keepdim=True) * self.hidden_bias
        return v @ self.weight + bias


def stacked(visible: int, hidden: tuple[int, int], units: Units, sparsity_cost: float, draws: int) -> list[RBM]:
    """Two machines, one upon the other; the first sees ``units``, counts of which add up to ``draws``."""
    decay = draws * DECAY_OF_A_COUNT if units == "counts" else DECAY
    return [
        RBM(visible, hidden[0], units, sparsity_cost, TARGETS[0], decay),
        RBM(*hidden, "binary", sparsity_cost, TARGETS[1], DECAY),
    ]


def divergence(target: float, mean: Tensor) -> Tensor:
    """Kullback-Leibler divergence of units that are on with probability ``mean`` from ones with ``target``."""
    q, t = mean.clamp(SMALLEST, 1 - SMALLEST), torch.as_tensor(target)
    return t * (t.log() - q.log()) + (1 - t) * ((1 - t).log() - (1 - q).log())
