"""The contract of a metric: a pure function of ranked relevance.

A metric is one file in this folder with ``INFO`` (see `cmr.registry.MetricInfo`), ``Params`` and

- ``compute(ranking, params) -> (q,)`` where INFO gives a number a query, or ``-> (q, points)`` for a curve;
- ``points(params, gallery_size) -> (points,)``, the x of a curve;
- ``chance(relevant, gallery_size, params) -> (q,)`` where the expectation under random scores is known, given the
  number of relevant gallery items of each query.

Its docstring gives the formula, shapes, range and tie rule. `Ranking` is made once for a block of queries and shared
by all metrics, so a metric never sorts.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """A block of queries against the whole gallery, best first.

    ``relevance`` (q, n) bool: whether the item at each rank is relevant; ``relevant`` (q,): how many are in all;
    ``gains`` (q, n): number of shared labels at each rank, for graded metrics; ``pair_rank`` (q,): the rank, from 1,
    of the query's own pair in the gallery, 0 where it has none; ``top`` (q, k): gallery rows that rank first.
    """

    relevance: np.ndarray
    relevant: np.ndarray
    gains: np.ndarray
    pair_rank: np.ndarray
    top: np.ndarray
