"""Three-view CCA: two modalities and their labels as a third, semantic view.

Gong, Ke, Isard and Lazebnik, "A multi-view embedding space for modeling internet images, tags, and their semantics",
IJCV 2014 (CCA (V+T+K)), in its linear form:

    min Σ_{i<j} ‖Xᵢ Wᵢ − Xⱼ Wⱼ‖²  subject to  Σᵢ Wᵢᵀ (Cᵢᵢ + r I) Wᵢ = I,

the generalised eigenproblem of `mcca` with the labels as one more view, centred and divided by one number to a mean
variance of 1 (the authors' code takes them as they are). An item is embedded as W^T x with component k multiplied by
λₖ^p, λₖ the eigenvalue of C w = λ D w (all covariances against those within views, so λ = 1 + that of `mcca`), and
compared by the cosine; the paper takes p = 4. The kernel maps that the paper applies to the visual and tag features
first are left to the choice of features.
"""

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import EigenMethod
from cmr.methods.linear import Rows
from cmr.methods.mcca import sum_of_correlations
from cmr.methods.scaling import CENTRE, ScaledRows, Scaling

INFO = MethodInfo(
    title="CCA-3V",
    paper="Gong et al., A multi-view embedding space for modeling internet images, tags and semantics, IJCV 2014",
    bibtex="""@article{gong2014multi,
  author = {Gong, Yunchao and Ke, Qifa and Isard, Michael and Lazebnik, Svetlana},
  title = {A Multi-View Embedding Space for Modeling {Internet} Images, Tags, and Their Semantics},
  journal = {International Journal of Computer Vision},
  volume = {106},
  number = {2},
  pages = {210--233},
  year = {2014}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=False,
    memory="block of rows",
)


class Params(LinearParams):
    components: int = Field(10, ge=1, description="canonical components, at most those of positive correlation")
    power: float = Field(4, ge=0, description="p: a component is weighted by its eigenvalue to the power p")
    regularisation: float = Field(0.1, gt=0, description="ridge r on each covariance; features have variance 1")


class CCA3V(EigenMethod):
    """``fit`` takes pairs. State: ``{modality}.map`` (d, k), weighted; ``.mean``, ``.scale``."""

    params: Params
    by_the_block = True

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        labels = labels_of(views[0])
        self.learn([view.features for view in views], ScaledRows(labels, Scaling.fit(labels, CENTRE)))
        return self.history()

    def matrices(self, features: list[Rows], labels: Rows) -> tuple[np.ndarray, np.ndarray]:
        return sum_of_correlations([*features, labels], self.params.regularisation)

    def solve(self, features: list[Rows], labels: Rows) -> list[np.ndarray]:
        maps = super().solve(features, labels)
        return [w * (1 + self.eigenvalues) ** self.params.power for w in maps]
