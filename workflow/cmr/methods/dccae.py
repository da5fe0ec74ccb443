"""Deep canonically correlated autoencoders: DCCA whose outputs must also reconstruct the inputs.

Wang, Arora, Livescu and Bilmes, "On deep multi-view representation learning", ICML 2015:

    min  −Σρ(f(X), g(Y)) + λ/b Σᵢ (‖xᵢ − p(f(xᵢ))‖² + ‖yᵢ − q(g(yᵢ))‖²),

Σρ as in `dcca`, p and q decoders with the encoders' layers in reverse; then linear CCA on all training rows. λ is
chosen on validation rows in the paper.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from cmr.data import Part
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.dcca import linear_cca, total_correlation
from cmr.methods.deep import HeadedMethod, Networks
from cmr.methods.training import Terms, feed_forward
from cmr.params import Params as BaseParams

INFO = {
    "title": "DCCAE",
    "paper": "Wang et al., On deep multi-view representation learning, ICML 2015",
    "provenance": "own",
    "modalities": 2,
    "labels": False,
    "stochastic": True,
    "gpu": True,
    "chooses": ("epochs",),
}


class Params(BaseParams):
    layers: tuple[int, ...] = Field((1024,), description="hidden layers of each network, tanh")
    components: int = Field(10, ge=1, description="outputs of each network, and of the embedding")
    reconstruction: float = Field(0.001, ge=0, description="λ: weight of the squared error of an item")
    regularisation: float = Field(0.1, gt=0, description="ridge r on the outputs' covariances")
    batch_size: int = Field(800, ge=2, description="rows a step; many more than components")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step")
    epochs: int = Field(50, ge=1, description="epochs at most; the best is chosen on held-out pairs")
    patience: int = Field(10, ge=0, description="stop after so many epochs without a better one; 0: never")
    scale: Literal["standardise", "centre", "none"] = Field("standardise", description="scaling of the inputs")


class DCCAE(HeadedMethod):
    """State: the networks' weights, and of each modality ``.mean``, ``.scale``, ``.centre`` and ``.head``."""

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        return self.learn([view.without_labels() for view in views], validation)

    def build(self, dimensions: Mapping[str, int], classes: int) -> nn.Module:
        p = self.params
        sizes = {m: (d, *p.layers, p.components) for m, d in dimensions.items()}
        encoders = {m: feed_forward(s, nn.Tanh) for m, s in sizes.items()}
        return Networks(encoders, decode=nn.ModuleDict({m: feed_forward(s[::-1], nn.Tanh) for m, s in sizes.items()}))

    def terms(self, inputs: list[Tensor], labels: Tensor | None) -> Terms:
        outputs = self.embed_all(inputs)
        errors = [
            (self.network.decode[m](out) - x).square().sum(1).mean()
            for m, out, x in zip(self.modalities, outputs, inputs, strict=True)
        ]
        return {
            "correlation": -total_correlation(*outputs, self.params.regularisation),
            "reconstruction": self.params.reconstruction * sum(errors),
        }

    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        return linear_cca(outputs, self.params.regularisation)
