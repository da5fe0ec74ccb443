"""What VGG-19 and AlexNet share: torchvision's weights and preprocessing, activations of fully connected layers."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torchvision.models import VGG, AlexNet, alexnet, vgg19

from cmr.features import weights
from cmr.features.networks import ImageNetwork
from cmr.features.states import load_state

ADDRESS = "https://download.pytorch.org/models/"
ARCHITECTURES = {
    "vgg19": (vgg19, "vgg19-dcbb9e9d.pth", {"fc6": 2, "fc7": 5}),
    "alexnet": (alexnet, "alexnet-owt-7be5be79.pth", {"fc6": 3, "fc7": 6}),
}
"""Constructor, file with the first digits of its sha256 in its name, layer → how many modules of ``classifier``."""
CLASSIFIER = "classifier.6"
"""Of both. Weights of one's own may have one of another size: no layer that is taken lies behind it."""


class FullyConnected(ImageNetwork):
    """The activations (4096-d) of a fully connected layer after its ReLU; dropout is off.

    Shorter side to 256 pixels (bilinear), central 224 × 224, ImageNet's mean and standard deviation: the transforms
    that torchvision gives with the weights. ``Params`` have ``precision`` and ``weights``.
    """

    architecture: ClassVar[str]
    layer: ClassVar[str]

    def fetch(self) -> dict[str, Any]:
        return weights.describe(self.file(), "local file" if self.params.weights else ADDRESS)

    def file(self) -> Path:
        if self.params.weights:
            return weights.local(self.params.weights)
        name = ARCHITECTURES[self.architecture][1]
        return weights.download(ADDRESS + name, Path(name).stem.rsplit("-", 1)[1], self.cache / "weights")

    @property
    def modules(self) -> int:
        """How many modules of the network's classifier lead to the layer."""
        return ARCHITECTURES[self.architecture][2][self.layer]

    def build(self) -> nn.Module:
        return up_to(load(self.architecture, self.file()), self.modules)

    def resolved(self) -> dict[str, Any]:
        return {**super().resolved(), "layer": f"{self.layer} after ReLU"}


def empty(architecture: str) -> AlexNet | VGG:
    """The torchvision network without memory for its weights: no random ones are drawn just to be replaced."""
    with torch.device("meta"):
        return ARCHITECTURES[architecture][0]()


def load(architecture: str, file: Path) -> AlexNet | VGG:
    """The torchvision network with the weights of ``file``."""
    network = empty(architecture)
    load_state(network, file, left_out=[CLASSIFIER])
    return network


def up_to(network: AlexNet | VGG, modules: int) -> AlexNet | VGG:
    """The network without what follows the first ``modules`` of its classifier."""
    network.classifier = network.classifier[:modules]
    return network
