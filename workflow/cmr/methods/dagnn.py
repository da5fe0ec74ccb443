"""DAGNN: classifiers from a graph of the classes, and features made of the other modality's that pass for true ones.

Qian, Xue, Zhang, Fang and Xu, "Dual adversarial graph neural networks for multi-label cross-modal retrieval", AAAI
2021. A ReLU layer a modality gives representations u and v of an image x and its text y. The classifiers of the classes
are a linear map of all layers' outputs of a graph network, whose input, a row a class, is learned:

    H ← LeakyReLU(Â H W),   Â = D^−½ Aᵀ D^−½,   A fixed and related as in `algcn`, D the sums of its rows.

Generators g make features of the other modality, and a discriminator of each modality tells them from the true ones.
With ŷ the cosines of a representation and the classifiers,

    min  mean ‖ŷ(u) − labels‖ + mean ‖ŷ(v) − labels‖
       + α mean_{ij} Σ over uu, uv, vv of log(1 + e^θᵢⱼ) − Sᵢⱼ θᵢⱼ                            (as `dscmr` has them)
       − β Σ of the cross-entropies of the discriminators, of x and g(v) and of y and g(u),

which the discriminators minimise at the same step, behind a layer that reverses the gradient. Representations are
compared by the cosine.

Readings, from the authors' public code, github.com/LivXue/GNN4CMR, as it was in 2021: its P-GNN with graph
convolutions; the discriminators are linear. Its state of 2022 is that of a later paper.

Different from the code: inputs are standardised (``scale``). The generator of the first modality ends in ReLU, those of
others in LeakyReLU (0.2), as there of images and texts; so the first cannot make the negative numbers that standardised
inputs have. The input of the graph network is learned from random numbers; there it is words' vectors of the classes'
names, held fixed. The code sets the images of some training rows and the texts of others to zero, for its other
network, which completes them; here all rows are complete. The code keeps the epoch that is best on the test rows; here
it is chosen on held-out rows.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.adversarial import modality_loss
from cmr.methods.algcn import cosines, graph_layer_weights, normalised, related
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.dscmr import likelihood
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, feed_forward, total

INFO = MethodInfo(
    title="DAGNN",
    paper="Qian, Xue, Zhang, Fang and Xu, Dual adversarial graph neural networks for multi-label cross-modal "
    "retrieval, AAAI 2021",
    bibtex="""@inproceedings{qian2021dual,
  author = {Qian, Shengsheng and Xue, Dizhan and Zhang, Huaiwen and Fang, Quan and Xu, Changsheng},
  title = {Dual Adversarial Graph Neural Networks for Multi-label Cross-modal Retrieval},
  booktitle = {AAAI},
  pages = {2440--2448},
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
    graph_layers: int = Field(5, ge=1, description="layers of the graph network, as wide as the common space")
    threshold: float = Field(0.4, gt=0, le=1, description="t: share of common items from which classes are related")
    discrimination: float = Field(0.2, ge=0, description="α: weight of the pairwise likelihoods")
    adversarial: float = Field(0.2, ge=0, description="β: weight of the discriminators")
    first_generator: int = Field(2048, ge=1, description="hidden layer of what makes first features of second ones")
    second_generator: int = Field(512, ge=1, description="hidden layer of what makes second features of first ones")
    learning_rate: float = Field(5e-5, gt=0, description="step of Adam with β₁ = 0.5")


class DAGNN(DeepMethod):
    info = INFO
    replayed = True
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p, sizes = self.params, list(dimensions.values())
        networks = {m: nn.Sequential(nn.Linear(d, p.dimension), nn.ReLU()) for m, d in dimensions.items()}
        hidden = (p.first_generator, p.second_generator)
        activations: list[Callable[[], nn.Module]] = [nn.ReLU, lambda: nn.LeakyReLU(0.2)]
        generate = [feed_forward((p.dimension, h, d), a, a) for h, d, a in zip(hidden, sizes, activations, strict=True)]
        return Networks(
            networks,
            graph=Graph(classes, (p.label_dimension, *[p.dimension] * p.graph_layers)),
            generate=nn.ModuleList(generate),
            discriminate=nn.ModuleList(map(discriminator, sizes)),
        )

    def updates(self) -> list[Update]:
        self.network.graph.adjacency.copy_(normalised(related(self.labels, self.params.threshold)))
        optimizer = Adam(self.network.parameters(), self.params.learning_rate, betas=(0.5, 0.999))
        return [Update(optimizer, self.batch_terms)]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        p = self.params
        u, v = self.embed_all(inputs)
        classifiers, shared_labels = self.network.graph(), labels @ labels.T
        return {
            "label": total((cosines(out, classifiers) - labels).norm(dim=1).mean() for out in (u, v)),
            "discrimination": p.discrimination
            * total(likelihood(a, b, shared_labels) for a, b in ((u, u), (u, v), (v, v))),
            "adversarial": p.adversarial * self.told_apart(inputs, (v, u)),
        }

    def told_apart(self, inputs: list[Tensor], others: tuple[Tensor, Tensor]) -> Tensor:
        """The discriminators' cross-entropies: of features, and of those made of the ``others``' representations."""
        networks = self.network.generate, self.network.discriminate
        return total(
            modality_loss(tell, x, generate(other), 1.0)
            for x, other, generate, tell in zip(inputs, others, *networks, strict=True)
        )


class Graph(nn.Module):
    """Makes the classifiers (classes, sizes[-1]). ``adjacency``: Â, known once the training rows are."""

    adjacency: Tensor

    def __init__(self, classes: int, sizes: tuple[int, ...]):
        super().__init__()
        self.register_buffer("adjacency", torch.eye(classes))
        self.labels = nn.Parameter(torch.rand(classes, sizes[0]))
        self.layers = nn.ParameterList(graph_layer_weights(pairwise(sizes)))
        self.classifier = nn.Linear(sum(sizes[1:]), sizes[-1])

    def forward(self) -> Tensor:
        rows: Tensor = self.labels
        outputs = []
        for weight in self.layers:
            rows = functional.leaky_relu(self.adjacency @ (rows @ weight), 0.2)
            outputs.append(rows)
        return self.classifier(torch.cat(outputs, dim=1))


def discriminator(dimension: int) -> nn.Sequential:
    """Three linear layers to the logits of true and made features."""
    sizes = (dimension, max(dimension // 4, 1), max(dimension // 16, 1), 2)
    return nn.Sequential(*(nn.Linear(inner, outer) for inner, outer in pairwise(sizes)))
