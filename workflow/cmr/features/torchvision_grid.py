"""Any convolutional network of torchvision by name: the map before its pooling over all positions, as a set of vectors.

Weights and preprocessing are those of `torchvision_backbone`. A ResNet-50 gives 7 × 7 vectors (2048-d) a picture, row
by row; their mean is its vector.
"""

from typing import Any, Literal

from pydantic import Field
from torch import nn

from cmr.features.grids import BeforePooling, ImageGrid
from cmr.features.torchvision_backbone import TorchvisionBackbone
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="torchvision grid",
    modality="image",
    kind="fixed",
    gives="set",
    weights=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    model: str = Field("resnet50", description="name in torchvision.models, classification networks that pool a map")
    weights: str | None = Field(
        None,
        description="a file (.pt, .pth, .safetensors) with a state of the network of your own; none: torchvision's",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and linear layers")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class TorchvisionGrid(ImageGrid, TorchvisionBackbone):
    params: Params  # type: ignore[assignment]  # those of a backbone, and storage

    def build(self) -> nn.Module:
        return BeforePooling(super().build())

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "map before the pooling"}
