"""Joint representation learning: label regression, paired rows, a graph with the unlabelled rows, sparse maps.

Zhai, Peng and Xiao, "Learning cross-media joint representation with sparse and semisupervised regularization",
TCSVT 2014; the objective as in the authors' public code:

    min  μ Σₚ ‖Xₚ Pₚ − Y‖² + λ ‖X₁ P₁ − X₂ P₂‖² + σ Σₚ tr(Pₚᵀ Xₚᵀ Lₚ Xₚ Pₚ) + γ Σₚ ‖Pₚ‖₂,₁

over standardised features, L the normalised Laplacian of a graph of the k nearest neighbours with weights
1/(1 + e^distance), in which the unlabelled rows (the test rows) stand beside the training rows: transductive. The code
keeps the weights of all pairs in L and counts the k nearest as degrees; here both are of the k nearest, as the paper's
text has it, which needs no n × n matrix. The ℓ2,1 norm is reweighted, all maps in one solve from a ridge solution;
the code starts at random maps and solves for each from the other's last. It makes five iterations at most, stops after
the first that lowers the loss by less than 2 %, and compares items by the maps *before* its last update. Here the last
maps count.

Items are compared as in the code: each has the class shares of its k nearest training items of either modality in
the joint space, weighted as above, and the score is the inner product of two items' shares.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import expit
from sklearn.neighbors import NearestNeighbors

from cmr.data import Part, View
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.graph import evenly, neighbours, normalised, symmetric
from cmr.methods.linear import LinearMethod
from cmr.methods.scatter import memberships
from cmr.methods.sparse_rows import minimise

INFO = MethodInfo(
    title="JRL",
    paper="Zhai, Peng and Xiao, Learning cross-media joint representation, TCSVT 2014",
    bibtex="""@article{zhai2014learning,
  author = {Zhai, Xiaohua and Peng, Yuxin and Xiao, Jianguo},
  title = {Learning Cross-Media Joint Representation With Sparse and Semisupervised Regularization},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  volume = {24},
  number = {6},
  pages = {965--978},
  year = {2014}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=False,
    transductive=True,
)


class Params(LinearParams):
    semantic: float = Field(1.0, gt=0, description="μ: weight of the regression on labels")
    pairs: float = Field(1.0, ge=0, description="λ: weight of the distance of paired rows")
    graph: float = Field(1000.0, ge=0, description="σ: weight of the graph")
    sparsity: float = Field(1000.0, gt=0, description="γ: weight of the ℓ2,1 norm")
    neighbours: int = Field(100, ge=1, description="k nearest neighbours, in the graph and in the comparison")
    unlabelled: float = Field(1.0, ge=0, le=1, description="share of the unlabelled rows that join the graph")
    compare: Literal["neighbours", "cosine"] = Field(
        "neighbours", description="class shares of the nearest training items, or cosine of the projected features"
    )
    iterations: int = Field(5, ge=1, description="most reweightings of the ℓ2,1 norm")


class JRL(LinearMethod):
    """``fit`` takes pairs. State: ``{modality}.map``, ``.mean``, ``.scale``, training ``projected`` and ``shares``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        extra = [self.graph_rows(unlabelled, m) for m in self.modalities]
        self.learn([view.features for view in views], labels_of(views[0]), *extra)
        self.projected = np.vstack(
            [super(JRL, self).embed(m, v.features) for m, v in zip(self.modalities, views, strict=True)]
        )
        self.shares = np.vstack([memberships(labels_of(view)) for view in views]).astype(np.float32)
        return History([{"iteration": i, "objective": value} for i, value in enumerate(self.objectives, 1)])

    def graph_rows(self, unlabelled: Part | None, modality: str) -> np.ndarray | None:
        view: View | None = (unlabelled or {}).get(modality)
        return None if view is None else evenly(view.features, self.params.unlabelled)

    def solve(self, features: list[np.ndarray], labels: np.ndarray, *unlabelled: np.ndarray | None) -> list[np.ndarray]:
        p = self.params
        graphs = [
            self.smoothness(x if rows is None else np.vstack([x, self.scaling[m](rows)]))
            for m, x, rows in zip(self.modalities, features, unlabelled, strict=True)
        ]
        quadratic, linear = jrl_system(features, labels, graphs, p.semantic, p.pairs, p.graph)
        weights, self.objectives = minimise(quadratic, linear, p.sparsity, p.iterations)
        return np.split(weights, [features[0].shape[1]])

    def smoothness(self, rows: np.ndarray) -> np.ndarray:
        """XᵀLX (d, d)."""
        graph = neighbours(rows, self.params.neighbours)
        graph.data = expit(-graph.data)
        return rows.T @ rows - rows.T @ (normalised(symmetric(graph)) @ rows)

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        projected = super().embed(modality, features)
        if self.params.compare == "cosine":
            return projected
        k = min(self.params.neighbours, len(self.projected))
        distances, nearest = NearestNeighbors(n_neighbors=k).fit(self.projected).kneighbors(projected)
        weights = expit(-distances)
        return np.einsum("nk,nkc->nc", weights / weights.sum(axis=1, keepdims=True), self.shares[nearest]).astype(
            np.float32
        )

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        if self.params.compare == "cosine":
            return super().similarity(query_modality, query, gallery_modality, gallery)
        return query @ gallery.T

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | {"projected": self.projected, "shares": self.shares}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state(state)
        self.projected, self.shares = np.asarray(state["projected"]), np.asarray(state["shares"])


def jrl_system(
    features: list[np.ndarray],
    labels: np.ndarray,
    graphs: list[np.ndarray],
    semantic: float,
    pairs: float,
    graph: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Q and R of the objective tr(PᵀQP) − 2 tr(PᵀR) + γ‖P‖₂,₁ over stacked maps, constants left out."""
    x, y = features
    cross = -pairs * x.T @ y
    quadratic = np.block(
        [
            [(semantic + pairs) * x.T @ x + graph * graphs[0], cross],
            [cross.T, (semantic + pairs) * y.T @ y + graph * graphs[1]],
        ]
    )
    return (quadratic + quadratic.T) / 2, semantic * np.vstack([x.T @ labels, y.T @ labels])
