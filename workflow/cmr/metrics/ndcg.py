"""Normalised discounted cumulative gain, for items that share more or fewer labels with the query.

nDCG = DCG/IDCG with DCG = Σ_{r ≤ at} g(s_r)/log2(r+1), s_r the number of labels that the query and the item at rank r
share, g(s) = s (``linear``) or 2^s - 1 (``exponential``), and IDCG the DCG of the best order. In [0, 1]; 0 for a
query that shares no label with any item. Tie rule: that of `cmr.metrics.ranking`.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, cut_note
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Normalised discounted cumulative gain",
    paper="Järvelin & Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques (ACM TOIS 20(4), 2002)",
    gives="number",
    range="[0, 1]",
)


class Params(Base):
    at: int | None = Field(None, ge=1, description="Cut: only the first results count; null for all of them.")
    gain: Literal["linear", "exponential"] = Field("linear", description="g(s) = s, or 2^s - 1.")


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """nDCG (q,)."""
    return _of_best(_dcg(ranking.gains[:, : params.at], ranking, params), ranking, params)


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """E[nDCG] (q,) over all permutations: every rank then holds the mean gain."""
    mean = _gain(ranking.gains, ranking, params).mean(axis=1)
    return _of_best(mean * _discounts(ranking.gains[:, : params.at].shape[1]).sum(), ranking, params)


def note(params: Params, gallery_size: int) -> str:
    return cut_note(params.at, gallery_size)


def _of_best(dcg: np.ndarray, ranking: Ranking, params: Params) -> np.ndarray:
    best_first = np.sort(ranking.gains, axis=1, kind="stable")[:, ::-1][:, : params.at]
    ideal = _dcg(best_first, ranking, params)
    return np.divide(dcg, ideal, out=np.zeros_like(ideal), where=ideal > 0)


def _dcg(shared: np.ndarray, ranking: Ranking, params: Params) -> np.ndarray:
    # not a product with BLAS, whose last digit depends on the number of rows and threads
    return (_gain(shared, ranking, params) * _discounts(shared.shape[1])).sum(axis=1)


def _gain(shared: np.ndarray, ranking: Ranking, params: Params) -> np.ndarray:
    """g of some items (q, ·). Exponential gains of a query that shares more than 1000 labels are over a power of two.

    2^1024 is too large for a float, and nDCG is a ratio of gains of one query.
    """
    if params.gain == "linear":
        return shared.astype(float)
    excess = np.maximum(ranking.gains.max(axis=1, keepdims=True).astype(float) - 1000, 0)
    return np.exp2(shared - excess) - np.exp2(-excess)


def _discounts(ranks: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, ranks + 2))
