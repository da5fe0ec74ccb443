"""Latent Dirichlet allocation: each text's distribution over topics (scikit-learn, batch variational Bayes).

The papers use 10, 100 and 1000 topics. Library, priors (1 / topics each, scikit-learn's default) and stop words were
compared by the class accuracy of logistic regression on the captions of the Pascal Sentence data set, 5 folds,
fitted on the training folds: tests/benchmarks/text_sense.py prints the table.

Runs on one core by default, since sums over several cores' shares of the texts round differently and shared features
should not depend on the node. ``deterministic: false`` uses all cores of the job. What a word is in Chinese, Thai
and other scripts: `cmr.features.texts`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field
from sklearn.decomposition import LatentDirichletAllocation

from cmr.features.texts import VocabularyExtractor, counted, fitted_vocabulary
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams

INFO = ExtractorInfo(
    title="LDA",
    paper="Blei, Ng and Jordan, Latent Dirichlet Allocation, JMLR 2003",
    modality="text",
    kind="fitted",
)

LEARNED = ("components_", "exp_dirichlet_component_")


class Params(BaseParams):
    topics: int = Field(100, ge=2, description="number of topics, the features' dimension")
    vocabulary: int = Field(5000, ge=1, description="number of words, the most frequent ones")
    stop_words: Literal["english", "none"] = Field("english", description="words left out, scikit-learn's list")
    iterations: int = Field(20, ge=1, description="passes over the training texts")
    seed: int = Field(0, ge=0, description="of the topics' random start")
    deterministic: bool = Field(True, description="the same features on every node, for one core's speed")


class LDA(VocabularyExtractor):
    """State: ``vocabulary`` (words,), ``components_`` and ``exp_dirichlet_component_`` (topics, words)."""

    params: Params

    def model(self) -> LatentDirichletAllocation:
        p = self.params
        return LatentDirichletAllocation(
            p.topics, max_iter=p.iterations, random_state=p.seed, n_jobs=1 if p.deterministic else self.threads
        )

    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        self.vocabulary = fitted_vocabulary(contents, self.params.vocabulary, self.params.stop_words)
        self.fitted = self.model().fit(counted(contents, self.vocabulary))

    def transform(self, contents: Sequence[str]) -> np.ndarray:
        return self.fitted.transform(counted(contents, self.vocabulary)).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"vocabulary": self.vocabulary} | {name: getattr(self.fitted, name) for name in LEARNED}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.vocabulary = np.asarray(state["vocabulary"], str)
        self.fitted = self.model()
        self.fitted.doc_topic_prior_ = 1 / self.params.topics
        for name in LEARNED:
            setattr(self.fitted, name, state[name])
