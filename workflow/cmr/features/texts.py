"""What text extractors share: words, and how often each text has them."""

import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from cmr.errors import UserError

WORD = r"[^\W_]+"


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order, without punctuation."""
    return re.findall(WORD, text.lower())


def fitted_vocabulary(texts: Sequence[str], size: int, stop_words: str, binary: bool = False) -> np.ndarray:
    """The ``size`` most frequent words of ``texts`` (``binary``: those of most texts) in alphabetical order.

    ``stop_words``: none, or english for scikit-learn's list of words to leave out.
    """
    left_out = None if stop_words == "none" else stop_words
    counter = CountVectorizer(token_pattern=WORD, max_features=size, stop_words=left_out, binary=binary)
    try:
        counter.fit(texts)
    except ValueError as error:
        raise UserError(f"the {len(texts)} training texts hold no words to learn a vocabulary from") from error
    return counter.get_feature_names_out().astype(str)


def counted(texts: Sequence[str], vocabulary: np.ndarray) -> csr_matrix:
    """How often each text has each word of the vocabulary, (n, words)."""
    return CountVectorizer(token_pattern=WORD, vocabulary=list(vocabulary)).transform(texts)
