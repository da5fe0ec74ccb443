"""Multi-label CCA: every pair of items counts by how alike their labels are, paired or not.

Ranjan, Rasiwasia and Jawahar, "Multi-label cross-modal retrieval", ICCV 2015:

    C_xy = 1/N Σᵢ Σⱼ f(zᵢ, zⱼ) xᵢ yⱼᵀ,   C_xx = 1/N Σᵢ (Σⱼ f(zᵢ, zⱼ)) xᵢ xᵢᵀ,   C_yy likewise,   N the number of pairs,

then CCA with a ridge r relative to each covariance's mean diagonal, as in the authors' code of Fast ml-CCA. f is the
cosine of two label vectors, or exp(−‖zᵢ − zⱼ‖²/σ) (the authors' code leaves the square out). Fast ml-CCA takes each
item's nearest label vectors only; here all pairs are summed exactly at the cost of the distinct label vectors, of
which there are few, since f is the same for items with the same labels.

Items are compared by the cosine, to which the length of a component matters. Of each, the map's norm is 1, as in the
authors' code, or its variance (with the ridge), as in textbooks. The first weighs a component by the spread of the
items along it and is better on held-out rows. The code centres features and does not scale them; here their variance
is 1.
"""

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import canonical_pairs, with_ridge
from cmr.methods.linear import LinearMethod, back, row_space
from cmr.methods.scatter import sums_by

INFO = MethodInfo(
    title="ml-CCA",
    paper="Ranjan, Rasiwasia and Jawahar, Multi-label cross-modal retrieval, ICCV 2015",
    bibtex="""@inproceedings{ranjan2015multi,
  author = {Ranjan, Viresh and Rasiwasia, Nikhil and Jawahar, C. V.},
  title = {Multi-Label Cross-Modal Retrieval},
  booktitle = {ICCV},
  pages = {4094--4102},
  year = {2015}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    pairs=False,
    stochastic=False,
)


class Params(LinearParams):
    components: int = Field(10, ge=1, description="canonical components, at most the rank of C_xy")
    similarity: Literal["cosine", "exponential"] = Field("cosine", description="f, of two label vectors")
    sigma: float = Field(1.0, gt=0, description="σ of the exponential f")
    regularisation: float = Field(0.25, gt=0, description="ridge r relative to the covariance's mean diagonal")
    unit: Literal["norm", "variance"] = Field("norm", description="what of each component is 1")


class MlCCA(LinearMethod):
    """``fit`` takes labelled rows of either modality. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views], *map(labels_of, views))
        return History([{"component": i, "correlation": float(r)} for i, r in enumerate(self.correlations, 1)])

    def solve(self, features: list[np.ndarray], *labels: np.ndarray) -> list[np.ndarray]:
        (x, x_basis), (y, y_basis) = map(row_space, features)
        x_own, y_own, cross = self.covariances(x, y, *labels)
        for own, view in ((x_own, features[0]), (y_own, features[1])):
            with_ridge(own, self.params.regularisation * np.trace(own) / view.shape[1])
        x_map, y_map, self.correlations = canonical_pairs(x_own, y_own, cross, self.params.components)
        maps = [back(x_basis, x_map), back(y_basis, y_map)]
        return [w / np.linalg.norm(w, axis=0) for w in maps] if self.params.unit == "norm" else maps

    def covariances(
        self, x: np.ndarray, y: np.ndarray, x_labels: np.ndarray, y_labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """C_xx, C_yy and C_xy of rows x (n, d_x) with labels (n, c), and y (m, d_y) with labels (m, c)."""
        (x_kinds, x_kind, x_counts), (y_kinds, y_kind, y_counts) = (
            np.unique(labels, axis=0, return_inverse=True, return_counts=True) for labels in (x_labels, y_labels)
        )
        similarity = self.label_similarity(x_kinds, y_kinds)
        pairs = len(x) * len(y)
        x_weights, y_weights = (similarity @ y_counts)[x_kind], (x_counts @ similarity)[y_kind]
        cross = sums_by(x_kind, x, len(x_kinds)).T @ similarity @ sums_by(y_kind, y, len(y_kinds))
        return x.T @ (x * x_weights[:, None]) / pairs, y.T @ (y * y_weights[:, None]) / pairs, cross / pairs

    def label_similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """f of every row of a with every row of b, both 0/1."""
        if self.params.similarity == "cosine":
            return 1 - cdist(a, b, "cosine")
        return np.exp(-cdist(a, b, "sqeuclidean") / self.params.sigma)
