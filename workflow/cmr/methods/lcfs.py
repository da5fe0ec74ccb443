"""Learning coupled feature spaces: label regression with sparse maps and a low-rank projection.

Wang, He, Wang, Wang and Tan, "Learning coupled feature spaces for cross-modal matching", ICCV 2013:

    min  ½ Σₚ ‖Xₚ Uₚ − Y‖² + λ₁ Σₚ ‖Uₚ‖₂,₁ + λ₂ ‖[X₁U₁  X₂U₂]‖_*,

by half-quadratic minimisation: the ℓ2,1 norm is reweighted by rows, and the trace norm of M = [X₁U₁ X₂U₂] by
S⁻¹ = (MMᵀ + ε² I)^−½ from the bound ‖M‖_* ≤ ½ tr(Mᵀ S⁻¹ M) + ½ tr S. S⁻¹ is a multiple of the identity but for the
2c directions of M, so no n × n matrix is formed.

A public script of the method (LCFS_ite.m) weights a row by 1/(2‖u‖) beside the loss with its ½, so its λ₁ is twice the
one above. It takes features as they are, λ₁ = 0.1 and λ₂ = 0.001, five steps from weights of 1 and ε² = 10⁻⁷; here
features have mean 0 and variance 1, the start is a ridge regression, and ε is a hundredth of M's largest singular value
there. With an ε as small as the script's, S hardly lets M leave the directions that it starts with.
"""

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import singular_vectors
from cmr.methods.linear import LinearMethod, ridge
from cmr.methods.sparse_rows import reweighted, row_norms

INFO = MethodInfo(
    title="LCFS",
    paper="Wang et al., Learning coupled feature spaces for cross-modal matching, ICCV 2013",
    bibtex="""@inproceedings{wang2013learning,
  author = {Wang, Kaiye and He, Ran and Wang, Wei and Wang, Liang and Tan, Tieniu},
  title = {Learning Coupled Feature Spaces for Cross-Modal Matching},
  booktitle = {ICCV},
  pages = {2088--2095},
  year = {2013}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=False,
)
SMOOTHING = 0.01


class Params(LinearParams):
    sparsity: float = Field(1.0, gt=0, description="λ₁: weight of the ℓ2,1 norm")
    low_rank: float = Field(1.0, ge=0, description="λ₂: weight of the trace norm")
    iterations: int = Field(20, ge=1, description="steps of the half-quadratic minimisation")


class LCFS(LinearMethod):
    """``fit`` takes pairs. State: ``{modality}.map`` (d, c), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        labels = labels_of(views[0])
        self.learn([view.features for view in views], labels - labels.mean(axis=0))
        return History([{"iteration": i, "objective": value} for i, value in enumerate(self.objectives, 1)])

    def solve(self, features: list[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
        maps = [ridge(x, labels, 1e-3) for x in features]
        epsilon = SMOOTHING * float(np.linalg.norm(self.projected(features, maps), 2))
        own = [x.T @ x for x in features]
        self.objectives: list[float] = []
        for _ in range(self.params.iterations):
            left, values, _ = singular_vectors(self.projected(features, maps))
            excess = 1 / np.sqrt(values**2 + epsilon**2) - 1 / epsilon
            maps = [
                reweighted(
                    gram + self.params.low_rank * (gram / epsilon + (x.T @ left * excess) @ (x.T @ left).T),
                    x.T @ labels,
                    2 * self.params.sparsity,
                    weights,
                )
                for x, gram, weights in zip(features, own, maps, strict=True)
            ]
            self.objectives.append(self.objective(features, labels, maps, epsilon))
        return maps

    @staticmethod
    def projected(features: list[np.ndarray], maps: list[np.ndarray]) -> np.ndarray:
        return np.hstack([x @ u for x, u in zip(features, maps, strict=True)])

    def objective(
        self, features: list[np.ndarray], labels: np.ndarray, maps: list[np.ndarray], epsilon: float
    ) -> float:
        """The smoothed objective, which every step lowers, less what ε adds for singular values that are zero."""
        values = np.linalg.svd(self.projected(features, maps), compute_uv=False)
        error = sum(np.square(x @ u - labels).sum() for x, u in zip(features, maps, strict=True)) / 2
        sparse = self.params.sparsity * sum(row_norms(u).sum() for u in maps)
        return float(error + sparse + self.params.low_rank * np.sqrt(values**2 + epsilon**2).sum())
