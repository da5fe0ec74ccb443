"""AlexNet, layer fc7 after its ReLU (4096-d).

See `cmr.features.classic_networks` for weights and preprocessing. torchvision's AlexNet is the one-tower network of
"One weird trick for parallelizing convolutional neural networks" (2014), not Caffe's that the papers took.
"""

from typing import Literal

from pydantic import Field

from cmr.features.classic_networks import FullyConnected
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="AlexNet fc7",
    paper="Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and fully connected layers")
    weights: str | None = Field(None, description="a file of your own for torchvision's AlexNet; none: ImageNet's")


class AlexNetFC7(FullyConnected):
    params: Params
    architecture, layer = "alexnet", "fc7"
