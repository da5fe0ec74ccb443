"""EfficientNet-Lite0, its activations before they are pooled: a set of 7 × 7 vectors (1280-d), row by row.

Weights and preprocessing are those of `efficientnet_lite0`, whose vector is their mean: nothing is downloaded.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from cmr.features.efficientnet_lite0 import EfficientNetLite0
from cmr.features.grids import ImageGrid
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="EfficientNet-Lite0 grid",
    paper="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019",
    modality="image",
    kind="fixed",
    gives="set",
    weights=True,
    gpu=True,
)


class Params(BaseParams):
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the convolutions, but for one that rounding would hurt"
    )
    storage: Literal["float32", "float16"] = Field(
        "float16", description="numbers in the file; 251 or 125 kB a picture"
    )


class EfficientNetLite0Grid(ImageGrid, EfficientNetLite0):
    params: Params  # type: ignore[assignment]  # those of the vector, and storage

    def build(self) -> nn.Module:
        return Unpooled(super().build())


class Unpooled(nn.Module):
    def __init__(self, pooled: Any):
        super().__init__()
        self.network = pooled.network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(images)
