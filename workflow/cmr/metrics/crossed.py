"""How sure a mean over queries and seeds is: analysis of variance with queries and seeds as crossed random effects.

A figure of seed s on query i is y_si = μ + a_s + b_i + e_si: a seed is good, a query is easy, and a seed is good at a
query, each at random (Searle, Casella & McCulloch 1992). With S seeds and q queries the mean ȳ has the variance
σ_b²/q + σ_a²/S + σ_e²/(S q), estimated by

    V = s²(means over seeds)/q + Σ max(0, s²(means over queries)/S - MSE/(S q)),

where the first term holds σ_b² and σ_e², and the second what seeds add beyond it; MSE is the mean square of what is
left without the means of seeds and of queries. For a difference of two methods the first term is of the queries'
differences, and the sum is over both methods: queries are paired, seeds are not. The two parts have q - 1 and f degrees
of freedom, f after Satterthwaite (1946) from the S - 1 of each method. The quantiles of t are weighted by the parts
(Cochran & Cox 1957), which is close to the level or above it where a quantile of pooled degrees of freedom
(Satterthwaite's alone) is below it with few seeds. ``tests/benchmarks/coverage.py`` measures how often that is right.
Where a metric has bounds, an interval ends there at the latest. No true mean lies beyond, so it holds as many as it
would if it went further, which Newcombe (1998) counts as a fault of intervals of this form, an overshoot.

Nothing here speaks of another gallery, or of another training sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from cmr import registry
from cmr.errors import UserError

LEVEL = 0.95
SMALLEST_P = 1e-12
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
    """``deviation`` of the mean; ``weight``: the queries' part of its square; the degrees of freedom of both parts."""

    deviation: float
    weight: float
    of_queries: float
    of_seeds: float

    def reach(self, p: float) -> float:
        """How far from the mean the interval of level 1 - p goes."""
        quantile = -self.weight * stdtrit(self.of_queries, p / 2)
        if self.weight < 1:
            quantile -= (1 - self.weight) * stdtrit(self.of_seeds, p / 2)
        return float(quantile * self.deviation)

    def interval(self, value: float, bounds: Bounds) -> tuple[float, float]:
        reach = self.reach(1 - LEVEL)
        return max(value - reach, bounds[0]), min(value + reach, bounds[1])

    def p_value(self, value: float) -> float:
        from scipy.optimize import brentq  # slow to import, and only differences need it

        if abs(value) >= self.reach(SMALLEST_P):
            return SMALLEST_P
        return float(np.exp(brentq(lambda log: self.reach(np.exp(log)) - abs(value), np.log(SMALLEST_P), 0)))


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
    if len(a.over_seeds) != len(b.over_seeds):
        raise ValueError(f"{len(a.over_seeds)} and {len(b.over_seeds)} queries cannot be paired")
    per_query = a.over_seeds - b.over_seeds
    value, covers = float(per_query.mean()), _covers([a, b])
    found = _uncertainty(per_query, [a, b])
    if found is None:
        return None if per_query.any() else Difference(0.0, (0.0, 0.0), covers, 1.0)
    bounds = a.bounds[0] - b.bounds[1], a.bounds[1] - b.bounds[0]
    return Difference(value, found.interval(value, bounds), covers, found.p_value(value))


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
    beyond = sum(max(0.0, sample.of_seeds - sample.of_interaction) for sample in repeated)
    variance = of_queries + beyond
    if not variance > (np.finfo(float).eps * np.abs(per_query).max()) ** 2:
        return None
    squares = sum(sample.of_seeds**2 / (sample.seeds - 1) for sample in repeated)
    freedom = sum(sample.of_seeds for sample in repeated) ** 2 / squares if squares else np.inf
    return _Uncertainty(float(np.sqrt(variance)), of_queries / variance, len(per_query) - 1, freedom)
