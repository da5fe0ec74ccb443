"""mAP@R by instance: average precision of a query's pairs among as many results as it has pairs.

(1/P) Σ_{r ≤ P} precision(r) δ(r) with P pairs in the gallery and δ(r) = 1 where the item at rank r is one of them. Not
defined (NaN) for a query without a pair. In [0, 1]; recall@1 where each query has one pair. Tie rule: that of
`cmr.metrics.ranking`.
"""

import numpy as np

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="mAP@R by instance",
    paper="Musgrave, Belongie & Lim, A Metric Learning Reality Check (ECCV 2020), section 4.2",
    gives="number",
    paired=True,
    range="[0, 1]",
)


class Params(Base):
    pass


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Average precision (q,) at the number of pairs, NaN without one."""
    assert ranking.pair_ranks is not None  # as INFO says that it is about pairs
    ranks, pairs = ranking.pair_ranks, ranking.pairs
    inside = (ranks > 0) & (ranks <= pairs[:, None])
    precision = np.arange(1, ranks.shape[1] + 1) / np.maximum(ranks, 1)
    return np.where(pairs > 0, (precision * inside).sum(axis=1) / np.maximum(pairs, 1), np.nan)


def depth(params: Params) -> int:
    return 0


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """E (q,) over random orders of N items: (1/N)(H_P + (P-1)/(N-1)·(P - H_P)), H_P = 1 + 1/2 + … + 1/P.

    As for average precision at a cut (`cmr.metrics.mean_average_precision.chance`), with the cut P.
    """
    size, pairs = ranking.size, ranking.pairs
    harmonic = np.cumsum(1 / np.arange(1, pairs.max(initial=1) + 1))[np.maximum(pairs, 1) - 1]
    return (harmonic + (pairs - 1) / max(size - 1, 1) * (pairs - harmonic)) / size
