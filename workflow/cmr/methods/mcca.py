"""Canonical correlation analysis of any number of views: the sum of pairwise correlations.

Rupnik and Shawe-Taylor, "Multi-view canonical correlation analysis", SiKDD 2010 (the sum-of-correlations criterion
of Kettenring, "Canonical analysis of several sets of variables", Biometrika 1971), with the ridge of `cca`:

    max Σ_{i≠j} tr(Wᵢᵀ Cᵢⱼ Wⱼ)  subject to  Σᵢ Wᵢᵀ (Cᵢᵢ + r I) Wᵢ = I,

a generalised eigenproblem over stacked views. With two views its solution is that of `cca`, but for a factor √2.
"""

import numpy as np
import scipy.linalg
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import EigenMethod, covariances, with_ridge
from cmr.methods.linear import Beside, Rows

INFO = MethodInfo(
    title="MCCA",
    paper="Rupnik and Shawe-Taylor, Multi-view canonical correlation analysis, SiKDD 2010",
    bibtex="""@inproceedings{rupnik2010multi,
  author = {Rupnik, Jan and Shawe-Taylor, John},
  title = {Multi-View Canonical Correlation Analysis},
  booktitle = {SiKDD},
  pages = {1--4},
  year = {2010}
}""",
    implementation="own",
    modalities="any",
    labels=False,
    stochastic=False,
    memory="block of rows",
)


class Params(LinearParams):
    components: int = Field(10, ge=1, description="canonical components, at most those of positive correlation")
    regularisation: float = Field(1.0, gt=0, description="ridge r on each covariance; features have variance 1")


class MCCA(EigenMethod):
    """``fit`` takes the items that have every modality. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params
    by_the_block = True

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views])
        return self.history()

    def matrices(self, features: list[Rows]) -> tuple[np.ndarray, np.ndarray]:
        return sum_of_correlations(features, self.params.regularisation)


def sum_of_correlations(features: list[Rows], ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The covariances between views, and those within each with a ridge, from centred views (n, d_i)."""
    own = [(i, i) for i in range(len(features) + 1)]
    *each, of_all = covariances([*features, Beside(features)], *own)
    within = scipy.linalg.block_diag(*each)
    return of_all - within, with_ridge(within, ridge)
