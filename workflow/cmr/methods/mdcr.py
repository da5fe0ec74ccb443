"""Modality-dependent cross-media retrieval: one couple of projections for each direction.

Wei, Zhao, Zhu, Wei, Xiao, Feng and Yan, "Modality-dependent cross-media retrieval", ACM TIST 2016 (arXiv 1506.06628).
For queries X and galleries G of paired rows, and labels Y,

    min over U, W  λ/n ‖X U − G W‖² + (1 − λ)/n ‖X U − Y‖² + η (‖U‖² + ‖W‖²),

with means over the n pairs in the place of the paper's sums, so that η means the same for any n. Only the query's
projection is regressed on the labels. The paper alternates gradient steps over U and W; the objective is jointly convex
and is solved here at once. Items are embedded with both couples, side by side, and compared by the cosine under the
couple whose query modality asks. λ and η are not given for every data set in the paper; choose them on validation rows.
"""

import numpy as np
import scipy.linalg
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import with_ridge
from cmr.methods.linear import LinearMethod, back, row_space

INFO = MethodInfo(
    title="MDCR",
    paper="Wei et al., Modality-dependent cross-media retrieval, ACM TIST 2016",
    bibtex="""@article{wei2016modality,
  author = {Wei, Yunchao and Zhao, Yao and Zhu, Zhenfeng and Wei, Shikui and Xiao, Yanhui and Feng, Jiashi and
            Yan, Shuicheng},
  title = {Modality-Dependent Cross-Media Retrieval},
  journal = {ACM Transactions on Intelligent Systems and Technology},
  volume = {7},
  number = {4},
  pages = {57:1--57:13},
  year = {2016},
  doi = {10.1145/2775109}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=False,
)


class Params(LinearParams):
    correlation: float = Field(0.5, gt=0, lt=1, description="λ: weight of the pairs against 1 − λ of the labels")
    penalty: float = Field(0.1, gt=0, description="η: weight of ‖U‖² + ‖W‖² against the mean squared error of a row")


class MDCR(LinearMethod):
    """``fit`` takes pairs. State: ``{modality}.map`` (d, 2c), columns of the first modality's queries first."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        labels = labels_of(views[0])
        self.learn([view.features for view in views], labels - labels.mean(axis=0))
        return History()

    def solve(self, features: list[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
        (x, x_basis), (y, y_basis) = map(row_space, features)
        x_query, y_gallery = self.couple(x, y, labels)
        y_query, x_gallery = self.couple(y, x, labels)
        return [back(x_basis, np.hstack([x_query, x_gallery])), back(y_basis, np.hstack([y_gallery, y_query]))]

    def couple(self, query: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U and W of one direction, where the gradient is zero."""
        weight, n = self.params.correlation, len(query)
        cross = -weight * query.T @ gallery / n
        system = np.block([[query.T @ query / n, cross], [cross.T, weight * gallery.T @ gallery / n]])
        right = np.zeros((len(system), labels.shape[1]))
        right[: query.shape[1]] = (1 - weight) * query.T @ labels / n
        solution = scipy.linalg.solve(
            with_ridge(system, self.params.penalty), right, assume_a="pos", check_finite=False
        )
        return solution[: query.shape[1]], solution[query.shape[1] :]

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        half = query.shape[1] // 2
        columns = slice(None, half) if query_modality == self.modalities[0] else slice(half, None)
        return super().similarity(query_modality, query[:, columns], gallery_modality, gallery[:, columns])
