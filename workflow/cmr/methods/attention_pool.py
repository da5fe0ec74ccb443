"""Heads on sets: elements pooled by attention, trained by symmetric InfoNCE.

A set of elements h₁ … h_k becomes one vector by the attention of Ilse, Tomczak and Welling, "Attention-based deep
multiple instance learning", ICML 2018 (equations 7 and 8):

    z = Σᵢ aᵢ hᵢ,    aᵢ = exp(wᵀ tanh(V hᵢ)) / Σⱼ exp(wᵀ tanh(V hⱼ)).

V has a bias. ``pooling: mean`` takes aᵢ = 1/k instead. The order of the elements does not count, so that a sequence is
a set too. Where a modality has a vector x besides, the head gets [x; z]; where it has a vector alone, x. What follows,
head, loss and scale, is `infonce`. The paper classifies bags of images; that its pooling is trained by InfoNCE here is
this project's choice. The epoch is chosen on held-out pairs.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.batches import SetBatch
from cmr.methods.common_params import DeepParams
from cmr.methods.infonce import InfoNCE
from cmr.methods.scaling import of_sets
from cmr.methods.training import feed_forward

INFO = MethodInfo(
    title="Attention-pooled InfoNCE heads",
    paper="Ilse, Tomczak and Welling, Attention-based deep multiple instance learning, ICML 2018",
    bibtex="""@inproceedings{ilse2018attention,
  author = {Ilse, Maximilian and Tomczak, Jakub M. and Welling, Max},
  title = {Attention-Based Deep Multiple Instance Learning},
  booktitle = {ICML},
  pages = {2127--2136},
  year = {2018}
}""",
    implementation="own",
    modalities=2,
    takes=("vector", "set", "both"),
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(DeepParams):
    pooling: Literal["attention", "mean"] = Field("attention", description="how a set becomes one vector")
    attention: int = Field(128, ge=1, description="rows of V")
    layers: tuple[PositiveInt, ...] = Field((), description="hidden layers of each head, ReLU; none: a linear map")
    dimension: int = Field(512, ge=1, description="dimensions of the embedding")
    temperature: float = Field(0.07, ge=0.01, description="1/s at the start; s, at most 100, is learned")
    batch_size: int = Field(256, ge=2, description="rows a step, which are each other's negatives")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step")


class AttentionPool(InfoNCE):
    info = INFO
    replayed = False  # the sets of a batch are read from their file, which a GPU cannot repeat
    params: Params  # type: ignore[assignment]  # those of the heads, and of the pooling

    def heads(self, dimensions: Mapping[str, int]) -> dict[str, nn.Module]:
        return {
            m: PooledHead(dimensions.get(m, 0), dimensions.get(of_sets(m), 0), self.params) for m in self.modalities
        }


class PooledHead(nn.Module):
    """A vector (b, d), a `SetBatch`, or both → (b, dimension). ``vector``, ``elements``: their lengths, 0 for none."""

    def __init__(self, vector: int, elements: int, params: Params):
        super().__init__()
        self.pool = Attention(elements, params.attention) if elements and params.pooling == "attention" else None
        self.head = feed_forward((vector + elements, *params.layers, params.dimension), nn.ReLU)

    def forward(self, given: Tensor | SetBatch | tuple[Tensor, SetBatch]) -> Tensor:
        if isinstance(given, tuple):
            vector, sets = given
            return self.head(torch.cat([vector, self.pooled(sets)], dim=1))
        return self.head(self.pooled(given) if isinstance(given, SetBatch) else given)

    def pooled(self, sets: SetBatch) -> Tensor:
        scores = torch.zeros_like(sets.elements[:, :, 0]) if self.pool is None else self.pool(sets.elements)
        return weighted_mean(sets, scores)


class Attention(nn.Module):
    """wᵀ tanh(V h) (b, k) of elements (b, k, d)."""

    def __init__(self, elements: int, rows: int):
        super().__init__()
        self.inner, self.outer = nn.Linear(elements, rows), nn.Linear(rows, 1, bias=False)

    def forward(self, elements: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(elements))).squeeze(2)


def weighted_mean(sets: SetBatch, scores: Tensor) -> Tensor:
    """The elements' mean (b, d), weighted by the softmax of their ``scores`` (b, k) over each item's own."""
    weights = scores.masked_fill(~sets.mask, -torch.inf).softmax(dim=1)
    return (weights[:, None] @ sets.elements).squeeze(1)
