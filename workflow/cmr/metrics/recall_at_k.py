"""Recall@K of the paired item: the share of queries whose own pair is among the first K results.

δ(pair rank ≤ K), 0 or 1 a query; not defined (NaN) for a query without a pair in the gallery. Tie rule: that of
`cmr.metrics.ranking`.
"""

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, cut_note
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Recall@K of the paired item",
    paper="Hodosh, Young & Hockenmaier, Framing Image Description as a Ranking Task (JAIR 47, 2013)",
    gives="number",
    paired=True,
    range="[0, 1]",
)


class Params(Base):
    k: int = Field(10, ge=1, description="Number of results among which the pair counts as found.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """1 or 0 (q,), NaN without a pair."""
    assert ranking.pair_rank is not None  # as INFO says that it is about pairs
    return np.where(ranking.pair_rank > 0, ranking.pair_rank <= params.k, np.nan)


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """min(K, N)/N (q,)."""
    queries, size = ranking.gains.shape
    return np.full(queries, min(params.k, size) / size)


def note(params: Params, gallery_size: int) -> str:
    return cut_note(params.k, gallery_size)
