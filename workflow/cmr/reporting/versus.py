"""Each two methods of a protocol against each other, with the figures of `cmr.compare`, for the page to choose from."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cmr.metrics.crossed import Sample, bounds_of, difference
from cmr.reporting.collect import Row, higher_is_better, measures
from cmr.reporting.figures import nullable, short
from cmr.reporting.gallery import Catalogue
from cmr.reporting.protocols import Group, Protocol, numbers
from cmr.reporting.runs import Direction, Run
from cmr.reporting.significance import ROUNDING, can_be_tested

DIGITS = 6
TIE = 1e-6
"""Values of a query that are nearer are equal."""


def of_protocol(protocol: Protocol, queries: Sequence[Sequence[int]], catalogue: Catalogue) -> dict[str, Any]:
    """For each direction the values of a metric, means over seeds, of ``queries`` (item numbers), of each class, and of
    each two methods: difference, interval, p, what the two cover, and on how many queries each is the better.

    The metric is the headline, or where its value is no mean over queries, a median say, the next that is one. Without
    any there are no methods. ``sign`` is -1 where less is better.
    """
    groups = protocol.with_headline
    metric = _compared_metric(groups, [protocol.headline, *numbers(groups[0].shown)])
    if metric is None:
        return {"metric": "", "sign": 1, "methods": [], "runs": [], "directions": []}
    return {
        "metric": metric["key"],
        "sign": 1 if higher_is_better(metric) else -1,
        "methods": [group.name for group in groups],
        "runs": [group.shown.path.rpartition("/")[0] for group in groups],
        "directions": [
            _direction(protocol, groups, metric, direction, shown, catalogue)
            for direction, shown in zip(protocol.directions, queries, strict=True)
        ],
    }


def _compared_metric(groups: Sequence[Group], metrics: Iterable[Row]) -> Row | None:
    """The first that all groups were measured with and whose value is the mean over queries."""
    for metric in metrics:
        if all(measures(group.shown, metric) for group in groups) and _is_mean(groups[0].shown, metric["key"]):
            return metric
    return None


def _is_mean(run: Run, metric: str) -> bool:
    values = {(t["query"], t["gallery"]): t["metrics"][metric].get("value") for t in run.metrics["tasks"]}
    known = [
        (value, run.tasks[direction].per_query[metric]) for direction, value in values.items() if value is not None
    ]
    return bool(known) and all(abs(np.nanmean(of_queries) - value) < ROUNDING for value, of_queries in known)


def _direction(
    protocol: Protocol,
    groups: Sequence[Group],
    metric: Row,
    direction: Direction,
    shown: Sequence[int],
    catalogue: Catalogue,
) -> dict[str, Any]:
    ids = groups[0].shown.tasks[direction].ids
    values = [_values(group, direction, metric["key"], ids) for group in groups]
    known = _known(values)
    samples = [Sample(v[:, known], bounds_of(metric["plugin"])) for v in values]
    row_of = {item: row for row, item in enumerate(ids)}
    rows = [row_of[item] for item in catalogue.ids(shown)]
    labels = (protocol.items.labels(ids) > 0)[known] if protocol.items.has_classes else np.zeros((known.sum(), 0), bool)
    of_class = [labels.T @ sample.over_seeds / np.maximum(labels.sum(axis=0), 1) for sample in samples]
    sign = 1 if higher_is_better(metric) else -1
    return {
        "values": [nullable(short(v.mean(axis=0)[rows])) for v in values],
        "classes": [[round(float(v), DIGITS) for v in of_method] for of_method in of_class],
        "counts": labels.sum(axis=0).tolist(),
        "known": int(known.sum()),
        "means": [round(float(sample.values.mean()), DIGITS) for sample in samples],
        "pairs": [
            _pair(samples[a], samples[b], sign, can_be_tested(groups[a].runs, groups[b].runs))
            for a, b in combinations(range(len(samples)), 2)
        ],
    }


def _known(values: Sequence[np.ndarray]) -> np.ndarray:
    """The queries (q,) that have a value by every method and seed."""
    return np.all([~np.isnan(v).any(axis=0) for v in values], axis=0)


def _values(group: Group, direction: Direction, metric: str, ids: np.ndarray) -> np.ndarray:
    """(seeds, q), the queries in the order of ``ids``."""
    found = []
    for run in group.runs:
        task = run.tasks[direction]
        row_of = {item: row for row, item in enumerate(task.ids)}
        found.append(task.per_query[metric][[row_of[item] for item in ids]])
    return np.array(found)


def _pair(a: Sample, b: Sample, sign: int, tested: bool) -> dict[str, Any]:
    per_query = a.over_seeds - b.over_seeds
    found = difference(a, b) if tested else None
    return {
        "difference": round(float(per_query.mean()), DIGITS),
        "ci95": [round(end, DIGITS) for end in found.ci95] if found else None,
        "p": float(f"{found.p_value:.6g}") if found else None,
        "covers": found.covers if found else None,
        "better": [int((sign * per_query > TIE).sum()), int((sign * per_query < -TIE).sum())],
    }
