"""Methods over data sets: do their ranks differ, and which ones cannot be told apart.

Friedman's test and Nemenyi's comparison of all pairs, after Demšar, Statistical Comparisons of Classifiers over
Multiple Data Sets (JMLR 7, 2006). Both p-values are over permutations of the ranks within each data set, since their
usual approximations are of many data sets: of two methods and four data sets that agree, Nemenyi's says p < 0.05, where
chance alone agrees in one of eight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from scipy.stats import permutation_test, rankdata

from cmr.reporting.answer import equals, standing
from cmr.reporting.figures import Figure, Series, short
from cmr.reporting.pivot import DECIMALS, Pivot
from cmr.reporting.protocols import MOST
from cmr.reporting.significance import ALPHA, p_in_words

PERMUTATIONS = 9_999
SAME_RANK = 1e-9


@dataclass(frozen=True)
class Ranked:
    """``methods``, best first, and their mean ``ranks`` over ``datasets``.

    ``p``: Friedman's. ``critical``: mean ranks that are so far apart differ significantly; None where none are, or
    where none can be. ``groups``: first and last place of those that cannot be told apart, each as large as possible.
    """

    metric: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    p: float
    critical: float | None
    groups: tuple[tuple[int, int], ...]

    @property
    def sentences(self) -> list[str]:
        """What the test says, and what it can say of so few data sets."""
        n, k = len(self.datasets), len(self.methods)
        told = [
            f"mean rank {self.ranks[0]:.2f} among {k} methods over {n} data sets, the best.",
            f"Friedman's p {equals(p_in_words(self.p))}.",
        ]
        if n < datasets_needed(k):
            few = f"With {n} data sets no two of {k} methods can be told apart, however they rank: that takes"
            return [*told, f"{few} {datasets_needed(k)} at least."]
        if self.critical is None:
            return [*told, "No two methods can be told apart by their ranks."]
        level = next((last for first, last in self.groups if first == 0), 0)
        apart = f"Ranks {self.critical:.2f} apart differ significantly (Nemenyi, p < {ALPHA})."
        return [*told, standing(k - 1, self.methods[1 : level + 1]), apart]


def compare(over: Pivot) -> Ranked | None:
    """Of the methods that all data sets have; None of fewer than two data sets or methods.

    A data set counts once: of its several protocols, the mean of a method's figures.
    """
    datasets = tuple(dict.fromkeys(over.datasets))
    names = [line.name for line in over.lines if line.rank is not None]
    if len(datasets) < 2 or len(names) < 2:
        return None
    lines = {line.name: line for line in over.lines}
    values = [[_of_dataset(over, lines[name].cells, data) for name in names] for data in datasets]
    sign = -1 if over.higher_is_better else 1
    ranks = rankdata(sign * np.round(values, DECIMALS), axis=1)
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    p, critical = _tested(ranks)
    means = ranks.mean(axis=0)[order]
    found = critical if p < ALPHA else None
    return Ranked(
        over.metric,
        datasets,
        tuple(names[place] for place in order),
        tuple(float(mean) for mean in means),
        p,
        found,
        groups(means, found),
    )


def _of_dataset(over: Pivot, cells: Any, data: str) -> float:
    columns = [column for column, own in zip(over.columns, over.datasets, strict=True) if own == data]
    return float(np.mean([cells[column].mean for column in columns]))


def _tested(ranks: np.ndarray) -> tuple[float, float | None]:
    """Friedman's p, and the critical difference, of ranks (data sets, methods)."""
    friedman, _ = _permuted(ranks, lambda means: np.var(means, axis=0))
    _, spread = _permuted(ranks, lambda means: np.ptp(means, axis=0))
    return friedman, critical_difference(spread)


def _permuted(ranks: np.ndarray, of_means: Any) -> tuple[float, np.ndarray]:
    """p of a statistic of the mean ranks (methods, …), and its values under random ranks."""

    def statistic(*methods: np.ndarray, axis: int) -> np.ndarray:
        return np.round(of_means(np.stack([method.mean(axis=axis) for method in methods])), 9)

    found = permutation_test(
        list(ranks.T),
        statistic,
        permutation_type="samples",
        alternative="greater",
        n_resamples=PERMUTATIONS,
        vectorized=True,
        batch=500,
        rng=0,
    )
    return float(found.pvalue), np.asarray(found.null_distribution)


def critical_difference(spread: np.ndarray) -> float | None:
    """The smallest spread of all mean ranks that random ranks reach in fewer than 5 %; None where none is."""
    values, counts = np.unique(spread, return_counts=True)
    reached = counts[::-1].cumsum()[::-1] / len(spread)
    rare = values[reached < ALPHA]
    return float(rare[0]) if len(rare) else None


def groups(ranks: Sequence[float] | np.ndarray, critical: float | None) -> tuple[tuple[int, int], ...]:
    """Places of sorted mean ranks that lie less than the critical difference apart: groups that no other holds."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(p for p, other in enumerate(ranks) if critical is None or other - rank < critical - SAME_RANK)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)


def datasets_needed(methods: int) -> int:
    """From how many data sets on two methods can differ: where random ranks put the same two first and last in fewer
    than 5 %.
    """
    pairs = methods * (methods - 1)
    return next(n for n in count(2) if pairs ** (1 - n) < ALPHA)


def diagram(ranked: Ranked) -> Figure:
    """A critical-difference diagram (Demšar 2006, figure 1): mean ranks on an axis, and a bar over each group."""
    shown = min(MOST, len(ranked.methods))
    # of the groups that are cut at one end, the longest
    ends = {min(last, shown - 1): first for first, last in reversed(ranked.groups)}
    left_out = f" The {shown} best of {len(ranked.methods)}." if shown < len(ranked.methods) else ""
    return Figure(
        name="critical-difference",
        section="over",
        protocol=", ".join(ranked.datasets),
        kind="ranks",
        title=f"Mean ranks over {len(ranked.datasets)} data sets, by {ranked.metric}",
        x="mean rank",
        y="",
        series=(Series("mean rank", short(ranked.ranks[:shown]), list(range(shown))),),
        rows=ranked.methods[:shown],
        critical=ranked.critical,
        groups=tuple(sorted((first, last) for last, first in ends.items() if first < last)),
        note=f"1 is the best. A bar joins methods that cannot be told apart.{left_out}",
    )
