"""Sentence CNN on word vectors, trained to classify the training texts: DRSL's text features (300-d).

Kim's network (EMNLP 2014, section 2, "static"): each text is the sequence of its words' fixed vectors; 100
convolutions each over 3, 4 and 5 words, ReLU, the maximum over the text; dropout 0.5 and a linear layer to the
classes. The 300 maxima are the features. DRSL takes the same network and 300-d word2vec vectors; its training is not
given in the paper.

Word vectors are read from a file in word2vec's format (text, or binary where the name ends with .bin or .bin.gz), or
trained here on the training texts (skip-gram, gensim). Words that the training texts do not have are left out, so
the fitted state is small and whole. The features have seen the training labels: what is fitted on them, be it a CCA,
is marked so in every table. What a word is in Chinese, Thai and other scripts: `cmr.features.texts`; of a file of
vectors made with a word segmenter, the words of one or two characters are found.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from cmr.device import torch_threads
from cmr.features.learning import seeded, shares
from cmr.features.texts import words
from cmr.features.word_tables import WordTableExtractor, word_vectors
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="Sentence CNN on word2vec",
    paper="Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014; as in DRSL",
    modality="text",
    kind="fitted",
    weights=True,
    uses_labels=True,
    gpu=True,
    files=("vectors",),
)

WINDOWS = (3, 4, 5)
BATCH = 50


class Params(BaseParams):
    vectors: str | None = Field(None, description="file of word vectors; none: trained on the training texts")
    dimensions: int = Field(300, ge=1, description="of word vectors that are trained here")
    maps: int = Field(100, ge=1, description="convolutions a window; the features have three times as many columns")
    epochs: int = Field(20, ge=1, description="passes over the training texts")
    rate: float = Field(0.001, gt=0, description="step size of Adam")
    seed: int = Field(0, ge=0, description="of word vectors, network, order and dropout")


class SentenceCNN(nn.Module):
    """Vectors of words (b, length, d) and the texts' lengths (b,) → features (b, 3 · maps)."""

    def __init__(self, dimensions: int, maps: int):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(dimensions, maps, window) for window in WINDOWS)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.maxima(*of, vectors, lengths) for of in zip(self.convolutions, WINDOWS, strict=True)], 1)

    @staticmethod
    def maxima(layer: nn.Module, window: int, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The maximum over the windows inside each text: padding of the batch does not count."""
        found = F.relu(layer(vectors.transpose(1, 2)))
        last = lengths.clamp(min=max(WINDOWS)) - window
        outside = torch.arange(found.shape[2], device=found.device) > last.unsqueeze(1)
        return found.masked_fill(outside.unsqueeze(1), 0).amax(2)


class Word2VecCNN(WordTableExtractor):
    """State: ``words`` (w,), their ``vectors`` (w, d), and the convolutions' weights under torch's names."""

    params: Params
    vectors: torch.Tensor
    network: SentenceCNN

    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        assert labels is not None  # as INFO says that it uses them
        texts = [words(text) for text in contents]
        self.words, vectors = word_vectors(texts, self.params)
        self.vectors = torch.tensor(vectors)
        with torch_threads(self.threads), seeded(self.params.seed):
            self.network = SentenceCNN(vectors.shape[1], self.params.maps).to(self.device)
            self.train(contents, shares(labels))
        self.network.eval()

    def train(self, contents: Sequence[str], targets: torch.Tensor) -> None:
        p = self.params
        classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(len(WINDOWS) * p.maps, targets.shape[1])).to(self.device)
        optimiser = torch.optim.Adam([*self.network.parameters(), *classifier.parameters()], lr=p.rate)
        for _ in range(p.epochs):
            for rows in torch.randperm(len(contents)).split(BATCH):
                scores = classifier(self.network(*self.inputs([contents[row] for row in rows])))
                loss = F.cross_entropy(scores, targets[rows].to(self.device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def inputs(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (b, length, d) of the texts' known words, padded with zeros, and how many there are (b,)."""
        row = self.row_of_word
        rows = [torch.tensor([row[word] for word in words(text) if word in row], dtype=torch.long) for text in texts]
        least = self.vectors.new_zeros(max(WINDOWS), self.vectors.shape[1])  # no text is shorter than a window
        vectors = pad_sequence([*(self.vectors[r] for r in rows), least], batch_first=True)[:-1]
        return vectors.to(self.device), torch.tensor([len(r) for r in rows], device=self.device)

    def transform(self, contents: Sequence[str]) -> np.ndarray:
        with torch_threads(self.threads), torch.inference_mode():
            batches = (contents[start : start + BATCH] for start in range(0, len(contents), BATCH))
            return torch.cat([self.network(*self.inputs(batch)).cpu() for batch in batches]).numpy()

    def state(self) -> dict[str, np.ndarray]:
        network = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        return {"words": self.words, "vectors": self.vectors.numpy(), **network}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        learned = dict(state)
        self.words = np.asarray(learned.pop("words"), str)
        self.vectors = torch.tensor(learned.pop("vectors"))
        self.network = SentenceCNN(self.vectors.shape[1], self.params.maps).to(self.device).eval()
        self.network.load_state_dict({name: torch.tensor(array) for name, array in learned.items()})
