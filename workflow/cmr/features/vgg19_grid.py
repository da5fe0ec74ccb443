"""VGG-19, its last pooled map (pool5): a set of 7 × 7 vectors (512-d), row by row, of the regions of a picture.

See `cmr.features.classic_networks` for weights and preprocessing. This is what cross-modal methods with regions take.
"""

from typing import Any, Literal

from pydantic import Field
from torch import nn

from cmr.features.classic_networks import FullyConnected, load
from cmr.features.grids import ImageGrid
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="VGG-19 pool5 grid",
    paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
    modality="image",
    kind="fixed",
    gives="set",
    weights=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file; 100 or 50 kB a picture")
    weights: str | None = Field(None, description="a file of your own for torchvision's VGG-19; none: ImageNet's")


class VGG19Grid(ImageGrid, FullyConnected):
    params: Params
    architecture, layer = "vgg19", "pool5"

    def build(self) -> nn.Module:
        return load(self.architecture, self.file()).features

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": self.layer}
