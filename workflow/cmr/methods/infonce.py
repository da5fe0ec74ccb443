"""Linear or MLP heads trained by symmetric InfoNCE: in a batch, each row's partner is to be told from all others.

The loss is van den Oord, Li and Vinyals', "Representation learning with contrastive predictive coding", arXiv
1807.03748, 2018, in the symmetric form of Radford et al., "Learning transferable visual models from natural language
supervision", ICML 2021 (figure 3). With u, v the outputs of a pair's two heads at length one and s the learned scale,

    min  -(1/2b) Σᵢ log e^(s uᵢ·vᵢ) / Σⱼ e^(s uᵢ·vⱼ)  +  log e^(s uᵢ·vᵢ) / Σⱼ e^(s uⱼ·vᵢ),

j over i itself and the rows of other groups. Radford et al. learn whole encoders, and count every other row of their
batches of 32,768 as a negative; here encoders stay as they are, their features are standardised (``scale``), and rows
of the same group, such as other captions of the picture, are left out. As theirs, s starts at 1/0.07 and stays below
100. Adam is without their weight decay, warm-up and cosine schedule; the epoch is chosen on held-out pairs.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import Networks
from cmr.methods.heads import ContrastiveHeads, negatives
from cmr.methods.steps import Terms

INFO = MethodInfo(
    title="InfoNCE heads",
    paper="van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, arXiv 2018",
    bibtex="""@article{oord2018representation,
  author = {van den Oord, Aaron and Li, Yazhe and Vinyals, Oriol},
  title = {Representation Learning with Contrastive Predictive Coding},
  journal = {arXiv:1807.03748},
  year = {2018}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)
LARGEST_SCALE = 100.0


class Params(DeepParams):
    layers: tuple[PositiveInt, ...] = Field((), description="hidden layers of each head, ReLU; none: a linear map")
    dimension: int = Field(512, ge=1, description="dimensions of the embedding, 512 in CLIP's ViT-B/32")
    temperature: float = Field(0.07, ge=0.01, description="1/s at the start; s, at most 100, is learned")
    batch_size: int = Field(256, ge=2, description="rows a step, which are each other's negatives")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step")


class InfoNCE(ContrastiveHeads):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        return ScaledNetworks(self.heads(dimensions), self.params.temperature)

    def terms(self, inputs: list[Any], labels: Tensor) -> Terms:
        u, v = map(functional.normalize, self.embed_all(inputs))
        return {"contrast": info_nce(self.network.scale() * u @ v.T, negatives(labels))}


class ScaledNetworks(Networks):
    """With the logarithm of the scale that cosines are multiplied by."""

    def __init__(self, embed: Mapping[str, nn.Module], temperature: float):
        super().__init__(embed)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def scale(self) -> Tensor:
        with torch.no_grad():  # the number itself is cut, so that it keeps a gradient and may fall again
            self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        return self.log_scale.exp()


def info_nce(scores: Tensor, negative: Tensor) -> Tensor:
    """Mean over both directions of the cross-entropy of own partners, on the diagonal of ``scores`` (b, b).

    ``negative`` (b, b) bool: what a partner is told from; neither its row nor its column counts where it is False.
    """
    own = torch.arange(len(scores), device=scores.device)
    left = scores.masked_fill(~negative & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device), -math.inf)
    return (functional.cross_entropy(left, own) + functional.cross_entropy(left.T, own)) / 2
