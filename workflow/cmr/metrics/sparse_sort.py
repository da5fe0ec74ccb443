"""Where the relevant items of a query stand, found in the sorted scores: for large galleries of which few are relevant.

Scores are sorted alone, as int32 in an order-preserving form, in half the time of keys that carry a place and a gain.
The relevant items are then looked up among them. How ties are resolved changes only what stands in a group of equal
scores, so that one sort serves all three ways.
"""

from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from cmr.metrics.base import Ranking
from cmr.metrics.keys import GAIN_BITS, MAX_GAIN, MAX_GALLERY, SCORE_BITS, Ties, descending_bits, tie_order

LOW_BITS, SPARE_BITS = (16, 24), 6  # of a score, which tell most items from those of some scores


class Groups(NamedTuple):
    """Relevant items whose score another item has: ``members``, their numbers among all relevant items (m,), ``group``
    the number of each one's group (m,), and of each group its ``first`` member and how many items of it are not
    ``relevant``.
    """

    members: np.ndarray
    group: np.ndarray
    first: np.ndarray
    others: np.ndarray


class SparseSort:
    """A block of queries whose scores (q, n) are sorted once. ``gains`` (q, n) uint8, few of them above 0.

    ``relevant`` (q,): how many are.
    """

    def __init__(self, scores: np.ndarray, gains: np.ndarray):
        self.shape = scores.shape
        self.bits, self.gains = descending_bits(scores), gains
        self.sorted = np.sort(self.bits, axis=1)
        found = np.flatnonzero(gains)
        self.row = found // self.shape[1]
        self.ends = np.searchsorted(found, np.arange(1, len(scores) + 1) * self.shape[1])
        self.relevant = np.diff(self.ends, prepend=0)
        self.keys = self._keys(found)
        self.better = self._places(self.keys >> SCORE_BITS, self.ends)

    def _keys(self, found: np.ndarray) -> np.ndarray:
        """Score, place among equals, and gain of the relevant items, sorted within each query."""
        keys = self.bits.ravel()[found].astype(np.int64) << SCORE_BITS
        keys |= tie_order(self.shape[1])[found - self.row * self.shape[1]] << GAIN_BITS
        keys |= self.gains.ravel()[found]
        for start, end in pairwise([0, *self.ends]):
            keys[start:end].sort()
        return keys

    def _places(self, bits: np.ndarray, ends: np.ndarray, side: str = "left") -> np.ndarray:
        """How many items of the gallery are better than scores (m,), or as good too: those of each query in a row."""
        bits = bits.astype(np.int32)
        found = [
            row.searchsorted(bits[start:end], side)
            for row, (start, end) in zip(self.sorted, pairwise([0, *ends]), strict=True)
        ]
        return np.concatenate(found)

    def ranking(self, ties: Ties, rows: Any, top: int) -> Ranking:
        """That of some ``rows``, which rise, with the ``top`` items where they do not depend on what is relevant."""
        rank, gains = self.better.copy(), (self.keys & MAX_GAIN).astype(np.uint8)
        members, group, first, others = self.groups
        if ties == "fixed":
            rank[members] += self._in_place
        else:
            rank[members] += np.arange(len(members)) - first[group]
            rank[members] += others[group] if ties == "pessimistic" else 0
            order = gains[members].astype(int)
            gains[members] = gains[members][np.lexsort((order if ties == "pessimistic" else -order, group))]
        wanted = np.zeros(self.shape[0], bool)
        wanted[rows] = True
        some = wanted[self.row]
        positions = (np.cumsum(wanted) - 1)[self.row[some]] * self.shape[1] + rank[some]
        ordered = np.zeros((np.count_nonzero(wanted), self.shape[1]), np.uint8)
        ordered.ravel()[positions] = gains[some]
        return Ranking(
            gains=ordered,
            tied=self.tied[rows],
            top=self.first(top if ties == "fixed" else 0)[rows],
            relevant=self.relevant[rows],
            positions=positions,
        )

    @cached_property
    def tied(self) -> np.ndarray:
        """A mask (q,) of the queries in which items of different gain have the same score."""
        members, group, first, others = self.groups
        gains = self.keys[members] & MAX_GAIN
        unlike = (others[group] > 0) | (gains != gains[first][group])
        tied = np.zeros(self.shape[0], bool)
        tied[self.row[members[unlike]]] = True
        return tied

    @cached_property
    def groups(self) -> Groups:
        after = np.minimum(self.better + 1, self.shape[1] - 1)
        bits = self.keys >> SCORE_BITS
        members = np.flatnonzero((self.sorted[self.row, after] == bits) & (after > self.better))
        row, bits = self.row[members], bits[members]
        new = np.append(True, (row[1:] != row[:-1]) | (bits[1:] != bits[:-1]))[: len(members)]
        first, group = np.flatnonzero(new), np.cumsum(new) - 1
        ends = np.searchsorted(row[first], np.arange(self.shape[0]), "right")
        equal = self._places(bits[first], ends, "right") - self.better[members[first]]
        return Groups(members, group, first, equal - np.bincount(group, minlength=len(first)))

    @cached_property
    def _in_place(self) -> np.ndarray:
        """Where members stand in their whole group (m,), in the order of the gallery."""
        members, group, _, others = self.groups
        theirs, other_places = self._others(np.flatnonzero(others))
        places = self.keys[members] >> GAIN_BITS & (MAX_GALLERY - 1)
        group, places = np.append(group, theirs), np.append(places, other_places)
        order, sizes = np.lexsort((places, group)), np.bincount(group)
        nth = np.empty(len(group), np.int64)
        nth[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return nth[: len(members)]

    def _others(self, mixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The group (k,) and the place (k,) of each item that is not relevant and has the score of one that is.

        ``mixed``: the groups that there are such items in. The low bits of a score tell most items from theirs.
        """
        first = self.groups.members[self.groups.first[mixed]]
        wanted = (self.row[first] << SCORE_BITS + 1) + (self.keys[first] >> SCORE_BITS)  # rising
        if not len(wanted):
            return mixed, mixed
        size = 2 ** int(np.clip(len(wanted).bit_length() + SPARE_BITS, *LOW_BITS))
        maybe = np.zeros(size, bool)
        maybe[wanted & (size - 1)] = True
        items = np.flatnonzero(maybe.take(self.bits & (size - 1)))
        items = items[self.gains.ravel()[items] == 0]
        row = items // self.shape[1]
        bits = (row << SCORE_BITS + 1) + self.bits.ravel()[items]
        nth = np.minimum(np.searchsorted(wanted, bits), len(wanted) - 1)
        same = wanted[nth] == bits
        return mixed[nth[same]], tie_order(self.shape[1])[(items - row * self.shape[1])[same]]

    def first(self, top: int) -> np.ndarray:
        """The gallery items (q, top) that rank first; all of a smaller gallery."""
        top = min(top, self.shape[1])
        items = np.flatnonzero(self.bits <= self.sorted[:, top - 1 : top]) if top else np.empty(0, int)
        row = items // self.shape[1]
        column = items - row * self.shape[1]
        order = np.lexsort((tie_order(self.shape[1])[column], self.bits.ravel()[items], row))
        starts = np.searchsorted(row, np.arange(self.shape[0]))
        return column[order][starts[:, None] + np.arange(top)]

    def better_and_equal(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many items are better than ``columns`` (q,), one of each query, and how many as good, itself included."""
        bits, ends = self.bits[np.arange(self.shape[0]), columns], np.arange(1, self.shape[0] + 1)
        better = self._places(bits, ends)
        return better, self._places(bits, ends, "right") - better
