"""Sets of vectors, one an item: the regions of a picture or the words of a text, as many as it has.

A sequence is a set whose order counts; the elements of every set stay in the order that they were given in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from cmr.frozen import freeze
from cmr.info import BOTH, SET, VECTOR
from cmr.vectors import Vectors

ELEMENT_BYTES = 2**24
"""Of elements that are read from a file at once."""


@dataclass(frozen=True, eq=False)
class Sets:
    """The sets of n items, none of them empty: those of item i are ``values[starts[i] : starts[i] + lengths[i]]``.

    ``values`` (m, d) float32 or float16: an array, or one that stays in a file, `numpy.memmap` or `h5py.Dataset`, of
    which what is needed is read. ``starts``, ``lengths`` (n,) int64. ``sets[i]`` are the elements (k, d) of an item;
    by a mask, row numbers or a slice one gets the `Sets` of some items, and no element is read. All are read-only.
    """

    values: Any
    starts: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        freeze(self)

    @classmethod
    def flat(cls, values: Any, offsets: np.ndarray) -> "Sets":
        """From elements that lie one item after the other: item i has the rows from ``offsets[i]`` (n + 1,) to the
        next.
        """
        offsets = np.asarray(offsets, np.int64)
        return cls(values, offsets[:-1], np.diff(offsets))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self.values[self.starts[index] : self.starts[index] + self.lengths[index]]
        return Sets(self.values, self.starts[index], self.lengths[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @property
    def dimension(self) -> int:
        """The length d of an element."""
        return self.values.shape[1]

    @property
    def offsets(self) -> np.ndarray:
        """Where each item would begin (n + 1,) if the elements of these items lay one after the other."""
        return _offsets(self.lengths)

    def elements(self) -> np.ndarray:
        """The elements (Σk, d) of all items, one item after the other, in memory."""
        if not len(self):
            return np.empty((0, self.dimension), self.values.dtype)
        ends = self.starts + self.lengths
        breaks = self.starts[1:] != ends[:-1]  # where the next item does not lie behind the last
        first, last = self.starts[np.append(True, breaks)], ends[np.append(breaks, True)]
        return np.concatenate([self.values[start:end] for start, end in zip(first, last, strict=True)])

    def blocks(self, size: int = ELEMENT_BYTES) -> Iterator["Sets"]:
        """The same items, some at a time: as many as have elements of ``size`` bytes, and one at least."""
        number = np.cumsum(self.lengths) * self.dimension * self.values.dtype.itemsize // size
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(self)]
        for start, end in pairwise(edges):
            if end > start:
                yield self[start:end]

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Elements (n, k, d), k the most that an item has, and a mask (n, k): true for the item's own, before zeros."""
        mask = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        padded = np.zeros((*mask.shape, self.dimension), self.values.dtype)
        padded[mask] = self.elements()
        return padded, mask


@dataclass(frozen=True, eq=False)
class VectorsAndSets:
    """A vector (n, d) and a set of each of n items. Some items are chosen as from `Sets`."""

    vectors: np.ndarray
    sets: Sets

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, index: Any) -> "VectorsAndSets":
        return VectorsAndSets(self.vectors[index], self.sets[index])


Features = np.ndarray | Vectors | Sets | VectorsAndSets
"""What a method gets of a modality's n items: a vector, a set, or a vector and a set of each. Vectors are in memory,
but for a method whose ``INFO`` says that it needs a block of them at a time.
"""


def by_form(features: Features) -> dict[str, np.ndarray | Vectors | Sets]:
    """The vectors under `VECTOR`, the sets under `SET`."""
    if isinstance(features, VectorsAndSets):
        return {VECTOR: features.vectors, SET: features.sets}
    return {SET if isinstance(features, Sets) else VECTOR: features}


def form(features: Features) -> str:
    """`VECTOR`, `SET` or `BOTH`."""
    found = list(by_form(features))
    return found[0] if len(found) == 1 else BOTH


def columns(rows: np.ndarray | Vectors | Sets) -> int:
    """The length d of a row, or of an element."""
    return rows.dimension if isinstance(rows, Sets) else rows.shape[1]


def dimensions(features: Features) -> int | dict[str, int]:
    """The number of columns; where there are sets, those of each form."""
    found = {name: columns(rows) for name, rows in by_form(features).items()}
    return found[VECTOR] if list(found) == [VECTOR] else found


def columns_in_words(found: int | Mapping[str, int]) -> str:
    """What `dimensions` gave, for a message."""
    if isinstance(found, int):
        return f"{found} columns"
    return " and ".join(f"a {name} of {length} columns" for name, length in found.items())


def joined(blocks: Sequence[Any]) -> Any:
    """The rows of blocks of one form, vectors (n, d) or `Sets`, in memory."""
    if not isinstance(blocks[0], Sets):
        return np.concatenate(blocks)
    elements = np.concatenate([block.elements() for block in blocks])
    return Sets.flat(elements, _offsets(np.concatenate([block.lengths for block in blocks])))


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
