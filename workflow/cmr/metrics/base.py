"""The contract of a metric: a pure function of ranked relevance.

A metric is one file in this folder with ``INFO`` (see `cmr.info.MetricInfo`), ``Params`` and the function
``compute(ranking, params)``, which gives, by ``INFO.gives``,

- ``number``: ``values`` (q,), one number a query; NaN where it is not defined for a query (no own pair);
- ``curve``: ``x`` (points,) or (q, points) and ``y`` (q, points); the curve is their mean over queries;
- ``gallery``: ``values`` (q, k) from which ``summary`` makes one number of the whole gallery.

Six more functions are optional:

- ``depth(params) -> int | None``: how many first results it looks at, 0 where ranks of pairs are enough; None, and
  without the function, all of them. Where no metric looks at all of them, the rest is not sorted;
- ``summary(values, gallery_size)``: for a number, reduces the last axis, queries, where that is not the mean; for a
  gallery, makes the number;
- ``chance(ranking, params) -> (q,)``: the expectation of each value under random scores, where it is known;
- ``chance_summary(values, gallery_size)``: makes the chance of all queries of these, where ``summary`` does not;
- ``bounds(worst, best, params) -> (q,), (q,)``: the worst and the best value of all orders of tied items, of rankings
  with the smaller gain first among equals and with the larger, where they are not what these two give;
- ``note(params, gallery_size) -> str``: what the reader must know, such as a scope cut to the gallery's size.

The docstring gives formula, shapes, range and tie rule. A `Ranking` is made once for a block of queries by
`cmr.metrics.ranking.rank` and shared by all metrics, so a metric never sorts.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from cmr.frozen import freeze


@dataclass(frozen=True)
class Ranking:
    """A block of q queries against the whole gallery of ``size`` items, best first.

    ``gains`` (q, n) of unsigned integers: number of labels that query and item at each rank share; relevant where
    above 0. n is ``size``, or the greatest ``depth`` of the metrics. ``relevant`` (q,): number of relevant items in the
    gallery.
    ``tied`` (q,) bool: whether ties leave the values open, that is, whether items of different gain, or a pair and an
    item that is none, have the same score.
    ``top`` (q, k): gallery rows that rank first. ``pair_ranks`` (q, p): ranks, from 1 and rising, of the items that the
    query is paired with, five captions of a picture say; 0 beyond their number. None where no pairs were given.
    ``positions`` (m,): those of all ``gains`` above 0, where they are known; `hits` gives them in any case.
    All arrays are read-only, as one ranking serves all metrics.
    """

    gains: np.ndarray
    tied: np.ndarray
    top: np.ndarray
    pair_ranks: np.ndarray | None = None
    relevant: np.ndarray = None  # type: ignore[assignment]  # as is size, always there once the ranking is made
    size: int = None  # type: ignore[assignment]
    positions: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.size is None:
            object.__setattr__(self, "size", self.gains.shape[1])
        if self.relevant is None:
            object.__setattr__(self, "relevant", np.count_nonzero(self.gains, axis=1))
        freeze(self)

    def hits(self, at: int | None = None) -> tuple[np.ndarray, int]:
        """Where relevant items stand among the first ``at`` ranks of all queries (m,), rising, and how many ranks these
        are: a query's w ranks follow those of the query before it.
        """
        if self.positions is not None and (at is None or at >= self.gains.shape[1]):
            return self.positions, self.gains.shape[1]
        inside = self.gains[:, :at] > 0
        return np.flatnonzero(inside), inside.shape[1]

    @property
    def relevance(self) -> np.ndarray:
        """(q, n) bool: whether the item at each rank is relevant."""
        return self.gains > 0

    @property
    def pair_rank(self) -> np.ndarray:
        """(q,): the best rank of a query's pairs; 0 where it has none."""
        assert self.pair_ranks is not None  # as INFO of a metric by pairs says that it needs them
        return self.pair_ranks[:, 0]

    @property
    def pairs(self) -> np.ndarray:
        """(q,): number of items in the gallery that the query is paired with."""
        assert self.pair_ranks is not None
        return np.count_nonzero(self.pair_ranks, axis=1)


def chance_of_none(relevant: np.ndarray, size: int, cut: int) -> np.ndarray:
    """Probability (q,) that none of the relevant items is among the first ``cut`` of a random order of ``size`` items:
    C(N-R, C) / C(N, C).
    """
    rest = size - relevant
    ways = gammaln(rest + 1) - gammaln(np.maximum(rest - cut, 0) + 1)
    return np.where(rest < cut, 0, np.exp(ways - gammaln(size + 1) + gammaln(size - cut + 1)))


def cut_note(at: int | None, gallery_size: int) -> str:
    """The note of a metric whose cut lies beyond the gallery."""
    return f"its cut at {at} is beyond the gallery's {gallery_size} items" if (at or 0) > gallery_size else ""
