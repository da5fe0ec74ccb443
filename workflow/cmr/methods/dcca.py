"""Deep CCA: networks whose outputs have the largest total canonical correlation.

Andrew, Arora, Bilmes and Livescu, "Deep canonical correlation analysis", ICML 2013:

    max ‖T‖_tr,   T = (C₁₁ + r I)^-½ C₁₂ (C₂₂ + r I)^-½,

the sum of the singular values over the centred outputs of a batch; then linear CCA on the outputs of all training rows,
whose canonical variates are the embedding. A batch must be large against the outputs' dimensions (Wang et al., ICML
2015, on stochastic optimisation of DCCA). Sizes of layers are the experiments' of a data set and not general;
hyperbolic tangents stand for the paper's cube-root sigmoids. The paper pretrains the layers as denoising autoencoders
and then takes all rows in each step of L-BFGS; here Adam starts at random weights. Wang's public code of DCCA in
batches has logistic layers, momentum 0.99, r = 10⁻⁴ and 10⁻⁴ ‖W‖² of every layer's weights, which is left out here. The
correlation of 2,000 pairs is soon overfitted: few epochs are chosen, and plain `cca` with its ridge can do better.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import CorrelationParams
from cmr.methods.deep import HeadedMethod, Networks
from cmr.methods.eigen import canonical_pairs, covariance, with_ridge
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward

INFO = MethodInfo(
    title="DCCA",
    paper="Andrew et al., Deep canonical correlation analysis, ICML 2013",
    bibtex="""@inproceedings{andrew2013deep,
  author = {Andrew, Galen and Arora, Raman and Bilmes, Jeff and Livescu, Karen},
  title = {Deep Canonical Correlation Analysis},
  booktitle = {ICML},
  pages = {1247--1255},
  year = {2013}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(CorrelationParams):
    """As they are."""


class DCCA(HeadedMethod):
    info = INFO
    params: CorrelationParams

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        return Networks({m: feed_forward((d, *p.layers, p.components), nn.Tanh) for m, d in dimensions.items()})

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        x, y = self.embed_all(inputs)
        return {"correlation": -total_correlation(x, y, self.params.regularisation)}

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
