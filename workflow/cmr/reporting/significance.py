"""Which method is best, and which cannot be told from it: paired bootstrap over queries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmr.metrics.bootstrap import bootstrap_interval, paired_difference
from cmr.reporting.collect import AVERAGE, Collection, Row, higher_is_better
from cmr.reporting.runs import Run

LEVEL = 0.05
SEED = 0
ROUNDING = 1e-6

BEST, NOT_WORSE = "best", "not significantly worse"
Column = tuple[str, str, str, str]
"""Protocol, metric, query, gallery: what is compared."""


@dataclass(frozen=True)
class Evidence:
    """``mark``: `BEST`, `NOT_WORSE` or nothing; ``ci95``: the interval of the row's mean over queries, where known."""

    mark: str = ""
    ci95: tuple[float, float] | None = None


def column_of(row: Row) -> Column:
    return row["group"].rpartition("/")[0], row["metric"], row["query"], row["gallery"]


def weigh(collection: Collection, rows: Iterable[Row]) -> dict[tuple[Column, str], Evidence]:
    """(column, group) → how sure a united row's value is.

    The best has the best mean over seeds; another is not significantly worse where the paired bootstrap over queries
    gives p ≥ 0.05 for the difference. Methods are paired on queries, with each query's mean over a method's seeds; an
    average over directions takes an item's mean over directions. There is no interval and no test where the runs do
    not hold a value a query whose mean is the row's (a median, say), or where the methods' queries differ. Nothing is
    corrected for the number of methods.
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
    sign = 1 if higher_is_better(rows[0]) else -1
    best = max(rows, key=lambda row: sign * row["mean"])
    values = {row["group"]: per_query(row, runs[row["group"]]) for row in rows}
    found = {}
    for group, own in values.items():
        mark = BEST if group == best["group"] else NOT_WORSE if _alike(values[best["group"]], own) else ""
        found[group] = Evidence(mark, bootstrap_interval(own[1], SEED) if own else None)
    return found


PerQuery = tuple[np.ndarray, np.ndarray]
"""Ids of queries (q,) and their values (q,)."""


def _alike(best: PerQuery | None, other: PerQuery | None) -> bool:
    if best is None or other is None or not np.array_equal(best[0], other[0]):
        return False
    return paired_difference(best[1], other[1], SEED).p_value >= LEVEL


def per_query(row: Row, runs: Iterable[Run]) -> PerQuery | None:
    """The values behind a row, means over seeds; None where the files do not hold them."""
    of_seed = {run.seed: _of_run(run, row) for run in runs if _measures(run, row)}
    found = [values for values in of_seed.values() if values is not None]
    if not found or len(found) < len(of_seed) or any(not np.array_equal(ids, found[0][0]) for ids, _ in found):
        return None
    values = np.mean([v for _, v in found], axis=0)
    return (found[0][0], values) if abs(np.nanmean(values) - row["mean"]) < ROUNDING else None


def _measures(run: Run, row: Row) -> bool:
    """Whether the run was evaluated with the row's metric and its very options."""
    entry = run.metrics["tasks"][0]["metrics"].get(row["key"])
    return entry is not None and entry["params"] == row["params"]


def _of_run(run: Run, row: Row) -> PerQuery | None:
    directions = list(run.tasks) if row["query"] == AVERAGE else [(row["query"], row["gallery"])]
    tasks = [run.tasks[direction] for direction in directions]
    complete = all(row["key"] in t.per_query and np.array_equal(t.ids, tasks[0].ids) for t in tasks)
    if not complete:
        return None
    return tasks[0].ids, np.mean([task.per_query[row["key"]] for task in tasks], axis=0)
