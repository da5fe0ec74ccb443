"""Any image network of the timm library by name: its features before they are pooled, as a set of vectors.

Weights and preprocessing are those of `timm_backbone`. The elements are the positions of a convolutional network's last
map, row by row, or the patches of a vision transformer without its class and register tokens.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from cmr.errors import UserError
from cmr.features.grids import ImageGrid
from cmr.features.timm_backbone import TimmBackbone
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="timm grid",
    modality="image",
    kind="fixed",
    gives="set",
    weights=True,
    gpu=True,
    files=("model", "weights"),
)


class Params(BaseParams):
    model: str = Field("timm/resnet50.a1_in1k", description="a local folder or a name on the Hugging Face hub")
    revision: str = Field("main", description="commit, tag or branch of a model on the hub")
    weights: str | None = Field(
        None, description="a file (.pt, .pth, .safetensors) with a state of your own for timm's network named by model"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and linear layers")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class TimmGrid(ImageGrid, TimmBackbone):
    params: Params  # type: ignore[assignment]  # those of a backbone, and storage

    def build(self) -> nn.Module:
        return Unpooled(super().build())

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": "features before pooling"}


class Unpooled(nn.Module):
    """(b, 3, h, w) → maps (b, d, rows, columns), of a transformer's patches (b, d, patches, 1)."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network
        self.pretrained_cfg = network.pretrained_cfg  # what the preprocessing is read from

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, network = self.network.forward_features(images), self.network
        if features.ndim == 3:
            if not hasattr(network, "num_prefix_tokens"):
                raise UserError("params.model: which of this network's tokens are patches is not known; choose another")
            return features[:, network.num_prefix_tokens :].transpose(1, 2).unsqueeze(3)
        return features if getattr(network, "output_fmt", "NCHW") == "NCHW" else features.permute(0, 3, 1, 2)
