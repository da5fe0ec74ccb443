"""Precision at k: the share of relevant items among the first k results, k at most the gallery's size.

    cmr new metric precision_at_k --to my/

The file's name is the metric's. With δ(r) = 1 where the item at rank r is relevant, else 0:

    P@k = (1/k) Σ_{r ≤ k} δ(r)

Tie rule: that of `cmr.metrics.ranking`.
"""

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, cut_note
from cmr.params import Params as BaseParams

INFO = MetricInfo(
    title="Precision at k",
    paper="Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4",
    gives="number",
    range="[0, 1]",
)


class Params(BaseParams):  # each a default and a description; in a configuration: params
    k: int = Field(10, ge=1, description="Number of results that count.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """P@k (q,) of each query. The ranking is ready: ``relevance`` (q, n), best first."""
    return ranking.relevance[:, : params.k].mean(axis=1)


# The others may be left out. Without a chance, tables show none.


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """E[P@k] = R/N (q,) under random scores: each rank holds a relevant item with that probability."""
    return ranking.relevant / ranking.size


def note(params: Params, gallery_size: int) -> str:
    """What a reader must know."""
    return cut_note(params.k, gallery_size)
