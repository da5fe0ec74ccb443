"""FGCrossNet's losses on features: cross-entropy, centres and quadruplets on the class scores of all modalities.

He, Peng and Xie, ACM Multimedia 2019. One network gives the class scores f(x) of an item of any modality. With the b
items of a batch in each modality, n rows in all, labels y divided by their number, and a centre of each class,

    min  Σ over the modalities of the cross-entropy of y by softmax(f), mean over their rows        (classification)
       + 0.001 (1/n) Σᵢ ‖f(xᵢ) − centre of its class‖²                                              (centres)
       + 0.1 mean of the positive 2 d(a, p) − d(a, n) − d(n, m) + 1 + ½                             (quadruplets)

where d is the distance of two rows' scores, p another row of a's class, and n and m rows of two other classes; rows of
all modalities mix. Where an item has several labels, rows are of one class if they share one, and its centre is the
mean of theirs. Items are compared by the cosine of softmax(f).

Departure: the paper's network is a ResNet-50 which sees images, texts, sounds and frames as pictures and is trained end
to end. Here each modality's features go through a layer of their own, ReLU, to one linear layer that all share. So the
losses are the paper's, the network is not.

Losses and weights are those of the authors' public code, github.com/PKU-ICST-MIPL/FGCrossNet_ACMMM2019; its one hinge
of a quadruplet is around both differences. Different from it: a batch there is of 4 items from each of four lists,
whose items are no pairs; here it is of 16 items with all their modalities, so that an anchor's own pair is among its
positives. There are 50 epochs without quadruplets and then 50 with them, here they count from the first on. The code
descends gradients with momentum and a step that is halved every 3 epochs, which suits a network that is trained
already, and moves the centres by the gradient without its weight of 0.001. Here it is Adam, whose steps do not depend
on such a weight. The epoch is chosen on held-out rows.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import apply, shares_of, total

INFO = MethodInfo(
    title="FGCrossNet's losses on features",
    paper="He, Peng and Xie, A new benchmark and approach for fine-grained cross-media retrieval, ACM MM 2019",
    bibtex="""@inproceedings{he2019new,
  author = {He, Xiangteng and Peng, Yuxin and Xie, Liu},
  title = {A New Benchmark and Approach for Fine-grained Cross-media Retrieval},
  booktitle = {ACM Multimedia},
  pages = {1740--1748},
  year = {2019},
  doi = {10.1145/3343031.3350974}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="width of each modality's ReLU layer")
    centre_weight: float = Field(0.001, ge=0, description="of the distances from the classes' centres")
    quadruplet_weight: float = Field(0.1, ge=0, description="of the quadruplets")
    margin: float = Field(1.5, ge=0, description="the sum of the two margins of a quadruplet, 1 and 0.5 in the paper")
    batch_size: int = Field(16, ge=2, description="items a step; the work grows with the cube of their rows")


class FGCrossNet(DeepMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        shared = nn.Linear(self.params.hidden, classes)
        own = {m: nn.Sequential(nn.Linear(d, self.params.hidden), nn.ReLU(), shared) for m, d in dimensions.items()}
        return Networks(own, centres=Centres(classes))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        p, scores = self.params, self.embed_all(inputs)
        share = shares_of(labels)
        rows, all_labels = torch.cat(scores), labels.repeat(len(inputs), 1)
        return {
            "label": total(functional.cross_entropy(each, share) for each in scores),
            "centre": p.centre_weight * self.network.centres(rows, share.repeat(len(inputs), 1)),
            "quadruplet": p.quadruplet_weight * quadruplet_loss(rows, all_labels @ all_labels.T > 0, p.margin),
        }

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        posteriors = nn.Sequential(self.network.embed[modality], nn.Softmax(dim=1))
        return apply(posteriors, self.scaling[modality](features, np.float32), self.device)


class Centres(nn.Module):
    """A centre of each class in the space of class scores."""

    def __init__(self, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, classes))

    def forward(self, rows: Tensor, share: Tensor) -> Tensor:
        """Squared distance of rows (n, c) from the centre of their labels ``share`` (n, c), mean over the rows."""
        return (rows - share @ self.weight).square().sum(1).mean()


def quadruplet_loss(rows: Tensor, same: Tensor, margin: float) -> Tensor:
    """Mean of the positive 2 d(a, p) − d(a, n) − d(n, m) + ``margin``; 0 where there are none.

    ``rows`` (n, d); ``same`` (n, n) bool: whether two rows are of one class. There are n⁴ quadruplets, and n³ sums
    d(a, n) + d(n, m). The n limits 2 d(a, p) + ``margin`` of an anchor a are sorted, and each sum finds its place among
    them. Then it is known how many sums lie below each limit, and how many limits lie above each sum.
    """
    n = len(rows)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").double()
    sums, limits = distances[:, :, None] + distances[None], 2 * distances + margin
    with torch.no_grad():
        of_three_classes = ~(same[:, :, None] | same[:, None, :] | same[None])
        positives = same & ~torch.eye(n, dtype=torch.bool, device=rows.device)
        sorted_limits, order = limits.masked_fill(~positives, -math.inf).sort(dim=1)
        counted = sums.masked_fill(~of_three_classes, math.inf).reshape(n, n * n)
        places = torch.searchsorted(sorted_limits, counted, right=True)  # how many limits are not above the sum
        found = sums.new_zeros(n, n + 1).scatter_add_(1, places, torch.ones_like(counted))
        below, above = found.cumsum(dim=1)[:, :n], (n - places).view(n, n, n)
    losses = (below * limits.gather(1, order)).sum() - (above * sums).sum()
    return (losses / below.sum().clamp(min=1)).float()
