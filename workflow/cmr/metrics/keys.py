"""How a sort key of 64 bits is laid out: the score's bits, the place in the tie order, the gain."""

from functools import lru_cache
from typing import Literal

import numpy as np

Ties = Literal["fixed", "pessimistic", "optimistic"]

GAIN_BITS, PLACE_BITS, SCORE_BITS = 8, 24, 32
MAX_GAIN = 2**GAIN_BITS - 1
MAX_GALLERY = 2**PLACE_BITS


def descending_bits(scores: np.ndarray) -> np.ndarray:
    """int32 (q, n) that rise as float32 scores fall; in [-2³⁰, 2³⁰) for scores between -2 and 2."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    turned = bits >> 31
    turned &= 0x7FFFFFFF
    bits ^= turned
    return np.invert(bits, out=bits)


@lru_cache(maxsize=8)
def tie_order(gallery_size: int) -> np.ndarray:
    """The place (n,) of each gallery item among items of equal score: a permutation that depends on n alone."""
    order = np.random.default_rng(0).permutation(gallery_size)
    order.setflags(write=False)
    return order
