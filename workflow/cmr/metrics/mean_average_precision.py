"""Mean average precision, over all results or at a cut, in either normalisation.

Formula and range: `cmr.metrics.ranking.average_precision_of`; the mean over queries is mAP. Tie rule: that of
`cmr.metrics.ranking`.
"""

from dataclasses import dataclass, replace
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


def bounds(worst: Ranking, best: Ranking, params: Params) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest average precision (q,) of all orders of tied items.

    Where all relevant items are divided by, an order with more of them earlier has more: they are those of ``worst``
    and ``best``. Where only those inside the cut are, one more of them inside may lower the average. The only items
    whose number inside is open are those that tie across the cut, and they stand where the two orders differ last.
    """
    if params.at is None or params.normalise == "relevant":
        return compute(worst, params), compute(best, params)
    tied = _TiedAtCut.of(worst.gains[:, : params.at] > 0, best.gains[:, : params.at] > 0)
    fewest = replace(best, gains=tied.fewest_of(best.gains[:, : params.at]), positions=None)
    return tied.least(), np.maximum(compute(best, params), compute(fewest, params))


@dataclass(frozen=True)
class _TiedAtCut:
    """The relevant items (q, c) inside a cut, in the worst and the best order, and where the items begin that tie
    across it: after ``start`` ranks (q,), with ``before`` (q,) relevant ones among these.
    """

    worst: np.ndarray
    best: np.ndarray
    start: np.ndarray
    before: np.ndarray

    @classmethod
    def of(cls, worst: np.ndarray, best: np.ndarray) -> "_TiedAtCut":
        worse, better = worst.cumsum(axis=1), best.cumsum(axis=1)
        ranks = np.arange(1, worst.shape[1] + 1)
        start = np.where(worse == better, ranks, 0).max(axis=1, initial=0)
        return cls(worst, best, start, np.where(ranks == start[:, None], better, 0).sum(axis=1))

    def fewest_of(self, best: np.ndarray) -> np.ndarray:
        """The best order's gains with as few relevant items inside the cut as there can be. Between these and the most
        no number has more: each further one, relevant items first, has a higher precision than the one before it.
        """
        fewest = self.worst.sum(axis=1) - self.before
        return np.where(np.arange(best.shape[1]) < (self.start + fewest)[:, None], best, 0)

    def least(self) -> np.ndarray:
        """The least average precision (q,) over the number k of relevant items that stand last inside the cut c: with
        h before them, their precisions add up to Σ_{i<k} (h+k-i)/(c-i).
        """
        cut = self.worst.shape[1]
        ranks = np.arange(1, cut + 1)
        head = (self.worst & (ranks <= self.start[:, None])) * (self.worst.cumsum(axis=1) / ranks)
        i = np.arange(cut)
        shares, places = (np.concatenate([[0], np.cumsum(term / (cut - i))]) for term in (np.ones(cut), i))
        last = np.arange(cut + 1)
        found = self.before[:, None] + last
        values = (head.sum(axis=1, keepdims=True) + found * shares - places) / np.maximum(found, 1)
        fewest, most = (each.sum(axis=1) - self.before for each in (self.worst, self.best))
        possible = (last >= fewest[:, None]) & (last <= most[:, None])
        return np.where(possible, values, np.inf).min(axis=1)


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
