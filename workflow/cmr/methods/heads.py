"""What `infonce` and `vsepp` share: a head a modality, trained to tell a row's own partner from the batch's others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from torch import Tensor, nn

from cmr.data import Part, View
from cmr.methods.base import History
from cmr.methods.deep import DeepMethod
from cmr.methods.training import feed_forward


class ContrastiveHeads(DeepMethod):
    """``terms`` gets the numbers of the rows' groups (b, 1) in the place of labels, which these methods do not take.

    Where a batch holds several rows of a group, as two captions of a picture, they are no negatives of each other.
    """

    params: Any

    def learn(self, views: Sequence[View], validation: Part | None) -> History:
        numbers = pd.factorize(views[0].groups)[0][:, None]
        return super().learn([replace(view, labels=numbers) for view in views], validation)

    def heads(self, dimensions: Mapping[str, int]) -> dict[str, nn.Module]:
        p = self.params
        return {m: feed_forward((d, *p.layers, p.dimension), nn.ReLU) for m, d in dimensions.items()}


def negatives(groups: Tensor) -> Tensor:
    """Which rows of the batch are negatives of each other (b, b): those of other groups (b, 1)."""
    return groups != groups.T
