"""Class means: an item is described by how near it is to the mean training row of each class.

    cmr new method class_means --to my/

The file's name is the method's. With x a scaled row, μ_c the mean of its modality's training rows of class c, and τ a
temperature, an item's embedding has one entry a class:

    e_c = exp(cos(x, μ_c) / τ) / Σ_k exp(cos(x, μ_k) / τ)

The source stands here: paper, equation, and how each was read where the paper leaves a choice.
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from scipy.special import softmax

from cmr.data import Part
from cmr.info import MethodInfo
from cmr.methods.base import History, Method, unit_rows
from cmr.methods.checks import labels_of, training_views
from cmr.methods.scaling import Scaling
from cmr.methods.scatter import class_sums
from cmr.params import Params as BaseParams

INFO = MethodInfo(title="Class means", implementation="own", modalities=1, labels=True, pairs=False, stochastic=False)


class Params(BaseParams):  # each a default and a description; in a configuration: params, tune, sweep
    temperature: float = Field(0.1, gt=0, description="τ: small, and only the nearest class counts")


class ClassMeans(Method):
    """State: ``means`` (c, d), ``scaling.mean`` and ``scaling.scale`` (d,)."""

    params: Params

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        (view,) = training_views(INFO, self.modalities, train)  # says in words what is missing
        self.scaling = Scaling.fit(view.features)
        sums, counts = class_sums(self.scaling(view.features), labels_of(view))
        self.means = sums / np.maximum(counts, 1)[:, None]
        return History()  # a row a step where there are steps

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        near = unit_rows(self.scaling(features)) @ unit_rows(self.means).T
        return softmax(near / self.params.temperature, axis=1).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"means": self.means, **self.scaling.state("scaling")}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.means, self.scaling = np.asarray(state["means"]), Scaling.from_state(state, "scaling")
