"""How sure a statistic of queries is that is no mean: bootstrap over queries (Efron & Tibshirani 1993, chapter 13).

The percentiles are those of Hesterberg (2015, "What teachers should know about the bootstrap"): for few queries
they lie further out, so that the interval of a mean is as wide as Student's. Means have `cmr.metrics.crossed`.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, stdtrit

RESAMPLES = 2000
CONFIDENCE = 0.95
"""Of intervals."""
INDICES_AT_ONCE = 2**21


def bootstrap_interval(
    per_query: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float] | None:
    """95 % interval of a statistic over queries (q,), drawn with replacement.

    ``statistic`` reduces the last axis. Queries whose value is NaN are left out. None where fewer than two values, or
    equal ones, say nothing of the error.
    """
    values = per_query[~np.isnan(per_query)]
    if len(values) < 2 or (values == values[0]).all():
        return None
    tail = expanded_tail(len(values))
    low, high = np.quantile(_resampled(values, statistic), [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(queries: int) -> float:
    """The share of draws beyond each end: Φ(√(q/(q-1)) t), t being the 2.5 % quantile with q - 1 degrees of freedom."""
    return float(ndtr(np.sqrt(queries / (queries - 1)) * stdtrit(queries - 1, (1 - CONFIDENCE) / 2)))


def _resampled(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The statistic (RESAMPLES,) of each draw of the queries, in blocks that bound memory."""
    rng = np.random.default_rng(0)
    rows = max(1, INDICES_AT_ONCE // len(values))
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    draws = (rng.integers(0, len(values), (size, len(values)), np.int32) for size in sizes)
    return np.concatenate([statistic(values[draw]) for draw in draws])
