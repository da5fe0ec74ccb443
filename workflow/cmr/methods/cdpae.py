"""Comprehensive distance-preserving autoencoders.

Zhan, Yu, Yu, Zhang, Tao and Tian, "Comprehensive distance-preserving autoencoders for cross-modal retrieval", ACM
Multimedia 2018; losses and values as in the authors' public code. Denoising autoencoders of one tanh layer; for items
i and j of a batch, with D(a, b) = 1 − cos(a, b) and the target d_ij = √(D(xᵢ, xⱼ) D(yᵢ, yⱼ) + 1e-5) of the inputs,

    min  Σ_{i,j} D(f(xᵢ), g(yᵢ))                                                    (pairs)
       + w₁ (|D(f(xᵢ), f(xⱼ)) − d| + |D(g(yᵢ), g(yⱼ)) − d|                          (within a modality)
           + |D(f(xᵢ), g(yⱼ)) − d| + |D(g(yᵢ), f(xⱼ)) − d|)                         (across modalities)
       + w₂ Σ ‖reconstruction error‖                                                (unsquared row norms),

means over the batch, whose first half are the i and second half the j. In each batch the same features are set to zero
in all rows. Items are compared by the cosine; the paper's second step, which compares by the nearest training pairs of
a test item, is not part of this method.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.training import Terms, feed_forward, total

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
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="dimensions of the code")
    first_mask: float = Field(0.5, ge=0, lt=1, description="share of the first modality's features set to zero")
    second_mask: float = Field(0.7, ge=0, lt=1, description="share of the second modality's features set to zero")
    distances: float = Field(0.3, ge=0, description="w₁: weight of the kept distances")
    reconstruction: float = Field(0.001, ge=0, description="w₂: weight of the reconstruction errors")
    batch_size: int = Field(128, ge=4, description="rows a step, 64 pairs of items")


class CDPAE(DeepMethod):
    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        width = self.params.hidden
        encoders = {m: feed_forward((d, width), nn.Tanh, nn.Tanh) for m, d in dimensions.items()}
        return Networks(encoders, decode=nn.ModuleDict({m: nn.Linear(width, d) for m, d in dimensions.items()}))

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
