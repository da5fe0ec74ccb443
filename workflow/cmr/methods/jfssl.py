"""Joint feature selection and subspace learning: label regression, sparse maps and a graph over both modalities.

Wang, He, Wang, Wang and Tan, "Joint feature selection and subspace learning for cross-modal retrieval", TPAMI 2016:

    min  Σₚ ‖Xₚ Uₚ − Y‖² + λ₁ Σₚ ‖Uₚ‖₂,₁ + λ₂ Σₚ Σ_q tr(Uₚᵀ Xₚᵀ Lₚ_q X_q U_q),

L = D − W the Laplacian of one graph over the items of all modalities: within a modality, the k nearest neighbours with
weight exp(−‖x − x′‖²/(2δ²)); across modalities, β where two items share a class. (A public reimplementation has β on
the graph within a modality, counts neighbours instead of summing weights in D, and takes what items have across
modalities from D's own block into the block between the modalities; the Laplacian here is that of the one graph.) δ² is
relative to the mean squared distance of the training rows from their mean. The norm is reweighted, all maps in one
solve. The class graph is summed by classes and the neighbours are sparse: no n × n matrix.

The paper's k is not in the texts at hand, and the weights of the public reimplementation (λ₁ = 2, λ₂ = 1, all rows
neighbours, histograms as they are) do not carry over to features of variance 1: choose them on held-out rows. On
Wikipedia those want a λ₁ of 50 to 500, the more the larger λ₂, which itself matters little. That reimplementation
ranks by the inner product of the projections; here it is the cosine.
"""

import numpy as np
import scipy.linalg
import scipy.sparse
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.graph import neighbours, symmetric
from cmr.methods.linear import LinearMethod
from cmr.methods.scatter import sums_by
from cmr.methods.sparse_rows import minimise

INFO = MethodInfo(
    title="JFSSL",
    paper="Wang et al., Joint feature selection and subspace learning for cross-modal retrieval, TPAMI 2016",
    bibtex="""@article{wang2016joint,
  author = {Wang, Kaiye and He, Ran and Wang, Liang and Wang, Wei and Tan, Tieniu},
  title = {Joint Feature Selection and Subspace Learning for Cross-Modal Retrieval},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {38},
  number = {10},
  pages = {2010--2023},
  year = {2016}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    pairs=False,
    stochastic=False,
)


class Params(LinearParams):
    sparsity: float = Field(100.0, gt=0, description="λ₁: weight of the ℓ2,1 norm")
    graph: float = Field(100.0, ge=0, description="λ₂: weight of the graph, divided by the mean degree")
    across: float = Field(1.0, ge=0, description="β: weight of items of one class across modalities")
    neighbours: int = Field(20, ge=1, description="k nearest neighbours within a modality")
    width: float = Field(1.0, gt=0, description="δ² over the mean squared distance from the mean")
    iterations: int = Field(5, ge=1, description="most reweightings of the ℓ2,1 norm")


class JFSSL(LinearMethod):
    """``fit`` takes labelled rows of either modality. State: ``{modality}.map`` (d, c), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views], *map(labels_of, views))
        return History([{"iteration": i, "objective": value} for i, value in enumerate(self.objectives, 1)])

    def solve(self, features: list[np.ndarray], *labels: np.ndarray) -> list[np.ndarray]:
        quadratic = self.smoothness(features, labels)
        own = scipy.linalg.block_diag(*(x.T @ x for x in features))
        linear = np.vstack([x.T @ y for x, y in zip(features, labels, strict=True)])
        weights, self.objectives = minimise(
            own + self.params.graph * quadratic, linear, self.params.sparsity, self.params.iterations
        )
        return np.split(weights, [features[0].shape[1]])

    def smoothness(self, features: list[np.ndarray], labels: tuple[np.ndarray, ...]) -> np.ndarray:
        """XᵀLX over stacked features, divided by the mean degree so that λ₂ is of the size of the other terms."""
        (x, y), sizes = features, [len(rows) for rows in features]
        kinds, kind = np.unique(np.vstack(labels), axis=0, return_inverse=True)
        x_kind, y_kind = np.split(kind, [sizes[0]])
        alike = (kinds.astype(int) @ kinds.T.astype(int) > 0) * self.params.across
        x_counts, y_counts = (np.bincount(k, minlength=len(kinds)) for k in (x_kind, y_kind))
        near = [self.near(rows) for rows in features]
        degrees = [
            near[0].sum(axis=1) + (alike @ y_counts)[x_kind],
            near[1].sum(axis=1) + (x_counts @ alike)[y_kind],
        ]
        cross = -sums_by(x_kind, x, len(kinds)).T @ alike @ sums_by(y_kind, y, len(kinds))
        own = [
            rows.T @ (rows * degree[:, None]) - rows.T @ (graph @ rows)
            for rows, degree, graph in zip(features, degrees, near, strict=True)
        ]
        matrix = np.block([[own[0], cross], [cross.T, own[1]]]) / (np.concatenate(degrees).mean() or 1)
        return (matrix + matrix.T) / 2

    def near(self, rows: np.ndarray) -> scipy.sparse.csr_array:
        """The symmetric graph of neighbours within a modality."""
        graph = neighbours(rows, self.params.neighbours)
        spread = np.square(rows - rows.mean(axis=0)).sum(axis=1).mean()
        graph.data = np.exp(-np.square(graph.data) / (2 * self.params.width * spread))
        return symmetric(graph)
