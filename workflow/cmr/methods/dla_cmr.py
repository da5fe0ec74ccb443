"""DLA-CMR: adversarial cross-modal retrieval based on dictionary learning.

Shang, Zhang, Zhu, Sun, Neurocomputing 2019. Its first stage is `cmr.dictionary.coupled`, which the configuration names
with ``dictionary: coupled``; this is the second, adversarial stage (§3.3) on the coefficients, or on the features
themselves where no dictionary is named. Fully connected networks with tanh after every layer map image and text into a
common space of 100 dimensions (§3.4); they minimise

    w_label · L_dis + w_triplet · (L_triV + L_triT) + w_norm · L_reg − L_adv,

- L_dis (eq. 15): cross-entropy of one softmax classifier of the labels, for image and text, mean over the pairs;
- L_triV (eq. 11): Σ max(0, l₂(v_i, t_j⁺) − l₂(v_i, t_k⁻) + μ) over all triplets of a batch, l₂ the unsquared Euclidean
  distance (eq. 10), t_j⁺ a text with a label of v_i and t_k⁻ one without; L_triT (eq. 12) the other direction;
- L_reg (eq. 13): the sum of the unsquared Frobenius norms of the weights;
- L_adv (eq. 9): cross-entropy of a modality classifier 100 → 50 → 2, which minimises it, while a gradient reversal
  layer with λ = 0.01 makes the networks maximise it.

Readings. Eq. 14 writes α for the triplets and β for the labels, and so does the grid of §3.4; its definition and final
values, which are not on that grid, are the opposite: label weights of 100 and 200 with triplet weights of 0.02 and
0.002 are taken. Eqs. 11 and 12 sum over i, j and k without saying how triplets are formed (``triplets``): one positive
and one negative drawn for each anchor, or all of a batch, some 27,000 of 64 pairs of Wikipedia. Drawn is the default,
as it is ahead on held-out rows. The weighted gradient of all of them outweighs that of the labels, that of the drawn
ones does not. λ is 0.01 in §3.4, on Wikipedia-CNN; here it is on all data sets. Algorithm 1 multiplies the modality
classifier's step by it and lets the networks ascend L_adv itself; a gradient reversal layer, by which §3.3.4 trains,
multiplies the networks' gradient (``reversal_scales``). Its 1/b_s over the whole objective, beside means and sums, is
left out: to Adam it is next to nothing. Eq. 9 has v_i where t_i belongs in its second term. Inputs are standardised
(``scale``), which the paper does not say; of codes this gives rare atoms the weight of frequent ones. Retrieval
compares by the cosine, not eq. 10's distance. The networks take one step for each of the classifier (k in Algorithm 1).
§3.3.4 trains by stochastic gradient descent; Adam is used, and its step is chosen here (Algorithm 1 writes μ for it,
the margin's letter). Not given either: the number of epochs (by validation), the activation inside the modality
classifier (tanh).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.adversarial import modality_loss
from cmr.methods.common_params import TwoNetworksParams
from cmr.methods.deep import DeepMethod
from cmr.methods.penalties import norm
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, feed_forward, shares_of

INFO = MethodInfo(
    title="DLA-CMR",
    paper="Shang, Zhang, Zhu, Sun, Adversarial cross-modal retrieval based on dictionary learning, 2019",
    bibtex="""@article{shang2019adversarial,
  author = {Shang, Fei and Zhang, Huaxiang and Zhu, Lei and Sun, Jiande},
  title = {Adversarial cross-modal retrieval based on dictionary learning},
  journal = {Neurocomputing},
  volume = {355},
  pages = {93--104},
  year = {2019}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(TwoNetworksParams):
    label_weight: float = Field(100.0, ge=0, description="weight of the label classifier's loss; 100 or 200 in §3.4")
    triplet_weight: float = Field(0.02, ge=0, description="weight of the triplet sums; 0.02 or 0.002 in §3.4")
    triplets: Literal["drawn", "all"] = Field("drawn", description="one drawn for each anchor, or all of a batch")
    margin: float = Field(1e-4, ge=0, description="μ of the triplets; 1e-4, 0.01 or 0.02 in §3.4")
    norm_weight: float = Field(1.0, ge=0, description="weight of the sum of weight norms, 1 in eq. 14")
    reversal: float = Field(0.01, ge=0, description="λ of the modality classifier; 0: without it")
    reversal_scales: Literal["embeddings", "classifier"] = Field(
        "embeddings", description="what λ multiplies: the networks' reversed gradient, or the classifier's step"
    )
    first_layers: tuple[PositiveInt, ...] = Field(
        (2000, 512, 200, 100), min_length=1, description="layers of the first modality (image)"
    )
    second_layers: tuple[PositiveInt, ...] = Field(
        (512, 200, 100), min_length=1, description="layers of the second modality (text)"
    )
    batch_size: int = Field(64, ge=2, description="64, and 128 for INRIA-Websearch")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step, not given in the paper")
    patience: int = Field(10, ge=0, description="stop after so many epochs without a better one; 0: never")


class Network(nn.Module):
    """The two embedding networks, the label classifier and the modality classifier."""

    def __init__(self, dimensions: Mapping[str, int], layers: Mapping[str, tuple[int, ...]], classes: int):
        super().__init__()
        common = next(iter(layers.values()))[-1]
        self.embed = ByModality({m: feed_forward((dimensions[m], *layers[m]), nn.Tanh, nn.Tanh) for m in dimensions})
        self.label = nn.Linear(common, classes)
        self.modality = feed_forward((common, 50, 2), nn.Tanh)


class DLACMR(DeepMethod):
    info = INFO
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        layers = dict(zip(self.modalities, (self.params.first_layers, self.params.second_layers), strict=True))
        return Network(dimensions, layers, classes)

    def updates(self) -> list[Update]:
        p = self.params
        classifier_rate = p.learning_rate * (p.reversal if p.reversal_scales == "classifier" else 1)
        others = [w for name, w in self.network.named_parameters() if not name.startswith("modality.")]
        classifier = list(self.network.modality.parameters())
        groups: list[dict] = [{"params": others}, {"params": classifier, "lr": classifier_rate}]
        return [Update(Adam(groups, p.learning_rate), self.batch_terms)]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """The weighted terms of eq. 14 and that of eq. 9, the adversarial one."""
        p = self.params
        u, v = self.embed_all(inputs)
        relevant = labels @ labels.T > 0
        distance = euclidean(u, v)
        of_all = triplet_sum if p.triplets == "all" else drawn_triplet_sum
        triplets = of_all(distance, relevant, p.margin) + of_all(distance.T, relevant, p.margin)
        scale = p.reversal if p.reversal_scales == "embeddings" else float(p.reversal > 0)
        return {
            "label": p.label_weight
            * (label_loss(self.network.label(u), labels) + label_loss(self.network.label(v), labels)),
            "triplet": p.triplet_weight * triplets,
            "norm": p.norm_weight * weight_norms(self.network.embed),
            "modality": modality_loss(self.network.modality, u, v, scale),
        }


def euclidean(u: Tensor, v: Tensor) -> Tensor:
    """Eq. 10: distances (n, m) of all pairs of rows. Its gradient at distance 0 is 0.

    Not by a matrix product, whose rounding is as large as the printed margin of 1e-4.
    """
    return torch.cdist(u.float(), v.float(), compute_mode="donot_use_mm_for_euclid_dist")


def triplet_sum(distance: Tensor, relevant: Tensor, margin: float) -> Tensor:
    """Eqs. 11 and 12: Σ max(0, d(i, j) − d(i, k) + margin) over i, relevant j and irrelevant k.

    0 where an anchor has no relevant or no irrelevant row in the batch.
    """
    anchor, positive = relevant.nonzero(as_tuple=True)
    violation = functional.relu(distance[anchor, positive][:, None] - distance[anchor] + margin)
    return (violation * ~relevant[anchor]).sum()


def drawn_triplet_sum(distance: Tensor, relevant: Tensor, margin: float) -> Tensor:
    """Eqs. 11 and 12 with one relevant j and one irrelevant k drawn for each anchor i, by torch's own generator."""
    anchor, positive, negative = drawn_triplets(relevant)
    return functional.relu(distance[anchor, positive] - distance[anchor, negative] + margin).sum()


def drawn_triplets(relevant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (t,) of the anchors that have a relevant and an irrelevant row, and one of each for every anchor."""
    anchor = (relevant.any(1) & ~relevant.all(1)).nonzero().squeeze(1)
    of_anchor = relevant[anchor]
    if not len(anchor):
        return anchor, anchor, anchor
    positive, negative = (torch.multinomial(mask.float(), 1).squeeze(1) for mask in (of_anchor, ~of_anchor))
    return anchor, positive, negative


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 15 for one modality: cross-entropy with the label distribution (labels of one row share its mass)."""
    return functional.cross_entropy(logits, shares_of(labels))


def weight_norms(networks: nn.Module) -> Tensor:
    """Eq. 13: the sum over layers of the unsquared Frobenius norm of the weights."""
    return torch.stack([norm(weight) for name, weight in networks.named_parameters() if name.endswith("weight")]).sum()
