"""CLIP4CMR: a small head on each side of a dual encoder's features, trained by one of six losses.

Zeng and Mao, "A comprehensive empirical study of vision-language pre-trained model for supervised cross-modal
retrieval", arXiv:2201.02772, 2022; sizes and losses as in the authors' public code, github.com/zhixiongz/CLIP4CMR. A
head is a GELU layer and a linear one, with dropout; its outputs u and v of an item have unit length. ``loss`` is

- prototype: the cross-entropy of the labels by softmax over −‖u − c_k‖², and of v; each class has a prototype c_k of
  unit length, drawn once and not learned;
- classification: the cross-entropy by softmax over w_kᵀu + b_k, and of v; the classifier, with w_k of unit length, is
  learned and shared;
- regression: ‖P u − y‖ + ‖P v − y‖, mean over the items, P the same classifier;
- triplet: [d(i, j) − d(i, k) + margin]₊ over each pair of an image i and a text j of one class and all k of others,
  divided by the number of pairs i, j, and the same with texts as i; d is the squared distance;
- contrastive: the sum of d(i, j) over pairs of one class and of [margin − d(i, j)]₊ over the others, divided by the
  number of items;
- invariance: the first sum of the contrastive loss alone.

Readings: labels of one item share the mass of a cross-entropy. The code divides the prototype loss by the batch once
more, and adds to the contrastive loss a constant for each pair of one class; both change little of what is learned with
Adam.

Different from the code, which keeps the epoch that is best on the test rows: here it is chosen on held-out rows, after
20 without a better one, 10 there. Classifiers are divided by their lengths inside the loss, there before each step. Any
vectors are taken, not those of CLIP alone; they are not scaled, as there.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.dla_cmr import label_loss, triplet_sum
from cmr.methods.steps import Terms
from cmr.methods.training import total

INFO = MethodInfo(
    title="CLIP4CMR heads",
    paper="Zeng and Mao, A comprehensive empirical study of vision-language pre-trained model for supervised "
    "cross-modal retrieval, arXiv:2201.02772, 2022",
    bibtex="""@article{zeng2022comprehensive,
  author = {Zeng, Zhixiong and Mao, Wenji},
  title = {A Comprehensive Empirical Study of Vision-Language Pre-trained Model for Supervised Cross-Modal Retrieval},
  journal = {arXiv preprint arXiv:2201.02772},
  year = {2022}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    loss: Literal["prototype", "classification", "regression", "triplet", "contrastive", "invariance"] = Field(
        "prototype", description="what the heads minimise"
    )
    hidden: int = Field(256, ge=1, description="width of each head's GELU layer")
    dimension: int = Field(1024, ge=1, description="dimensions of the common space")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of a head's outputs that are left out in training")
    margin: float = Field(0.2, ge=0, description="of the triplet and the contrastive loss")
    batch_size: int = Field(300, ge=2, description="rows a step")
    epochs: int = Field(500, ge=1, description="epochs at most; the best is chosen on held-out rows")
    scale: Literal["standardise", "centre", "none"] = Field("none", description="scaling of the inputs")


class CLIP4CMR(DeepMethod):
    info = INFO
    replayed = True
    betas = (0.5, 0.999)
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        heads = {
            m: nn.Sequential(nn.Linear(d, p.hidden), nn.GELU(), nn.Linear(p.hidden, p.dimension), nn.Dropout(p.dropout))
            for m, d in dimensions.items()
        }
        return Networks(heads, label=nn.Linear(p.dimension, classes), prototypes=Prototypes(classes, p.dimension))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        u, v = (functional.normalize(out) for out in self.embed_all(inputs))
        loss = self.params.loss
        if loss in ("triplet", "contrastive", "invariance"):
            return {loss: self.of_pairs(squared_distances(u, v), labels @ labels.T > 0)}
        scores = [self.class_scores(out) for out in (u, v)]
        of_one = distance_of_labels if loss == "regression" else label_loss
        return {loss: total(of_one(found, labels) for found in scores)}

    def class_scores(self, rows: Tensor) -> Tensor:
        """−‖u − c_k‖², or w_kᵀu + b_k with w_k of unit length: (n, c)."""
        if self.params.loss == "prototype":
            return -squared_distances(rows, self.network.prototypes())
        label = self.network.label
        return functional.linear(rows, functional.normalize(label.weight), label.bias)

    def of_pairs(self, distances: Tensor, same: Tensor) -> Tensor:
        """The triplet, contrastive or invariance loss of distances (n, n) and whether the classes are the same."""
        if self.params.loss == "triplet":
            sums = total(triplet_sum(d, same, self.params.margin) for d in (distances, distances.T))
            return sums / same.sum()
        apart = functional.relu(self.params.margin - distances) * (self.params.loss == "contrastive")
        return torch.where(same, distances, apart).sum() / len(distances)


class Prototypes(nn.Module):
    """A direction a class, drawn once."""

    rows: Tensor

    def __init__(self, classes: int, dimension: int):
        super().__init__()
        self.register_buffer("rows", functional.normalize(torch.randn(classes, dimension)))

    def forward(self) -> Tensor:
        return self.rows


def squared_distances(u: Tensor, v: Tensor) -> Tensor:
    """(n, m), of rows of unit length."""
    return 2 - 2 * u @ v.T


def distance_of_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """‖scores − labels‖, unsquared, mean over the rows (n, c)."""
    return (scores - labels).norm(dim=1).mean()
