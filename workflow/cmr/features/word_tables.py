"""Vectors of words: read from a file in word2vec's format, or trained on the training texts."""

from collections.abc import Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from gensim import utils
from gensim.models import KeyedVectors, Word2Vec

from cmr.boundary import check_size
from cmr.errors import UserError
from cmr.features import weights
from cmr.features.texts import WordExtractor

FIRST_LINE = 100
PLACE = 8
"""Bytes that a word takes beside its vector."""


def word_vectors(texts: Sequence[Sequence[str]], params: Any) -> tuple[np.ndarray, np.ndarray]:
    """The words (w,) of the texts in alphabetical order and their vectors (w, d) float32.

    ``params.vectors``: a file in word2vec's format, text, or binary where the name ends with .bin or .bin.gz. Without
    one, vectors of ``params.dimensions`` are trained on the texts (skip-gram).
    """
    if params.vectors:
        table = _table(weights.local(params.vectors, "vectors"))
    elif any(texts):
        options = {"vector_size": params.dimensions, "epochs": params.epochs, "seed": params.seed, "workers": 1}
        table = Word2Vec(texts, sg=1, min_count=1, **options).wv
    else:
        table = KeyedVectors(params.dimensions)
    known = sorted({word for text in texts for word in text if word in table})
    if not known:
        raise UserError(f"none of the words of the {len(texts)} training texts has a vector")
    return np.array(known), np.stack([table[word] for word in known]).astype(np.float32)


def _table(file: Path) -> KeyedVectors:
    """Raises `UserError` for another format, and for more vectors than so small a file can hold."""
    try:
        with utils.open(file, "rb") as opened:
            count, dimensions = map(int, opened.readline(FIRST_LINE).split())
        check_size(count * (4 * dimensions + PLACE), file.stat().st_size)
        return KeyedVectors.load_word2vec_format(str(file), binary=".bin" in file.suffixes)
    except (ValueError, EOFError, OSError) as error:  # of a wrong encoding and of `check_size` too
        raise UserError(
            f"params.vectors: {file}: not a file in word2vec's format ({error}); its first line holds the number of "
            "words and that of dimensions"
        ) from None


class WordTableExtractor(WordExtractor):
    """An extractor that knows the ``words`` (w,) of the training texts that have a vector (`word_vectors`)."""

    params: Any
    words: np.ndarray

    def fetch(self) -> dict[str, Any]:
        file = self.params.vectors
        return weights.describe(weights.local(file, "vectors"), "local file") if file else {}

    @cached_property
    def row_of_word(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words.tolist())}

    @property
    def known(self) -> Container[str]:
        return self.row_of_word
