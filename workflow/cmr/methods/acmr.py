"""Adversarial cross-modal retrieval.

Wang, Yang, Xu, Hanjalic and Shen, "Adversarial cross-modal retrieval", ACM Multimedia 2017. Feature projectors with
tanh after every layer minimise

    100 · label loss + Σᵢ max(0, μ + a ‖vᵢ − tᵢ‖²/2 − ‖vᵢ − t_k(i)‖²/2) + the other direction − adversarial loss,

where a linear classifier predicts the label from either modality (cross-entropy, mean over the pairs), the negative
t_k(i) is the text of another class in the batch whose *image input* is most like image i by the cosine, and a modality
classifier d → d/2 → d/4 → 2 without activations minimises its cross-entropy while a gradient reversal layer with weight
2/(1 + e^(−10 p)) − 1, p the share of epochs done, makes the projectors maximise it.

Forms and values are those of the authors' public code, whose script trains neither the label classifier nor, through
the reversal, the projectors against the modality classifier; both are trained here, as in the paper. The code takes
one hinge over a batch's sum; here each row has its own, and they are summed. A row whose batch has no other class adds
nothing.
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.training import Adam, Terms, Update, feed_forward, reverse_gradient, total

INFO = MethodInfo(
    title="ACMR",
    paper="Wang et al., Adversarial cross-modal retrieval, ACM MM 2017",
    bibtex="""@inproceedings{wang2017adversarial,
  author = {Wang, Bokun and Yang, Yang and Xu, Xing and Hanjalic, Alan and Shen, Heng Tao},
  title = {Adversarial Cross-Modal Retrieval},
  booktitle = {ACM Multimedia},
  pages = {154--162},
  year = {2017},
  doi = {10.1145/3123266.3123326}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(DeepParams):
    first_layers: tuple[int, ...] = Field((512, 100, 40), description="layers of the first modality (image)")
    second_layers: tuple[int, ...] = Field((40, 100, 40), description="layers of the second modality (text)")
    label_weight: float = Field(100.0, ge=0, description="weight of the label loss")
    triplet_weight: float = Field(1.0, ge=0, description="weight of the sum of the triplets")
    positive_weight: float = Field(5.0, ge=0, description="a: weight of the distance to the own pair")
    margin: float = Field(0.1, ge=0, description="μ of the triplets")
    batch_size: int = Field(64, ge=2, description="rows a step")
    learning_rate: float = Field(1e-4, gt=0, description="step of Adam with β₁ = 0.5")
    epochs: int = Field(50, ge=1, description="epochs at most; the best is chosen on held-out rows")


class ACMR(DeepMethod):
    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        layers = dict(zip(self.modalities, (p.first_layers, p.second_layers), strict=True))
        common = p.first_layers[-1]
        return Networks(
            {m: feed_forward((d, *layers[m]), nn.Tanh, nn.Tanh) for m, d in dimensions.items()},
            label=nn.Linear(common, classes),
            modality=feed_forward((common, max(common // 2, 1), max(common // 4, 1), 2), nn.Identity),
        )

    def updates(self) -> list[Update]:
        optimizer = Adam(self.network.parameters(), self.params.learning_rate, betas=(0.5, 0.999))
        return [Update(optimizer, self.batch_terms)]

    def each_epoch(self, epoch: int) -> None:
        self.reversal = 2 / (1 + math.exp(-10 * (epoch - 1) / self.params.epochs)) - 1

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        p, embedded = self.params, self.embed_all(inputs)
        u, v = embedded
        share = labels / labels.sum(1, keepdim=True)
        triplets = triplet_sum(u, v, inputs[0], labels, p.positive_weight, p.margin) + triplet_sum(
            v, u, inputs[1], labels, p.positive_weight, p.margin
        )
        modality = torch.arange(2, device=u.device).repeat_interleave(len(u))
        logits = self.network.modality(reverse_gradient(torch.cat(embedded), self.reversal))
        return {
            "label": p.label_weight * total(functional.cross_entropy(self.network.label(e), share) for e in embedded),
            "triplet": p.triplet_weight * triplets,
            "modality": functional.cross_entropy(logits, modality),
        }


def triplet_sum(
    query: Tensor, gallery: Tensor, query_inputs: Tensor, labels: Tensor, positive_weight: float, margin: float
) -> Tensor:
    """The triplets of one direction: own pair against the gallery item of the hardest item of another class."""
    inputs = functional.normalize(query_inputs)
    other = labels @ labels.T == 0
    alike = (inputs @ inputs.T).masked_fill(~other, -math.inf)
    negative = gallery[alike.argmax(dim=1)]
    near = (query - gallery).square().sum(1) / 2
    far = (query - negative).square().sum(1) / 2
    return (functional.relu(margin + positive_weight * near - far) * other.any(dim=1)).sum()
