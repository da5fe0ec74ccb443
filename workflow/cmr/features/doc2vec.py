"""Doc2Vec: paragraph vectors, the distributed bag of words (PV-DBOW, gensim).

A text's vector is trained to predict the text's words, with the words' output weights learned on the training texts;
the weights then stay as they are and every text, training texts too, gets its vector by the same inference, from a
start that depends on its words alone. So a row is a function of its text, whatever is embedded before it.

Deterministic by default: one core, and random numbers that do not depend on Python's hash seed. With
``deterministic: false`` training uses all cores of the job, whose unsynchronised updates make every run different.

300 dimensions are SDML's; epochs and the smallest count are those of gensim's tutorial. A pretrained gensim model
(SDML takes one) is a pickle, which can execute code when it is read: it needs ``trust: true`` and
the sha256 of a file that you have reason to trust. What a word is in Chinese, Thai and other scripts:
`cmr.features.texts`.
"""

import glob
import zlib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec as Model
from gensim.models.doc2vec import TaggedDocument, pseudorandom_weak_vector, train_document_dbow
from gensim.models.word2vec import MAX_WORDS_IN_BATCH
from pydantic import Field

from cmr.errors import UserError
from cmr.features import weights
from cmr.features.base import Gap
from cmr.features.texts import WordExtractor, words
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.provenance import file_hash

INFO = ExtractorInfo(
    title="Doc2Vec",
    paper="Le and Mikolov, Distributed Representations of Sentences and Documents, ICML 2014",
    modality="text",
    kind="fitted",
    files=("pretrained",),
)

FROZEN = {"learn_words": False, "learn_hidden": False}


class Params(BaseParams):
    dimensions: int = Field(300, ge=1, description="length of a text's vector")
    epochs: int = Field(40, ge=1, description="passes over the training texts, and steps of inference")
    min_count: int = Field(2, ge=1, description="words that are rarer in the training texts are left out")
    negative: int = Field(5, ge=1, description="negative samples a word")
    seed: int = Field(0, ge=0, description="of all random numbers")
    deterministic: bool = Field(True, description="the same features in every run, for one core's speed of training")
    pretrained: str | None = Field(
        None, description="a gensim Doc2Vec file (PV-DBOW), saved as one, to take instead of training"
    )
    sha256: str = Field("", description="hash that the pretrained file must have")
    trust: bool = Field(False, description="the pretrained file, a pickle, may execute code: I trust its source")


def checksum(text: str) -> int:
    """A hash that does not change from one Python process to the next, as the built-in one does."""
    return zlib.crc32(text.encode())


class Doc2Vec(WordExtractor):
    """State: ``words`` (w,) by falling frequency, ``counts`` (w,), ``weights`` (w, dimensions); none if pretrained."""

    params: Params
    model: Model

    def trusted_file(self, name: str) -> Path:
        file, p = weights.local(name, "pretrained"), self.params
        found = file_hash(file)
        if not p.trust:
            raise UserError(
                f"params.pretrained: {file} is a pickle, which can execute code when it is read; if you trust its "
                f"source, set params.trust: true and params.sha256: {found}"
            )
        if beside := sorted(other.name for other in file.parent.glob(f"{glob.escape(file.name)}.*.npy")):
            raise UserError(
                f"params.pretrained: {file}: arrays of the model are in files beside it ({beside[0]}), which its hash "
                "does not cover; save it as one file: model.save(path, separately=[])"
            )
        if found != p.sha256:
            raise UserError(f"params.sha256: {file} has sha256 {found}, not {p.sha256 or 'empty'}; it was not read")
        return file

    def untrained(self, **options: Any) -> Model:
        p = self.params
        options |= {"dm": 0, "negative": p.negative, "epochs": p.epochs}
        return Model(vector_size=p.dimensions, seed=p.seed, hashfxn=checksum, **options)

    def fit(self, contents: Sequence[str], labels: np.ndarray | None = None) -> None:
        if self.params.pretrained:
            self.load_state({})
            return
        workers = 1 if self.params.deterministic else self.threads
        self.model = self.untrained(min_count=self.params.min_count, workers=workers)
        documents = [TaggedDocument(words(text), [row]) for row, text in enumerate(contents)]
        self.model.build_vocab(documents)
        if not len(self.model.wv):
            raise UserError(f"no word occurs {self.params.min_count} times in the {len(contents)} training texts")
        self.model.train(documents, total_examples=len(documents), epochs=self.params.epochs)

    def transform(self, contents: Sequence[str]) -> np.ndarray:
        return np.stack([self.infer(words(text)) for text in contents])

    def infer(self, text: list[str]) -> np.ndarray:
        """What gensim's `infer_vector` does, with random numbers that depend on the text alone.

        A text without a word of the vocabulary gets zeros.
        """
        model, joined = self.model, " ".join(text)
        if not any(word in model.wv for word in text):
            return np.zeros(model.vector_size, np.float32)
        vector = pseudorandom_weak_vector(model.vector_size, joined, checksum).reshape(1, -1)
        model.random = np.random.RandomState(checksum(joined) ^ self.params.seed)
        work, free = np.zeros(model.layer1_size, np.float32), np.ones(1, np.float32)
        for rate in np.linspace(model.alpha, model.min_alpha, self.params.epochs):
            train_document_dbow(model, text, [0], rate, work, doctag_vectors=vector, doctags_lockf=free, **FROZEN)
        return vector[0]

    def gaps(self, contents: Sequence[str]) -> dict[str, Gap]:
        known = self.known
        cut = sum(sum(word in known for word in words(text)) > MAX_WORDS_IN_BATCH for text in contents)
        told = Gap(cut, len(contents), f"texts are cut after some {MAX_WORDS_IN_BATCH:,} words, as gensim cuts them")
        return super().gaps(contents) | ({"cut": told} if cut else {})

    @property
    def known(self) -> Container[str]:
        return self.model.wv

    def state(self) -> dict[str, np.ndarray]:
        if self.params.pretrained:
            return {}
        vocabulary = self.model.wv.index_to_key
        counts = np.array([self.model.wv.get_vecattr(word, "count") for word in vocabulary])
        return {"words": np.array(vocabulary), "counts": counts, "weights": self.model.syn1neg}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        if self.params.pretrained:
            self.model = Model.load(str(self.trusted_file(self.params.pretrained)))
            if self.model.dm or not self.model.negative:
                raise UserError(f"params.pretrained: {self.params.pretrained} is not PV-DBOW with negative sampling")
            return
        self.model = self.untrained(min_count=1, sorted_vocab=0)
        frequencies = dict(zip(map(str, state["words"]), map(int, state["counts"]), strict=True))
        self.model.build_vocab_from_freq(frequencies, corpus_count=1)
        self.model.syn1neg = np.ascontiguousarray(state["weights"])
