"""What text extractors share: words of every script, how often each text has them, and which texts have none.

A word is a run of letters and digits in lower case. Marks belong to it: accents, which are composed (NFC), the vowel
signs of Indic scripts, the vowel points of Arabic and Hebrew, and the joiners inside Persian and Indic words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without blanks. There every two neighbouring characters,
with their marks, count as a word, and so does every Chinese character, since it often is one. Word segmenters, which
need a model a language, did no better on the whole: tests/benchmarks/texts_of_the_world.py prints the comparison.
"""

import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Container, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import regex
from scipy.sparse import csr_matrix

from cmr.errors import UserError
from cmr.features.base import Extractor, Gap

CHINESE = r"\p{Han}"
UNSPACED = rf"{CHINESE}\p{{Hiragana}}\p{{Katakana}}ー\p{{Line_Break=SA}}"  # SA: Thai, Lao, Khmer, Burmese and their kin
SPACED = rf"[\p{{L}}\p{{N}}]--[{UNSPACED}]"
MARK = r"[\p{M}\u200c\u200d]"  # and the two joiners
RUN = regex.compile(rf"(?V1)(?:[{UNSPACED}]{MARK}*)+|(?:[{SPACED}]{MARK}*)+")
is_unspaced = regex.compile(f"[{UNSPACED}]").match
is_chinese = regex.compile(CHINESE).match
characters_of = regex.compile(r"\X").findall  # each with its marks


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order, without punctuation."""
    runs = RUN.findall(unicodedata.normalize("NFC", text.lower()))
    if text.isascii():
        return runs
    return [word for run in runs for word in (_pairs(run) if is_unspaced(run) else [run])]


def _pairs(run: str) -> list[str]:
    """The pairs of neighbouring characters of a run without blanks, and its Chinese characters, in order."""
    characters = characters_of(run)
    found = []
    for first, second in pairwise([*characters, ""]):
        if is_chinese(first) or len(characters) == 1:
            found.append(first)
        if second:
            found.append(first + second)
    return found


OUR_WORDS: dict[str, Any] = {"tokenizer": words, "token_pattern": None, "lowercase": False}  # for scikit-learn


def fitted_vocabulary(texts: Sequence[str], size: int, stop_words: str, binary: bool = False) -> np.ndarray:
    """The ``size`` most frequent words of ``texts`` (``binary``: those of most texts) in alphabetical order; of equally
    frequent ones the first.

    ``stop_words``: none, or english for scikit-learn's list of words to leave out.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # a second, which a query need not spend

    left_out = None if stop_words == "none" else stop_words
    counter = CountVectorizer(**OUR_WORDS, stop_words=left_out, binary=binary)  # whose own cut depends on the processor
    try:
        counts = np.asarray(counter.fit_transform(texts).sum(axis=0)).ravel()
    except ValueError as error:
        raise UserError(f"the {len(texts)} training texts hold no words to learn a vocabulary from") from error
    kept = np.sort(np.argsort(-counts, kind="stable")[:size])
    return counter.get_feature_names_out()[kept].astype(str)


def counted(texts: Sequence[str], vocabulary: np.ndarray) -> csr_matrix:
    """How often each text has each word of the vocabulary, (n, words)."""
    column = {word: number for number, word in enumerate(vocabulary.tolist())}
    found = [Counter(column[word] for word in words(text) if word in column) for text in texts]
    counts = [row[number] for row in found for number in sorted(row)]
    columns = [number for row in found for number in sorted(row)]
    ends = np.cumsum([0, *map(len, found)])
    return csr_matrix((counts, columns, ends), shape=(len(found), len(column)), dtype=np.int64)


class WordExtractor(Extractor[str]):
    """An extractor that learns words from the training texts and knows no others."""

    @property
    @abstractmethod
    def known(self) -> Container[str]:
        """The words that were learned."""

    def gaps(self, contents: Sequence[str]) -> dict[str, Gap]:
        known = self.known
        without = sum(not any(word in known for word in words(text)) for text in contents)
        return {"no_known_word": Gap(without, len(contents), "texts have no word that was learned")} if without else {}


class VocabularyExtractor(WordExtractor):
    """An extractor that counts the words of a ``vocabulary`` (words,)."""

    vocabulary: np.ndarray

    @property
    def known(self) -> Container[str]:
        return set(self.vocabulary.tolist())
