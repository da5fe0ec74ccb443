"""MRL: multimodal robust learning, for labels of which some are wrong.

Hu, Peng, Zhu, Zhen and Lin, "Learning cross-modal retrieval with noisy labels", CVPR 2021. A network a modality gives
representations z of unit length. With c_k a centre of each class, of unit length too, p(k) ∝ exp(c_kᵀz / τ₁), and the
N items of a batch in each of the modalities i,

    min  β (1/N) Σ_ij log(1 − p(y_ij))  −  (1 − β) (1/N) Σ_ij log P(j | z_ij)                     eqs. 5, 7 and 8

The first, robust clustering, is small at once for what is easy, so that wrong labels weigh little; the cross-entropy
is large for what is hard. The second, multimodal contrast, takes no labels: P(j | z_ij) is the share of
exp(zᵀz_ij / τ₂) that item j's own representations have among those of all items in all modalities (eq. 6).

Readings, from the authors' public code, github.com/penghu-cs/MRL: a representation is not compared with itself in eq.
6, where it is printed among the others; 512 dimensions, centres that start orthogonal, Adam with β₁ = 0.5 and a step of
0.0001, β = 0.7 on Wikipedia, batches of 100 (50 in the paper). An item of several labels counts as of each of them:
p(y) is their sum.

Different from paper and code: inputs are standardised (``scale``), and the step stays as it is, where the code lowers
it to 0 by a cosine over the epochs; the centres are divided by their lengths inside the loss, where the code divides
them before each step. The best epoch on held-out rows counts, as there; no labels are made wrong here.
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward, total

INFO = MethodInfo(
    title="MRL",
    paper="Hu, Peng, Zhu, Zhen and Lin, Learning cross-modal retrieval with noisy labels, CVPR 2021",
    bibtex="""@inproceedings{hu2021learning,
  author = {Hu, Peng and Peng, Xi and Zhu, Hongyuan and Zhen, Liangli and Lin, Jie},
  title = {Learning Cross-Modal Retrieval with Noisy Labels},
  booktitle = {CVPR},
  pages = {5403--5413},
  year = {2021}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)
SMALLEST = 1e-12


class Params(DeepParams):
    layers: tuple[PositiveInt, ...] = Field((4096, 4096), description="hidden layers of each network, ReLU")
    dimension: int = Field(512, ge=1, description="dimensions of the representations")
    clustering: float = Field(0.7, ge=0, le=1, description="β: weight of the clustering against the contrast")
    label_temperature: float = Field(1.0, gt=0, description="τ₁ of the classes' probabilities")
    contrast_temperature: float = Field(1.0, gt=0, description="τ₂ of the items' probabilities")


class MRL(DeepMethod):
    info = INFO
    replayed = True
    betas = (0.5, 0.999)
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        networks = {m: feed_forward((d, *p.layers, p.dimension), nn.ReLU) for m, d in dimensions.items()}
        label = nn.Linear(p.dimension, classes, bias=False)
        nn.init.orthogonal_(label.weight)
        return Networks(networks, label=label)

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        p = self.params
        z = [functional.normalize(out) for out in self.embed_all(inputs)]
        centres = functional.normalize(self.network.label.weight)
        logits = [each @ centres.T / p.label_temperature for each in z]
        return {
            "clustering": p.clustering * total(robust_clustering(each, labels) for each in logits),
            "contrast": (1 - p.clustering) * multimodal_contrast(z, p.contrast_temperature),
        }


def robust_clustering(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 5 of one modality: log(1 − p(y)), mean over the rows, of logits and labels (n, c)."""
    others = (torch.softmax(logits, dim=1) * (labels == 0)).sum(1)
    return others.clamp(min=SMALLEST).log().mean()


def multimodal_contrast(representations: list[Tensor], temperature: float) -> Tensor:
    """Eq. 7 of representations (n, d) of unit length of each modality, row i of each one item."""
    rows, modalities = torch.cat(representations), len(representations)
    items = torch.arange(len(representations[0]), device=rows.device).repeat(modalities)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    scores = (rows @ rows.T / temperature).masked_fill(itself, -math.inf)
    own = scores.masked_fill(items[:, None] != items, -math.inf)
    return modalities * (scores.logsumexp(1) - own.logsumexp(1)).mean()
