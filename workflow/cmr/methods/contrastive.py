"""What `ccl` ends with: two logistic layers a modality, a contrastive loss of their outputs and a classifier."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmr.methods.deep import Networks, ScaledCodesMethod
from cmr.methods.penalties import decay
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, feed_forward, shares_of, total


class LastLayers(ScaledCodesMethod):
    """Codes of the second layer, standardised. Takes ``hidden``, ``dimension``, ``margin``, ``weight_decay``."""

    replayed = True
    params: Any

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        sizes = {m: (d, p.hidden, p.dimension) for m, d in dimensions.items()}
        layers = {m: feed_forward(size, nn.Sigmoid, nn.Sigmoid) for m, size in sizes.items()}
        return Networks(layers, label=ByModality({m: nn.Linear(p.dimension, classes) for m in sizes}))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        share, same = shares_of(labels), labels @ labels.T > 0
        codes, losses = [], []
        with self.mixed_precision():
            for m, x in zip(self.modalities, inputs, strict=True):
                before = self.network.embed[m][:-1](x)
                codes.append(torch.sigmoid(before.float()))
                losses.append(functional.cross_entropy(self.network.label[m](before).float(), share))
        first, second = codes
        return {
            "contrast": contrastive_loss(first, second, same, self.params.margin),
            "label": total(losses),
            "decay": decay(self.network, self.params.weight_decay, biases=True),
        }


def contrastive_loss(u: Tensor, v: Tensor, same: Tensor, margin: float) -> Tensor:
    """The sum of all pairs of rows of u and v (b, d), over b; ``same`` (b, b) bool: whether a pair is of one class."""
    distances = torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist")
    apart = (margin - distances).clamp(min=0)
    return torch.where(same, distances.square(), apart.square()).sum() / len(u)
