"""VGG-19 fine-tuned on the labelled training pictures, layer fc7 after its ReLU (4096-d): DRSL's image features.

ImageNet's weights (see `cmr.features.classic_networks`), a new last layer for the classes, all layers trained by
stochastic gradient descent on the cross-entropy, the new layer at ten times the rate; pictures are flipped at random.
The rates, epochs and batch of DRSL (section 3.2.1, after its references 9 and 13) are not given in the paper; these
are the usual ones for the network.

The features have seen the training labels: what is fitted on them, be it a CCA, is marked so in every table. The
whole network is stored with the features (0.56 GB).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torchvision.models import VGG
from tqdm import trange

from cmr.device import torch_threads
from cmr.features.classic_networks import FullyConnected, empty, load, up_to
from cmr.features.learning import seeded, shares
from cmr.features.networks import as_input, computing
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="VGG-19 fc7, fine-tuned",
    paper="Wang, Hu, Zhen and Peng, DRSL: Deep Relational Similarity Learning, Information Sciences 2020",
    modality="image",
    kind="fitted",
    weights=True,
    uses_labels=True,
    gpu=True,
    files=("weights",),
)


class Params(BaseParams):
    epochs: int = Field(10, ge=1, description="passes over the training pictures")
    rate: float = Field(0.001, gt=0, description="step size; ten times as much for the new last layer")
    batch: int = Field(32, ge=1, description="pictures a step")
    weight_decay: float = Field(5e-4, ge=0, description="weight of the squared weights")
    seed: int = Field(0, ge=0, description="of order, flips, dropout and the new layer's start")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of products; weights are trained in float32")
    weights: str | None = Field(None, description="a file of your own for torchvision's VGG-19; none: ImageNet's")


class FineTuned(FullyConnected):
    """State: the weights up to fc7, under torchvision's names."""

    params: Params
    architecture, layer = "vgg19", "fc7"
    learned: Mapping[str, torch.Tensor]

    def fit(self, contents: Sequence[Path], labels: np.ndarray | None = None) -> None:
        assert labels is not None  # as INFO says that it uses them
        with torch_threads(self.threads), seeded(self.params.seed):
            network = self.with_classes(labels.shape[1])
            self.train(network, contents, shares(labels))
        self.learned = {name: tensor.cpu() for name, tensor in up_to(network, self.modules).state_dict().items()}

    def with_classes(self, classes: int) -> VGG:
        network = load(self.architecture, self.file())
        last = network.classifier[-1]
        network.classifier[-1] = nn.Linear(last.in_features, classes)
        return network.to(self.device, memory_format=torch.channels_last).train()

    def train(self, network: VGG, contents: Sequence[Path], targets: torch.Tensor) -> None:
        p = self.params
        last = set(network.classifier[-1].parameters())
        others = [parameter for parameter in network.parameters() if parameter not in last]
        groups = [{"params": others, "lr": p.rate}, {"params": list(last), "lr": 10 * p.rate}]
        optimiser = torch.optim.SGD(groups, momentum=0.9, weight_decay=p.weight_decay)
        for _ in trange(p.epochs, desc="fine-tuning", unit=" epochs"):
            order = torch.randperm(len(contents))
            shuffled = self.feed([contents[row] for row in order], p.batch)
            for rows, pixels in zip(order.split(p.batch), shuffled, strict=True):
                images = as_input(pixels, self.preprocessing)
                flipped = (torch.rand(len(images), 1, 1, 1) < 0.5).to(self.device)
                with computing(self.device, p.precision):
                    scores = network(torch.where(flipped, images.flip(3), images))
                loss = F.cross_entropy(scores.float(), targets[rows].to(self.device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def build(self) -> nn.Module:
        network = up_to(empty(self.architecture), self.modules)
        network.load_state_dict(self.learned, assign=True)
        return network

    def state(self) -> dict[str, np.ndarray]:
        return {name: tensor.numpy() for name, tensor in self.learned.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.learned = {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}
