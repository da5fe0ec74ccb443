"""Bag of words: how often the most frequent words of the training texts occur in each text (scikit-learn).

``weighting``: counts; binary (1 where the word occurs, and the words are those of most texts); or tfidf, the counts
times log((1 + n) / (1 + n_w)) + 1 with n training texts, n_w of them with the word, and rows scaled to length one.
The papers' vocabularies have 3000, 5000 and 6500 words; where the training texts have fewer, the features have as
many columns as there are words. What a word is in Chinese, Thai and other scripts: `cmr.features.texts`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from cmr.features.texts import VocabularyExtractor, counted, fitted_vocabulary
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.sets import Sets

INFO = ExtractorInfo(
    title="Bag of words",
    modality="text",
    kind="fitted",
)


class Params(BaseParams):
    vocabulary: int = Field(5000, ge=1, description="number of words, the most frequent ones")
    weighting: Literal["counts", "tfidf", "binary"] = Field("counts", description="what a word's column holds")
    stop_words: Literal["english", "none"] = Field("english", description="words left out, scikit-learn's list")


class BagOfWords(VocabularyExtractor):
    """State: ``vocabulary`` (words,) and, for tfidf, ``idf`` (words,)."""

    params: Params
    idf: np.ndarray | None = None

    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        p = self.params
        self.vocabulary = fitted_vocabulary(contents, p.vocabulary, p.stop_words, p.weighting == "binary")
        if p.weighting == "tfidf":
            from sklearn.feature_extraction.text import TfidfTransformer

            self.idf = TfidfTransformer().fit(counted(contents, self.vocabulary)).idf_

    def transform(self, contents: Sequence[str]) -> np.ndarray | Sets:
        return self.weighted(contents)

    def weighted(self, contents: Sequence[str]) -> np.ndarray:
        """What the columns hold of each text (n, words) float32."""
        counts = counted(contents, self.vocabulary)
        if self.params.weighting == "binary":
            counts.data[:] = 1
        if self.params.weighting == "tfidf":
            from sklearn.feature_extraction.text import TfidfTransformer

            weight = TfidfTransformer()
            weight.idf_ = self.idf
            counts = weight.transform(counts)
        return counts.toarray().astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"vocabulary": self.vocabulary} | ({} if self.idf is None else {"idf": self.idf})

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.vocabulary, self.idf = np.asarray(state["vocabulary"], str), state.get("idf")
