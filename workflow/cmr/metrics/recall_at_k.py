"""Recall@K by instance: the share of queries that find a pair of theirs among the first K results.

δ(best rank of a pair ≤ K), 0 or 1 a query; not defined (NaN) for a query without a pair in the gallery. Of a picture
with five captions any of them counts, as the figures of Flickr30k and MS-COCO have it. Tie rule: that of
`cmr.metrics.ranking`.
"""

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, chance_of_none, cut_note
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Recall@K by instance",
    paper="Hodosh, Young & Hockenmaier, Framing Image Description as a Ranking Task (JAIR 47, 2013)",
    gives="number",
    paired=True,
    range="[0, 1]",
)


class Params(Base):
    k: int = Field(10, ge=1, description="Number of results among which a pair counts as found.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """1 or 0 (q,), NaN without a pair."""
    return np.where(ranking.pair_rank > 0, ranking.pair_rank <= params.k, np.nan)


def depth(params: Params) -> int:
    return 0


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """1 - C(N-P, K)/C(N, K) (q,) with P pairs in the gallery of N: K/N where there is one."""
    size = ranking.size
    return 1 - chance_of_none(ranking.pairs, size, min(params.k, size))


def note(params: Params, gallery_size: int) -> str:
    return cut_note(params.k, gallery_size)
