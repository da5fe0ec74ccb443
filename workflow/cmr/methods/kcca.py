"""Kernel CCA.

Hardoon, Szedmak and Shawe-Taylor, "Canonical correlation analysis: an overview with application to learning methods",
Neural Computation 2004, section 4: `cca` of the centred kernel features, wᵢ = Φᵢᵀ αᵢ,

    max tr(α₁ᵀ K₁ K₂ α₂)  subject to  αᵢᵀ (Kᵢ² + κ n Kᵢ) αᵢ / n = I,   κ the ridge of the linear form.

Each K (n, n) is replaced by its leading kernel principal components Φ = U S^½, as the paper does with partial
Gram–Schmidt; with all of them the solution is exact. K itself is required, so the fit needs memory of the order n².
The bandwidth of the Gaussian kernel, exp(−‖a − b‖²/(2 w σ²)), is relative to σ², the mean squared distance of
training rows from their mean.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import scipy.linalg
from pydantic import Field
from scipy.spatial.distance import cdist

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import RANK_TOLERANCE, canonical_pairs, covariance, with_ridge
from cmr.methods.scaling import Scaling, fit_each

INFO = MethodInfo(
    title="KCCA",
    paper="Hardoon, Szedmak and Shawe-Taylor, Canonical correlation analysis, Neural Computation 2004",
    bibtex="""@article{hardoon2004canonical,
  author = {Hardoon, David R. and Szedmak, Sandor and Shawe-Taylor, John},
  title = {Canonical Correlation Analysis: An Overview with Application to Learning Methods},
  journal = {Neural Computation},
  volume = {16},
  number = {12},
  pages = {2639--2664},
  year = {2004},
  doi = {10.1162/0899766042321814}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=False,
    memory="pairs of rows",
)


class Params(LinearParams):
    components: int = Field(10, ge=1, description="canonical components")
    kernel: Literal["gaussian", "linear"] = Field("gaussian", description="kernel of both modalities")
    width: float = Field(1.0, gt=0, description="w: squared bandwidth over the mean squared distance from the mean")
    rank: int = Field(500, ge=1, description="kernel principal components kept, at most the training rows")
    regularisation: float = Field(1.0, gt=0, description="ridge κ, relative to the mean variance of kernel features")


class KCCA(Method):
    """``fit`` takes pairs. State: scaling, training ``rows``, ``coefficients`` (n, k) and ``offset`` a modality."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        n = len(views[0])
        self.scaling = fit_each(self.modalities, [view.features for view in views], self.params.scale)
        self.rows = {m: self.scaling[m](v.features) for m, v in zip(self.modalities, views, strict=True)}
        self.spread = {m: float((rows**2).sum(axis=1).mean()) for m, rows in self.rows.items()}
        self.coefficients: dict[str, np.ndarray] = {}
        self.offset: dict[str, np.ndarray] = {}
        (x, x_dual, x_mean), (y, y_dual, y_mean) = (self.principal_components(m) for m in self.modalities)
        x_own, y_own = (
            with_ridge(covariance(view, view), self.params.regularisation * np.square(view).sum() / n / view.shape[1])
            for view in (x, y)
        )
        x_map, y_map, correlations = canonical_pairs(x_own, y_own, covariance(x, y), self.params.components)
        duals = (x_dual @ x_map, y_dual @ y_map)
        for m, dual, mean in zip(self.modalities, duals, (x_mean, y_mean), strict=True):
            # (k(a) − its mean − row means + total) α, with the centring of α folded in.
            self.coefficients[m] = dual - dual.mean(axis=0)
            self.offset[m] = mean @ self.coefficients[m]
        return History([{"component": i, "correlation": float(r)} for i, r in enumerate(correlations, 1)])

    def principal_components(self, modality: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centred kernel features Φ (n, r), their duals D (n, r) with Φ = K_c D, and the kernel's row means (n,)."""
        kernel = self.kernel(modality, self.rows[modality])
        mean = kernel.mean(axis=0)
        kernel += mean.mean() - mean - mean[:, None]
        n = len(kernel)
        values, vectors = scipy.linalg.eigh(
            kernel, subset_by_index=[max(n - self.params.rank, 0), n - 1], overwrite_a=True, check_finite=False
        )
        kept = values > RANK_TOLERANCE * values[-1]
        roots = np.sqrt(values[kept])
        return vectors[:, kept] * roots, vectors[:, kept] / roots, mean

    def kernel(self, modality: str, rows: np.ndarray) -> np.ndarray:
        """Kernel of scaled ``rows`` (q, d) with the training rows: (q, n)."""
        if self.params.kernel == "linear":
            return rows @ self.rows[modality].T
        squared = cdist(rows, self.rows[modality], "sqeuclidean")
        return np.exp(squared / (-2 * self.params.width * self.spread[modality]), out=squared)

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        kernel = self.kernel(modality, self.scaling[modality](features))
        return (kernel @ self.coefficients[modality] - self.offset[modality]).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        state: dict[str, np.ndarray] = {}
        for m in self.modalities:
            state |= self.scaling[m].state(m) | {
                f"{m}.rows": self.rows[m],
                f"{m}.coefficients": self.coefficients[m],
                f"{m}.offset": self.offset[m],
                f"{m}.spread": np.array([self.spread[m]]),
            }
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.scaling = {m: Scaling.from_state(state, m) for m in self.modalities}
        self.rows, self.coefficients, self.offset = (
            {m: np.asarray(state[f"{m}.{name}"]) for m in self.modalities}
            for name in ("rows", "coefficients", "offset")
        )
        self.spread = {m: float(state[f"{m}.spread"][0]) for m in self.modalities}
