"""The ranks of the items that a query is paired with."""

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from cmr.metrics.keys import Ties, tie_order

Counts = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Columns (q,), one of each query → how many items are better, and how many as good, itself included."""


class Pairs:
    """Columns ``own`` (q,) or (q, p) of a block of ``scores`` (q, n), -1 for none; by any way to resolve ties.

    ``counts``: without it all scores are looked at.
    """

    def __init__(self, scores: np.ndarray, own: np.ndarray, counts: Counts | None = None):
        self.scores, self.own = scores, np.asarray(own).reshape(len(own), -1)
        rows, columns = np.arange(len(self.own)), self.own.T
        found = [(counts or partial(_better_and_equal, scores))(column) for column in columns]
        self.better, self.equal = (np.stack(parts, axis=1) for parts in zip(*found, strict=True))
        scored = np.stack([scores[rows, column] for column in columns], axis=1)
        alike = (scored[:, :, None] == scored[:, None]) & (self.own >= 0)[:, None]
        self.others = self.equal - np.count_nonzero(alike, axis=2)
        self.among = np.stack([np.count_nonzero(a[:, : n + 1], axis=1) for n, a in enumerate(alike.swapaxes(0, 1))], 1)

    @property
    def tied(self) -> np.ndarray:
        """A mask (q,): whether a pair's score is also that of an item that is none."""
        return ((self.others > 0) & (self.own >= 0)).any(axis=1)

    def ranks(self, ties: Ties) -> np.ndarray:
        """From 1 and rising (q, p); 0 for -1."""
        among = self._in_place if ties == "fixed" else self.among + (self.others if ties == "pessimistic" else 0)
        missing = np.iinfo(np.int64).max
        ranks = np.sort(np.where(self.own < 0, missing, self.better + among), axis=1)
        return np.where(ranks == missing, 0, ranks)

    @cached_property
    def _in_place(self) -> np.ndarray:
        """Which of the items of its score each one is (q, p), from 1, in the order of the gallery."""
        among, order = self.among.copy(), tie_order(self.scores.shape[1])
        for row, nth in zip(*np.nonzero((self.equal > 1) & (self.own >= 0)), strict=True):
            column = self.own[row, nth]
            same = self.scores[row] == self.scores[row, column]
            among[row, nth] = np.count_nonzero(same & (order <= order[column]))
        return among


def _better_and_equal(scores: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    threshold = scores[np.arange(len(columns)), columns][:, None]
    return (scores > threshold).sum(axis=1), (scores == threshold).sum(axis=1)
