"""DRSL: deep relational similarity learning.

Wang, Hu, Zhen, Peng, Information Sciences 2020. A network a modality gives representations z^i and z^t of 300
dimensions (eqs. 2 and 3); a relation network scores every pair of them (eqs. 4 and 5), and what it gives is the
similarity that ranks. All B² pairs of a batch of B items are fitted to 1 where the two items share a class and to 0
elsewhere:

    L = ‖R − S‖²_F = Σ_pq (R_pq − S_pq)²   (eqs. 9 and 10; items of several classes: where they share one).

Networks (§3.4), ReLU after every layer but the last of the relation, which is linear:

    wikipedia         image d-1024-300, text d-1024-300, relation 600-1024-1; NUS-WIDE-10K too
    pascal_sentence   image d-300, text d-1024-300, relation 600-1024-1
    xmedianet         d-1024-1024-300 for both, batch normalisation before their ReLUs, relation 600-1024-1
    public_code       d-1024-1024-300 for both, relation 600-1024-1024-1, batch normalisation before every ReLU

The last is the net of the authors' code (github.com/wangxu-scu/DRSL), written for XMediaNet. For that data set the
paper prints the relation (of all data sets) and batch normalisation of the modalities' networks, but not their sizes,
which are the code's here. Layers before a normalisation have no bias, which it would take away again. 600 is for
concatenation, the paper's choice; the other fusions of Tables 5 and 6 give 300. From that code, not the paper: batches
of 200, β = (0.5, 0.99), the weight decay, the decay of the step, the loss divided by B (`divide_by_batch`; with Adam
this changes what the weight decay weighs, no more). The paper gives the step of 1e-4 and, in §4.5, convergence after
100 epochs (Wikipedia) to 150 (XMediaNet).

Readings. A row is in a batch with its pair, as in the public code, although eq. 10 needs no pairs (§3.5). The image
network starts from features: the VGG-19 and the sentence CNN of the paper are feature extractors here. Inputs are
standardised (``scale``), which neither the paper nor its code does; `resources/experiments/readings.yaml` measures what
that is worth. The public code keeps the last of 20 epochs, this the best on held-out rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod
from cmr.methods.relation import Relation, hidden_layers
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, ByModality, tensor

INFO = MethodInfo(
    title="DRSL",
    paper="Wang, Hu, Zhen, Peng, DRSL: deep relational similarity learning for cross-modal retrieval, 2020",
    bibtex="""@article{wang2020drsl,
  author = {Wang, Xu and Hu, Peng and Zhen, Liangli and Peng, Dezhong},
  title = {{DRSL}: Deep Relational Similarity Learning for Cross-modal Retrieval},
  journal = {Information Sciences},
  year = {2020},
  doi = {10.1016/j.ins.2020.08.009}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    network: Literal["wikipedia", "pascal_sentence", "xmedianet", "public_code"] = Field(
        "wikipedia", description="the layers: the paper's for a data set, or the public code's"
    )
    fusion: Literal["concatenation", "multiplication", "addition", "subtraction"] = Field(
        "concatenation", description="what the relation network sees of a pair of representations"
    )
    hidden: int = Field(1024, ge=1, description="neurons of every hidden layer")
    representation: int = Field(300, ge=1, description="dimensions of the representations")
    divide_by_batch: bool = Field(False, description="divide the sum of eq. 10 by the rows of the batch")
    batch_size: int = Field(200, ge=2, description="rows of a batch, all pairs of which are scored")
    decay: float = Field(0.98, gt=0, le=1, description="factor of the step after each epoch")
    weight_decay: float = Field(1e-4, ge=0, description="Adam's weight decay")
    epochs: int = Field(150, ge=1, description="epochs at most; the best is chosen on held-out rows")
    patience: int = Field(0, ge=0, description="stop after so many epochs without a better one; 0: never")


@dataclass(frozen=True)
class Layers:
    """Numbers of hidden layers of the two modalities' networks and of the relation network, and whether they normalise
    batches.
    """

    first: int
    second: int
    relation: int
    normalised: bool = False
    normalised_relation: bool = False


LAYERS = {
    "wikipedia": Layers(1, 1, 1),
    "pascal_sentence": Layers(0, 1, 1),
    "xmedianet": Layers(2, 2, 1, normalised=True),
    "public_code": Layers(2, 2, 2, normalised=True, normalised_relation=True),
}


class Network(nn.Module):
    """The networks of the two modalities and the relation network, for inputs of ``dimensions``."""

    def __init__(self, dimensions: Mapping[str, int], params: Params):
        super().__init__()
        layers = LAYERS[params.network]
        hidden = zip(dimensions.items(), (layers.first, layers.second), strict=True)
        sizes = {m: (d, *(params.hidden,) * count, params.representation) for (m, d), count in hidden}
        self.embed = ByModality({m: nn.Sequential(*hidden_layers(s, layers.normalised)) for m, s in sizes.items()})
        self.relation = Relation(
            params.fusion, params.representation, params.hidden, layers.relation, layers.normalised_relation
        )


class DRSL(DeepMethod):
    info = INFO
    replayed = True
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, self.params)

    def updates(self) -> list[Update]:
        p = self.params
        self.optimizer = Adam(
            self.network.parameters(), p.learning_rate, betas=(0.5, 0.99), weight_decay=p.weight_decay
        )
        return [Update(self.optimizer, self.batch_terms)]

    def each_epoch(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.learning_rate * self.params.decay ** (epoch - 1)

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """Eq. 10."""
        with self.mixed_precision():
            scores = self.network.relation(*self.embed_all(inputs))
        loss = relation_loss(scores.float(), labels @ labels.T > 0)
        return {"relation": loss / len(labels) if self.params.divide_by_batch else loss}

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        """The relation network's scores (q, g), in memory for them and one tile of pairs."""
        sides = {query_modality: query, gallery_modality: gallery}
        first, second = (tensor(sides[m], self.device) for m in self.modalities)
        with torch.inference_mode():
            scores = self.network.relation.stream(first, second).cpu().numpy()
        return scores if query_modality == self.modalities[0] else scores.T


def relation_loss(scores: Tensor, similar: Tensor) -> Tensor:
    """Eq. 10: Σ_pq (R_pq − S_pq)² of the scores R and whether each pair shares a class, S, both (n, m)."""
    return (scores - similar.to(scores)).square().sum()
