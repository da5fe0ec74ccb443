"""Mean over queries of the best rank of a pair, from 1.

Not defined (NaN) for a query without a pair in the gallery. Tie rule: that of `cmr.metrics.ranking`.
"""

import numpy as np

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Mean rank by instance",
    paper="Hodosh, Young & Hockenmaier, Framing Image Description as a Ranking Task (JAIR 47, 2013)",
    gives="number",
    paired=True,
    range="[1, gallery size]",
    higher_is_better=False,
)


class Params(Base):
    pass


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Best rank (q,) of each query's pairs, NaN without one."""
    return np.where(ranking.pair_rank > 0, ranking.pair_rank, np.nan)


def depth(params: Params) -> int:
    return 0


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """(N+1)/(P+1) (q,), the expectation of the least of P ranks without replacement out of N."""
    return (ranking.size + 1) / (ranking.pairs + 1)
