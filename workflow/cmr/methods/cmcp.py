"""Cross-modality correlation propagation: which items of two modalities belong together, spread over their graphs.

Zhai, Peng and Xiao, "Cross-modality correlation propagation for cross-media retrieval", ICASSP 2012; as in the authors'
public code. A training item i of the query's modality and j of the gallery's correlate by C_ij = 1/n₊(j) where they
share a class and −1/n₋(j) where they do not, n₊ and n₋ the numbers of such i. The correlations are propagated over
the neighbours of one modality, then of the other, test items included (transductive):

    F = (1 − α)² (I − α S₁)⁻¹ C (I − α S₂)⁻ᵀ,   S = D^-½ W D^-½,

W the symmetric graph of the k nearest neighbours by cosine, its weights the cosine to the power 1/β (negative
cosines, which the code keeps, count 0).

C depends on the items' labels only, C = Y₁ M Y₂ᵀ for indicators Y of the distinct label sets, so F is the product
of the label sets propagated within each modality: that is an item's embedding, E = (1 − α)(I − α S)⁻¹ Y, from one
sparse solve, and the score of a pair is e₁ᵀ M e₂. A row outside the graph takes the weighted mean that propagation
prescribes for a row without label: e = α Σⱼ sⱼ eⱼ over its neighbours j.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from pydantic import Field
from sklearn.neighbors import NearestNeighbors

from cmr.data import Part
from cmr.errors import UserError
from cmr.info import MethodInfo
from cmr.methods.base import History, Method
from cmr.methods.checks import labels_of, training_views
from cmr.methods.graph import evenly, neighbours, normalised, symmetric
from cmr.methods.scaling import Scaling, fit_each
from cmr.params import Params as BaseParams

INFO = MethodInfo(
    title="CMCP",
    paper="Zhai, Peng and Xiao, Cross-modality correlation propagation for cross-media retrieval, ICASSP 2012",
    bibtex="""@inproceedings{zhai2012cross,
  author = {Zhai, Xiaohua and Peng, Yuxin and Xiao, Jianguo},
  title = {Cross-Modality Correlation Propagation for Cross-Media Retrieval},
  booktitle = {ICASSP},
  pages = {2337--2340},
  year = {2012}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    pairs=False,
    stochastic=False,
    transductive=True,
)
MAX_STEPS = 10_000


class Params(BaseParams):
    alpha: float = Field(0.6, gt=0, lt=1, description="α: share of a row that its neighbours determine")
    beta: float = Field(1.0, gt=0, description="β: weights are cosines to the power 1/β")
    neighbours: int = Field(30, ge=1, description="k nearest neighbours")
    unlabelled: float = Field(1.0, ge=0, le=1, description="share of the unlabelled rows that join the graph")
    scale: Literal["standardise", "centre", "none"] = Field(
        "standardise", description="each feature to variance 1, all divided by one number, or as they are"
    )


class CMCP(Method):
    """``fit`` takes labelled rows of either modality.

    State, a modality: ``correlation`` M (u, u′) of its queries, scaling, graph ``rows`` (n, d), ``degrees`` (n,)
    and ``propagated`` label sets (n, u).
    """

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.scaling = fit_each(self.modalities, [view.features for view in views], self.params.scale)
        self.rows: dict[str, np.ndarray] = {}
        self.degrees: dict[str, np.ndarray] = {}
        self.propagated: dict[str, np.ndarray] = {}
        kinds: list[np.ndarray] = []
        counts: list[np.ndarray] = []
        for m, view in zip(self.modalities, views, strict=True):
            kind, index, count = np.unique(labels_of(view), axis=0, return_inverse=True, return_counts=True)
            kinds.append(kind.astype(int))
            counts.append(count)
            extra = evenly(unlabelled[m].features, self.params.unlabelled) if unlabelled else view.features[:0]
            self.propagate(m, np.vstack([view.features, extra]), index, len(kind))
        (first, second), (u, v) = self.modalities, kinds
        self.correlation = {first: correlations(u, v, counts[0]), second: correlations(v, u, counts[1])}
        return History()

    def propagate(self, modality: str, features: np.ndarray, kind: np.ndarray, kinds: int) -> None:
        """Spreads the indicators of the first rows' label sets over the graph of all rows."""
        rows = self.scaling[modality](features)
        graph = neighbours(rows, self.params.neighbours, "cosine")
        graph.data = self.weights(graph.data)
        graph = symmetric(graph)
        labels = np.zeros((len(rows), kinds))
        labels[np.arange(len(kind)), kind] = 1 - self.params.alpha
        system = (scipy.sparse.eye_array(len(rows)) - self.params.alpha * normalised(graph)).tocsr()
        self.rows[modality] = rows.astype(np.float32)
        self.degrees[modality] = np.asarray(graph.sum(axis=1)).ravel()
        self.propagated[modality] = np.column_stack([conjugate_gradient(system, column) for column in labels.T])

    def weights(self, distances: np.ndarray) -> np.ndarray:
        return np.maximum(1 - distances, 0) ** (1 / self.params.beta)

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        rows = self.scaling[modality](features, np.float32)
        k = min(self.params.neighbours, len(self.rows[modality]))
        distances, nearest = NearestNeighbors(n_neighbors=k, metric="cosine").fit(self.rows[modality]).kneighbors(rows)
        weights = self.weights(distances)
        degrees = self.degrees[modality][nearest] * weights.sum(axis=1, keepdims=True)
        shares = self.params.alpha * weights / np.sqrt(np.where(degrees > 0, degrees, np.inf))
        embedded = np.einsum("nk,nku->nu", shares, self.propagated[modality][nearest])
        known, place = self.places(modality, rows)
        embedded[known] = self.propagated[modality][place]
        return embedded.astype(np.float32)

    def places(self, modality: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which ``rows`` are in the graph, and where: of a row that it holds twice the last, an unlabelled one."""
        place = {row.tobytes(): i for i, row in enumerate(self.rows[modality])}
        found = np.array([place.get(row.tobytes(), -1) for row in np.ascontiguousarray(rows)])
        return found >= 0, found[found >= 0]

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        return query @ self.correlation[query_modality] @ gallery.T

    def state(self) -> dict[str, np.ndarray]:
        state: dict[str, np.ndarray] = {}
        for m in self.modalities:
            state |= self.scaling[m].state(m) | {
                f"{m}.correlation": self.correlation[m],
                f"{m}.rows": self.rows[m],
                f"{m}.degrees": self.degrees[m],
                f"{m}.propagated": self.propagated[m],
            }
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.scaling = {m: Scaling.from_state(state, m) for m in self.modalities}
        self.correlation, self.rows, self.degrees, self.propagated = (
            {m: np.asarray(state[f"{m}.{name}"]) for m in self.modalities}
            for name in ("correlation", "rows", "degrees", "propagated")
        )


def correlations(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """M (u₁, u₂) between label sets (u, c), ``counts`` (u₁,) the rows that have each of the first."""
    alike = first @ second.T > 0
    positive, negative = counts @ alike, counts @ ~alike
    return alike / np.maximum(positive, 1) - ~alike / np.maximum(negative, 1)


def conjugate_gradient(system: scipy.sparse.csr_array, right: np.ndarray) -> np.ndarray:
    """Solution of a positive definite sparse system, to a relative residual of 1e-10.

    Raises `UserError` where none is found.
    """
    solution, failed = scipy.sparse.linalg.cg(system, right, rtol=1e-10, maxiter=MAX_STEPS)
    if failed:
        raise UserError(f"{INFO.title}: label propagation did not converge in {MAX_STEPS:,} steps; lower alpha")
    return solution
