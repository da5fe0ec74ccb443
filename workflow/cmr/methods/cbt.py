"""CBT: cross-modal bidirectional translation, images into texts and back, texts into images and back.

Qi and Peng, IJCAI 2018; Peng and Qi, TCSVT 2020. An item has a vector and a sequence, the regions of an image or the
words of a text, of which a convolution is taken first. The sequence goes through two layers of LSTM to h₁ … h_k. With a
the softmax of wᵀ tanh(hᵢ), an item is x = [vector; Σᵢ aᵢ hᵢ + mean of the hᵢ], and y where it is a text. F translates
images, G texts, each through layers of tanh, of which the middle one S is shared, to a linear last one; a classifier on
what S gives is shared too. With ρ(x, z) = log ½ (1 + cos(x, z)), mean over the rows of a batch, texts take a step and
then images one; that of images is

    min  ω cross-entropy of x's label − (1 − η) ρ(x, [G(F(x))]₊) − η R p,

and that of texts the same with F and G, x and y exchanged. F(x) is held fixed, so that the second term teaches G and
what x is made of, and F learns from the labels and from the texts' step. R = η ρ(σ(F(x)), y) + (1 − η) ρ(x,
[G(F(x))]₊), the reward of a pair, is held fixed too, and p is the softmax of −ρ(σ(F(x)), y) over the batch. Items are
compared by the cosine of their posteriors.

Forms, sizes and weights are those of the journal's public code, github.com/PKU-ICST-MIPL/RCBT_TCSVT2020. There η
(``pair_reward``) is 0: nothing in its loss compares an image's translation with its text, and no reward acts on a
policy. Of the conference paper only the beginning and accounts by others could be read. It weighs both rewards, that of
the pair and that of the item translated back, by policy gradients: that is η > 0, whose value there is not known. Title
and printed figures are the conference's.

Different from the code: its two layers of LSTM are one object, and so have the same weights; here they are two, as the
papers say. The best epoch there is that of the test rows, of 10; here it is that of held-out rows. Images and texts
take turns at every batch, there at every epoch. Weights start as torch's do. There those of translators, attention and
convolutions have a standard deviation of 0.1, which is far into tanh's flat ends for inputs of thousands of numbers,
and the forget gates of LSTM have 1 added. Translations held fixed are those of the step itself; there they are of a
pass before, with another dropout. Lengths in ρ have no 0.1 added to their squares. Texts there are filled up to 857
words; here one is as long as it is, convolutions see zeros around it, and the pooling, the maximum of 3 words from each
on, takes what is left at its end. Inputs are standardised (``scale``); there they stay as they are, which suits the
ReLU of what is translated back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cmr.info import MethodInfo
from cmr.methods.attention_pool import weighted_mean
from cmr.methods.batches import SetBatch, scaled
from cmr.methods.common_params import DeepParams
from cmr.methods.deep import DeepMethod
from cmr.methods.scaling import of_sets
from cmr.methods.sequences import Convolution, Recurrent
from cmr.methods.steps import Terms, Update
from cmr.methods.training import SGD, ByModality, apply, feed_forward, shares_of
from cmr.sets import VectorsAndSets

INFO = MethodInfo(
    title="CBT",
    paper="Qi and Peng, Cross-modal bidirectional translation via reinforcement learning, IJCAI 2018",
    bibtex="""@inproceedings{qi2018cross,
  author = {Qi, Jinwei and Peng, Yuxin},
  title = {Cross-modal Bidirectional Translation via Reinforcement Learning},
  booktitle = {IJCAI},
  pages = {2630--2636},
  year = {2018}
}""",
    implementation="own",
    modalities=2,
    takes=("both",),
    labels=True,
    stochastic=True,
    gpu=True,
    chooses=("epochs",),
)
WIDTH, POOLED = 5, 3  # of the convolution over words
SMALLEST = 1e-6  # of ½ (1 + cos)


class Params(DeepParams):
    region_units: int = Field(512, ge=1, description="units of the LSTM over the first modality's sequence")
    word_units: int = Field(300, ge=1, description="units of the second's convolution and LSTM")
    first_layer: int = Field(3000, ge=1, description="units between the first modality (image) and the shared layers")
    second_layer: int = Field(1000, ge=1, description="units between the second modality (text) and the shared layers")
    shared: int = Field(2000, ge=1, description="units of the shared layer, and of the one before it")
    dropout: float = Field(0.5, ge=0, lt=1, description="of the LSTMs' outputs")
    label_weight: float = Field(0.1, gt=0, description="ω")
    pair_reward: float = Field(0.0, ge=0, le=1, description="η: weight of the pair's reward; 0 in the journal's code")
    batch_size: int = Field(200, ge=2, description="rows a step")
    learning_rate: float = Field(0.1, gt=0, description="step of the gradient descent")


class Read(nn.Module):
    """A vector (b, d) and a `SetBatch` → x (b, d + units), float32."""

    def __init__(self, layers: Sequence[nn.Module], units: int):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.attention = nn.Linear(units, 1, bias=False)

    def forward(self, given: tuple[Tensor, SetBatch]) -> Tensor:
        vector, sets = given
        h = self.layers(sets)
        scores = self.attention(torch.tanh(h.elements)).squeeze(2)
        attended = weighted_mean(h, scores) + weighted_mean(h, torch.zeros_like(scores))
        return torch.cat((vector, attended.float()), dim=1)


class Translator(nn.Module):
    """x (b, d) → what the shared layer gives (b, s), and its translation (b, e), float32."""

    def __init__(self, sizes: tuple[int, int, int], shared: nn.Linear, back: tuple[int, int]):
        super().__init__()
        self.to_shared = feed_forward(sizes, nn.Tanh, nn.Tanh)
        self.shared = shared
        self.from_shared = feed_forward((shared.out_features, *back), nn.Tanh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        meaning = torch.tanh(self.shared(self.to_shared(x)))
        return meaning, self.from_shared(meaning).float()


class Network(nn.Module):
    """``read`` and ``translate`` of each modality; ``label`` classifies what the shared layer gives."""

    def __init__(self, dimensions: Mapping[str, int], classes: int, p: Params):
        super().__init__()
        first, second = (m for m in dimensions if of_sets(m) in dimensions)
        regions, words = dimensions[of_sets(first)], dimensions[of_sets(second)]
        convolution = Convolution(words, p.word_units, WIDTH, POOLED, stride=1, normalised=False)
        layers = [convolution, Recurrent(p.word_units, p.word_units, p.dropout)]
        read_regions = Read([Recurrent(regions, p.region_units, p.dropout)], p.region_units)
        self.read = ByModality({first: read_regions, second: Read(layers, p.word_units)})
        image, text = dimensions[first] + p.region_units, dimensions[second] + p.word_units
        shared = nn.Linear(p.shared, p.shared)
        images = Translator((image, p.first_layer, p.shared), shared, (p.second_layer, text))
        texts = Translator((text, p.second_layer, p.shared), shared, (p.first_layer, image))
        self.translate = ByModality({first: images, second: texts})
        self.label = nn.Linear(p.shared, classes)

    def posteriors(self, modality: str, given: tuple[Tensor, SetBatch]) -> Tensor:
        meaning, _ = self.translate[modality](self.read[modality](given))
        return self.label(meaning).softmax(dim=1)


class CBT(DeepMethod):
    info = INFO
    params: Params
    network: Network

    def build(self, dimensions: Mapping[str, int], classes: int) -> Network:
        return Network(dimensions, classes, self.params)

    def updates(self) -> list[Update]:
        optimizer = SGD(self.network.parameters(), self.params.learning_rate)

        def of(modality: str) -> Update:
            return Update(optimizer, lambda rows: self.direction_terms(modality, *self._batch(rows)))

        return [of(modality) for modality in reversed(self.modalities)]

    def terms(self, inputs: list[Any], labels: Tensor) -> Terms:
        """Those of both steps."""
        return {name: t for m in self.modalities for name, t in self.direction_terms(m, inputs, labels).items()}

    def direction_terms(self, modality: str, inputs: list[Any], labels: Tensor) -> Terms:
        """Of the step in which items of ``modality`` are translated."""
        p, net = self.params, self.network
        (other,) = set(self.modalities) - {modality}
        share = shares_of(labels)
        with self.mixed_precision():
            read = {m: net.read[m](given) for m, given in zip(self.modalities, inputs, strict=True)}
            meaning, translated = net.translate[modality](read[modality])
            logits = net.label(meaning).float()
            again = torch.relu(net.translate[other](translated.detach())[1])
        of_item = likeness(read[modality], again)
        terms = {
            f"{modality}_label": p.label_weight * functional.cross_entropy(logits, share),
            f"{modality}_back": -(1 - p.pair_reward) * of_item.mean(),
        }
        if p.pair_reward:
            of_pair = likeness(torch.sigmoid(translated), read[other])
            reward = p.pair_reward * of_pair + (1 - p.pair_reward) * of_item
            terms[f"{modality}_pair"] = -p.pair_reward * (reward.detach() * (-of_pair).softmax(dim=0)).mean()
        return terms

    def embed(self, modality: str, features: VectorsAndSets) -> np.ndarray:
        rows = scaled(modality, features, self.scaling, self.device)
        return apply(lambda given: self.network.posteriors(modality, given), rows, self.device)

    def _batch(self, rows: Tensor) -> tuple[list[Any], Tensor]:
        return [x[rows] for x in self.inputs], self.labels[rows]


def likeness(x: Tensor, z: Tensor) -> Tensor:
    """ρ (b,) of the rows of x and z (b, d)."""
    return ((1 + functional.cosine_similarity(x, z)) / 2).clamp(min=SMALLEST).log()
