"""Median over queries of the best rank of a pair, from 1.

Not defined (NaN) for a query without a pair in the gallery. Tie rule: that of `cmr.metrics.ranking`.
"""

from functools import lru_cache

import numpy as np

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, chance_of_none
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Median rank by instance",
    paper="Hodosh, Young & Hockenmaier, Framing Image Description as a Ranking Task (JAIR 47, 2013)",
    gives="number",
    paired=True,
    range="[1, gallery size]",
    higher_is_better=False,
)


ROUNDING = 1e-9


class Params(Base):
    pass


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Best rank (q,) of each query's pairs, NaN without one."""
    return np.where(ranking.pair_rank > 0, ranking.pair_rank, np.nan)


def summary(values: np.ndarray, gallery_size: int) -> np.ndarray:
    return np.median(values, axis=-1)


def depth(params: Params) -> int:
    return 0


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """The median (q,) of the best of P ranks in a random order of N items: (N+1)/2 where P is 1.

    The best rank is beyond r with probability C(N-r, P)/C(N, P). Where some r has exactly 1/2, r and r+1 are medians.
    """
    size = ranking.size
    return np.array([_median(pairs, size) for pairs in ranking.pairs.tolist()], float)


@lru_cache(maxsize=64)
def _median(pairs: int, size: int) -> float:
    beyond = chance_of_none(np.arange(size + 1), size, pairs)
    rank = int(np.argmax(beyond <= 0.5 + ROUNDING))
    return rank + 0.5 * (abs(beyond[rank] - 0.5) <= ROUNDING)
