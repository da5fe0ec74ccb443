"""Precision-scope curve: precision among the first K results, averaged over queries, for each scope K.

precision(K) = (1/K) Σ_{r ≤ K} δ(r), in [0, 1]. Scopes beyond the gallery's size are cut to it, which the curve's x
and a note say. Tie rule: that of `cmr.metrics.ranking`.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Precision-scope curve",
    paper="Rasiwasia et al., A New Approach to Cross-Modal Multimedia Retrieval (ACM Multimedia 2010)",
    gives="curve",
    range="[0, 1]",
    x="scope",
    y="precision",
)


class Params(Base):
    scopes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000),
        min_length=1,
        description="Numbers of results K at which precision is taken; cut to the gallery's size.",
    )


def compute(ranking: Ranking, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Scopes (points,), in ascending order, and the precision (q, points) at each."""
    scopes = np.unique(np.minimum(params.scopes, ranking.size))
    found = np.cumsum(ranking.relevance, axis=1, dtype=np.int32)
    return scopes, found[:, scopes - 1] / scopes


def depth(params: Params) -> int:
    return max(params.scopes)


def note(params: Params, gallery_size: int) -> str:
    beyond = sorted({scope for scope in params.scopes if scope > gallery_size})
    return f"scopes {', '.join(map(str, beyond))} are cut to the gallery's {gallery_size} items" if beyond else ""
