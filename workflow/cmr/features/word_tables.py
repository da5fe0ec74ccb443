"""Vectors of words: read from a file in word2vec's format, or trained on the training texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gensim.models import KeyedVectors, Word2Vec

from cmr.errors import UserError
from cmr.features import weights


def word_vectors(texts: Sequence[Sequence[str]], params: Any) -> tuple[np.ndarray, np.ndarray]:
    """The words (w,) of the texts in alphabetical order and their vectors (w, d) float32.

    ``params.vectors``: a file in word2vec's format, text, or binary where the name ends with .bin or .bin.gz. Without
    one, vectors of ``params.dimensions`` are trained on the texts (skip-gram).
    """
    if params.vectors:
        file = weights.local(params.vectors, "vectors")
        table = KeyedVectors.load_word2vec_format(str(file), binary=".bin" in file.suffixes)
    elif any(texts):
        options = {"vector_size": params.dimensions, "epochs": params.epochs, "seed": params.seed, "workers": 1}
        table = Word2Vec(texts, sg=1, min_count=1, **options).wv
    else:
        table = KeyedVectors(params.dimensions)
    known = sorted({word for text in texts for word in text if word in table})
    if not known:
        raise UserError(f"none of the words of the {len(texts)} training texts has a vector")
    return np.array(known), np.stack([table[word] for word in known]).astype(np.float32)


def described(file: str | None) -> dict[str, Any]:
    """What a features file records of the vectors' file."""
    return weights.describe(weights.local(file, "vectors"), "local file") if file else {}
