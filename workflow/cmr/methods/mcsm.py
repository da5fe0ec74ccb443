"""MCSM: modality-specific cross-modal similarity measurement, one space in which images attend, one in which texts do.

Peng, Qi and Yuan, TIP 2018 (arXiv 1708.04776). An item has a vector x and a sequence, the regions of an image or the
words of a text. In the space of a modality its sequence goes through two layers of LSTM and a linear map to h₁ … h_k,
and becomes u = Σᵢ aᵢ hᵢ / ‖Σᵢ aᵢ hᵢ‖, a the softmax of

    wᵀ tanh(V hᵢ + c)  for images,   wᵀ tanh(hᵢ)  for texts, whose words first go through three convolutions.

The other modality enters the space by its vectors alone, v = y/‖y‖ with y linear in x for texts, and the logistic of a
linear map for images. In each of the two spaces, mean over the rows of a batch,

    min  [α − u·v + u·v⁻]₊ + [α − u·v + u⁻·v]₊,

v⁻ and u⁻ drawn among the rows of other classes. In the space of texts v is of any image of the text's class. With s₁
the product of an image and a text in the images' space, s₂ in the texts', and r = (s − min s) / (max s − min s) over
the texts for each image, a pair's score is

    β r₁ s₂ + (1 − β) r₂ s₁.

Forms, sizes, step and margin are those of the authors' public code, github.com/PKU-ICST-MIPL/MCSM_TIP2018, down to the
two forms of attention.

Different from the code: in the images' space it divides by b twice, which RMSprop takes away again but for its ε. It
chooses β (``fusion``), of 101 values, on the test rows. Here it is the best of 21 on held-out rows, for the weights of
the best epoch, which is chosen with the configured β. The minimum and the maximum of r are over an image's products
with training texts, 1,000 of them at most; there they are over the test texts. Both spaces are trained at once, and an
epoch takes every item once; there one space is trained after the other, for 10,000 steps of rows drawn at random. Texts
there are filled up with zeros to 2,904 words. Here a text is as long as it is, convolutions see zeros around it and
have no bias, which their batch normalisation would take away again, and the pooling takes what is left at its end. So
it may be short, but pooled by 5, 5 and 6 a text of up to 150 words is one element, which leaves nothing to attend to:
change ``convolutions``. A row whose batch has no row of another class goes without a hinge; there it waits for one.
Where items have several labels, those that share one are of one class. Inputs are standardised (``scale``); there they
stay as they are.

The first modality is the paper's image, the second its text. An embedding has the vector in the first's space, that in
the second's, and of each space the minimum and the maximum, zeros for texts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from cmr.data import Part, View
from cmr.info import MethodInfo
from cmr.methods.attention_pool import weighted_mean
from cmr.methods.base import History
from cmr.methods.batches import SetBatch
from cmr.methods.cm_gans import rows_of_other_classes
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod, Networks
from cmr.methods.scaling import of_sets
from cmr.methods.sequences import Convolution, Recurrent
from cmr.methods.steps import Terms, Update
from cmr.methods.training import RMSprop, total
from cmr.sets import VectorsAndSets

INFO = MethodInfo(
    title="MCSM",
    paper="Peng, Qi and Yuan, Modality-specific cross-modal similarity measurement, TIP 2018",
    bibtex="""@article{peng2018modality,
  author = {Peng, Yuxin and Qi, Jinwei and Yuan, Yuxin},
  title = {Modality-Specific Cross-Modal Similarity Measurement With Recurrent Attention Network},
  journal = {IEEE Transactions on Image Processing},
  volume = {27},
  number = {11},
  pages = {5585--5599},
  year = {2018},
  doi = {10.1109/TIP.2018.2852503}
}""",
    implementation="own",
    modalities=2,
    takes=("both",),
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs", "fusion"),
)
WEIGHTS = np.linspace(0, 1, 21).round(2)
TEXTS = 1000  # that the range of an image's products is taken over
SMALLEST = 1e-6  # range


class Params(DeepParams):
    dimension: int = Field(4096, ge=1, description="dimensions of each space")
    region_units: int = Field(512, ge=1, description="units of the LSTM over the first modality's sequence")
    word_units: int = Field(256, ge=1, description="units of the LSTM over the second's")
    convolutions: tuple[tuple[PositiveInt, PositiveInt, PositiveInt], ...] = Field(
        ((384, 15, 5), (512, 9, 5), (256, 7, 6)),
        description="of each convolution of the second's its units, how many words each sees, how many become one",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="of the LSTMs' outputs and in the attention")
    margin: float = Field(0.5, gt=0, description="α")
    fusion: float = Field(0.5, ge=0, le=1, description="β; chosen on held-out rows where there are any")
    batch_size: int = Field(40, ge=2, description="rows a step")
    learning_rate: float = Field(1e-4, gt=0, description="RMSprop's step")


class Attended(nn.Module):
    """A `SetBatch` → its attended vector (b, e), at length one. ``inner``: with V and c in the attention."""

    def __init__(self, layers: Sequence[nn.Module], units: int, dimension: int, dropout: float, inner: bool):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(units, dimension)
        self.inner = nn.Linear(dimension, dimension) if inner else nn.Identity()
        self.dropout, self.outer = nn.Dropout(dropout), nn.Linear(dimension, 1)

    def forward(self, sets: SetBatch) -> Tensor:
        sets = self.layers(sets)
        h = self.out(sets.elements)
        scores = self.outer(self.dropout(torch.tanh(self.inner(h)))).squeeze(2)
        return functional.normalize(weighted_mean(SetBatch(h, sets.mask), scores).float())


class Entering(nn.Module):
    """A vector (b, d) → the other modality's space (b, e), at length one. ``logistic``: as the paper's images do."""

    def __init__(self, vector: int, dimension: int, logistic: bool):
        super().__init__()
        self.out, self.activation = nn.Linear(vector, dimension), nn.Sigmoid() if logistic else nn.Identity()

    def forward(self, vector: Tensor) -> Tensor:
        return functional.normalize(self.activation(self.out(vector)).float())


class InBothSpaces(nn.Module):
    """A vector and a `SetBatch` → (b, 2e), the first modality's space first. ``first``: of that modality."""

    def __init__(self, attended: Attended, entering: Entering, first: bool):
        super().__init__()
        self.attended, self.entering, self.first = attended, entering, first

    def forward(self, given: tuple[Tensor, SetBatch]) -> Tensor:
        vector, sets = given
        own, other = self.attended(sets), self.entering(vector)
        return torch.cat((own, other) if self.first else (other, own), dim=1)


class MCSM(DeepMethod):
    """State, beside that of all networks: ``texts`` (r, 2e), training texts in both spaces, and ``fusion`` (1,)."""

    info = INFO
    params: Params

    def learn(self, views: Sequence[View], validation: Part | None) -> History:
        self.fusion = self.params.fusion
        rows = np.linspace(0, len(views[1]) - 1, min(len(views[1]), TEXTS)).round().astype(int)
        self.some_texts = views[1].features[rows]
        history = super().learn(views, validation)
        del self.some_texts
        if validation is not None:
            history.chosen["fusion"] = self._choose_fusion(validation)
        return history

    def build(self, dimensions: Mapping[str, int], classes: int) -> Networks:
        p, (first, second) = self.params, self.modalities
        e, sequences = p.dimension, (dimensions[of_sets(first)], dimensions[of_sets(second)])
        regions = Attended(
            [Recurrent(sequences[0], p.region_units, p.dropout)], p.region_units, e, p.dropout, inner=True
        )
        sizes = (sequences[1], *(units for units, _, _ in p.convolutions))
        of_words: list[nn.Module] = [
            Convolution(size, units, width, pooled, pooled, normalised=True)
            for size, (units, width, pooled) in zip(sizes, p.convolutions, strict=False)
        ]
        of_words.append(Recurrent(sizes[-1], p.word_units, p.dropout))
        words = Attended(of_words, p.word_units, e, p.dropout, inner=False)
        images = InBothSpaces(regions, Entering(dimensions[first], e, logistic=True), first=True)
        texts = InBothSpaces(words, Entering(dimensions[second], e, logistic=False), first=False)
        return Networks({first: images, second: texts})

    def updates(self) -> list[Update]:
        return [Update(RMSprop(self.network.parameters(), self.params.learning_rate), self.batch_terms)]

    def batch_terms(self, rows: Tensor) -> Terms:
        """The terms of some rows, each text beside the vector of any image of its class."""
        (_, regions), texts = (x[rows] for x in self.inputs)
        drawn = rows_of_the_class(self.labels[rows], self.labels)
        return self.terms([(self.inputs[0].vectors[drawn], regions), texts], self.labels[rows], self.labels[drawn])

    def terms(self, inputs: list[tuple[Tensor, SetBatch]], labels: Tensor, drawn: Tensor | None = None) -> Terms:
        """``labels`` (b, c) of the rows, and of the images ``drawn`` whose vectors they have; their own by default."""
        spaces = zip(*(in_both.chunk(2, dim=1) for in_both in self.embed_all(inputs)), strict=True)
        return {
            f"space_of_{m}": triplets(u, v, of_images, labels, self.params.margin)
            for m, (u, v), of_images in zip(
                self.modalities, spaces, (labels, labels if drawn is None else drawn), strict=True
            )
        }

    def finish(self) -> None:
        self.texts = super().embed(self.modalities[1], self.some_texts)

    def embed(self, modality: str, features: VectorsAndSets) -> np.ndarray:
        embedded = super().embed(modality, features)
        if modality != self.modalities[0]:
            return np.hstack([embedded, np.zeros((len(embedded), 4), np.float32)])
        spaces = zip(np.hsplit(embedded, 2), np.hsplit(self.texts, 2), strict=True)
        products = [images @ texts.T for images, texts in spaces]
        ends = [end for scores in products for end in (scores.min(axis=1), scores.max(axis=1))]
        return np.column_stack([embedded, *ends])

    def similarity(
        self, query_modality: str, query: np.ndarray, gallery_modality: str, gallery: np.ndarray
    ) -> np.ndarray:
        """The fused scores; of one modality the cosine over both spaces."""
        if query_modality == gallery_modality:
            return super().similarity(query_modality, query[:, :-4], gallery_modality, gallery[:, :-4])
        if query_modality != self.modalities[0]:
            return self.similarity(gallery_modality, gallery, query_modality, query).T
        spaces = zip(np.hsplit(query[:, :-4], 2), np.hsplit(gallery[:, :-4], 2), strict=True)
        first, second = (images @ texts.T for images, texts in spaces)
        low, high, low_second, high_second = query[:, -4:, None].transpose(1, 0, 2)
        in_first, in_second = within(first, low, high), within(second, low_second, high_second)
        return self.fusion * in_first * second + (1 - self.fusion) * in_second * first

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | {"texts": self.texts, "fusion": np.array([self.fusion])}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state(state)
        self.texts, self.fusion = np.asarray(state["texts"]), float(state["fusion"][0])

    def _choose_fusion(self, validation: Part) -> float:
        """The best weight on held-out rows; of equal ones the nearest to the configured one."""
        embedded = {m: self.embed(m, validation[m].features) for m in self.modalities}

        def score(weight: float) -> float:
            self.fusion = weight
            return self.score_of(validation, embedded)

        near_first = sorted(map(float, WEIGHTS), key=lambda weight: abs(weight - self.params.fusion))
        self.fusion = max(near_first, key=score)  # the first of equal ones
        return self.fusion


def triplets(u: Tensor, v: Tensor, of_u: Tensor, of_v: Tensor, margin: float) -> Tensor:
    """Mean over the rows of both hinges, a drawn row of another class in the place of v, then of u.

    ``of_u``, ``of_v``: their labels (b, c).
    """
    own = (u * v).sum(1)
    hinges = []
    for one, other, labels, of_others in ((u, v, of_u, of_v), (v, u, of_v, of_u)):
        wrong, found = rows_of_other_classes(labels, of_others)
        hinges.append(found * (margin - own + (one * other[wrong]).sum(1)).clamp(min=0))
    return total(hinges).mean()


def rows_of_the_class(labels: Tensor, of_all: Tensor) -> Tensor:
    """For each row of labels (b, c), a random row of ``of_all`` (n, c) that shares one; rows without labels: any."""
    same = labels @ of_all.T > 0
    return torch.rand(same.shape, device=labels.device).masked_fill(~same, -1).argmax(dim=1)


def within(scores: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Scores (n, m) of which ``low`` (n, 1) becomes 0 and ``high`` 1."""
    return (scores - low) / np.maximum(high - low, SMALLEST)
