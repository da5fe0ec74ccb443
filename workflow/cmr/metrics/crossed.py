"""How sure a mean over queries and seeds is: analysis of variance with queries and seeds as crossed random effects.

A figure of seed s on query i is y_si = μ + a_s + b_i + e_si: a seed is good, a query is easy, and a seed is good at a
query, each at random (Searle, Casella & McCulloch 1992). With S seeds and q queries the mean ȳ has the variance
σ_b²/q + σ_a²/S + σ_e²/(S q), estimated by

    V = s²(means over seeds)/q + Σ max(0, s²(means over queries)/S - MSE/(S q)),

where the first term holds σ_b² and σ_e², and the second what seeds add beyond it; MSE is the mean square of what is
left without the means of seeds and of queries. For a difference of two methods the first term is of the queries'
differences, and the sum is over both methods: queries are paired, seeds are not.

With a handful of seeds the second term is often 0 by chance. So a p-value does not take it as it is, but is the mean of
Student's p over what it may be: in the place of A, the sum of s²(means over queries)/S, stands A f/χ², with χ² of f
degrees of freedom, f after Satterthwaite (1946) from the S - 1 of each method. Such p-values are called generalised
(Tsui & Weerahandi 1989; Weerahandi 1995). Of one method without an interaction, and of two whose queries say nothing,
that is Student's and Welch's t. An interval holds all means that have no p below its level. It holds the mean a little
more often than it says, and p-values as small as a correction for many methods asks for come no more often than they
say. ``tests/benchmarks/coverage.py`` measures both.

Where a metric has bounds, an interval ends there at the latest. No true mean lies beyond, so it holds as many as it
would if it went further, which Newcombe (1998) counts as a fault of intervals of this form, an overshoot.

Nothing here speaks of another gallery, or of another training sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtr, stdtrit

from cmr import registry
from cmr.errors import UserError

CONFIDENCE = 0.95
"""Of intervals."""
SMALLEST_P = 1e-12
TINY = np.finfo(float).tiny
LEAST_SHARE = 1e-300  # degrees of freedom divided by it are finite
Z = np.linspace(-46, 12, 233)
"""Where a mean over log χ² is taken: how many of its deviations, √(2/f), it lies from log f; as far down as the
smallest p of one degree of freedom needs.
"""
QUERIES, QUERIES_AND_SEEDS = "queries", "queries and seeds"
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)


def bounds_of(metric: str) -> Bounds:
    """What ``INFO`` of a metric's plug-in says under ``range``; infinite for an end that is no number beforehand.

    Also of a plug-in that this version does not have. Raises `UserError` where ``range`` is no interval.
    """
    if metric not in registry.names("metrics"):
        return UNBOUNDED
    said = registry.info("metrics", metric).range
    ends = said.replace("∞", "inf").replace("gallery size", "inf").strip("[]()").split(", ")
    try:
        low, high = map(float, ends)
    except ValueError:
        raise UserError(
            f"metric {metric!r}: INFO: range: {said!r} is no interval; write one as in '[0, 1]' or '[0, ∞)'"
        ) from None
    return low, high


@dataclass(frozen=True)
class Sample:
    """A method's ``values`` (S, q), one for each seed and query, none NaN; ``bounds`` of what a value can be."""

    values: np.ndarray
    bounds: Bounds = UNBOUNDED

    @cached_property
    def over_seeds(self) -> np.ndarray:
        """Mean over seeds (q,)."""
        return self.values.mean(axis=0)

    @property
    def seeds(self) -> int:
        return len(self.values)

    @cached_property
    def of_seeds(self) -> float:
        """s²(means over queries)/S: the variance of the mean that seeds and their interaction with queries make."""
        return float(self.values.mean(axis=1).var(ddof=1) / self.seeds)

    @cached_property
    def of_interaction(self) -> float:
        """MSE/(S q), the part of `of_seeds` that the means over seeds have already."""
        left = self.values - self.values.mean(axis=1, keepdims=True) - self.over_seeds + self.values.mean()
        return float(np.square(left).sum() / (self.seeds - 1) / (left.shape[1] - 1) / left.size)


@dataclass(frozen=True)
class Estimate:
    """``value`` of a mean, its 95 % interval, and what the interval covers: `QUERIES` or `QUERIES_AND_SEEDS`."""

    value: float
    ci95: tuple[float, float]
    covers: str


@dataclass(frozen=True)
class Difference(Estimate):
    """``p_value``: two-sided, of 'no difference'; the level at which the interval just reaches 0, 1e-12 at least."""

    p_value: float


@dataclass(frozen=True)
class _Uncertainty:
    """Of a mean: the variance ``of_queries`` with its degrees of ``freedom``; ``of_seeds`` with its own, of which
    ``of_interaction`` is in the first already.
    """

    of_queries: float
    freedom: int
    of_seeds: float
    of_interaction: float
    freedom_of_seeds: float

    @cached_property
    def weighted(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances that the seeds may add to the queries', and their weights."""
        if not self.of_seeds:
            return np.zeros(1), np.ones(1)
        f = self.freedom_of_seeds
        log = np.log(f) + np.sqrt(2 / f) * Z
        weights = np.exp(f / 2 * (log - np.log(f) + 1) - np.exp(log) / 2)  # the density of log χ², 1 at its mode
        drawn = self.of_seeds * f / np.exp(log)
        return np.maximum(0, drawn - self.of_interaction), weights / weights.sum()

    def p_value(self, value: float) -> float:
        """Student's p over what the seeds may add, which the degrees of freedom of the sum are larger for."""
        added, weights = self.weighted
        variance = np.maximum(self.of_queries + added, TINY)
        freedom = self.freedom / np.maximum((self.of_queries / variance) ** 2, LEAST_SHARE)
        return max(SMALLEST_P, float(2 * stdtr(freedom, -abs(value) / np.sqrt(variance)) @ weights))

    def reach(self, p: float) -> float:
        """How far from the mean the interval of level 1 - p goes."""
        if not self.of_seeds:
            return float(-stdtrit(self.freedom, p / 2) * np.sqrt(self.of_queries))
        from scipy.optimize import brentq  # slow to import, and only seeds need it

        furthest = 2 * np.sqrt(self.of_queries + self.of_seeds)
        while self.p_value(furthest) > p:
            furthest *= 2
        return float(brentq(lambda value: self.p_value(value) - p, 0, furthest))

    def interval(self, value: float, bounds: Bounds) -> tuple[float, float]:
        reach = self.reach(1 - CONFIDENCE)
        return max(value - reach, bounds[0]), min(value + reach, bounds[1])


def mean(sample: Sample) -> Estimate | None:
    """The mean over queries and seeds; None where fewer than two queries, or equal values, say nothing of its error."""
    found = _uncertainty(sample.over_seeds, [sample])
    if found is None:
        return None
    value = float(sample.values.mean())
    return Estimate(value, found.interval(value, sample.bounds), _covers([sample]))


def difference(a: Sample, b: Sample) -> Difference | None:
    """Mean of a - b, paired on queries; None as in `mean`, but equal values of one seed each differ by 0 with p = 1.

    Raises ValueError where the numbers of queries differ.
    """
    p = p_value(a, b)
    if p is None:
        return None
    value, found = _difference(a, b)
    bounds = a.bounds[0] - b.bounds[1], a.bounds[1] - b.bounds[0]
    return Difference(value, found.interval(value, bounds) if found else (0.0, 0.0), _covers([a, b]), p)


def p_value(a: Sample, b: Sample) -> float | None:
    """That of `difference`, without its interval, which takes longer than the p-value."""
    value, found = _difference(a, b)
    if found is None:
        return None if (a.over_seeds - b.over_seeds).any() else 1.0
    return found.p_value(value)


def _difference(a: Sample, b: Sample) -> tuple[float, _Uncertainty | None]:
    if len(a.over_seeds) != len(b.over_seeds):
        raise ValueError(f"{len(a.over_seeds)} and {len(b.over_seeds)} queries cannot be paired")
    per_query = a.over_seeds - b.over_seeds
    return float(per_query.mean()), _uncertainty(per_query, [a, b])


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): those below a level are all right with 1 - level probability."""
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    steps = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    corrected = np.empty_like(p)
    corrected[order] = steps
    return corrected.tolist()


def _covers(samples: Sequence[Sample]) -> str:
    return QUERIES_AND_SEEDS if any(sample.seeds > 1 for sample in samples) else QUERIES


def _uncertainty(per_query: np.ndarray, samples: Sequence[Sample]) -> _Uncertainty | None:
    repeated = [sample for sample in samples if sample.seeds > 1]
    if len(per_query) < 2:
        return None
    of_queries = float(per_query.var(ddof=1) / len(per_query))
    of_seeds = sum(sample.of_seeds for sample in repeated)
    of_interaction = sum(sample.of_interaction for sample in repeated)
    if not of_queries + max(0.0, of_seeds - of_interaction) > (np.finfo(float).eps * np.abs(per_query).max()) ** 2:
        return None
    squares = sum(sample.of_seeds**2 / (sample.seeds - 1) for sample in repeated)
    return _Uncertainty(
        of_queries, len(per_query) - 1, of_seeds, of_interaction, of_seeds**2 / squares if squares else np.inf
    )
