"""Partial least squares: directions of largest covariance between two views.

The form that cross-modal retrieval compares with (Sharma et al., "Generalized multiview analysis", CVPR 2012,
section 3; Rosipal and Krämer, "Overview and recent advances in partial least squares", 2006, PLS-SB):

    max tr(W₁ᵀ C₁₂ W₂)  subject to  W₁ᵀW₁ = W₂ᵀW₂ = I,

the leading singular vectors of the cross-covariance C₁₂: CCA with the covariances of each view left out.
"""

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.eigen import RANK_TOLERANCE, covariances, singular_vectors
from cmr.methods.linear import LinearMethod, Rows, back, row_space

INFO = MethodInfo(
    title="PLS",
    paper="Rosipal and Krämer, Overview and recent advances in partial least squares, SLSFS 2006",
    bibtex="""@incollection{rosipal2006overview,
  author = {Rosipal, Roman and Kr{\\"a}mer, Nicole},
  title = {Overview and Recent Advances in Partial Least Squares},
  booktitle = {Subspace, Latent Structure and Feature Selection},
  series = {Lecture Notes in Computer Science},
  volume = {3940},
  pages = {34--51},
  publisher = {Springer},
  year = {2006},
  doi = {10.1007/11752790_2}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=False,
    memory="block of rows",
)


class Params(LinearParams):
    components: int = Field(10, ge=1, description="pairs of directions, at most the rank of C₁₂")


class PLS(LinearMethod):
    """``fit`` takes pairs. State: ``{modality}.map`` (d, k), ``.mean``, ``.scale``."""

    params: Params
    by_the_block = True

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        self.learn([view.features for view in views])
        return History([{"component": i, "covariance": float(s)} for i, s in enumerate(self.covariances, 1)])

    def solve(self, features: list[Rows]) -> list[np.ndarray]:
        (x, x_basis), (y, y_basis) = map(row_space, features)
        left, values, right = singular_vectors(*covariances([x, y], (0, 1)))
        k = min(self.params.components, int((values > RANK_TOLERANCE * values[0]).sum()))
        self.covariances = values[:k]
        return [back(x_basis, left[:, :k]), back(y_basis, right[:k].T)]
