"""Shared classifier: a head a modality, and one linear classifier of the labels for all of them.

With h a head, linear or of ReLU layers, C the classifier and y the labels of an item, divided by their number,

    min  Σ over the modalities of the cross-entropy of y by softmax(C h(x)), mean over the items,

and the heads' outputs are compared by the cosine. It is what is left of supervised networks with a classifier that the
modalities share, without the terms that they add: of `dscmr` without those of pairs and of similarities, without the
layer that its modalities share before the classifier, and with the cross-entropy for its distance of the labels. It has
no paper of its own; what such a method gains, it gains over this.
"""

from collections.abc import Mapping

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward, shares_of, total

INFO = MethodInfo(
    title="Shared classifier",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    layers: tuple[PositiveInt, ...] = Field((), description="hidden layers of each head, ReLU; none: a linear map")
    dimension: int = Field(1024, ge=1, description="dimensions of the heads' outputs")


class SharedClassifier(DeepMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        heads = {m: feed_forward((d, *p.layers, p.dimension), nn.ReLU) for m, d in dimensions.items()}
        return Networks(heads, label=nn.Linear(p.dimension, classes))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        share = shares_of(labels)
        logits = map(self.network.label, self.embed_all(inputs))
        return {"label": total(functional.cross_entropy(each, share) for each in logits)}
