"""What the grids share: a network's last feature map, whose positions are the elements of a picture's set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cmr.errors import UserError
from cmr.features.networks import ImageNetwork
from cmr.sets import Sets


class ImageGrid(ImageNetwork):
    """An extractor whose network gives maps (b, d, rows, columns): a set of rows · columns vectors, row by row.

    ``Params`` have ``storage``, float32 or float16.
    """

    def transform(self, contents: Sequence[Path]) -> Sets:
        maps = self.outputs(contents)
        n, d, rows, columns = maps.shape
        elements = maps.reshape(n, d, rows * columns).transpose(0, 2, 1).reshape(-1, d)
        return Sets.flat(elements.astype(self.params.storage), np.arange(n + 1) * rows * columns)

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "last feature map"}


class BeforePooling(nn.Module):
    """The map that a network's last pooling over all positions is given."""

    def __init__(self, network: nn.Module):
        super().__init__()
        pools = [module for module in network.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
        if not pools:
            raise UserError("params.model: this network pools no map over its positions; choose another")
        self.network = network
        pools[-1].register_forward_pre_hook(self._keep)

    def _keep(self, pool: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        (self.map,) = given

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.network(images)
        return self.map
