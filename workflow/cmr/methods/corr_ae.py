"""Correspondence autoencoder: two autoencoders whose codes of one item are close.

Feng, Wang and Li, "Cross-modal retrieval with correspondence autoencoder", ACM Multimedia 2014 (Corr-AE):

    min  (1 − α) (‖x − p(f(x))‖² + ‖y − q(g(y))‖²) + α ‖f(x) − g(y)‖²,   mean over the pairs.

The paper first models raw features by restricted Boltzmann machines fit to their kind (Gaussian, replicated softmax);
here the autoencoders take the features themselves, scaled, and have one logistic hidden layer and linear outputs. Their
training by Adam ends when held-out pairs say so. Two public copies of the scripts (Twitter100k, CCL_TMM2018) have
logistic outputs on the machines' codes, 0.0001 ‖W‖², left out here, and 20,000 and 10,000 steps of gradient descent.

Items are compared by the cosine. Logistic codes are all positive, so the cosine of two of them says first of all how
alike the modalities' mean codes are. ``code_scale`` takes the mean of the training codes from each modality's codes
(``centre``), makes their variances 1 as well (``standardise``), or neither (``none``). Those scripts do neither; those
of the CCL and CMDN papers, which build on them, standardise, with the mean and variance of the test codes. The default
is the best on held-out pairs.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import Networks, ScaledCodesMethod
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, feed_forward, total

INFO = MethodInfo(
    title="Corr-AE",
    paper="Feng, Wang and Li, Cross-modal retrieval with correspondence autoencoder, ACM MM 2014",
    bibtex="""@inproceedings{feng2014cross,
  author = {Feng, Fangxiang and Wang, Xiaojie and Li, Ruifan},
  title = {Cross-modal Retrieval with Correspondence Autoencoder},
  booktitle = {ACM Multimedia},
  pages = {7--16},
  year = {2014},
  doi = {10.1145/2647868.2654902}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="dimensions of the code")
    correspondence: float = Field(0.8, gt=0, lt=1, description="α: weight of the codes' distance against 1 − α")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step")
    code_scale: Literal["standardise", "centre", "none"] = Field("centre", description="scaling of the codes compared")


class CorrAE(ScaledCodesMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        width = self.params.hidden
        encoders = {m: feed_forward((d, width), nn.Sigmoid, nn.Sigmoid) for m, d in dimensions.items()}
        return Networks(encoders, decode=ByModality({m: nn.Linear(width, d) for m, d in dimensions.items()}))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        codes, alpha = self.embed_all(inputs), self.params.correspondence
        errors = [error.square().sum(1).mean() for error in self.reconstruction_errors(codes, inputs)]
        return {
            "reconstruction": (1 - alpha) * total(errors),
            "correspondence": alpha * (codes[0] - codes[1]).square().sum(1).mean(),
        }
