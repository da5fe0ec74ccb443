"""Each two methods of a protocol against each other, with the figures of `cmr.compare`, for the page to choose from."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cmr.metrics.crossed import Sample, bounds_of, difference
from cmr.reporting.figures import short
from cmr.reporting.gallery import Catalogue
from cmr.reporting.protocols import Group, Protocol
from cmr.reporting.runs import Direction

DIGITS = 6
TIE = 1e-6
"""Values of a query that are nearer are equal."""


def of_protocol(protocol: Protocol, queries: Sequence[Sequence[int]], catalogue: Catalogue) -> dict[str, Any]:
    """For each direction the values of the headline metric, means over seeds, of ``queries`` (item numbers), of each
    class, and of each two methods: difference, interval, p, and on how many queries each is the better.
    """
    groups = protocol.with_headline
    return {
        "metric": protocol.headline_metric,
        "methods": [group.name for group in groups],
        "runs": [group.shown.path.rpartition("/")[0] for group in groups],
        "directions": [
            _direction(protocol, groups, direction, shown, catalogue)
            for direction, shown in zip(protocol.directions, queries, strict=True)
        ],
    }


def _direction(
    protocol: Protocol, groups: Sequence[Group], direction: Direction, shown: Sequence[int], catalogue: Catalogue
) -> dict[str, Any]:
    ids = groups[0].shown.tasks[direction].ids
    values = [_values(group, direction, protocol.headline_metric, ids) for group in groups]
    known = _known(values)
    bounds = bounds_of(protocol.headline_entry["metric"])
    samples = [Sample(v[:, known], bounds) for v in values]
    row_of = {item: row for row, item in enumerate(ids)}
    rows = [row_of[item] for item in catalogue.ids(shown)]
    labels = (protocol.items.labels(ids) > 0)[known] if protocol.items.has_classes else np.zeros((known.sum(), 0), bool)
    of_class = [labels.T @ sample.over_seeds / np.maximum(labels.sum(axis=0), 1) for sample in samples]
    return {
        "values": [_nullable(short(v.mean(axis=0)[rows])) for v in values],
        "classes": [[round(float(v), DIGITS) for v in of_method] for of_method in of_class],
        "counts": labels.sum(axis=0).tolist(),
        "means": [round(float(sample.values.mean()), DIGITS) for sample in samples],
        "pairs": [_pair(samples[a], samples[b]) for a, b in combinations(range(len(samples)), 2)],
    }


def _known(values: Sequence[np.ndarray]) -> np.ndarray:
    """The queries (q,) that have a value by every method and seed."""
    return np.all([~np.isnan(v).any(axis=0) for v in values], axis=0)


def _nullable(values: Iterable[float]) -> list[float | None]:
    return [value if value == value else None for value in values]


def _values(group: Group, direction: Direction, metric: str, ids: np.ndarray) -> np.ndarray:
    """(seeds, q), the queries in the order of ``ids``."""
    found = []
    for run in group.runs:
        task = run.tasks[direction]
        row_of = {item: row for row, item in enumerate(task.ids)}
        found.append(task.per_query[metric][[row_of[item] for item in ids]])
    return np.array(found)


def _pair(a: Sample, b: Sample) -> dict[str, Any]:
    per_query = a.over_seeds - b.over_seeds
    found = difference(a, b)
    return {
        "difference": round(float(per_query.mean()), DIGITS),
        "ci95": [round(end, DIGITS) for end in found.ci95] if found else None,
        "p": float(f"{found.p_value:.3g}") if found else None,
        "better": [int((per_query > TIE).sum()), int((per_query < -TIE).sum())],
    }
