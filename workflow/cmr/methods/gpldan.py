"""GPLDAN: graph pattern loss based diversified attention network.

Chen, Zhang, Zhan, 2021 (arXiv 2106.13552). Unsupervised: it learns from pairs alone. Some elements of the input are
set to zero (§2.1); a layer of each modality and one that they share give L numbers, which are k = 4 representations of
H = L/k: an instance is x (H, k). Its attention is a = softmax((W₂ tanh(W₁x))ᵀ) (eq. 1), W₁ (H/2, H) and W₂ (1, H/2).
A pair is compared as fused by its summed attention, x(a_x + a_y) with y(a_x + a_y) (eqs. 2 and 3),

    l_p(x, y) = 1 − cos(x(a_x + a_y), y(a_x + a_y)).

With v_i of an image, t_i of its text and n pairs in a batch, the projector minimises L_pdl + α·L_udp + β·L_mdp (eq. 9)
+ λ·(cross-entropy of a modality classifier on v and t with the labels flipped, eq. 11), means over i of

- L_pdl (eq. 4): l_p(v_i, t_i);
- L_udp (eqs. 6 and 7): (1/n) Σ_{j≠i} |l_p(·) − d_ij|, summed over (v_i, t_j), (v_i, v_j) and (t_i, t_j);
  d_ij = d_ori / mean d_ori with d_ori = √(d_cos(u_i, u_j) · d_cos(c_i, c_j)) of the inputs u and c;
- L_mdp (eq. 8): (1/n) Σ_{j≠i} of the absolute differences of those three distances;

and, in turn and with an optimiser of its own, the classifier minimises its cross-entropy with the true labels (eq. 10).
Test pairs are compared by their fused representations too, so embeddings hold x and a (see `GPLDAN.similarity`).

Readings. Eq. 5's first form is a misprint: 1 minus the cosine is meant. Eq. 6 is printed without absolute values; as d
is a constant it would only shrink all distances, so |l_p − d| is the default of ``unpaired``. Inputs are standardised
(``scale``), which the paper does not say: it changes the distances d too. Eq. 8 has no sum over j: eq. 6's is taken.
d_mean is that of the batch's unequal pairs, and d_ori of the inputs before elements are set to zero, 'the original
media spaces', though §2.1 calls the denoised ones u and c. 4096 image and 1024 text numbers cannot share their first
layer. Eq. 10's l_cel is the binary one and the classifier has one output; with two, as 'a one-hot vector' may say, the
term would be twice as large. How Table 3 compares instances without diversified attention is not said: ``fusion`` whole
compares all L numbers, mean the mean of the k representations. Not given in the paper, hence chosen on held-out pairs
without labels: L, the layers and their activation, the classifier's layers, the share of elements set to zero, batch,
epochs, α and β (nor their grids).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.adversarial import discriminator_loss
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, RMSprop, apply, feed_forward, tensor, total

INFO = MethodInfo(
    title="GPLDAN",
    paper="Chen, Zhang, Zhan, Graph pattern loss based diversified attention network for cross-modal retrieval",
    bibtex="""@article{chen2021graph,
  author = {Chen, Xueying and Zhang, Rong and Zhan, Yibing},
  title = {Graph pattern loss based diversified attention network for cross-modal retrieval},
  journal = {arXiv preprint arXiv:2106.13552},
  year = {2021}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)

ROWS_AT_ONCE = 512
SIDES = ((0, 1), (0, 0), (1, 1))  # images with texts, images, texts
SMALLEST = 1e-12


class Params(DeepParams):
    alpha: float = Field(1.0, ge=0, description="α, weight of the unpaired distances; 0 takes them away")
    beta: float = Field(0.1, ge=0, description="β, weight of the mutual distances; 0 takes them away")
    classifier_weight: float = Field(0.01, ge=0, description="λ of the modality classifier; 0 takes it away")
    fusion: Literal["attention", "mean", "whole"] = Field("attention", description="how a pair is compared")
    unpaired: Literal["absolute", "squared", "literal"] = Field("absolute", description="reading of l_p − d in eq. 6")
    representations: int = Field(4, ge=1, description="k, 4 in §3.2")
    dimension: int = Field(128, ge=2, description="H = L/k of one representation, not given in the paper")
    hidden: int = Field(1024, ge=1, description="width of each modality's own layer, not given in the paper")
    classifier_hidden: int = Field(64, ge=1, description="width of the modality classifier, not given in the paper")
    mask: float = Field(0.2, ge=0, lt=1, description="share of the input set to zero in training, not given")
    batch_size: int = Field(100, ge=2, description="not given in the paper")
    learning_rate: float = Field(1e-4, gt=0, description="of the projector's Adam, §3.2")
    weight_decay: float = Field(1e-4, ge=0, description="of the projector's Adam, §3.2")
    classifier_learning_rate: float = Field(5e-5, gt=0, description="of the classifier's RMSprop, §3.2")


class Projector(nn.Module):
    """Input rows (n, d) of a modality to its L numbers (n, k·H), and their attention."""

    def __init__(self, dimensions: Mapping[str, int], params: Params):
        super().__init__()
        self.mask, self.k = params.mask, params.representations
        width, half = params.dimension, params.dimension // 2
        self.own = ByModality({m: nn.Linear(d, params.hidden) for m, d in dimensions.items()})
        self.shared = nn.Linear(params.hidden, self.k * width)
        self.attention = nn.Sequential(nn.Linear(width, half, bias=False), nn.Tanh(), nn.Linear(half, 1, bias=False))

    def forward(self, modality: str, inputs: Tensor) -> Tensor:
        if self.training:
            inputs = inputs * (torch.rand_like(inputs) >= self.mask)
        return self.shared(torch.relu(self.own[modality](inputs)))

    def attended(self, abstract: Tensor) -> tuple[Tensor, Tensor]:
        """The k representations (n, k, H) and their attention (n, k), eq. 1."""
        representations = abstract.unflatten(1, (self.k, -1))
        return representations, torch.softmax(self.attention(representations).squeeze(2), dim=1)


class Network(nn.Module):
    """The projector and the modality classifier."""

    def __init__(self, dimensions: Mapping[str, int], params: Params):
        super().__init__()
        self.projector = Projector(dimensions, params)
        self.classifier = feed_forward(
            (params.representations * params.dimension, params.classifier_hidden, 1), nn.ReLU
        )


class GPLDAN(DeepMethod):
    """Embeddings are the k representations and attentions, (n, kH + k); without attention what cosine compares."""

    info = INFO
    replayed = True
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, self.params)

    def updates(self) -> list[Update]:
        p, network = self.params, self.network
        classifier = RMSprop(network.classifier.parameters(), p.classifier_learning_rate)
        projector = Adam(network.projector.parameters(), p.learning_rate, weight_decay=p.weight_decay)
        return [
            Update(classifier, lambda rows: self.classifier_terms([x[rows] for x in self.inputs])),
            Update(projector, self.batch_terms),
        ]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """The projector's weighted terms of eqs. 9 and 11."""
        p = self.params
        v, t = self._abstract(inputs)
        between, images, texts = self.distances(v, t)
        target = original_distances(*inputs)
        return {
            "pairwise": between.diagonal().mean(),
            "unpaired": p.alpha * total(unpaired(d, target, p.unpaired) for d in (between, images, texts)),
            "mutual": p.beta * mutual(between, images, texts),
            "confusion": p.classifier_weight * discriminator_loss(self.network.classifier, t, v),
        }

    def classifier_terms(self, inputs: list[Tensor]) -> Terms:
        """Eq. 10, which the modality classifier minimises."""
        with torch.no_grad():
            v, t = self._abstract(inputs)
        return {"modality": discriminator_loss(self.network.classifier, v, t)}

    def distances(self, v: Tensor, t: Tensor) -> list[Tensor]:
        """l_p (b, b) of rows v and t (b, L): of images with texts, of images and of texts."""
        if self.params.fusion == "attention":
            fusable = [Fusable(*self.network.projector.attended(rows)) for rows in (v, t)]
            return [1 - fusable[i].cosine(fusable[j]) for i, j in SIDES]
        fused = [self._fused(rows) for rows in (v, t)]
        return [1 - cosine(fused[i], fused[j]) for i, j in SIDES]

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        def embedding(inputs: Tensor) -> Tensor:
            abstract = self.network.projector(modality, inputs)
            if self.params.fusion != "attention":
                return self._fused(abstract)
            return torch.cat([abstract, self.network.projector.attended(abstract)[1]], dim=1)

        return apply(embedding, self.scaling[modality](features, np.float32), self.device)

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        """The cosine of the fused representations of every pair, 1 − l_p, exactly.

        Blocks of both sides, so that the fused representations, one for each pair, never exist.
        """
        if self.params.fusion != "attention":
            return super().similarity(query_modality, query, gallery_modality, gallery)
        scores = np.empty((len(query), len(gallery)), np.float32)
        with torch.inference_mode():
            for i in range(0, len(query), ROWS_AT_ONCE):
                x = self._unpacked(query[i : i + ROWS_AT_ONCE])
                for j in range(0, len(gallery), ROWS_AT_ONCE):
                    y = self._unpacked(gallery[j : j + ROWS_AT_ONCE])
                    scores[i : i + ROWS_AT_ONCE, j : j + ROWS_AT_ONCE] = fused_cosine(*x, *y).cpu().numpy()
        return scores

    def _abstract(self, inputs: list[Tensor]) -> list[Tensor]:
        with self.mixed_precision():
            return [self.network.projector(m, x).float() for m, x in zip(self.modalities, inputs, strict=True)]

    def _fused(self, abstract: Tensor) -> Tensor:
        """What is compared without attention: all L numbers (n, L), or the mean representation (n, H)."""
        if self.params.fusion == "whole":
            return abstract
        return abstract.unflatten(1, (self.params.representations, -1)).mean(1)

    def _unpacked(self, embeddings: np.ndarray) -> tuple[Tensor, Tensor]:
        k = self.params.representations
        rows = tensor(embeddings, self.device)
        return rows[:, :-k].unflatten(1, (k, -1)), rows[:, -k:]


class Fusable:
    """Rows of one modality, and what their fused cosines with any others are made of, each computed once.

    Of representations x (n, k, H) and attention a (n, k): X_i = [x_i, x_i a_i] of k+1 columns, and α_i = [a_i, 1].
    """

    def __init__(self, x: Tensor, a: Tensor):
        own = torch.einsum("ikh,ik->ih", x, a)[:, None]
        self.x, self.a = torch.cat([x, own], 1), torch.cat([a, torch.ones_like(a[:, :1])], 1)
        self.lengths, self.attention = _products(self.x), _products(self.a[:, :, None])

    @cached_property
    def first(self) -> Tensor:
        """X α (n, (k+1)²H) as the first side of a pair has it."""
        return torch.einsum("iph,iq->ipqh", self.x, self.a).flatten(1)

    @cached_property
    def second(self) -> Tensor:
        """As the second side has it: the two sides' columns are exchanged."""
        return torch.einsum("jqh,jp->jpqh", self.x, self.a).flatten(1)

    def cosine(self, other: "Fusable") -> Tensor:
        """`fused_cosine` (n, m)."""
        lengths = self.lengths @ other.attention.T * (self.attention @ other.lengths.T)
        return self.first @ other.second.T * lengths.clamp_min(SMALLEST).rsqrt()


def fused_cosine(x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """cos(x_i(a_i + b_j), y_j(a_i + b_j)), (n, m): representations (n, k, H), (m, k, H), attention (n, k), (m, k).

    x_i(a_i + b_j) = X_i β_j, with X_i = [x_i, x_i a_i] of k+1 columns and β_j = [b_j, 1], and likewise Y_j α_i. So the
    inner product is β_jᵀ(X_iᵀY_j)α_i, the squared lengths β_jᵀ(X_iᵀX_i)β_j and α_iᵀ(Y_jᵀY_j)α_i: each is an inner
    product of something of i with something of j, one matrix product for all pairs. In float32 whatever the autocast.
    """
    with torch.autocast(x.device.type, enabled=False):
        return Fusable(x.float(), a.float()).cosine(Fusable(y.float(), b.float()))


def _products(x: Tensor) -> Tensor:
    """The inner products (n, k²) of the k rows of each (k, H)."""
    return (x @ x.transpose(1, 2)).flatten(1)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosines (n, m) of all pairs of rows, in float32; 0 with a row of zeros."""
    with torch.autocast(x.device.type, enabled=False):
        return functional.normalize(x.float()) @ functional.normalize(y.float()).T


def original_distances(first: Tensor, second: Tensor) -> Tensor:
    """d of eq. 6, (b, b): √(d_cos · d_cos) of the inputs, over its mean of the pairs i ≠ j."""
    d = ((1 - cosine(first, first)).clamp_min(0) * (1 - cosine(second, second)).clamp_min(0)).sqrt()
    d = d.fill_diagonal_(0)
    n = len(d)
    return d * (n * (n - 1)) / d.sum().clamp_min(SMALLEST)


def unpaired(distances: Tensor, target: Tensor, reading: str) -> Tensor:
    """Eq. 6, mean over i: (1/n) Σ_{j≠i} of |l_p − d|, its square, or l_p − d as printed."""
    difference = distances - target
    of = {"absolute": difference.abs, "squared": difference.square, "literal": difference.clone}[reading]
    return over_others(of())


def mutual(between: Tensor, images: Tensor, texts: Tensor) -> Tensor:
    """Eq. 8, mean over i of (1/n) Σ_{j≠i}: how far the three distances of (i, j) are from each other."""
    return over_others((between - images).abs() + (between - texts).abs() + (images - texts).abs())


def over_others(values: Tensor) -> Tensor:
    """(1/n²) Σ over i and j ≠ i."""
    return (values.sum() - values.diagonal().sum()) / len(values) ** 2
