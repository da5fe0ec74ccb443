"""ALGCN: classifiers that a graph network makes of the classes, so that classes which occur together share theirs.

Qian, Xue, Fang and Xu, "Adaptive label-aware graph convolutional networks for cross-modal retrieval", IEEE Transactions
on Multimedia 2021. A ReLU layer a modality gives representations u and v of an item. The classifiers x_k of the classes
are the output of a graph network of three layers, whose input, a row a class, is learned:

    H ← LeakyReLU(Â H W),   Â = D^−½ Rᵀ D^−½,   R = ReLU(A + γ B),   D the sums of R's rows,

the last layer without LeakyReLU,

where A is fixed: ½ at i, j where the share of class j's items that are of class i too is t or more, plus 1 on the
diagonal; and B is learned. With ŷ the cosines of a representation and the classifiers,

    min  mean ‖ŷ(u) − y‖ + mean ‖ŷ(v) − y‖  +  α mean_{ij} Σ over uu, uv, vv of log(1 + e^θᵢⱼ) − Sᵢⱼ θᵢⱼ

with θᵢⱼ = ½ cos and Sᵢⱼ the number of shared labels, as `dscmr` has them. Representations are compared by the cosine.
Where every item has one label, A is 1½ times the identity, and B alone relates the classes.

Readings, from the authors' public code, github.com/LivXue/ALGCN, as it was in 2020: layers, weights, steps and sizes,
and an input of the graph network that is learned from random numbers. Its state of 2021 has other graph layers, with a
loss of their own.

Different from the code: inputs are standardised (``scale``). The code keeps the epoch that is best on the test rows;
here it is chosen on held-out rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.dscmr import likelihood
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, total

INFO = MethodInfo(
    title="ALGCN",
    paper="Qian, Xue, Fang and Xu, Adaptive label-aware graph convolutional networks for cross-modal retrieval, IEEE "
    "Transactions on Multimedia 2021",
    bibtex="""@article{qian2021adaptive,
  author = {Qian, Shengsheng and Xue, Dizhan and Fang, Quan and Xu, Changsheng},
  title = {Adaptive Label-Aware Graph Convolutional Networks for Cross-Modal Retrieval},
  journal = {IEEE Transactions on Multimedia},
  year = {2021}
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
    dimension: int = Field(1024, ge=1, description="width of each modality's ReLU layer, which is the common space")
    label_dimension: int = Field(300, ge=1, description="numbers of a class that the graph network takes")
    graph_layers: tuple[PositiveInt, ...] = Field((512, 512), description="inner layers of the graph network")
    threshold: float = Field(0.4, gt=0, le=1, description="t: share of common items from which classes are related")
    adaptation: float = Field(0.5, ge=0, description="γ: weight of the learned relations B")
    adaptation_rate: float = Field(100.0, gt=0, description="Adam's step for B, in steps of the others")
    discrimination: float = Field(0.2, ge=0, description="α: weight of the pairwise likelihoods")
    learning_rate: float = Field(5e-5, gt=0, description="step of Adam with β₁ = 0.5")


class ALGCN(DeepMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p = self.params
        networks = {m: nn.Sequential(nn.Linear(d, p.dimension), nn.ReLU()) for m, d in dimensions.items()}
        sizes = (p.label_dimension, *p.graph_layers, p.dimension)
        return Networks(networks, graph=Graph(classes, sizes, p.adaptation))

    def updates(self) -> list[Update]:
        p, graph = self.params, self.network.graph
        graph.relations.copy_(related(self.labels, p.threshold))
        others = [w for w in self.network.parameters() if w is not graph.adaptive]
        groups = [{"params": others}, {"params": [graph.adaptive], "lr": p.adaptation_rate * p.learning_rate}]
        return [Update(Adam(groups, p.learning_rate, betas=(0.5, 0.999)), self.batch_terms)]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        u, v = self.embed_all(inputs)
        classifiers, shared_labels = self.network.graph(), labels @ labels.T
        pairs = ((u, u), (u, v), (v, v))
        return {
            "label": total((cosines(out, classifiers) - labels).norm(dim=1).mean() for out in (u, v)),
            "discrimination": self.params.discrimination * total(likelihood(a, b, shared_labels) for a, b in pairs),
        }


class Graph(nn.Module):
    """Makes the classifiers (classes, sizes[-1]). ``relations``: A, known once the training rows are."""

    relations: Tensor

    def __init__(self, classes: int, sizes: tuple[int, ...], adaptation: float):
        super().__init__()
        self.adaptation = adaptation
        self.register_buffer("relations", torch.eye(classes))
        self.adaptive = nn.Parameter(0.02 * torch.rand(classes, classes))
        self.labels = nn.Parameter(torch.rand(classes, sizes[0]))
        self.layers = nn.ParameterList(graph_layer_weights(pairwise(sizes)))

    def forward(self) -> Tensor:
        adjacency = normalised(functional.relu(self.relations + self.adaptation * self.adaptive))
        first, *others = self.layers
        rows = adjacency @ (self.labels @ first)
        for weight in others:
            rows = adjacency @ (functional.leaky_relu(rows, 0.2) @ weight)
        return rows


def related(labels: Tensor, threshold: float) -> Tensor:
    """A (c, c), of labels (n, c)."""
    together = labels.T @ labels
    shares = together / together.diagonal().clamp(min=1)
    return (shares >= threshold) / 2 + torch.eye(len(together), device=labels.device, dtype=labels.dtype)


def normalised(relations: Tensor) -> Tensor:
    """Â (c, c) of relations R (c, c)."""
    scale = relations.sum(1).clamp(min=1e-6).rsqrt()
    return scale[:, None] * relations.T * scale


def graph_layer_weights(sizes: Iterable[tuple[int, int]]) -> Iterator[Tensor]:
    """A matrix a layer, uniform within 1/√(numbers that it gives)."""
    return (torch.empty(inner, outer).uniform_(-(outer**-0.5), outer**-0.5) for inner, outer in sizes)


def cosines(rows: Tensor, others: Tensor) -> Tensor:
    """(n, c), of rows (n, d) and (c, d)."""
    return functional.normalize(rows, eps=1e-6) @ functional.normalize(others, eps=1e-6).T
