"""Mean average precision, over all results or at a cut, in either normalisation.

Formula and range: `cmr.metrics.ranking.average_precision_of`; the mean over queries is mAP. Tie rule: that of
`cmr.metrics.ranking`.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from cmr.info import MetricInfo
from cmr.metrics.base import Ranking, chance_of_none, cut_note
from cmr.metrics.ranking import average_precision_of
from cmr.params import Params as Base

INFO = MetricInfo(
    title="Mean average precision",
    paper="Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 8.4",
    gives="number",
    range="[0, 1]",
)


class Params(Base):
    at: int | None = Field(None, ge=1, description="Cut: only the first results count; null for all of them.")
    normalise: Literal["retrieved", "relevant"] = Field(
        "retrieved", description="Divide by the relevant items inside the cut (retrieved) or by all (relevant)."
    )


def compute(ranking: Ranking, params: Params) -> np.ndarray:
    """Average precision (q,); 0 for a query with nothing relevant."""
    return average_precision_of(ranking, params.at, params.normalise)


def depth(params: Params) -> int | None:
    return params.at


def chance(ranking: Ranking, params: Params) -> np.ndarray:
    """E[AP] (q,) over all permutations of the gallery of N items, R of them relevant, cut at C.

    The item at rank r is relevant with probability R/N, and each earlier one then with (R-1)/(N-1), so
    E[Σ prec(r) δ(r)] = (R/N)(H_C + (R-1)/(N-1)·(C - H_C)), H_C = 1 + 1/2 + … + 1/C. Over all relevant items that is
    divided by R. Over the K relevant ones inside the cut, K hypergeometric, the same formula holds given K with K
    and C in the place of R and N; it is linear in K, so E[K] = CR/N and P(K=0) suffice.
    """
    size, relevant = ranking.size, ranking.relevant.astype(float)
    cut = min(params.at or size, size)
    harmonic = _harmonic(cut)
    if params.normalise == "relevant":
        return (relevant > 0) / size * (harmonic + (relevant - 1) / max(size - 1, 1) * (cut - harmonic))
    some = 1 - chance_of_none(relevant, size, cut)
    beyond_first = cut * relevant / size - some
    return (some * harmonic + beyond_first / max(cut - 1, 1) * (cut - harmonic)) / cut


@lru_cache(maxsize=8)
def _harmonic(cut: int) -> float:
    """1 + 1/2 + … + 1/cut."""
    return float(np.sum(1 / np.arange(1, cut + 1)))


def note(params: Params, gallery_size: int) -> str:
    return cut_note(params.at, gallery_size)
