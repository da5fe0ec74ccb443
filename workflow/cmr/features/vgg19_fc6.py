"""VGG-19, layer fc6 after its ReLU (4096-d).

See `cmr.features.classic_networks` for weights and preprocessing. The papers took Caffe's weights; torchvision's were
trained anew on ImageNet, so figures differ a little from theirs.
"""

from typing import Literal

from pydantic import Field

from cmr.features.classic_networks import FullyConnected
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="VGG-19 fc6",
    paper="Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and fully connected layers")
    weights: str | None = Field(None, description="a file of your own for torchvision's VGG-19; none: ImageNet's")


class VGG19FC6(FullyConnected):
    params: Params
    architecture, layer = "vgg19", "fc6"
