"""The sentences of a text, each a bag of words: a set.

Words are counted, weighted and left out as by `bow`; the vocabulary is that of whole texts, too. A sentence ends with a
full stop, a question or an exclamation mark before a blank, with their Chinese and Japanese kin, or with its line; an
abbreviation ends one too. Sentences without a word or number are none, but for a text's only one.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import regex
from pydantic import Field

from cmr.features.bow import BagOfWords
from cmr.info import ExtractorInfo
from cmr.params import Params as BaseParams
from cmr.sets import Sets

INFO = ExtractorInfo(
    title="Sentences as bags of words",
    modality="text",
    kind="fitted",
    gives="set",
)

END = regex.compile(r"(?<=[.!?…]['\"”’)\]]*)\s+|(?<=[。！？])|\n+")
WORD = regex.compile(r"[\p{L}\p{N}]")


class Params(BaseParams):
    vocabulary: int = Field(5000, ge=1, description="number of words, the most frequent ones")
    weighting: Literal["counts", "tfidf", "binary"] = Field("counts", description="what a word's column holds")
    stop_words: Literal["english", "none"] = Field("english", description="words left out, scikit-learn's list")
    storage: Literal["float32", "float16"] = Field("float16", description="numbers in the file")


class SentenceBow(BagOfWords):
    params: Params  # type: ignore[assignment]  # those of bow, and storage

    def transform(self, contents: Sequence[str]) -> Sets:
        texts = [sentences(text) for text in contents]
        counts = self.weighted([sentence for text in texts for sentence in text])
        return Sets.flat(counts.astype(self.params.storage), np.cumsum([0, *map(len, texts)]))


def sentences(text: str) -> list[str]:
    """The sentences of a text, one at least."""
    found = [part.strip() for part in END.split(text) if WORD.search(part)]
    return found or [text]
