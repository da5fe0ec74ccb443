"""Multi-view linear discriminant analysis network.

Hu, Peng, Sang and Xiang, "Multi-view linear discriminant analysis network", TIP 2019, as in the authors'
public code. Networks of ReLU layers with linear outputs; on the outputs of a batch S and D of `mvda` (not divided by
the rows), with S gaining c times the products of the rows of different views and D a ridge r, the eigenvalues of
S w = λ D w are formed, and

    max  mean of those of the k largest λ that are at most min(k largest) + 1,

so that the weakest useful directions grow first; k = classes of the batch − 1. The embedding is the eigenvectors' map w
of the outputs of all training rows, standardised; there k = classes − 1, and wᵀ(D + r I)w = 1. The network ends in as
many outputs as classes; most scripts of the code have 10.

Sizes and weights are those of the code for features (batches of 100, 100 epochs, r and c 0.001); its one experiment on
pictures has others. The epoch is chosen on held-out rows by mAP@all, there by its sum with mAP@50. Different from the
code: w have unit length there, which weighs the directions otherwise in the cosine; inputs are standardised, weights
start as torch has them (Glorot's rule and biases of zero there), and training stops early.
"""

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import HeadedMethod, Networks
from cmr.methods.eigen import top_eigenpairs
from cmr.methods.penalties import decay
from cmr.methods.steps import Terms
from cmr.methods.training import feed_forward, shares_of

INFO = MethodInfo(
    title="MvLDAN",
    paper="Hu et al., Multi-view linear discriminant analysis network, TIP 2019",
    bibtex="""@article{hu2019multi,
  author = {Hu, Peng and Peng, Dezhong and Sang, Yongsheng and Xiang, Yong},
  title = {Multi-View Linear Discriminant Analysis Network},
  journal = {IEEE Transactions on Image Processing},
  volume = {28},
  number = {11},
  pages = {5352--5365},
  year = {2019},
  doi = {10.1109/TIP.2019.2913511}
}""",
    implementation="own",
    modalities="any",
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)
THRESHOLD = 1.0


class Params(DeepParams):
    layers: tuple[PositiveInt, ...] = Field((2048,), description="hidden layers of each network, ReLU")
    pairs: float = Field(1e-3, ge=0, description="c: weight of the products of paired outputs")
    regularisation: float = Field(1e-3, gt=0, description="ridge r on D of a batch")
    decay: float = Field(1e-5, ge=0, description="weight of the squared weights, in the loss")
    batch_size: int = Field(100, ge=4, description="items a step; several of each class")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step")


class MvLDAN(HeadedMethod):
    """``fit`` takes the items that have every modality.

    State: the networks' weights, and of each modality ``.mean``, ``.scale``, ``.centre`` and ``.head``.
    """

    info = INFO
    params: Params

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        return Networks({m: feed_forward((d, *self.params.layers, classes), nn.ReLU) for m, d in dimensions.items()})

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        between, within = discriminant_matrices(self.embed_all(inputs), labels, self.params.pairs)
        directions = max(int(labels.any(dim=0).sum()) - 1, 1)
        return {
            "eigenvalues": -weakest_eigenvalues(between, within, self.params.regularisation, directions),
            "decay": decay(self.network, 2 * self.params.decay),
        }

    def head(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        deviations = [np.where(out.std(axis=0) > 0, out.std(axis=0), 1) for out in outputs]
        scaled = [torch.as_tensor(out / d) for out, d in zip(outputs, deviations, strict=True)]
        between, within = discriminant_matrices(scaled, self.labels.cpu().double(), self.params.pairs)
        ridge = self.params.regularisation * np.eye(len(within))
        _, vectors = top_eigenpairs(between.numpy(), within.numpy() + ridge, self.classes - 1)
        parts = np.split(vectors, len(outputs))
        return [part / d[:, None] for part, d in zip(parts, deviations, strict=True)]


def discriminant_matrices(outputs: list[Tensor], labels: Tensor, pairs: float) -> tuple[Tensor, Tensor]:
    """S with the paired products and D, over stacked views of rows (b, o)."""
    shares = shares_of(labels).to(outputs[0].dtype)
    sums = torch.cat([shares.T @ out for out in outputs], dim=1)
    counts = len(outputs) * shares.sum(0)
    class_part = (sums / counts.clamp(min=1e-6)[:, None]).T @ sums
    own = torch.block_diag(*(out.T @ out for out in outputs))
    rows = torch.cat(outputs, dim=1)
    total = sums.sum(0)
    between = class_part - torch.outer(total, total) / counts.sum()
    return between + pairs * (rows.T @ rows - own), own - class_part


def weakest_eigenvalues(between: Tensor, within: Tensor, ridge: float, k: int) -> Tensor:
    """Mean of those of the k largest eigenvalues that are within a threshold of the least of them."""
    factor = torch.linalg.cholesky(within + ridge * torch.eye(len(within), device=within.device))
    whitened = torch.linalg.solve_triangular(factor, between, upper=False)
    whitened = torch.linalg.solve_triangular(factor, whitened.T, upper=False)
    top = torch.linalg.eigvalsh((whitened + whitened.T) / 2)[-k:]
    return top[top <= top.min().detach() + THRESHOLD].mean()
