"""Median over queries of the best rank of a pair, from 1.

Not defined (NaN) for a query without a pair in the gallery. Tie rule: that of `cmr.metrics.ranking`.
"""

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
    """Number of pairs (q,), of which `chance_summary` makes the median."""
    return ranking.pairs


def chance_summary(pairs: np.ndarray, gallery_size: int) -> float:
    """The median of the best ranks of all queries (q,) together, in random orders of N items.

    The best of P ranks is beyond r with probability C(N-r, P)/C(N, P), whose mean over the queries is 1/2 at the
    median: at (N+1)/2 where each has one pair. Where some r has exactly 1/2, r and r+1 are medians.
    """
    ranks = np.arange(gallery_size + 1)
    numbers, queries = np.unique(pairs, return_counts=True)
    beyond = np.average([chance_of_none(ranks, gallery_size, p) for p in numbers], axis=0, weights=queries)
    rank = int(np.argmax(beyond <= 0.5 + ROUNDING))
    return rank + 0.5 * bool(abs(beyond[rank] - 0.5) <= ROUNDING)
