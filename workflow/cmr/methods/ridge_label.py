"""Ridge regression of each modality onto the class labels; predicted label vectors are compared by their cosine.

A yardstick (Hoerl and Kennard, Technometrics 1970), not a paper's method: label space is the simplest common space
and every modality is regressed onto it alone, so pairs are not needed and a modality is one fit.

    min_W ‖X W − Y‖² / n + α ‖W‖²,  X (n, d) scaled features, Y (n, c) labels less their mean.
"""

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History
from cmr.methods.checks import labels_of, training_views
from cmr.methods.common_params import LinearParams
from cmr.methods.linear import LinearMethod, Rows, ridge
from cmr.methods.scaling import ScaledRows, Scaling

INFO = MethodInfo(
    title="Ridge regression onto labels",
    paper="Hoerl and Kennard, Ridge regression: biased estimation for nonorthogonal problems, Technometrics 1970",
    bibtex="""@article{hoerl1970ridge,
  author = {Hoerl, Arthur E. and Kennard, Robert W.},
  title = {Ridge Regression: Biased Estimation for Nonorthogonal Problems},
  journal = {Technometrics},
  volume = {12},
  number = {1},
  pages = {55--67},
  year = {1970},
  doi = {10.1080/00401706.1970.10488634}
}""",
    implementation="own",
    modalities=1,
    labels=True,
    pairs=False,
    stochastic=False,
    memory="block of rows",
)


class Params(LinearParams):
    alpha: float = Field(1.0, gt=0, description="weight α of ‖W‖² against the mean squared error of a row")


class RidgeLabel(LinearMethod):
    """State: ``{modality}.map`` (d, c), ``.mean``, ``.scale``."""

    params: Params
    by_the_block = True

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        (view,) = training_views(INFO, self.modalities, train)
        self.learn([view.features], labels_of(view))
        return History()

    def solve(self, features: list[Rows], labels: np.ndarray) -> list[np.ndarray]:
        centred = ScaledRows(labels, Scaling(labels.mean(axis=0), np.ones(labels.shape[1])))
        return [ridge(features[0], centred, self.params.alpha)]
