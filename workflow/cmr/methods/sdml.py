"""SDML: scalable deep multimodal learning.

Hu, Zhen, Peng, Liu, SIGIR 2019. A fixed matrix P with orthonormal columns, one a class, defines the common space before
anything is learned: Pᵀh is where a representation h lies in the space of labels. A supervised autoencoder a modality
learns to map its rows there, knowing nothing of the other modalities (eq. 1, mean over the rows j of a batch):

    λ ‖x̂_j − x_j‖₂ + (1 − λ) ‖Pᵀ h_j − y_j‖₂,   h = f(x), x̂ = g(h), y the multi-hot labels, λ = 0.5.

Encoder d-1024-1024-512, decoder 512-1024-1024-d (§3.3, whose seven layers are taken to count the input). So every
modality is a fit of its own, and a new one leaves the others as they are. P is drawn from the run's seed, the
dimensions and the number of classes alone: all modalities of a run have the same, and no fit has anything to pass on.

Readings. From the authors' code (github.com/penghu-cs/SDML), where the paper is silent or says otherwise: no ReLU
after the last layer of the decoder (§3.3 has one on every layer but the middle one; Doc2Vec features have negative
values); h and x̂ scaled to unit length (`unit_length`); the norms of eq. 1 are not squared, as it is printed and as the
levels of Fig. 6 ask for (`norm`); Adam's step 1e-4 for images and 2e-4 for other modalities, β = (0.5, 0.999);
the epoch with the lowest label loss ‖Pᵀh − y‖₂ on validation rows; inputs as they are (``scale``: none), where the
other networks here standardise them. The code leaves out the last, smaller batch of an epoch; here it takes a step too.
Labels that are several are not scaled.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from cmr.data import Part
from cmr.errors import UserError
from cmr.info import MethodInfo
from cmr.methods.checks import labels_of
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod
from cmr.methods.steps import Terms, Update
from cmr.methods.training import Adam, apply, feed_forward, tensor

INFO = MethodInfo(
    title="SDML",
    paper="Hu, Zhen, Peng, Liu, Scalable deep multimodal learning for cross-modal retrieval, SIGIR 2019",
    bibtex="""@inproceedings{hu2019scalable,
  author = {Hu, Peng and Zhen, Liangli and Peng, Dezhong and Liu, Pei},
  title = {Scalable Deep Multimodal Learning for Cross-Modal Retrieval},
  booktitle = {SIGIR},
  pages = {635--644},
  year = {2019},
  doi = {10.1145/3331184.3331213}
}""",
    implementation="own",
    modalities=1,
    labels=True,
    pairs=False,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
    memory="block of rows",
)


class Params(DeepParams):
    reconstruction_weight: float = Field(
        0.5, ge=0, le=1, description="λ: 0 takes the decoder's term away, 1 the labels'; Fig. 5 sweeps it"
    )
    norm: Literal["unsquared", "squared"] = Field("unsquared", description="of the two errors in eq. 1")
    unit_length: bool = Field(True, description="scale the encoder's and the decoder's outputs to unit length")
    hidden: int = Field(1024, ge=1, description="neurons of each hidden layer")
    dimensions: int = Field(512, ge=1, description="dimensions of the common space, at least as many as classes")
    batch_size: int = Field(100, ge=2, description="rows of a batch")
    learning_rate: float = Field(2e-4, gt=0, description="Adam's step for modalities without one of their own")
    learning_rates: dict[str, PositiveFloat] = Field({"image": 1e-4}, description="Adam's step by modality")
    epochs: int = Field(200, ge=1, description="epochs at most; the best is chosen on held-out rows")
    patience: int = Field(0, ge=0, description="stop after so many epochs without a better one; 0: never")
    scale: Literal["standardise", "centre", "none"] = Field("none", description="scaling of the inputs")


class Network(nn.Module):
    """The autoencoder of one modality of ``size`` dimensions; ``projection`` is P (dimensions, classes), fixed."""

    projection: Tensor

    def __init__(self, size: int, classes: int, params: Params, seed: int):
        super().__init__()
        p = params
        self.unit_length = p.unit_length
        self.encoder = feed_forward((size, p.hidden, p.hidden, p.dimensions), nn.ReLU)
        self.decoder = feed_forward((p.dimensions, p.hidden, p.hidden, size), nn.ReLU)
        self.register_buffer("projection", torch.as_tensor(projection(seed, p.dimensions, classes)))

    def encode(self, x: Tensor) -> Tensor:
        return self._scaled(self.encoder(x))

    def decode(self, h: Tensor) -> Tensor:
        return self._scaled(self.decoder(h))

    def _scaled(self, rows: Tensor) -> Tensor:
        return functional.normalize(rows.float(), dim=1) if self.unit_length else rows


class SDML(DeepMethod):
    info = INFO
    replayed = True
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions[self.modality], classes, self.params, self.seed)

    def updates(self) -> list[Update]:
        rate = self.params.learning_rates.get(self.modality, self.params.learning_rate)
        optimizer = Adam(self.network.parameters(), rate, betas=(0.5, 0.999))
        return [Update(optimizer, self.batch_terms)]

    def terms(self, inputs: list[Tensor], labels: Tensor) -> Terms:
        """The two weighted terms of eq. 1."""
        p, (x,) = self.params, inputs
        with self.mixed_precision():
            h = self.network.encode(x)
            again, predicted = self.network.decode(h), h @ self.network.projection
        return {
            "reconstruction": p.reconstruction_weight * mean_error(again, x, p.norm),
            "label": (1 - p.reconstruction_weight) * mean_error(predicted, labels, p.norm),
        }

    def validation_score(self, validation: Part) -> float:
        """The label loss of held-out rows, its sign reversed: the higher the better."""
        view = validation[self.modality]
        labels = tensor(self.embedded(self.modality, view.features), self.device) @ self.network.projection
        return -float(mean_error(labels, tensor(labels_of(view), self.device), "unsquared"))

    def embed(self, modality: str, features: np.ndarray) -> np.ndarray:
        return apply(self.network.encode, self.scaling[modality](features, np.float32), self.device)

    @property
    def modality(self) -> str:
        return self.modalities[0]


def projection(seed: int, dimensions: int, classes: int) -> np.ndarray:
    """P (dimensions, classes) float32: orthonormal columns, drawn uniformly, the same wherever it is asked for.

    Raises `UserError` where there are more classes than dimensions, since they cannot be orthogonal then.
    """
    if classes > dimensions:
        raise UserError(
            f"SDML: {classes} classes cannot have orthogonal directions in {dimensions} dimensions; "
            f"set its parameter dimensions to {classes} or more"
        )
    drawn = np.random.default_rng(seed).standard_normal((dimensions, classes))
    orthogonal, triangular = np.linalg.qr(drawn)
    return (orthogonal * np.sign(np.diag(triangular))).astype(np.float32)  # the sign is the library's choice


def mean_error(predicted: Tensor, wanted: Tensor, norm: str) -> Tensor:
    """Mean over the rows of ‖predicted − wanted‖₂, or of its square. The gradient of a row without error is 0."""
    errors = torch.linalg.vector_norm(predicted.float() - wanted, dim=1)
    return (errors.square() if norm == "squared" else errors).mean()
