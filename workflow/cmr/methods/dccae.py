"""Deep canonically correlated autoencoders: DCCA whose outputs must also reconstruct the inputs.

Wang, Arora, Livescu and Bilmes, "On deep multi-view representation learning", ICML 2015:

    min  −Σρ(f(X), g(Y)) + λ/b Σᵢ (‖xᵢ − p(f(xᵢ))‖² + ‖yᵢ − q(g(yᵢ))‖²),

Σρ as in `dcca`, p and q decoders with the encoders' layers in reverse; then linear CCA on all training rows. λ is
chosen on validation rows in the paper, which pretrains the layers; here, as in `dcca`, they start at random weights.

The authors' public code also takes 10⁻⁴ ‖W‖² of every layer's weights, left out here, and has logistic layers, those of
the decoders' outputs too. Its reconstruction batches are of 100 rows, drawn apart from those of the correlation, 800;
here one batch is for both. It keeps the epoch whose held-out rows have the least objective; here they are ranked, as
for all methods.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import CorrelationParams
from cmr.methods.dcca import DCCA, total_correlation
from cmr.methods.deep import Networks
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, feed_forward, total

INFO = MethodInfo(
    title="DCCAE",
    paper="Wang et al., On deep multi-view representation learning, ICML 2015",
    bibtex="""@inproceedings{wang2015deep,
  author = {Wang, Weiran and Arora, Raman and Livescu, Karen and Bilmes, Jeff},
  title = {On Deep Multi-View Representation Learning},
  booktitle = {ICML},
  pages = {1083--1092},
  year = {2015}
}""",
    implementation="own",
    modalities=2,
    labels=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)


class Params(CorrelationParams):
    reconstruction: float = Field(0.001, ge=0, description="λ: weight of the squared error of an item")


class DCCAE(DCCA):
    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        sizes = {m: (d, *p.layers, p.components) for m, d in dimensions.items()}
        encoders = {m: feed_forward(s, nn.Tanh) for m, s in sizes.items()}
        return Networks(encoders, decode=ByModality({m: feed_forward(s[::-1], nn.Tanh) for m, s in sizes.items()}))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        outputs = self.embed_all(inputs)
        errors = [error.square().sum(1).mean() for error in self.reconstruction_errors(outputs, inputs)]
        return {
            "correlation": -total_correlation(outputs[0], outputs[1], self.params.regularisation),
            "reconstruction": self.params.reconstruction * total(errors),
        }
