"""How sure a mean over queries is: bootstrap over queries (Efron & Tibshirani 1993, chapter 13).

The queries are drawn with replacement; equal numbers of queries and equal seeds draw the same ones, so two metrics
or two methods are compared on the same draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
INDICES_AT_ONCE = 2**21


@dataclass(frozen=True)
class Difference:
    """``mean`` of a - b over queries, its percentile interval, and the two-sided p-value of 'no difference'."""

    mean: float
    ci95: tuple[float, float]
    p_value: float


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1)


def bootstrap_interval(
    per_query: np.ndarray, seed: int = 0, statistic: Callable[[np.ndarray], np.ndarray] = _mean
) -> tuple[float, float]:
    """95 % percentile interval of a statistic over queries, its mean unless another is given.

    ``per_query``: (q,), or (runs, q) for several seeds, which are averaged a query first. ``statistic`` reduces the
    last axis. Queries whose value is NaN are left out.
    """
    values = _over_runs(per_query)
    return _interval(_resampled(values[~np.isnan(values)], seed, statistic))


def paired_difference(per_query_a: np.ndarray, per_query_b: np.ndarray, seed: int = 0) -> Difference:
    """Mean of a - b over the same queries, with interval and p-value.

    Both (q,) or (runs, q) as in `bootstrap_interval`, in the same order of queries; the numbers of runs may differ.
    p = 2·min(P(mean* ≤ 0), P(mean* ≥ 0)), the level at which the percentile interval just reaches 0; one draw more
    is counted on each side, so that the smallest is 2/2001 and never 0. Raises ValueError where the numbers of
    queries differ.
    """
    a, b = _over_runs(per_query_a), _over_runs(per_query_b)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} queries cannot be paired")
    difference = (a - b)[~np.isnan(a - b)]
    means = _resampled(difference, seed, _mean)
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p_value = min(1.0, 2 * (tail + 1) / (RESAMPLES + 1))
    return Difference(float(difference.mean()), _interval(means), p_value)


def _over_runs(per_query: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.asarray(per_query, float)).mean(axis=0)


def _interval(statistics: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(statistics, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(values: np.ndarray, seed: int, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The statistic (RESAMPLES,) of each draw of the queries, in blocks that bound memory."""
    if not len(values):
        raise ValueError("no query has a value to draw from")
    rng = np.random.default_rng(seed)
    rows = max(1, INDICES_AT_ONCE // len(values))
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    draws = (rng.integers(0, len(values), (size, len(values)), np.int32) for size in sizes)
    return np.concatenate([statistic(values[draw]) for draw in draws])
