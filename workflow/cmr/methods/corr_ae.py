"""Correspondence autoencoder: two autoencoders whose codes of one item are close.

Feng, Wang and Li, "Cross-modal retrieval with correspondence autoencoder", ACM Multimedia 2014 (Corr-AE):

    min  (1 − α) (‖x − p(f(x))‖² + ‖y − q(g(y))‖²) + α ‖f(x) − g(y)‖²,   mean over the pairs.

The paper first models raw features by restricted Boltzmann machines fit to their kind (Gaussian, replicated softmax);
here the autoencoders take the features themselves, scaled, and have one logistic hidden layer and linear outputs.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from cmr.data import Part
from cmr.methods.base import History
from cmr.methods.checks import training_views
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.training import Terms, feed_forward
from cmr.params import Params as BaseParams

INFO = {
    "title": "Corr-AE",
    "paper": "Feng, Wang and Li, Cross-modal retrieval with correspondence autoencoder, ACM MM 2014",
    "provenance": "own",
    "modalities": 2,
    "labels": False,
    "stochastic": True,
    "gpu": True,
    "chooses": ("epochs",),
}


class Params(BaseParams):
    hidden: int = Field(1024, ge=1, description="dimensions of the code")
    correspondence: float = Field(0.8, gt=0, lt=1, description="α: weight of the codes' distance against 1 − α")
    batch_size: int = Field(100, ge=2, description="rows a step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step")
    epochs: int = Field(100, ge=1, description="epochs at most; the best is chosen on held-out pairs")
    patience: int = Field(20, ge=0, description="stop after so many epochs without a better one; 0: never")
    scale: Literal["standardise", "centre", "none"] = Field("standardise", description="scaling of the inputs")


class CorrAE(DeepMethod):
    """State: the networks' weights, and of each modality ``.mean`` and ``.scale``."""

    def fit(self, train: Part, validation: Part | None = None, unlabelled: Part | None = None) -> History:
        views = training_views(INFO, self.modalities, train)
        return self.learn([view.without_labels() for view in views], validation)

    def build(self, dimensions: Mapping[str, int], classes: int) -> nn.Module:
        width = self.params.hidden
        encoders = {m: feed_forward((d, width), nn.Sigmoid, nn.Sigmoid) for m, d in dimensions.items()}
        return Networks(encoders, decode=nn.ModuleDict({m: nn.Linear(width, d) for m, d in dimensions.items()}))

    def terms(self, inputs: list[Tensor], labels: Tensor | None) -> Terms:
        codes, alpha = self.embed_all(inputs), self.params.correspondence
        errors = [
            (self.network.decode[m](code) - x).square().sum(1).mean()
            for m, code, x in zip(self.modalities, codes, inputs, strict=True)
        ]
        return {
            "reconstruction": (1 - alpha) * sum(errors),
            "correspondence": alpha * (codes[0] - codes[1]).square().sum(1).mean(),
        }
