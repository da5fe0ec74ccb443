"""Ridge regression of each modality onto the class labels; predicted label vectors are compared by their cosine.

A yardstick (Hoerl and Kennard, Technometrics 1970), not a paper's method: label space is the simplest common space
and every modality is regressed onto it alone, so pairs are not needed and a modality is one fit.

    min_W ‖X W − Y‖² / n + α ‖W‖²,  X (n, d) scaled features, Y (n, c) labels less their mean.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from cmr.data import Part
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.linear import LinearMethod, ridge
from cmr.params import Params as BaseParams

INFO = {
    "title": "Ridge regression onto labels",
    "paper": "Hoerl and Kennard, Ridge regression: biased estimation for nonorthogonal problems, Technometrics 1970",
    "provenance": "own",
    "modalities": 1,
    "labels": True,
    "stochastic": False,
}


class Params(BaseParams):
    alpha: float = Field(1.0, gt=0, description="weight α of ‖W‖² against the mean squared error of a row")
    scale: Literal["standardise", "centre"] = Field(
        "standardise", description="each feature to variance 1, or all divided by one number"
    )


class RidgeLabel(LinearMethod):
    """State: ``{modality}.map`` (d, c), ``.mean``, ``.scale``."""

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        (view,) = training_views(INFO, self.modalities, train)
        self.learn([view.features], view.labels)
        return History()

    def solve(self, features: list[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
        return [ridge(features[0], labels - labels.mean(axis=0), self.params.alpha)]
