"""Ranks large galleries by scores whose lowest bits are replaced by the gain: an int32 an item.

Such a key sorts in half the time of one that carries the place too, and takes the relevance along. What it leaves open
is the order of items whose scores agree but for those bits. Where their gains differ, they are looked up and ordered
by the whole score, and by what decides among ties: one sort serves all three ways.
"""

from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from cmr.metrics.base import Ranking
from cmr.metrics.keys import GAIN_BITS, MAX_GAIN, SCORE_BITS, Ties, descending_bits, tie_order

TAG_BITS = 4  # of a gain at most: with each bit more, twice as many scores agree in the rest
FEW = 8  # one of so many items is open at most
TABLE_BITS, SPARE_BITS = (16, 24), 6  # of a score, which tell most items from those that are looked up


class Open(NamedTuple):
    """The items (m,) that the sort leaves open: their ``keys`` hold the group, and what was cut off the score."""

    keys: np.ndarray
    row: np.ndarray
    place: np.ndarray
    gain: np.ndarray


class TaggedSort:
    """A block of queries whose scores (q, n), float32, are sorted once. ``gains`` (q, n) uint8, at most `MAX_TAG`."""

    MAX_TAG = 2**TAG_BITS - 1

    def __init__(self, scores: np.ndarray, gains: np.ndarray):
        self.shape, self.gains, self.bits = scores.shape, gains, descending_bits(scores)
        self.tag = np.int32(2 ** int(gains.max(initial=1)).bit_length() - 1)
        self.sorted = self.bits & ~self.tag
        self.sorted |= gains
        self.sorted.sort(axis=1)
        self.ordered = self.sorted.astype(np.uint8)
        self.ordered &= np.uint8(self.tag)
        self.hits = np.flatnonzero(self.ordered > 0)  # of bool: of numbers numpy is slow to find them
        ends = np.searchsorted(self.hits, np.arange(self.shape[0] + 1) * self.shape[1])
        self.relevant = np.diff(ends)

    def ranking(self, ties: Ties, rows: Any, top: int) -> Ranking:
        """That of some ``rows``, which rise, with the ``top`` items where they do not depend on what is relevant."""
        gains, hits = self.ordered.copy(), self.hits.copy()
        slots, given = self.slots, self._gains_of_open(ties)
        hits[np.searchsorted(hits, slots[gains.ravel()[slots] > 0])] = slots[given > 0]
        gains.ravel()[slots] = given
        tied = self.tied[rows]
        everything = len(tied) == self.shape[0]
        return Ranking(
            gains=gains if everything else gains[rows],
            tied=tied,
            top=self.first(top if ties == "fixed" else 0)[rows],
            relevant=self.relevant[rows],
            positions=hits if everything else None,
        )

    def _gains_of_open(self, ties: Ties) -> np.ndarray:
        """The gains (m,) in the order of the slots."""
        items = self.open
        if ties == "optimistic":
            return (MAX_GAIN - (np.sort(items.keys | MAX_GAIN - items.gain) & MAX_GAIN)).astype(np.uint8)
        places = items.place << GAIN_BITS if ties == "fixed" else 0
        return (np.sort(items.keys | places | items.gain) & MAX_GAIN).astype(np.uint8)

    @cached_property
    def tied(self) -> np.ndarray:
        """A mask (q,) of the queries in which items of different gain have the same score."""
        items = self.open
        order = np.argsort(items.keys | items.gain)
        keys, gain = items.keys[order], items.gain[order]
        unlike = (keys[1:] == keys[:-1]) & (gain[1:] != gain[:-1])
        tied = np.zeros(self.shape[0], bool)
        tied[items.row[order[1:][unlike]]] = True
        return tied

    @property
    def mostly_ties(self) -> bool:
        """Whether so many items are open, as of scores with few values, that keys with places are the quicker way."""
        return len(self.slots) * FEW > self.bits.size

    @cached_property
    def groups(self) -> np.ndarray:
        """Numbers, by row and score, of the groups of items that agree in all but their tags, where these differ."""
        change = self.sorted[:, 1:] ^ self.sorted[:, :-1]
        change -= 1
        found = np.flatnonzero(change.view(np.uint32) < np.uint32(self.tag))
        row, rank = np.divmod(found, self.shape[1] - 1) if len(found) else (found, found)
        return np.unique(self._with_row(row, self.sorted[row, rank] & ~self.tag))

    @cached_property
    def open(self) -> Open:
        group, items = self._items_of(self.groups)
        row = items // self.shape[1]
        keys = group << SCORE_BITS + TAG_BITS | (self.bits.ravel()[items] & self.tag).astype(np.int64) << SCORE_BITS
        place = tie_order(self.shape[1])[items - row * self.shape[1]]
        return Open(keys, row, place, self.gains.ravel()[items].astype(np.int64))

    @staticmethod
    def _with_row(row: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Numbers that rise by row, then by ``bits``."""
        return (row << SCORE_BITS + 1) + bits

    @cached_property
    def slots(self) -> np.ndarray:
        """The ranks that the open items share (m,), over all rows, group after group."""
        row, bits = np.divmod(self.groups + 2 ** (SCORE_BITS - 1), 2 ** (SCORE_BITS + 1))
        bits -= 2 ** (SCORE_BITS - 1)
        ends = np.searchsorted(row, np.arange(self.shape[0]), "right")
        start = self._better(bits, ends) + row * self.shape[1]
        size = self._better(bits + self.tag, ends, "right") + row * self.shape[1] - start
        before = np.cumsum(size) - size
        return np.arange(size.sum()) + np.repeat(start - before, size)

    def _items_of(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Group (m,) and item (m,), over all rows. The low bits of a score tell most items from those of the groups."""
        if not len(groups):
            return groups, groups
        low = 2 ** int(np.clip(len(groups).bit_length() + SPARE_BITS, *TABLE_BITS)) - 1
        maybe = np.zeros(low + 1, bool)
        maybe[groups & low] = True
        items = np.flatnonzero(maybe.take(self.bits & (low & ~int(self.tag))))
        wanted = self._with_row(items // self.shape[1], self.bits.ravel()[items] & ~self.tag)
        group = np.minimum(np.searchsorted(groups, wanted), len(groups) - 1)
        found = groups[group] == wanted
        return group[found], items[found]

    def _better(self, bits: np.ndarray, ends: np.ndarray, side: str = "left") -> np.ndarray:
        """How many sorted keys are below ``bits`` (m,), or at most they: those of each query in a row."""
        bits = bits.astype(np.int32)
        found = [
            row.searchsorted(bits[start:end], side)
            for row, (start, end) in zip(self.sorted, pairwise([0, *ends]), strict=True)
        ]
        return np.concatenate(found)

    def first(self, top: int) -> np.ndarray:
        """The gallery items (q, top) that rank first; all of a smaller gallery."""
        top = min(top, self.shape[1])
        items = np.flatnonzero(self.bits <= self.sorted[:, top - 1 : top] | self.tag) if top else np.empty(0, int)
        row = items // self.shape[1]
        column = items - row * self.shape[1]
        order = np.lexsort((tie_order(self.shape[1])[column], self.bits.ravel()[items], row))
        starts = np.searchsorted(row, np.arange(self.shape[0]))
        return column[order][starts[:, None] + np.arange(top)]

    def better_and_equal(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many items are better than ``columns`` (q,), one of each query, and how many as good, itself included."""
        bits, ends = self.bits[np.arange(self.shape[0]), columns], np.arange(1, self.shape[0] + 1)
        better = self._better(bits & ~self.tag, ends)
        equal = self._better(bits | self.tag, ends, "right") - better
        for row in np.flatnonzero(equal > 1):
            better[row], equal[row] = (np.count_nonzero(f(self.bits[row], bits[row])) for f in (np.less, np.equal))
        return better, equal
