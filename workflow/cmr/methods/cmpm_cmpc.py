"""Cross-modal projection matching and classification.

Zhang and Lu, "Deep cross-modal projection learning for image-text matching", ECCV 2018. With x̄ = x/‖x‖ and embeddings
x of images, z of texts in a batch,

    CMPM  Σᵢ Σⱼ pᵢⱼ log(pᵢⱼ / (qᵢⱼ + ε)) / b,  pᵢⱼ = softmaxⱼ(xᵢᵀ z̄ⱼ),  qᵢⱼ = yᵢⱼ / Σₖ yᵢₖ,
          yᵢⱼ = 1 where i and j share a class;
    CMPC  cross-entropy of Wᵀ x̂ᵢ with the label, x̂ᵢ = (xᵢᵀ z̄ᵢ) z̄ᵢ the projection of xᵢ onto its pair, ‖W_c‖ = 1,

both in both directions, summed. The paper trains a convolutional and a recurrent network; here feed-forward networks
take their place on given features, standardised, so layers are ours; Adam's step is the scripts'. There the embedding
goes through batch normalisation, weights decay by 0.00004, and test items are embedded by the moving average of the
weights. The authors' scripts take batches of 16 to 64 (here 100) of thousands of classes, so that their yᵢⱼ are hardly
more than the pairs; those of Flickr30k and COCO then train all weights with a tenth of the step.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward, shares_of

INFO = MethodInfo(
    title="CMPM+CMPC",
    paper="Zhang and Lu, Deep cross-modal projection learning for image-text matching, ECCV 2018",
    bibtex="""@inproceedings{zhang2018deep,
  author = {Zhang, Ying and Lu, Huchuan},
  title = {Deep Cross-Modal Projection Learning for Image-Text Matching},
  booktitle = {ECCV},
  pages = {686--701},
  year = {2018}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)
EPSILON = 1e-8


class Params(DeepParams):
    hidden: int = Field(1024, ge=1, description="width of the ReLU layer")
    dimension: int = Field(512, ge=1, description="dimensions of the embedding, 512 in the paper")
    matching: float = Field(1.0, ge=0, description="weight of CMPM")
    classification: float = Field(1.0, ge=0, description="weight of CMPC")
    learning_rate: float = Field(2e-4, gt=0, description="Adam's step")


class CMPMCMPC(DeepMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        own = {m: feed_forward((d, p.hidden, p.dimension), nn.ReLU) for m, d in dimensions.items()}
        return Networks(own, label=nn.Linear(p.dimension, classes, bias=False))

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        x, z = self.embed_all(inputs)
        classes = self.network.label.weight
        matching = projection_matching(x, z, labels) + projection_matching(z, x, labels)
        classification = projection_classification(x, z, classes, labels)
        return {
            "matching": self.params.matching * matching,
            "classification": self.params.classification
            * (classification + projection_classification(z, x, classes, labels)),
        }


def projection_matching(x: Tensor, z: Tensor, labels: Tensor) -> Tensor:
    """CMPM of one direction: x (b, k) projected onto z."""
    log_p = functional.log_softmax(x @ functional.normalize(z).T, dim=1)
    matches = (labels @ labels.T > 0).float()
    q = matches / matches.sum(1, keepdim=True)
    return (log_p.exp() * (log_p - torch.log(q + EPSILON))).sum(1).mean()


def projection_classification(x: Tensor, z: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
    """CMPC of one direction; ``classes`` (c, k)."""
    onto = functional.normalize(z)
    projected = (x * onto).sum(1, keepdim=True) * onto
    share = shares_of(labels)
    return functional.cross_entropy(projected @ functional.normalize(classes).T, share)
