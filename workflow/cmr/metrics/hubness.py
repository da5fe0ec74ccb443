"""Hubness: the skewness of the k-occurrence, the number of queries among whose first k results an item is.

S = E[(N_k - μ)³]/σ³ over the gallery's items, N_k(j) = #{queries with item j among their first k results}; 0 where all
items occur equally often. Unbounded; large where a few items, the hubs, are near to everything. Tie rule: that of
`cmr.metrics.ranking`.
"""

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Hubness (skewness of the k-occurrence)",
    paper="Radovanović, Nanopoulos & Ivanović, Hubs in Space (JMLR 11, 2010), equation 1",
    gives="gallery",
    range="(-∞, ∞)",
    higher_is_better=False,
)


class Params(Base):
    k: int = Field(10, ge=1, le=10, description="Number of results that count as near; the ranking keeps ten.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Gallery rows (q, k) of the first results."""
    return ranking.top[:, : params.k]


def depth(params: Params) -> int:
    return params.k


def summary(values: np.ndarray, gallery_size: int) -> float:
    """The skewness, from the rows (q, k) of all queries."""
    deviation = np.bincount(values.ravel(), minlength=gallery_size) - values.size / gallery_size
    spread = np.sqrt(np.mean(deviation**2))
    return float(np.mean(deviation**3) / spread**3) if spread > 0 else 0.0
