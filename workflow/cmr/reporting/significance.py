"""Which method is best, and which cannot be told from it over queries and seeds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cmr import registry
from cmr.metrics.crossed import Difference, Estimate, Sample, bounds_of, difference, holm, mean, p_value
from cmr.reporting.collect import AVERAGE, Collection, Row, best_of, measures
from cmr.reporting.runs import Run

ALPHA = 0.05
"""The level of significance."""
ROUNDING = 1e-6
SMALL_P = 0.001
SEEDS_NEEDED = 3
"""Of a stochastic method, for a test: with two, hardly any difference is seen (``tests/benchmarks/coverage.py``)."""

BEST, NOT_WORSE, WORSE = "best", "not significantly worse than the best", "significantly worse than the best"
UNTESTED = "not tested against the best"
FEW_SEEDS, NO_VALUES = "too few seeds", "no value a query"
DIRECTIONS = "its directions have other queries"
OTHER_QUERIES = "the two have values of other queries"
ALIKE = "all queries differ by the same"
Column = tuple[str, str, str, str]
"""Protocol, metric, query, gallery: what is compared."""


@dataclass(frozen=True)
class Evidence:
    """How sure a row's mean is, and how it stands to the best of its column.

    ``mark``: `BEST`, `NOT_WORSE`, `WORSE` or `UNTESTED`; ``reason``: why it is not tested, in words. ``mean``: None
    where the values a query are not known or all equal, or directions have other queries. ``difference``: the row's
    mean less that of the best, where it is tested and not itself best; ``p_holm``: its p-value, corrected.
    ``one_seed``: the method is stochastic, and its value is of one seed alone.
    """

    mark: str = ""
    mean: Estimate | None = None
    difference: Difference | None = None
    p_holm: float | None = None
    one_seed: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """A row's values: ids of the queries that have one (q,), and a sample (seeds, q); ``stochastic``: seeds matter."""

    ids: np.ndarray
    sample: Sample
    stochastic: bool

    def obstacle(self, other: "Measured") -> str:
        """Why the two cannot be tested against each other; empty where they can."""
        if any(m.stochastic and m.sample.seeds < SEEDS_NEEDED for m in (self, other)):
            return FEW_SEEDS
        return "" if np.array_equal(self.ids, other.ids) else OTHER_QUERIES


def column_of(row: Row) -> Column:
    return row["group"].rpartition("/")[0], row["metric"], row["query"], row["gallery"]


def weigh(collection: Collection, rows: Iterable[Row]) -> dict[tuple[Column, str], Evidence]:
    """(column, group) → how sure a united row's value is.

    The best has the best mean over seeds; of several whose means are equal each is best, and the others are tested
    against the one of them that can be tested against most. Another is not significantly worse where the difference
    over queries and seeds (`cmr.metrics.crossed`) has p ≥ 0.05, corrected by Holm's method for all pairs of the column:
    the best is chosen by the same figures, so its differences are extremes of all pairs. An average over directions
    takes an item's mean over directions. There is no interval and no test where the runs do not hold a value a query
    whose mean is the row's (a median, say, or an average over directions with other queries), and no test where queries
    differ, all differences are equal and not 0, or a stochastic method has fewer than three seeds.
    """
    runs = defaultdict(list)
    for run in collection.runs:
        runs[run.group].append(run)
    columns = defaultdict(list)
    for row in rows:
        columns[column_of(row)].append(row)
    found: dict[tuple[Column, str], Evidence] = {}
    for column, members in columns.items():
        found |= {(column, group): evidence for group, evidence in _weigh(members, runs).items()}
    return found


def _weigh(rows: Sequence[Row], runs: Mapping[str, list[Run]]) -> dict[str, Evidence]:
    found = {row["group"]: measured(row, runs[row["group"]]) for row in rows}
    known = {group: own for group, own in found.items() if own}
    equal = [row["group"] for row in best_of(rows)]
    best = max(equal, key=lambda group: _comparable(group, known))
    to_best = _differences_to(best, known)
    evidence = {}
    for row in rows:
        group, own = row["group"], found[row["group"]]
        against, p_holm = (None, None) if group in equal else to_best.get(group, (None, None))
        mark = BEST if group in equal else UNTESTED if p_holm is None else NOT_WORSE if p_holm >= ALPHA else WORSE
        evidence[group] = Evidence(
            mark=mark,
            mean=mean(own.sample) if own else None,
            difference=against,
            p_holm=p_holm,
            one_seed=row["seeds"] == 1 and any(map(_stochastic, runs[group])),
            reason=_why_untested(row, runs[group], own, found[best]) if mark == UNTESTED else "",
        )
    return evidence


def _comparable(group: str, known: Mapping[str, Measured]) -> int:
    """How many have values that a group's can be tested against."""
    return sum(group in known and not known[group].obstacle(other) for other in known.values())


def _why_untested(row: Row, runs: Sequence[Run], own: Measured | None, best: Measured | None) -> str:
    if own and best:
        return own.obstacle(best) or ALIKE
    differing = row["query"] == AVERAGE and any(_directions_differ(run, row["key"]) for run in runs)
    return DIRECTIONS if differing else NO_VALUES


def _differences_to(best: str, found: Mapping[str, Measured]) -> dict[str, tuple[Difference, float]]:
    """Group → its mean less that of ``best``, and the p-value corrected for all pairs that can be tested."""
    pairs = {
        (a, b): p
        for a, b in combinations(sorted(found, key=lambda group: group == best), 2)  # the best is second in its pairs
        if not found[a].obstacle(found[b]) and (p := p_value(found[a].sample, found[b].sample)) is not None
    }
    corrected = dict(zip(pairs, holm(list(pairs.values())), strict=True))
    with_best = {a: difference(found[a].sample, found[best].sample) for a, b in pairs if b == best}
    return {a: (tested, corrected[a, best]) for a, tested in with_best.items() if tested}


def measured(row: Row, runs: Iterable[Run]) -> Measured | None:
    """The values behind a row; None where the files do not hold them."""
    of_seed = {run.seed: (run, _of_run(run, row)) for run in runs if measures(run, row)}
    found = [values for _, values in of_seed.values() if values is not None]
    if not found or len(found) < len(of_seed) or any(not np.array_equal(ids, found[0][0]) for ids, _ in found):
        return None
    values = np.stack([v for _, v in found])
    known = ~np.isnan(values).any(axis=0)
    if not known.any() or abs(values[:, known].mean() - row["mean"]) >= ROUNDING:
        return None
    sample = Sample(values[:, known], bounds_of(row["plugin"]))
    return Measured(found[0][0][known], sample, any(_stochastic(run) for run, _ in of_seed.values()))


def p_in_words(p: float, form: str = ".2g") -> str:
    """``0.13``, ``< 0.001``, or ``< 0.05`` where rounding would hide that it is less."""
    if p < SMALL_P:
        return f"< {SMALL_P}"
    shown = f"{p:{form}}"
    return f"< {ALPHA}" if p < ALPHA <= float(shown) else shown


def can_be_tested(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """Whether a test of two methods covers the same of both: each whose seeds matter has three or more, or has one, and
    then no seeds are covered.
    """
    seeds = {len(runs) for runs in (a, b) if any(map(_stochastic, runs))}
    return seeds <= {1} or min(seeds) >= SEEDS_NEEDED


def _stochastic(run: Run) -> bool:
    """Whether another seed may give another run; yes for a plug-in that this version does not have."""
    methods = {fit["method"]["method"] for fit in run.fits}
    dictionaries = {fit["dictionary"]["dictionary"] for fit in run.fits if fit["dictionary"]}
    return (
        any(fit["method"].get("pairing", "ids") != "ids" for fit in run.fits)
        or not methods <= set(registry.names("methods"))
        or not dictionaries <= set(registry.names("dictionaries"))
        or any(registry.info("methods", name).stochastic for name in methods)
        or any(registry.info("dictionaries", name).stochastic for name in dictionaries)
    )


def _directions_differ(run: Run, key: str) -> bool:
    """Whether other queries have a value in one direction than in another."""
    valued = [t.ids[~np.isnan(t.per_query[key])] for t in run.tasks.values() if key in t.per_query]
    return any(not np.array_equal(valued[0], others) for others in valued)


def _of_run(run: Run, row: Row) -> tuple[np.ndarray, np.ndarray] | None:
    """Ids of queries (q,) and their values (q,)."""
    directions = list(run.tasks) if row["query"] == AVERAGE else [(row["query"], row["gallery"])]
    tasks = [run.tasks[direction] for direction in directions]
    complete = all(row["key"] in t.per_query and np.array_equal(t.ids, tasks[0].ids) for t in tasks)
    if not complete:
        return None
    return tasks[0].ids, np.mean([task.per_query[row["key"]] for task in tasks], axis=0)
