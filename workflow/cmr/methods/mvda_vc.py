"""Multi-view discriminant analysis with view consistency.

Kan, Shan, Zhang, Lao and Chen, "Multi-view discriminant analysis", TPAMI 2016, section on view consistency: a map is
a combination of its training rows, w_j = X_jᵀ β_j, and since the views show the same items, their β are held together:
D of `mvda` gains α (tr D / tr M) M with

    wᵀ M w = Σ_{j<r} ‖βⱼ − βᵣ‖²,   βⱼ = Pⱼ wⱼ,   Pⱼ = (Xⱼ Xⱼᵀ + ε tr(Xⱼ Xⱼᵀ) I)⁻¹ Xⱼ,

for X_j of one row an item. ε = 1e-4 and the scaling by the traces are those of the authors' code; Pⱼᵀ Pᵣ is computed
in features × features, never in items × items. With α = 0 this is `mvda` on pairs.
"""

import numpy as np
import scipy.linalg
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import EigenMethod, with_ridge
from cmr.methods.mvda import multiview_scatters

INFO = MethodInfo(
    title="MvDA-VC",
    paper="Kan et al., Multi-view discriminant analysis, TPAMI 2016",
    bibtex="""@article{kan2016multi,
  author = {Kan, Meina and Shan, Shiguang and Zhang, Haihong and Lao, Shihong and Chen, Xilin},
  title = {Multi-View Discriminant Analysis},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {38},
  number = {1},
  pages = {188--194},
  year = {2016},
  doi = {10.1109/TPAMI.2015.2435740}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=False,
)
EPSILON = 1e-4


class Params(LinearParams):
    components: int = Field(40, ge=1, description="directions, at most the number of classes less one")
    consistency: float = Field(0.1, ge=0, description="α: weight of view consistency, relative to the traces")
    regularisation: float = Field(0.1, gt=0, description="ridge r on the within-class scatter of a row")


class MvDAVC(EigenMethod):
    """``fit`` takes the items that have every modality. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views], *map(labels_of, views))
        return self.history()

    def matrices(self, features: list[np.ndarray], *labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        between, within = multiview_scatters(features, labels)
        consistency = view_consistency(features)
        within += self.params.consistency * np.trace(within) / np.trace(consistency) * consistency
        return between, with_ridge(within, self.params.regularisation)


def view_consistency(features: list[np.ndarray]) -> np.ndarray:
    """M (Σd, Σd), from views (n, d_i) whose row k is the same item."""
    combinations = np.hstack([item_weights(x) for x in features])
    products = combinations.T @ combinations
    own = scipy.linalg.block_diag(*(np.ones((x.shape[1], x.shape[1])) for x in features))
    return (len(features) * own - 1) * products


def item_weights(rows: np.ndarray) -> np.ndarray:
    """P (n, d) = X (XᵀX + ε tr(XᵀX) I)⁻¹, which equals (XXᵀ + ε tr I)⁻¹ X."""
    gram = rows.T @ rows
    factor = scipy.linalg.cho_factor(with_ridge(gram, EPSILON * np.trace(gram)), check_finite=False)
    return scipy.linalg.cho_solve(factor, rows.T, check_finite=False).T
