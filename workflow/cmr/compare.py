"""Two runs against each other on the same queries: differences with interval and p, by class and by query."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from cmr import search
from cmr.data import Items
from cmr.errors import UserError, nearest
from cmr.metrics.crossed import Bounds, Difference, Sample, bounds_of, difference
from cmr.paths import DATA, ITEMS
from cmr.reporting.agreement import agreeing, grouped
from cmr.reporting.runs import Run, located
from cmr.reporting.significance import ROUNDING, can_be_tested, p_in_words

log = logging.getLogger(__name__)

DATA_RECORDS = DATA.partition("{")[0]


@dataclass(frozen=True)
class Query:
    """A query whose value differs: its id, its content and labels, and its values by A and by B."""

    id: str
    labels: tuple[str, ...]
    content: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """One metric in one direction. ``a``, ``b``: means over queries and seeds; ``difference``: of a - b, None where
    equal values say nothing of its error, and where seeds of one alone would be covered (`can_be_tested`).

    ``per_class``: class → mean difference over its queries. ``queries``: those that differ most, greatest first.
    """

    metric: str
    query: str
    gallery: str
    a: float
    b: float
    difference: Difference | None
    per_class: Mapping[str, float]
    queries: Sequence[Query]


def seeds(folder: Path, beside: Path | None = None, metrics: str = "*", folders: tuple[str, ...] = ()) -> list[Run]:
    """The run in a folder; or, of a method's folder, its runs of all seeds that may stand in one mean, with a warning
    of others. Where runs were measured with several sets of metrics, those of one set (`_of_one_set`).

    ``beside``: the folder that it will be compared with; ``metrics``: a pattern of names. ``folders``: see `Run`.
    Raises `UserError` where there is none.
    """
    measured = [run for place in _places(folder) for run in search.measurements(place, folders)]
    if len({run.digest for run in measured}) > 1:
        there = [run for place in _places(beside) for run in search.measurements(place, folders)] if beside else []
        measured = _of_one_set(measured, {run.digest for run in there}, metrics)
    kept, notes = agreeing(measured)
    for note in notes:
        log.warning("%s", note)
    return kept


def _places(folder: Path) -> list[Path]:
    """The folders of the runs that are meant."""
    if located(folder):
        return [folder]
    inside = sorted((file for file in folder.glob("*") if file.name.isdigit()), key=lambda file: int(file.name))
    if not inside:
        raise UserError(f"{folder}: neither a run nor a method with runs; expected {search.FORM}, or without SEED")
    return inside


def _of_one_set(measured: Sequence[Run], there: Set[str], metrics: str) -> list[Run]:
    """Those of one set of metrics, which a warning names: one that has the ``metrics``, of such sets that of most
    seeds, of these one that the other's runs have too (``there``), of these the newest.
    """
    sets = grouped(measured, lambda run: run.digest)

    def order(runs: Sequence[Run]) -> tuple[bool, int, bool, int]:
        asked = any(fnmatchcase(entry["id"], metrics) for entry in runs[0].record["metrics"])
        newest = max(run.file("run.json").stat().st_mtime_ns for run in runs)
        return asked, len(runs), runs[0].digest in there, newest

    chosen = max(sets.values(), key=order)
    name = chosen[0].file("run.json").name
    log.warning("%s: measured with %d sets of metrics; %s is taken", chosen[0].group, len(sets), name)
    if without := sorted({run.path for run in measured} - {run.path for run in chosen}):
        log.warning("left out, not measured with the metrics of %s: %s", name, ", ".join(without))
    return chosen


def compare(a: Sequence[Run], b: Sequence[Run], metrics: str = "*", worst: int = 5) -> list[Comparison]:
    """All metrics that two methods were measured with alike, in all directions; values are means over a method's seeds.

    ``metrics``: a pattern of names. Metrics that are no mean over queries, such as a median, are left out. Raises
    `UserError` where the runs have other data or other queries, or no such metric in common.
    """
    _check_data(a, b)
    items = Items.read(a[0].place(ITEMS.format(data=a[0].data)))
    known, tested = _common(a, b), can_be_tested(a, b)
    found = [
        _compared(metric, direction, *values, items, worst, bounds_of(plugin), tested)
        for metric, plugin in known.items()
        if fnmatchcase(metric, metrics)
        for direction, values in _paired(metric, a, b)
    ]
    if not found:
        raise UserError(_why_nothing(metrics, known, a, b))
    return found


def _why_nothing(metrics: str, known: Iterable[str], a: Sequence[Run], b: Sequence[Run]) -> str:
    """Why there is nothing to compare: no metric of the name, or one that is no mean over queries."""
    named = [metric for metric in known if fnmatchcase(metric, metrics)]
    means = [metric for metric in known if any(True for _ in _paired(metric, a, b))]
    if not named:
        return f"no metric {metrics!r} that both runs have{nearest(metrics, means)}"
    remedy = f"compare {', '.join(means)}" if means else "evaluate with one that is, mean_average_precision say"
    return f"{', '.join(named)}: no mean over queries that both runs have; {remedy}"


def _check_data(a: Sequence[Run], b: Sequence[Run]) -> None:
    """The same items and split, by what the runs' records say of them."""
    first = _data(a[0])
    for run in (*a, *b):
        if _data(run) != first:
            raise UserError(f"{run.path}: made from other items or another split than {a[0].path}")


def _data(run: Run) -> dict[str, str]:
    return {path: identity for path, identity in run.record["made_from"].items() if path.startswith(DATA_RECORDS)}


def _common(a: Sequence[Run], b: Sequence[Run]) -> dict[str, str]:
    """The metrics that all runs have with the same plug-in and options: name → plug-in."""
    entries = [{entry["id"]: (entry["metric"], entry["params"]) for entry in run.record["metrics"]} for run in (*a, *b)]
    return {name: entry[0] for name, entry in entries[0].items() if all(other.get(name) == entry for other in entries)}


Direction = tuple[str, str]
Values = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Ids (q,) and the values of A and of B, (seeds, q) each."""


def _paired(metric: str, a: Sequence[Run], b: Sequence[Run]) -> Iterator[tuple[Direction, Values]]:
    for direction, task in a[0].tasks.items():
        of_a, of_b = ([_values(run, direction, metric, task.ids) for run in runs] for runs in (a, b))
        if all(values is not None for values in (*of_a, *of_b)):
            yield direction, (task.ids, np.array(of_a), np.array(of_b))


def _values(run: Run, direction: Direction, metric: str, ids: np.ndarray) -> np.ndarray | None:
    """(q,); None where the metric's value is not their mean, and where the data have no labels that it takes."""
    task = run.tasks.get(direction)
    if task is None or not np.array_equal(task.ids, ids):
        raise UserError(f"{run.path}: other queries for {direction[0]}→{direction[1]}")
    (entry,) = (t["metrics"].get(metric, {}) for t in run.metrics["tasks"] if (t["query"], t["gallery"]) == direction)
    values = task.per_query.get(metric)
    if values is None or "value" not in entry or abs(np.nanmean(values) - entry["value"]) > ROUNDING:
        return None
    return values


def _compared(
    metric: str,
    direction: Direction,
    ids: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    items: Items,
    worst: int,
    bounds: Bounds,
    tested: bool,
) -> Comparison:
    of_a, of_b = a.mean(axis=0), b.mean(axis=0)
    known = ~np.isnan(of_a - of_b)
    labels = items.labels(ids) > 0
    gaps = of_a - of_b
    per_class = {
        name: float(gaps[known & labels[:, column]].mean())
        for column, name in enumerate(items.classes)
        if (known & labels[:, column]).any()
    }
    order = [row for row in np.argsort(-np.abs(gaps), kind="stable") if known[row] and gaps[row]][:worst]
    table = items.table.set_index("id")
    queries = [
        Query(
            str(ids[row]),
            tuple(table["labels"][ids[row]]),
            str(table[direction[0]][ids[row]]),
            float(of_a[row]),
            float(of_b[row]),
        )
        for row in order
    ]
    return Comparison(
        metric,
        *direction,
        float(np.nanmean(of_a)),
        float(np.nanmean(of_b)),
        difference(Sample(a[:, known], bounds), Sample(b[:, known], bounds)) if tested else None,
        per_class,
        queries,
    )


def described(comparisons: Sequence[Comparison], a: Sequence[Run], b: Sequence[Run]) -> str:
    """What is printed: a line a metric and direction; classes, if there are any, and queries of the first metric."""
    head = [f"{letter}  {_named(runs)}" for letter, runs in (("A", a), ("B", b))]
    rows = [("metric", "direction", "A", "B", "A - B", "95 % interval", "p", "covers")]
    rows += [
        (one.metric, f"{one.query}→{one.gallery}", f"{one.a:.3f}", f"{one.b:.3f}", *_tested(one)) for one in comparisons
    ]
    first = [found for found in comparisons if found.metric == comparisons[0].metric]
    of_classes = [_classes(first)] if any(found.per_class for found in first) else []
    of_queries = [_queries(found) for found in first if found.queries]
    blocks = [head, search.aligned(rows), *of_classes, *of_queries]
    return "\n\n".join("\n".join(block) for block in blocks)


def _tested(one: Comparison) -> tuple[str, str, str, str]:
    """Difference, interval, p and what they cover."""
    found = one.difference
    if found is None:
        return f"{one.a - one.b:+.3f}", "–", "–", "–"
    low, high = found.ci95
    return f"{found.value:+.3f}", f"{low:+.3f} to {high:+.3f}", p_in_words(found.p_value), found.covers


def _named(runs: Sequence[Run]) -> str:
    return f"{runs[0].group}, {len(runs)} seeds" if len(runs) > 1 else f"{runs[0].group}, seed {runs[0].seed}"


def _classes(found: Sequence[Comparison]) -> list[str]:
    names = list(dict.fromkeys(name for one in found for name in one.per_class))
    rows = [("class", *(f"{one.query}→{one.gallery}" for one in found))]
    rows += [
        (name, *(f"{one.per_class[name]:+.3f}" if name in one.per_class else "–" for one in found)) for name in names
    ]
    return [f"A - B of {found[0].metric} by the query's class", *search.aligned(rows)]


def _queries(found: Comparison, width: int = 60) -> list[str]:
    rows = [("A", "B", "id", "labels", found.query)]
    for query in found.queries:
        content = " ".join(query.content.split())
        shown = content if len(content) <= width else f"{content[: width - 2]} …"
        rows.append((f"{query.a:.3f}", f"{query.b:.3f}", query.id, ", ".join(query.labels), shown))
    return [f"{found.query}→{found.gallery}: queries whose {found.metric} differs most", *search.aligned(rows)]
