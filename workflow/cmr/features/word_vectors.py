"""The vectors of a text's words, in order: a sequence.

Word vectors are read from a file in word2vec's format (text, or binary where the name ends with .bin or .bin.gz), or
trained here on the training texts (skip-gram, gensim). Words that the training texts do not have are left out, so the
fitted state is small and whole; a text of which no word is known has one vector of zeros. What a word is in Chinese,
Thai and other scripts: `cmr.features.texts`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cmr.features.texts import words
from cmr.features.word_tables import WordTableExtractor, word_vectors
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.sets import Sets

INFO = ExtractorInfo(
    title="Word vectors",
    paper="Mikolov et al., Efficient Estimation of Word Representations in Vector Space, ICLR workshop 2013",
    modality="text",
    kind="fitted",
    gives="sequence",
    weights=True,
    files=("vectors",),
)


class Params(BaseParams):
    vectors: str | None = Field(None, description="file of word vectors; none: trained on the training texts")
    dimensions: int = Field(300, ge=1, description="of word vectors that are trained here")
    epochs: int = Field(20, ge=1, description="passes over the training texts")
    seed: int = Field(0, ge=0, description="of word vectors that are trained here")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class WordVectors(WordTableExtractor):
    """State: ``words`` (w,) and their ``vectors`` (w, d)."""

    params: Params
    vectors: np.ndarray

    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        self.words, self.vectors = word_vectors([words(text) for text in contents], self.params)

    def transform(self, contents: Sequence[str]) -> Sets:
        row, unknown = self.row_of_word, len(self.words)
        rows = [[row[word] for word in words(text) if word in row] or [unknown] for text in contents]
        table = np.append(self.vectors, np.zeros((1, self.vectors.shape[1])), axis=0).astype(self.params.storage)
        return Sets.flat(table[np.concatenate(rows)], np.cumsum([0, *map(len, rows)]))

    def state(self) -> dict[str, np.ndarray]:
        return {"words": self.words, "vectors": self.vectors}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.words, self.vectors = np.asarray(state["words"], str), np.asarray(state["vectors"])
