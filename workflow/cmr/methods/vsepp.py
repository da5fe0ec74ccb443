"""Linear or MLP heads trained by a triplet loss with the hardest negative of the batch.

Faghri, Fleet, Kiros and Fidler, "VSE++: improving visual-semantic embeddings with hard negatives", BMVC 2018
(equation 6). With s(u, v) the cosine of the outputs of two heads and α the margin, mean over the pairs (u, v):

    min  max_{v'} [α + s(u, v') − s(u, v)]₊  +  max_{u'} [α + s(u', v) − s(u, v)]₊.

The paper learns a linear map of a picture's features, as here, and a GRU on the words of its captions; here both
modalities have heads on ready features. Other captions of the batch's own picture can be the paper's hardest negatives;
here rows of the same group are none. The authors' code sums over the batch, divides the step by ten after 15 of 30
epochs and clips gradients; here the step stays. It divides the images' features by their lengths, here all inputs are
standardised (``scale``); weights start as torch's do, there by Glorot's rule. The best epoch is that of recall@10 on
held-out pairs, there that of the sum of recall@1, 5 and 10.
"""

import math
from collections.abc import Mapping

from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import Networks
from cmr.methods.heads import ContrastiveHeads, negatives
from cmr.methods.steps import Terms
from cmr.methods.training import total

INFO = MethodInfo(
    title="VSE++ heads",
    paper="Faghri et al., VSE++: improving visual-semantic embeddings with hard negatives, BMVC 2018",
    bibtex="""@inproceedings{faghri2018vse,
  author = {Faghri, Fartash and Fleet, David J. and Kiros, Jamie Ryan and Fidler, Sanja},
  title = {{VSE++}: Improving Visual-Semantic Embeddings with Hard Negatives},
  booktitle = {BMVC},
  year = {2018}
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
    layers: tuple[PositiveInt, ...] = Field((), description="hidden layers of each head, ReLU; none: a linear map")
    dimension: int = Field(1024, ge=1, description="dimensions of the embedding, 1024 in the paper")
    margin: float = Field(0.2, gt=0, description="α, 0.2 in the paper")
    batch_size: int = Field(128, ge=2, description="rows a step, which are each other's negatives; 128 in the paper")
    learning_rate: float = Field(2e-4, gt=0, description="Adam's step, 2·10⁻⁴ in the paper")


class VSEPP(ContrastiveHeads):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        return Networks(self.heads(dimensions))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        u, v = map(functional.normalize, self.embed_all(inputs))
        return {"triplet": hardest_triplets(u @ v.T, negatives(labels), self.params.margin)}


def hardest_triplets(scores: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean over own partners, on the diagonal of ``scores`` (b, b), of the hinges at the hardest negative each way.

    ``negative`` (b, b) bool: what a partner is told from; a row or column without any adds 0.
    """
    own, left = scores.diagonal(), scores.masked_fill(~negative, -math.inf)
    hinges = [(margin + hardest - own).clamp(min=0) for hardest in (left.amax(1), left.amax(0))]
    return total(hinges).mean()
