"""Deep CCA: networks whose outputs have the largest total canonical correlation.

Andrew, Arora, Bilmes and Livescu, "Deep canonical correlation analysis", ICML 2013:

    max ‖T‖_tr,   T = (C₁₁ + r I)^-½ C₁₂ (C₂₂ + r I)^-½,

the sum of the singular values over the centred outputs of a batch; then linear CCA on the outputs of all training
rows, whose canonical variates are the embedding. A batch must be large against the outputs' dimensions (Wang et al.,
ICML 2015, on stochastic optimisation of DCCA). Sizes of layers are the experiments' of a data set and not general;
hyperbolic tangents stand for the paper's cube-root sigmoids.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from cmr.data import Part
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.deep import HeadedMethod, Networks
from cmr.methods.eigen import canonical_pairs, covariance, with_ridge
from cmr.methods.training import Terms, feed_forward
from cmr.params import Params as BaseParams

INFO = {
    "title": "DCCA",
    "paper": "Andrew et al., Deep canonical correlation analysis, ICML 2013",
    "provenance": "own",
    "modalities": 2,
    "labels": False,
    "stochastic": True,
    "gpu": True,
    "chooses": ("epochs",),
}


class Params(BaseParams):
    layers: tuple[int, ...] = Field((1024,), description="hidden layers of each network, tanh")
    components: int = Field(10, ge=1, description="outputs of each network, and of the embedding")
    regularisation: float = Field(0.1, gt=0, description="ridge r on the outputs' covariances")
    batch_size: int = Field(800, ge=2, description="rows a step; many more than components")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step")
    epochs: int = Field(50, ge=1, description="epochs at most; the best is chosen on held-out pairs")
    patience: int = Field(10, ge=0, description="stop after so many epochs without a better one; 0: never")
    scale: Literal["standardise", "centre", "none"] = Field("standardise", description="scaling of the inputs")


class DCCA(HeadedMethod):
    """State: the networks' weights, and of each modality ``.mean``, ``.scale``, ``.centre`` and ``.head``."""

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        return self.learn([view.without_labels() for view in views], validation)

    def build(self, dimensions: Mapping[str, int], classes: int) -> nn.Module:
        p = self.params
        return Networks({m: feed_forward((d, *p.layers, p.components), nn.Tanh) for m, d in dimensions.items()})

    def terms(self, inputs: list[Tensor], labels: Tensor | None) -> Terms:
        return {"correlation": -total_correlation(*self.embed_all(inputs), self.params.regularisation)}

    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        return linear_cca(outputs, self.params.regularisation)


def total_correlation(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """Σρ of two outputs (b, o): the sum of the singular values of L₁⁻¹ C₁₂ L₂⁻ᵀ, which are those of T."""
    x, y = x - x.mean(0), y - y.mean(0)
    eye = ridge * torch.eye(x.shape[1], device=x.device)
    x_factor, y_factor = (torch.linalg.cholesky(out.T @ out / len(out) + eye) for out in (x, y))
    whitened = torch.linalg.solve_triangular(x_factor, x.T @ y / len(x), upper=False)
    whitened = torch.linalg.solve_triangular(y_factor, whitened.T, upper=False)
    return torch.linalg.svdvals(whitened).sum()


def linear_cca(outputs: list[np.ndarray], ridge: float) -> list[np.ndarray]:
    """Maps of `cca` for centred outputs (n, o)."""
    x, y = outputs
    x_own, y_own = (with_ridge(covariance(out, out), ridge) for out in (x, y))
    return list(canonical_pairs(x_own, y_own, covariance(x, y), x.shape[1])[:2])
