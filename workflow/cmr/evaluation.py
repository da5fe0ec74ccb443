"""Evaluates retrieval: ranks every query against the gallery, block by block, and sums up what the metrics say.

Scores come in blocks of queries, from embeddings (`scorer`), a matrix (``matrix.__getitem__``) or a method, so memory
is that of a block and never queries × gallery. They are ranked on a pool of threads, which numpy's sort lets run side
by side.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cmr.data import View
from cmr.device import cores
from cmr.errors import UserError
from cmr.methods.base import cosine_factors
from cmr.metrics import crossed
from cmr.metrics.bootstrap import bootstrap_interval
from cmr.metrics.configured import ConfiguredMetric
from cmr.metrics.keys import Ties
from cmr.metrics.ranking import LARGE_GALLERY, Ranked, own_columns, pairs_of, row_blocks
from cmr.metrics.relevance import shared_labels
from cmr.publish import write_json
from cmr.records import SCHEMA_VERSION
from cmr.store import TEXT, new_hdf5, set_attributes

SCORES_AT_ONCE = 2**24
PRODUCTS_AT_ONCE = 2**20
FEWEST_ROWS, ENOUGH_ROWS = 16, 64  # of fewer rows with a large gallery, reading it is most of a product's work
ALL_TIES: tuple[Ties, ...] = ("fixed", "pessimistic", "optimistic")

ScoreBlock = Callable[[slice], np.ndarray]
"""Rows of the queries → their scores (rows, n), higher is better."""
Values = dict[str, np.ndarray]
LARGEST_SQUARE = 2**12
"""Of a code's length, d of signs: two cosines of such differ by 2⁻³⁷ at least, relative to them."""
LARGEST_IN_FLOAT32 = 2**7
"""The same, by 2⁻²²; where the gallery's lengths are equal, they differ by more in any case."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """One direction: ``task``, its entry in ``metrics.json``, and its arrays for ``curves.h5``.

    ``ids`` (q,) of the queries; ``top`` (q, 10) gallery rows that rank first; ``per_query`` metric id → (q,);
    ``curves`` metric id → x, y (points,).
    """

    task: dict[str, Any]
    ids: np.ndarray
    top: np.ndarray
    per_query: Values
    curves: dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class _Measured:
    """What a block of queries, or all of them, gives: arrays with a row a query, but sums for curves.

    A curve's x is 1-d where it is the same for all queries, else 2-d with one row, the sum.
    """

    relevant: np.ndarray
    top: np.ndarray
    values: Values
    chance: Values
    pessimistic: Values
    optimistic: Values
    curves: dict[str, tuple[np.ndarray, np.ndarray]]


def evaluate_task(
    score_block: ScoreBlock,
    query: View,
    gallery: View,
    metrics: Sequence[ConfiguredMetric],
    classes: Sequence[str],
    modalities: tuple[str, str] = ("query", "gallery"),
    threads: int | None = None,
    folds: Sequence[tuple[slice, slice]] = (),
) -> Evaluation:
    """All metrics of one direction, in one pass over blocks of queries.

    Query and gallery item are relevant to each other by class where they share a label, and by instance, as a pair,
    where their groups are equal. Without labels the metrics by class are left out. ``classes`` names the columns of the
    labels. ``threads``: the job's cores, all there are by default.

    ``folds``: rows of the queries and of the gallery that are evaluated apart, all queries in their order, in galleries
    of one size. Figures are over the queries of all folds; where these are equally large, means are the means over
    folds. Without any, all queries meet the whole gallery.
    """
    if not len(query) or not len(gallery):
        raise UserError(f"{modalities[0]}→{modalities[1]}: no query or no gallery item to evaluate on")
    metrics = measurable(metrics, query.labels is not None)
    labels = np.zeros((len(query), 0)) if query.labels is None else query.labels
    sizes = {rows.stop - rows.start for _, rows in folds} or {len(gallery)}
    if len(sizes) > 1:
        raise UserError(f"{modalities[1]}: folds of {min(sizes)} to {max(sizes)} items; all need the same size")
    if folds:
        blocks = [block for fold in folds for block in _of_fold(score_block, query, gallery, fold, metrics, threads)]
    else:
        blocks = _blocks(score_block, query, gallery, metrics, threads)
    (gallery_size,), measured = sizes, _merge(blocks)
    task = {
        "query": modalities[0],
        "gallery": modalities[1],
        "queries": len(query),
        "gallery_size": gallery_size,
        "queries_without_relevant": int(np.count_nonzero(measured.relevant == 0)) if classes else 0,
        "metrics": {m.id: _entry(m, measured, labels, gallery_size, classes, folds) for m in metrics},
    }
    if folds:
        task["folds"] = len(folds)
    numbers = {m.id: measured.values[m.id] for m in metrics if m.info.gives == "number"}
    return Evaluation(task, query.ids, measured.top, numbers, measured.curves)


def _blocks(
    score_block: ScoreBlock, query: View, gallery: View, metrics: Sequence[ConfiguredMetric], threads: int | None
) -> list[_Measured]:
    own = own_columns(query.groups, gallery.groups) if any(m.info.paired for m in metrics) else None
    gains = _gains(query, gallery)

    def work(rows: slice, scores: np.ndarray) -> _Measured:
        return _measure(scores, gains(rows), None if own is None else own[rows], metrics)

    return over_blocks(score_block, len(query), len(gallery), work, threads)


def _of_fold(
    score_block: ScoreBlock,
    query: View,
    gallery: View,
    fold: tuple[slice, slice],
    metrics: Sequence[ConfiguredMetric],
    threads: int | None,
) -> list[_Measured]:
    """The blocks of a fold's queries against its own gallery."""
    queries, answers = fold

    def scores(rows: slice) -> Any:
        return score_block(_within(queries, rows))[:, answers]

    blocks = _blocks(scores, query.rows(queries), gallery.rows(answers), metrics, threads)
    return [replace(block, top=block.top + answers.start) for block in blocks]


def measurable(metrics: Sequence[ConfiguredMetric], labelled: bool) -> list[ConfiguredMetric]:
    """The metrics that data give: without labels, only those that are not by class. Raises `UserError` for none."""
    kept = [m for m in metrics if labelled or m.info.paired or m.info.gives == "gallery"]
    if not kept:
        raise UserError("the data have no labels and no metric is by instance; add one, recall_at_k say")
    return kept


def _gains(query: View, gallery: View) -> Callable[[slice], np.ndarray]:
    """As `shared_labels`; zeros where there are no labels."""
    if query.labels is None or gallery.labels is None:
        return lambda rows: np.zeros((rows.stop - rows.start, len(gallery)), bool)
    return shared_labels(query.labels, gallery.labels)


def over_blocks(
    score_block: ScoreBlock,
    queries: int,
    gallery_size: int,
    work: Callable[[slice, np.ndarray], T],
    threads: int | None = None,
) -> list[T]:
    """``work(rows, scores)`` for all queries, in their order, in pieces that fit a core's cache.

    Products of embeddings are taken by the threads themselves, each with one core. Other blocks are large, since a
    method may have work to do on the gallery a block, and scored one after another with all cores.
    """

    def in_cache(rows: slice) -> list[T]:
        scores, parts = score_block(rows), row_blocks(rows.stop - rows.start, gallery_size)
        return [work(_within(rows, part), scores[part]) for part in parts]

    with ThreadPoolExecutor(threads or cores()) as pool:
        if isinstance(score_block, Product):
            rows_at_once = min(max(FEWEST_ROWS, SCORES_AT_ONCE // gallery_size), ENOUGH_ROWS)
            at_once = max(PRODUCTS_AT_ONCE, rows_at_once * gallery_size)
            with threadpool_limits(1, "blas"):
                return list(chain(*pool.map(in_cache, row_blocks(queries, gallery_size, at_once))))
        done: list[T] = []
        for rows in row_blocks(queries, gallery_size, SCORES_AT_ONCE):
            scores, parts = score_block(rows), list(row_blocks(rows.stop - rows.start, gallery_size))
            done += pool.map(work, [_within(rows, part) for part in parts], [scores[part] for part in parts])
    return done


def _within(rows: slice, part: slice) -> slice:
    return slice(rows.start + part.start, rows.start + part.stop)


@dataclass(frozen=True)
class Product:
    """A `ScoreBlock`: query (q, d) times columns (d, n). Where gallery items are equal, columns are of the distinct
    ones, and ``which`` (n,) is the one of each item.
    """

    query: np.ndarray
    columns: np.ndarray
    which: np.ndarray | None

    def __call__(self, rows: slice) -> np.ndarray:
        scores = self.scores(rows)
        return scores if self.which is None else scores[:, self.which]

    def scores(self, rows: slice) -> np.ndarray:
        return self.query[rows] @ self.columns


@dataclass(frozen=True)
class ProductOfCodes(Product):
    """Cosines of rows of whole numbers, with their squared lengths (q, 1) and (1, n).

    The root of s² / |q|² |g|², of three whole numbers: of equal cosines it is the same number, whatever the lengths.
    """

    query_squares: np.ndarray
    column_squares: np.ndarray
    dtype: type[np.floating]

    def scores(self, rows: slice) -> np.ndarray:
        products = super().scores(rows)
        cosines = np.copysign(np.sqrt(products**2 / (self.query_squares[rows] * self.column_squares)), products)
        return cosines.astype(self.dtype, copy=False)


def scorer(query: np.ndarray, gallery: np.ndarray) -> Product:
    """Cosines of embeddings (q, d) and (n, d), in their precision, of codes in what they need; rows of zeros score 0.

    Equal gallery items have equal scores: a product rounds a column by its place, so each of them is taken once. So
    have hash codes, and other rows of small whole numbers times a length, that are equally far from a query.
    """
    if query.shape[1] != gallery.shape[1]:
        raise UserError(f"embeddings of {query.shape[1]} and {gallery.shape[1]} dimensions cannot be compared")
    gallery, which = distinct(gallery)
    query_codes, codes = _as_codes(query), _as_codes(gallery)
    if query_codes is not None and codes is not None:
        query_squares, squares = _squares(query_codes), _squares(codes)
        small = max(query_squares.max(initial=1), squares.max(initial=1)) <= LARGEST_IN_FLOAT32
        dtype = np.float32 if small or len(np.unique(squares)) <= 1 else np.float64  # float32 is ranked twice as fast
        return ProductOfCodes(query_codes, _by_rows(codes.T), which, query_squares, squares.T, dtype)
    query, columns = cosine_factors(query, gallery)
    return Product(query, _by_rows(columns), which)


def warn_of_zeros(source: str, embeddings: np.ndarray) -> None:
    """``source``: what the embeddings (n, d) are named by."""
    if zeros := int((~embeddings.any(axis=1)).sum()):
        log.warning("%s: %d of %d rows are zero, and score 0 against every other", source, zeros, len(embeddings))


def _by_rows(columns: np.ndarray) -> np.ndarray:
    """Columns (d, n) as a product of few queries reads them twice as fast, where they are many."""
    return np.ascontiguousarray(columns) if columns.shape[1] > LARGE_GALLERY else columns


def _squares(codes: np.ndarray) -> np.ndarray:
    """The squared lengths (n, 1) of codes; one for rows of zeros."""
    return np.maximum((codes**2).sum(axis=1, keepdims=True), 1)


def _as_codes(rows: np.ndarray) -> np.ndarray | None:
    """Each of the rows (n, d) over its smallest number but 0, float64, as codes of -1, 0 and 1 of any length are whole
    numbers then; None where they are not, or so large that fractions of them would be rounded to the same number.
    """
    if len(rows) > 1 and _as_codes(rows[:1]) is None:
        return None  # as nearly all rows are, which costs nothing then
    rows = rows.astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        found = rows / np.abs(rows).min(axis=1, keepdims=True, where=rows != 0, initial=np.inf)
        small = found.shape[1] * np.abs(found).max(initial=0) ** 2 <= LARGEST_SQUARE
        return found if small and (found == np.rint(found)).all() else None


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The distinct rows (k, d) in the order they come in, and which of them (n,) each row is; None where all differ."""
    numbers = np.fromiter((hash((row + 0).tobytes()) for row in rows), np.int64, len(rows))  # -0.0 + 0 is 0.0
    which, found = pd.factorize(numbers)
    if len(found) == len(rows):
        return rows, None
    _, first = np.unique(which, return_index=True)
    return rows[first], which


def depth_of(metrics: Sequence[ConfiguredMetric]) -> int | None:
    """How many first results the metrics look at; None for all."""
    depths = [m.module.depth(m.params) if hasattr(m.module, "depth") else None for m in metrics]
    return _deepest(depths)


def _deepest(depths: Sequence[int | None]) -> int | None:
    """Of how many first results are wanted, the most; None stands for all."""
    known = [depth for depth in depths if depth is not None]
    return max(known, default=0) if len(known) == len(depths) else None


def _measure(
    scores: np.ndarray, gains: np.ndarray, own: np.ndarray | None, metrics: Sequence[ConfiguredMetric]
) -> _Measured:
    ranked = Ranked(scores, gains, own, depth=depth_of(metrics))
    ranking = ranked.by("fixed")
    computed = {m.id: m.compute(ranking) for m in metrics}
    numbers = [m for m in metrics if m.info.gives == "number"]
    values = {m.id: computed[m.id] for m in metrics if m.info.gives != "curve"}
    pessimistic, optimistic = _bounds(ranked, ranking.tied, values, numbers)
    return _Measured(
        relevant=ranking.relevant,
        top=ranking.top,
        values=values,
        chance={m.id: m.chance(ranking) for m in numbers if hasattr(m.module, "chance")},
        pessimistic=pessimistic,
        optimistic=optimistic,
        curves={m.id: _sums(*computed[m.id]) for m in metrics if m.info.gives == "curve"},
    )


def _bounds(
    ranked: Ranked, tied: np.ndarray, values: Values, numbers: Sequence[ConfiguredMetric]
) -> tuple[Values, Values]:
    """The values with ties resolved the worst and the best way: only queries that ties leave open are ranked again."""
    least, most = ({m.id: values[m.id].copy() for m in numbers} for _ in range(2))
    open_ = np.flatnonzero(tied)
    if len(open_):
        worst, best = ranked.by("pessimistic", open_), ranked.by("optimistic", open_)
        for m in numbers:
            least[m.id][open_], most[m.id][open_] = m.bounds(worst, best)
    return least, most


def _sums(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x if x.ndim == 1 else x.sum(axis=0, keepdims=True)), y.sum(axis=0)


def _merge(blocks: Sequence[_Measured]) -> _Measured:
    def joined(part: str) -> Values:
        return {key: np.concatenate([getattr(b, part)[key] for b in blocks]) for key in getattr(blocks[0], part)}

    relevant = np.concatenate([b.relevant for b in blocks])
    return _Measured(
        relevant=relevant,
        top=np.concatenate([b.top for b in blocks]),
        values=joined("values"),
        chance=joined("chance"),
        pessimistic=joined("pessimistic"),
        optimistic=joined("optimistic"),
        curves={key: _mean_curve([b.curves[key] for b in blocks], len(relevant)) for key in blocks[0].curves},
    )


def _mean_curve(sums: Sequence[tuple[np.ndarray, np.ndarray]], queries: int) -> tuple[np.ndarray, np.ndarray]:
    first = sums[0][0]
    x = first if first.ndim == 1 else reduce(np.add, (x for x, _ in sums))[0] / queries
    return x, reduce(np.add, (y for _, y in sums)) / queries


def _entry(
    metric: ConfiguredMetric,
    measured: _Measured,
    labels: np.ndarray,
    gallery_size: int,
    classes: Sequence[str],
    folds: Sequence[tuple[slice, slice]],
) -> dict[str, Any]:
    """A metric's entry in ``metrics.json``; a key is left out where it does not apply to the metric.

    A number of the gallery is the mean over the galleries of the folds.
    """
    entry: dict[str, Any] = {"metric": metric.name, "params": metric.params.model_dump(mode="json")}
    if metric.info.gives == "number":
        entry |= _number(metric, measured, labels, gallery_size, classes)
    elif metric.info.gives == "gallery":
        values = measured.values[metric.id]
        parts = [queries for queries, _ in folds] or [slice(None)]
        entry["value"] = float(np.mean([metric.module.summary(values[rows], gallery_size) for rows in parts]))
    note = getattr(metric.module, "note", lambda params, size: "")(metric.params, gallery_size)
    notes = [entry["note"]] if "note" in entry else []
    notes += [note] if note else []
    return entry | {"note": "; ".join(notes)} if notes else entry


def _number(
    metric: ConfiguredMetric, measured: _Measured, labels: np.ndarray, gallery_size: int, classes: Sequence[str]
) -> dict[str, Any]:
    """Value, chance, bounds, interval and classes, each over the queries that the metric is defined for."""
    values = measured.values[metric.id]
    known = ~np.isnan(values)
    if not known.any():
        return {"note": "no query has " + ("a pair in the gallery" if metric.info.paired else "a value")}

    def summary(of: np.ndarray, by: str = "summary") -> np.ndarray:
        summarise = getattr(metric.module, by, getattr(metric.module, "summary", None))
        return of.mean(axis=-1) if summarise is None else summarise(of, gallery_size)

    entry: dict[str, Any] = {"value": float(summary(values[known]))}
    if metric.id in measured.chance:
        entry["chance"] = float(summary(measured.chance[metric.id][known], "chance_summary"))
    for key in ("pessimistic", "optimistic"):
        entry[key] = float(summary(getattr(measured, key)[metric.id][known]))
    interval = _interval(metric, values[known], summary if hasattr(metric.module, "summary") else None)
    if interval:
        entry["ci95"] = list(interval)
    members = {name: known & (labels[:, column] > 0) for column, name in enumerate(classes)}
    entry["per_class"] = {name: float(summary(values[of])) for name, of in members.items() if of.any()}
    return entry


def _interval(
    metric: ConfiguredMetric, values: np.ndarray, summary: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[float, float] | None:
    """95 % over queries, of the mean where there is no other ``summary``."""
    if summary is not None:
        return bootstrap_interval(values, summary)
    estimate = crossed.mean(crossed.Sample(values[None], crossed.bounds_of(metric.name)))
    return estimate.ci95 if estimate else None


def write_metrics(path: str | Path, tasks: Sequence[Evaluation]) -> None:
    """``metrics.json``: the entries of all directions, and each metric's mean over those that have a value."""
    found: dict[str, list[float]] = {}
    for task in tasks:
        for key, entry in task.task["metrics"].items():
            found.setdefault(key, []).extend([entry["value"]] if "value" in entry else [])
    average = {key: float(np.mean(values)) for key, values in found.items() if values}
    write_json(path, {"schema_version": SCHEMA_VERSION, "tasks": [t.task for t in tasks], "average": average})


def write_curves(path: str | Path, tasks: Sequence[Evaluation]) -> None:
    """``curves.h5``: a group a direction, ``{query}→{gallery}``."""
    with new_hdf5(path) as file:
        set_attributes(file, {})
        for task in tasks:
            group = file.create_group(f"{task.task['query']}→{task.task['gallery']}")
            group.create_dataset("ids", data=np.asarray(task.ids, object), dtype=TEXT)
            group["top"] = task.top
            for key, values in task.per_query.items():
                group[f"{key}/per_query"] = values
            for key, (x, y) in task.curves.items():
                group[f"{key}/x"], group[f"{key}/y"] = x, y


def best_pair_ranks(
    score_block: ScoreBlock,
    query_groups: np.ndarray,
    gallery_groups: np.ndarray,
    threads: int | None = None,
    ties: Sequence[Ties] = ("fixed",),
) -> dict[Ties, np.ndarray]:
    """The best rank (q,), from 1, of the items of a query's group, by each way to resolve ties; 0 where it has none."""
    own = own_columns(query_groups, gallery_groups)

    def work(rows: slice, scores: np.ndarray) -> np.ndarray:
        pairs = pairs_of(scores, own[rows])
        return np.stack([pairs.ranks(name)[:, 0] for name in ties])

    ranks = np.concatenate(over_blocks(score_block, len(query_groups), len(gallery_groups), work, threads), axis=1)
    return dict(zip(ties, ranks, strict=True))


def mean_average_precisions(
    score_block: ScoreBlock,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    cuts: Sequence[int | None] = (None,),
    threads: int | None = None,
    ties: Sequence[Ties] = ("fixed",),
) -> dict[Ties, list[float]]:
    """mAP at each cut (None: all results) of one direction, by each way to resolve ties, and nothing else.

    Labels as `shared_labels` takes them.
    """
    gains = shared_labels(query_labels, gallery_labels)
    entries = ({"id": f"map@{at}", "metric": "mean_average_precision", "params": {"at": at}} for at in cuts)
    metrics = [ConfiguredMetric.from_entry(entry) for entry in entries]

    def work(rows: slice, scores: np.ndarray) -> np.ndarray:
        relevance = gains(rows).astype(bool, copy=False)
        ranked = Ranked(scores, relevance, top=0, depth=_deepest(cuts))
        ranking = ranked.by("fixed")
        found: dict[Ties, Values] = {"fixed": {m.id: m.compute(ranking) for m in metrics}}
        if set(ties) != {"fixed"}:
            found["pessimistic"], found["optimistic"] = _bounds(ranked, ranking.tied, found["fixed"], metrics)
        return np.stack([[found[name][m.id] for m in metrics] for name in ties])

    blocks = over_blocks(score_block, len(query_labels), len(gallery_labels), work, threads)
    means = np.concatenate(blocks, axis=2).mean(axis=2)
    return {name: means[way].tolist() for way, name in enumerate(ties)}
