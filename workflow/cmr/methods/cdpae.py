"""Comprehensive distance-preserving autoencoders.

Zhan, Yu, Yu, Zhang, Tao and Tian, "Comprehensive distance-preserving autoencoders for cross-modal retrieval", ACM
Multimedia 2018; losses and values as in the authors' public code. Denoising autoencoders of one tanh layer; for items
i and j of a batch, with D(a, b) = 1 − cos(a, b) and the target d_ij = √(D(xᵢ, xⱼ) D(yᵢ, yⱼ) + 1e-5) of the inputs,

    min  Σ_{i,j} D(f(xᵢ), g(yᵢ))                                                    (pairs)
       + w₁ (|D(f(xᵢ), f(xⱼ)) − d| + |D(g(yᵢ), g(yⱼ)) − d|                          (within a modality)
           + |D(f(xᵢ), g(yⱼ)) − d| + |D(g(yᵢ), f(xⱼ)) − d|)                         (across modalities)
       + w₂ Σ ‖reconstruction error‖                                                (unsquared row norms),

means over the batch, whose first half are the i and second half the j. In each batch the same features are set to zero
in all rows. Items are compared by the paper's second step (or, with ``compare: cosine``, by the cosine of their codes),

    Σ_{p,q} P(x, p) P(y, q) h(p, q),   P(x, p) ∝ 1 − D(x, p)/2 over the k training codes p nearest to x,

h = 1 for two codes of one item and 1 − D(p, q)/2 for others; codes of both modalities are neighbours, as in the code.
k = 300 is the best of four on a tenth of Wikipedia's training rows (`baseline_forms.yaml`).

Different from the code: texts are standardised like images (there they stay as they are), weights start as torch has
them (Xavier and biases of zero there), and the epoch is chosen on the pairs of held-out items, after each epoch. The
code chooses it on the labels of validation rows, after every tenth. It stops after 30 epochs without a better one and
after 600, as here, and reports each k of its second step on the test rows.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import scipy.sparse
import torch
from pydantic import Field
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from cmr.info import MethodInfo
from cmr.methods.base import unit_rows
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, feed_forward, total

INFO = MethodInfo(
    title="CDPAE",
    paper="Zhan et al., Comprehensive distance-preserving autoencoders for cross-modal retrieval, ACM MM 2018",
    bibtex="""@inproceedings{zhan2018comprehensive,
  author = {Zhan, Yibing and Yu, Jun and Yu, Zhou and Zhang, Rong and Tao, Dacheng and Tian, Qi},
  title = {Comprehensive Distance-Preserving Autoencoders for Cross-Modal Retrieval},
  booktitle = {ACM Multimedia},
  pages = {1137--1145},
  year = {2018},
  doi = {10.1145/3240508.3240607}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="dimensions of the code")
    first_mask: float = Field(0.5, ge=0, lt=1, description="share of the first modality's features set to zero")
    second_mask: float = Field(0.7, ge=0, lt=1, description="share of the second modality's features set to zero")
    distances: float = Field(0.3, ge=0, description="w₁: weight of the kept distances")
    reconstruction: float = Field(0.001, ge=0, description="w₂: weight of the reconstruction errors")
    batch_size: int = Field(128, ge=4, description="rows a step, 64 pairs of items")
    epochs: int = Field(600, ge=1, description="epochs at most; the best is chosen on held-out rows")
    patience: int = Field(30, ge=0, description="stop after so many epochs without a better one; 0: never")
    compare: Literal["neighbours", "cosine"] = Field(
        "neighbours", description="of the codes' neighbours, or of the codes"
    )
    neighbours: int = Field(300, ge=1, description="k nearest training codes; of the comparison by neighbours")


class CDPAE(DeepMethod):
    """State: the networks' weights, ``.mean``, ``.scale``; to compare by neighbours, ``training`` codes (2n, h)."""

    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        width = self.params.hidden
        encoders = {m: feed_forward((d, width), nn.Tanh, nn.Tanh) for m, d in dimensions.items()}
        return Networks(encoders, decode=ByModality({m: nn.Linear(width, d) for m, d in dimensions.items()}))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        p = self.params
        masks = (p.first_mask, p.second_mask)
        codes = self.embed_all([masked(x, share) for x, share in zip(inputs, masks, strict=True)])
        errors = [error.norm(dim=1).mean() for error in self.reconstruction_errors(codes, inputs)]
        return {
            "pairs": 2 * distance(*codes).mean(),
            "distances": p.distances * distance_errors(inputs, codes),
            "reconstruction": 2 * p.reconstruction * total(errors),
        }

    def finish(self) -> None:
        if self.params.compare == "neighbours":
            self.training = unit_rows(np.vstack(self.training_outputs()))

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        if self.params.compare == "cosine":
            return super().similarity(query_modality, query, gallery_modality, gallery)
        q, g = self.probabilities(query), self.probabilities(gallery)
        first, second = np.split(self.training, 2)
        missing = scipy.sparse.diags_array(1 - alike(np.sum(first * second, axis=1)))
        pairs = scipy.sparse.block_array([[None, missing], [missing, None]])
        return alike((q @ self.training) @ (g @ self.training).T) + (q @ pairs @ g.T).toarray()

    def probabilities(self, codes: np.ndarray) -> scipy.sparse.csr_array:
        """P of each row with each training code (rows, 2n), zero but for the ``k`` nearest."""
        k = min(self.params.neighbours, len(self.training))
        distances, nearest = NearestNeighbors(n_neighbors=k, metric="cosine").fit(self.training).kneighbors(codes)
        weights = alike(1 - distances)
        weights /= weights.sum(axis=1, keepdims=True)
        rows = np.repeat(np.arange(len(codes)), k)
        return scipy.sparse.csr_array((weights.ravel(), (rows, nearest.ravel())), (len(codes), len(self.training)))

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | ({} if self.params.compare == "cosine" else {"training": self.training})

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state(state)
        if self.params.compare == "neighbours":
            self.training = np.asarray(state["training"])


def alike(cosine: np.ndarray) -> np.ndarray:
    """The probability that two codes are of one class, 1 − D/2."""
    return (1 + cosine) / 2


def masked(x: Tensor, share: float) -> Tensor:
    """``x`` (b, d) with a random share of its columns set to zero."""
    columns = torch.randperm(x.shape[1], device=x.device)[: int(share * x.shape[1])]
    return x.index_fill(1, columns, 0)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """1 − cosine of the rows."""
    return 1 - cosine_similarity(a, b)


def distance_errors(inputs: list[Tensor], codes: list[Tensor]) -> Tensor:
    """Mean |distance of two codes − target| between the batch's halves, summed over the four pairs of modalities."""
    half = len(inputs[0]) // 2
    (x, x_other), (y, y_other) = ((rows[:half], rows[half : 2 * half]) for rows in inputs)
    (f, f_other), (g, g_other) = ((rows[:half], rows[half : 2 * half]) for rows in codes)
    target = torch.sqrt(distance(x, x_other) * distance(y, y_other) + 1e-5)
    pairs = ((f, f_other), (g, g_other), (f, g_other), (g, f_other))
    return total((distance(a, b) - target).abs().mean() for a, b in pairs)
