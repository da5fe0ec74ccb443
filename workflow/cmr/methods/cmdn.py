"""CMDN: cross-media multiple deep networks.

Peng, Huang and Qi, IJCAI 2016. Of each modality two representations are learned without labels, one from it alone and
one from both, then put together, and then made comparable level by level with labels:

1. a stacked autoencoder d-1024-512 with ReLU: its first layer is learned by ½‖x̂ − x‖², then all of d-1024-512-1024-d;
2. two restricted Boltzmann machines (`cmr.methods.rbm`), the first with Gaussian units or, for counts of words or
   topics, a replicated softmax, to 1024 logistic units; above both modalities one machine with 2048 units. What these
   are given one modality alone, the other inferred by ten steps of mean field, is the second representation;
3. a machine with 1024 units of both, [512; 2048], each number of the autoencoder's 512 first brought into [0, 1];
4. a classifier of three ReLU layers a modality (cross-entropy), on standardised units; its last layer x or y is kept;
5. four bimodal autoencoders with 512, 256, 128 and 64 logistic units j, each on what the one below gives for one
   modality alone. Of (x, 0), (0, y) and (x, y) each learns to give x, y and, by a softmax of j, the label:

       mean of  ½ ‖x̂ − x‖² + ½ ‖ŷ − y‖² + cross-entropy of the label,

   x̂ and ŷ logistic too, although x and y of the first are outputs of ReLU.

Items are compared by the cosine of the last autoencoder's units for one modality alone, standardised.

Forms, layers and sizes are those of the authors' public code, github.com/PKU-ICST-MIPL/CMDN_IJCAI2016, whose
``joint_layer1`` of a bimodal autoencoder is taken for its joint layer, as the code itself does in the end. So are the
penalties, but for one number where it has two: the cost of sparsity (0.1 there for the first image machine) and
the decays of classifiers and bimodal autoencoders (0.001 and 0.0001 there).

Different from the code: there each part descends gradients with momentum for a fixed number of steps, 100,000 to
200,000 for a part without labels. Here it is Adam, for ``pretraining_epochs`` in each part without labels; the
classifiers and the bimodal autoencoders learn at the same time, each on what is below it as it is, until the epoch that
is best on held-out rows. Contrastive divergence is of one step all along (of more and more there), and the units of
counts are not drawn. Sparsity is the Kullback-Leibler divergence from the target, of a batch's mean activity; there the
mean is a running one, and the gradient leaves out the units' derivative. Standardised inputs go to the autoencoder,
whose outputs are therefore linear (logistic there). Means, variances and the range of the autoencoder's numbers are the
training rows'; there each part of the split has its own. The parts without labels compute in float32 whatever
``precision`` says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cmr.info import MethodInfo
from cmr.methods.bimodal import BimodalAutoencoders
from cmr.methods.checks import check_counts
from cmr.methods.common_params import DeepParams
from cmr.methods.penalties import norm
from cmr.methods.rbm import RBM, SMALLEST, Units, stacked
from cmr.methods.scaling import Scaling, fit_each
from cmr.methods.steps import Terms
from cmr.methods.training import ByModality, tensor, total
from cmr.methods.two_stages import TwoStages, on_rows

INFO = MethodInfo(
    title="CMDN",
    paper="Peng, Huang and Qi, Cross-media shared representation by multiple deep networks, IJCAI 2016",
    bibtex="""@inproceedings{peng2016cross,
  author = {Peng, Yuxin and Huang, Xin and Qi, Jinwei},
  title = {Cross-Media Shared Representation by Hierarchical Learning with Multiple Deep Networks},
  booktitle = {IJCAI},
  pages = {3846--3853},
  year = {2016}
}""",
    implementation="own",
    modalities=2,
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)
AUTOENCODER_DECAY = (0.001, 0.0001)  # of the first layer alone, and of all layers
JOINT_DECAY = 0.0001


class Params(DeepParams):
    autoencoder_layers: tuple[PositiveInt, PositiveInt] = Field(
        (1024, 512), description="units of the stacked autoencoders"
    )
    first_layers: tuple[PositiveInt, PositiveInt] = Field(
        (2048, 1024), description="units of the first modality's machines (image)"
    )
    second_layers: tuple[PositiveInt, PositiveInt] = Field(
        (1024, 1024), description="units of the second modality's machines (text)"
    )
    first_units: Literal["gaussian", "counts"] = Field("gaussian", description="what the first modality's features are")
    second_units: Literal["gaussian", "counts"] = Field(
        "gaussian", description="the second modality's; counts of words or topics, as the paper's texts have"
    )
    draws: int = Field(100, ge=1, description="what counts are scaled to add up to")
    joint_units: int = Field(2048, ge=1, description="units of the machine above both modalities")
    fused_units: int = Field(1024, ge=1, description="units of the machine that puts two representations together")
    layers: tuple[PositiveInt, ...] = Field(
        (1024, 1024, 1024), min_length=1, description="layers of the classifiers, ReLU"
    )
    levels: tuple[PositiveInt, ...] = Field(
        (512, 256, 128, 64), min_length=1, description="units of the bimodal autoencoders"
    )
    sparsity_cost: float = Field(0.01, ge=0, description="of the mean activities of a modality's machines")
    weight_decay: float = Field(1e-4, ge=0, description="of the classifiers and the bimodal autoencoders")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step of the classifiers and bimodal autoencoders")
    epochs: int = Field(200, ge=1, description="epochs of these at most; the best is chosen on held-out rows")
    pretraining_epochs: int = Field(50, ge=1, description="epochs of each part that learns without labels")
    pretraining_rate: float = Field(1e-3, gt=0, description="Adam's step of these parts")
    code_scale: Literal["standardise", "centre", "none"] = Field(
        "standardise", description="scaling of what is compared"
    )


class Autoencoder(nn.Module):
    """d-h-k-h-d; ``range``: the least and the greatest number of the code of the training rows."""

    range: Tensor

    def __init__(self, size: int, hidden: int, code: int):
        super().__init__()
        self.first, self.last = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.second, self.third = nn.Linear(hidden, code), nn.Linear(code, hidden)
        self.register_buffer("range", torch.tensor([0.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        """The code (n, k), brought into [0, 1]."""
        low, high = self.range
        return ((self.code(x) - low) / (high - low).clamp(min=SMALLEST)).clamp(0, 1)

    def code(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))))

    def first_terms(self, x: Tensor) -> Terms:
        """Of the first layer, without the second."""
        again = self.last(torch.relu(self.first(x)))
        return reconstruction(again, x, AUTOENCODER_DECAY[0], (self.first, self.last))

    def terms(self, x: Tensor) -> Terms:
        """Of all layers."""
        again = self.last(torch.relu(self.third(self.code(x))))
        return reconstruction(again, x, AUTOENCODER_DECAY[1], (self.first, self.second, self.third, self.last))


class Tower(nn.Module):
    """The parts of one modality of ``size`` features that learn without labels, but for the joint machine.

    ``top``: the two machines, one upon the other.
    """

    def __init__(self, size: int, layers: tuple[int, int], units: Units, p: Params):
        super().__init__()
        self.size = size
        self.autoencoder = Autoencoder(size, *p.autoencoder_layers)
        self.machines = stacked(size, layers, units, p.sparsity_cost, p.draws)
        self.top = nn.Sequential(*self.machines)
        self.fused = RBM(p.autoencoder_layers[1] + p.joint_units, p.fused_units, decay=JOINT_DECAY)

    def scaled(self, rows: Tensor) -> Tensor:
        return rows[:, : self.size]

    def visible(self, rows: Tensor) -> Tensor:
        """What the first machine sees: the last ``size`` columns, the scaled features or counts."""
        return rows[:, -self.size :]


class Lower(nn.Module):
    """The towers of both modalities and the joint machine above their own."""

    def __init__(self, dimensions: Mapping[str, int], p: Params):
        super().__init__()
        sides = zip(dimensions.items(), (p.first_layers, p.second_layers), (p.first_units, p.second_units), strict=True)
        self.towers = {m: Tower(d, layers, units, p) for (m, d), layers, units in sides}
        self.tower = ByModality(self.towers)
        self.widths = p.first_layers[1], p.second_layers[1]
        self.joint = RBM(sum(self.widths), p.joint_units, decay=JOINT_DECAY)

    def representations(self, modality: str, rows: Tensor) -> Tensor:
        """That of the autoencoder and that of the joint machine side by side, (n, k + j)."""
        tower = self.towers[modality]
        first = modality == next(iter(self.towers))
        columns = slice(0, self.widths[0]) if first else slice(self.widths[0], None)
        inferred = self.joint.infer(tower.top(tower.visible(rows)), columns)
        return torch.cat((tower.autoencoder(tower.scaled(rows)), inferred), dim=1)

    def code(self, modality: str, rows: Tensor) -> Tensor:
        return self.towers[modality].fused(self.representations(modality, rows))


class CMDN(TwoStages):
    info = INFO
    UPPER = BimodalAutoencoders
    OF_UPPER = frozenset({"learning_rate", "weight_decay", "layers", "levels", "epochs", "patience", "code_scale"})
    lower: Lower

    def scale(self, features: Sequence[np.ndarray]) -> dict[str, Scaling]:
        return fit_each(self.modalities, features, self.params.scale)

    def build(self) -> Lower:
        return Lower({m: len(self.scaling[m].mean) for m in self.modalities}, self.params)

    def represent(self, modality: str, rows: Tensor) -> Tensor:
        return self.lower.code(modality, rows)

    def pretrain(self, rows: Mapping[str, np.ndarray], labels: Tensor) -> None:
        given = {m: tensor(x, self.device) for m, x in rows.items()}
        below = [self._learn_tower(m, x) for m, x in given.items()]
        self._learn("joint", self.lower.joint, self.lower.joint.terms, torch.cat(below, dim=1))
        for m, x in given.items():
            fused = self.lower.towers[m].fused
            with torch.no_grad():
                represented = self.lower.representations(m, x)
            self._learn(f"{m}.fused", fused, fused.terms, represented)

    def _learn_tower(self, modality: str, rows: Tensor) -> Tensor:
        """What the topmost machine of the modality makes of the rows."""
        tower = self.lower.towers[modality]
        autoencoder, scaled, seen = tower.autoencoder, tower.scaled(rows), tower.visible(rows)
        self._learn(f"{modality}.autoencoder1", autoencoder, autoencoder.first_terms, scaled)
        self._learn(f"{modality}.autoencoder", autoencoder, autoencoder.terms, scaled)
        with torch.no_grad():
            autoencoder.range[:] = torch.stack(autoencoder.code(scaled).aminmax())
        for number, machine in enumerate(tower.machines):
            self._learn(f"{modality}.machine{number}", machine, machine.terms, seen)
            with torch.no_grad():
                seen = machine(seen)
        return seen

    def _learn(self, name: str, part: nn.Module, terms: Callable[[Tensor], Terms], rows: Tensor) -> None:
        self.learn_part(name, part, on_rows(terms, rows), len(rows), replayed=True)

    def rows(self, modality: str, features: np.ndarray) -> np.ndarray:
        """Scaled features (n, d), with the counts beside them (n, 2d) where the modality's machine takes these."""
        scaled = self.scaling[modality](features, np.float32)
        units = dict(zip(self.modalities, (self.params.first_units, self.params.second_units), strict=True))
        if units[modality] == "counts":
            scaled = np.hstack([scaled, self.params.draws * shares(modality, features)])
        return scaled


def shares(modality: str, features: np.ndarray) -> np.ndarray:
    """Rows (n, d) divided by their sums; rows of zeros stay zeros. Raises `UserError` where a number is negative."""
    check_counts(INFO, modality, features)
    sums = features.sum(axis=1, dtype=np.float64, keepdims=True)
    return np.divide(features, sums, out=np.zeros(features.shape), where=sums > 0).astype(np.float32)


def reconstruction(again: Tensor, x: Tensor, decay: float, layers: Iterable[nn.Linear]) -> Terms:
    """½ ‖x̂ − x‖², mean over the rows, and ½ ``decay`` times the squared weights."""
    return {
        "reconstruction": (again - x).square().sum(1).mean() / 2,
        "decay": decay / 2 * total(norm(layer.weight).square() for layer in layers),
    }
