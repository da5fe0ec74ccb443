"""Ranks blocks of scores by sorting keys, not indices, and scores the rankings that choices are made on.

For float32 scores one int64 holds all that is known of an item: the bits of its score in an order-preserving form
(32), its place in the tie order (24) and its gain (8). A sort of these keys, in place and vectorised in numpy,
carries the relevance along, so nothing is gathered afterwards. Where only the relevance is wanted and scores lie
between -2 and 2, as cosines do, 31 bits hold the score exactly and an int32 holds the key, which sorts in half the
time. Other scores, and items that share more than 255 labels, are ranked by sorting indices.

In a large gallery, where most rows have chance ties, int32 keys serve all ways to resolve them
(`cmr.metrics.tagged_sort`).

Where only the first ranks are wanted, the keys are partitioned there, which is a tenth of the sort's time, and only
those are sorted.

Rule for ties: items of equal score stand in a pseudo-random order of the gallery, the same for every query and every
run, so that a gallery sorted by class neither helps nor hurts (``fixed``). ``pessimistic`` puts the smaller gain
first among equals, ``optimistic`` the larger: every other order of tied items lies between the two, but for the
average precision that divides by the relevant items inside a cut (`cmr.metrics.mean_average_precision.bounds`).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from cmr.errors import UserError
from cmr.metrics.base import Ranking
from cmr.metrics.keys import GAIN_BITS, MAX_GAIN, MAX_GALLERY, SCORE_BITS, Ties, descending_bits, tie_order
from cmr.metrics.pairs import Pairs
from cmr.metrics.tagged_sort import TaggedSort

Normalise = Literal["retrieved", "relevant"]

TOP = 10
KEYS_IN_CACHE = 2**19
NARROW_LIMIT = 2.0
LARGE_GALLERY = 5_000  # in larger ones chance ties of float32 scores, which cost a second sort, are in most rows


def rank(
    scores: np.ndarray,
    gains: np.ndarray,
    own: np.ndarray | None = None,
    top: int = TOP,
    ties: Ties = "fixed",
    depth: int | None = None,
) -> Ranking:
    """Ranks the gallery for a block of queries, as `Ranked` says."""
    return Ranked(scores, gains, own, top, depth).by(ties)


class Ranked:
    """A block of queries against the whole gallery, to be ranked by one way or by several to resolve ties.

    ``scores`` (q, n), higher is better. ``gains`` (q, n): bool, or the number of shared labels. ``own`` (q,) or (q, p):
    the columns of each query's pairs, -1 for none. ``depth``: how many first ranks are wanted; all of them by default.

    Raises `UserError` for NaN scores, gains below 0 and galleries of more than 2²⁴ items, ValueError for shapes that do
    not match.
    """

    def __init__(
        self,
        scores: np.ndarray,
        gains: np.ndarray,
        own: np.ndarray | None = None,
        top: int = TOP,
        depth: int | None = None,
    ):
        self.scores, self.gains, self.own, self.top = _as_scores(scores), _as_gains(gains), own, top
        if self.scores.shape != self.gains.shape:
            raise ValueError(f"scores {tuple(self.scores.shape)} and gains {self.gains.shape} differ in shape")
        self.size = self.gains.shape[1]
        if self.size > MAX_GALLERY:
            raise UserError(f"a gallery of {self.size} items; at most {MAX_GALLERY} can be ranked")
        self.depth = self.size if depth is None else min(max(depth, top), self.size)
        self.tagged = self._tagged_sort() if self.depth == self.size > LARGE_GALLERY else None
        self.relevant = self.tagged.relevant if self.tagged else np.count_nonzero(self.gains, axis=1)

    def _tagged_sort(self) -> TaggedSort | None:
        """Where scores and gains suit it."""
        scores, gains = self.scores, self.gains
        if scores.dtype != np.float32 or gains.dtype != np.uint8:
            return None
        if gains.max(initial=0) > TaggedSort.MAX_TAG:
            return None
        tagged = TaggedSort(scores, gains)
        return None if tagged.mostly_ties else tagged

    def by(self, ties: Ties = "fixed", rows: Any = slice(None)) -> Ranking:
        """The ranking, or that of some ``rows``. `Ranking.top` is empty for the two bounds."""
        ranking = self.tagged.ranking(ties, rows, self.top) if self.tagged else self._sorted(ties, rows)
        if self.pairs is None:
            return ranking
        pair_ranks, pair_tied = self.pairs.ranks(ties)[rows], self.pairs.tied[rows]
        return replace(ranking, pair_ranks=pair_ranks, tied=ranking.tied | pair_tied)

    @cached_property
    def pairs(self) -> Pairs | None:
        if self.own is None:
            return None
        return Pairs(self.scores, self.own, self.tagged.better_and_equal if self.tagged else None)

    def _sorted(self, ties: Ties, rows: Any) -> Ranking:
        scores, gains, relevant = self.scores[rows], self.gains[rows], self.relevant[rows]
        if not self.depth:
            none = np.empty((len(gains), 0), int)
            return Ranking(gains[:, :0], np.zeros(len(gains), bool), none, relevant=relevant, size=self.size)
        sort = _sorter(scores, gains, self.top)
        ordered, tied, places = sort(scores, gains, _places(gains, ties), self.top, self.depth)
        top = _columns(self.size)[places] if ties == "fixed" else places[:, :0]
        return Ranking(ordered, tied, top, relevant=relevant, size=self.size)


def average_precision(
    scores: np.ndarray,
    relevance: np.ndarray,
    at: int | None = None,
    normalise: Normalise = "retrieved",
    ties: Ties = "fixed",
) -> np.ndarray:
    """Average precision (q,) of each row of ``scores`` (q, n), as `average_precision_of` defines it.

    ``relevance`` (q, n) bool. Works through blocks of rows that stay in cache: memory is that of the arguments.
    """
    blocks = [
        average_precision_of(rank(scores[rows], relevance[rows], top=0, ties=ties, depth=at), at, normalise)
        for rows in row_blocks(*relevance.shape)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)


def average_precision_of(ranking: Ranking, at: int | None = None, normalise: Normalise = "retrieved") -> np.ndarray:
    """AP (q,) = (1/N) Σ_{r ≤ at} precision(r) δ(r), with δ(r) = 1 where the item at rank r is relevant.

    N is the number of relevant items inside the cut (``retrieved``: the evaluation codes of the cross-modal papers)
    or in the whole gallery (``relevant``: information-retrieval tools such as trec_eval's map_cut). Without a cut
    the two agree. In [0, 1]; 0 where nothing relevant is there to be divided by.
    """
    hits, width = ranking.hits(at)
    starts = np.arange(len(ranking.gains)) * width
    first = np.searchsorted(hits, starts)  # of each query's hits
    found = np.diff(first, append=len(hits))
    nth = np.arange(1, len(hits) + 1) - np.repeat(first, found)
    precision = nth / (hits - np.repeat(starts - 1, found))
    total = np.where(found > 0, np.add.reduceat(np.append(precision, 0), first), 0)
    return total / np.maximum(found if normalise == "retrieved" else ranking.relevant, 1)


def own_columns(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Columns (q, p) of the gallery's items whose group (n,) is the query's (q,), in their order; -1 for none."""
    index, _ = pd.factorize(np.concatenate([gallery, query]))
    of_gallery, of_query = index[: len(gallery)], index[len(gallery) :]
    order = np.argsort(of_gallery, kind="stable")
    counts = np.bincount(of_gallery, minlength=index.max(initial=-1) + 1)
    starts = np.cumsum(counts) - counts
    nth = np.arange(max(counts[of_query].max(initial=0), 1))
    places = np.minimum(starts[of_query, None] + nth, len(gallery) - 1)
    return np.where(nth < counts[of_query, None], order[places], -1)


def pairs_of(scores: np.ndarray, own: np.ndarray) -> Pairs:
    """The pairs of a block of ``scores`` (q, n): columns ``own`` (q,) or (q, p), -1 for none."""
    return Pairs(_as_scores(scores), own)


def paired_ranks(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Ranks (q, p), from 1 and rising, of columns ``own[i]`` (q, p) in row i of ``scores`` (q, n); 0 for -1."""
    return pairs_of(scores, own).ranks("fixed")


@lru_cache(maxsize=8)
def _columns(gallery_size: int) -> np.ndarray:
    """The inverse of `tie_order`: the gallery item (n,) at each place."""
    return np.argsort(tie_order(gallery_size))


def row_blocks(queries: int, gallery_size: int, keys: int = KEYS_IN_CACHE) -> Iterator[slice]:
    """Slices of the queries whose keys against the whole gallery number about ``keys``, at least one row each."""
    step = max(1, keys // max(gallery_size, 1))
    return (slice(start, min(start + step, queries)) for start in range(0, queries, step))


def _as_scores(scores: np.ndarray) -> np.ndarray:
    """float32 or float64 without NaN."""
    if scores.dtype != np.float32:
        scores = scores.astype(np.float32 if scores.dtype == np.float16 else np.float64, copy=False)
    # min() gives NaN where there is one, at a fraction of the cost of testing each value
    if 0 not in scores.shape and bool((smallest := scores.min()) != smallest):
        row, column = (int(axis[0]) for axis in np.nonzero(np.isnan(scores)))
        raise UserError(f"the score of query row {row} and gallery row {column} is NaN; scores must be numbers")
    return scores


def _as_gains(gains: np.ndarray) -> np.ndarray:
    """uint8, which keys can hold, or uint32 where gains are larger."""
    gains = np.asarray(gains)
    if gains.dtype == bool:
        return gains.view(np.uint8)
    if gains.dtype == np.uint8:
        return gains
    if gains.min(initial=0) < 0:
        raise UserError(f"gains from {gains.min()}; they must be numbers of labels, 0 or more")
    return gains.astype(np.uint8 if gains.max(initial=0) <= MAX_GAIN else np.uint32)


def _places(gains: np.ndarray, ties: Ties) -> np.ndarray:
    """What decides among equal scores, smaller first, in 0 … 2²⁴ - 1: (n,) or (q, n)."""
    if ties == "fixed":
        return tie_order(gains.shape[1])
    return gains if ties == "pessimistic" else gains.max(initial=0) - gains


def _sorter(
    scores: np.ndarray, gains: np.ndarray, top: int
) -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    if gains.dtype != np.uint8 or scores.dtype != np.float32:
        return _sort_exact
    narrow = top == 0 and scores.shape[1] <= LARGE_GALLERY and gains.max(initial=0) <= 1
    if narrow and scores.min(initial=0) > -NARROW_LIMIT and scores.max(initial=0) < NARROW_LIMIT:
        return _sort_narrow
    return _sort_packed


def _sort_packed(
    scores: np.ndarray, gains: np.ndarray, places: np.ndarray, top: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gains (q, depth) best first, rows (q,) that a tie may leave open, and the first ``top`` places (q, top)."""
    keys = descending_bits(scores).astype(np.int64)
    keys <<= SCORE_BITS
    keys |= places.astype(np.int64) << GAIN_BITS
    keys |= gains.astype(np.int64)  # two passes, and still twice as fast as a mixed one
    keys, cut = _sorted_first(keys, depth, SCORE_BITS)
    ordered = keys.astype(np.uint8)
    same_score = keys[:, 1:] >> SCORE_BITS == keys[:, :-1] >> SCORE_BITS
    tied = (same_score & (ordered[:, 1:] != ordered[:, :-1])).any(axis=1) | cut
    return ordered, tied, keys[:, :top] >> GAIN_BITS & (MAX_GALLERY - 1)


def _sorted_first(keys: np.ndarray, depth: int, score_shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``depth`` smallest keys of each row (q, depth), sorted, and whether the cut (q,) parts equal scores."""
    if depth == keys.shape[1]:
        keys.sort(axis=1)
        return keys, np.zeros(len(keys), bool)
    keys.partition(depth - 1, axis=1)
    first = np.sort(keys[:, :depth], axis=1)
    next_score = ((first[:, -1:] >> score_shift) + 1) << score_shift
    return first, np.any(keys[:, depth:] < next_score, axis=1)


def _sort_narrow(
    scores: np.ndarray, gains: np.ndarray, places: np.ndarray, top: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_sort_packed` for gains 0 and 1, scores between -2 and 2, and ``top`` 0: rows with ties go there."""
    keys = descending_bits(scores)
    keys <<= 1
    keys |= gains.astype(np.int32)  # two passes, and still twice as fast as a mixed one
    keys, cut = _sorted_first(keys, depth, 1)
    ordered = keys.astype(np.uint8)
    ordered &= 1
    tied = ((keys[:, 1:] ^ keys[:, :-1]) == 1).any(axis=1) | cut  # the same score, another gain
    if tied.any():
        theirs = places[tied] if places.ndim == 2 else places
        ordered[tied] = _sort_packed(scores[tied], gains[tied], theirs, 0, depth)[0]
    return ordered, tied, np.empty((len(keys), 0), int)


def _sort_exact(
    scores: np.ndarray, gains: np.ndarray, places: np.ndarray, top: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_sort_packed`, for any scores and gains: an argsort, and a second one of the rows with equal scores."""
    places = np.broadcast_to(places, scores.shape)
    order = np.argsort(-scores, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    same_score = ranked[:, 1:] == ranked[:, :-1]
    rows = same_score.any(axis=1)
    order[rows] = np.lexsort((places[rows], -scores[rows]), axis=1)
    ordered = np.take_along_axis(gains, order, axis=1)
    tied = (same_score & (ordered[:, 1:] != ordered[:, :-1])).any(axis=1)
    return ordered[:, :depth], tied, np.take_along_axis(places, order[:, :top], axis=1)
