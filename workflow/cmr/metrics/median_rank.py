"""Median rank of the paired item, from 1.

Not defined (NaN) for a query without a pair in the gallery. Tie rule: that of `cmr.metrics.ranking`.
"""

import numpy as np

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Median rank of the paired item",
    paper="Hodosh, Young & Hockenmaier, Framing Image Description as a Ranking Task (JAIR 47, 2013)",
    gives="number",
    paired=True,
    range="[1, gallery size]",
    higher_is_better=False,
)


class Params(Base):
    pass


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Rank (q,) of each query's own pair, NaN without one."""
    assert ranking.pair_rank is not None  # as INFO says that it is about pairs
    return np.where(ranking.pair_rank > 0, ranking.pair_rank, np.nan)


def summary(values: np.ndarray, gallery_size: int) -> np.ndarray:
    return np.median(values, axis=-1)


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """(N+1)/2 (q,), the median of a rank that is uniform over the gallery."""
    queries, size = ranking.gains.shape
    return np.full(queries, (size + 1) / 2)
