"""Vectors that stay in a file: what is asked for of them is read, a block or a batch at a time.

They are read, not mapped: pages of a mapped file count as the process's memory until the system takes them back, so
that its size would be that of the file. Rows that follow each other are one read.
"""

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cmr.errors import UserError

BLOCK_BYTES = 2**28
"""Of rows that are computed with at once. Of less than these the sums are those of all rows together."""


def rows_at_once(row_bytes: int) -> int:
    """How many rows have `BLOCK_BYTES`: a power of two, so that the blocks of a network lie in them as in all rows."""
    return 2 ** int(np.log2(max(BLOCK_BYTES // max(row_bytes, 1), 1)))


def is_large(matrix: Any) -> bool:
    """Whether a matrix, an array or what stands for one in a file, is one that stays in its file."""
    return bool(matrix.nbytes > BLOCK_BYTES)


def blocks(rows: int, row_bytes: int) -> Iterator[slice]:
    """Slices of ``rows`` rows, each of `rows_at_once`."""
    step = rows_at_once(row_bytes)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


class Matrix:
    """A matrix float32 that lies in one piece in a file, at ``offset`` bytes, ``columns`` wide."""

    def __init__(self, path: str | Path, offset: int, columns: int):
        self.path, self.offset, self.columns = path, offset, columns
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)

    @property
    def row_bytes(self) -> int:
        return 4 * self.columns

    def place(self, row: int) -> int:
        """Where a row begins, in bytes."""
        return self.offset + row * self.row_bytes


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors (n, d) float32 of n items, the rows ``numbers`` (n,) of a `Matrix`.

    By a mask, row numbers or a slice one gets the `Vectors` of some items, and nothing is read. `numpy.asarray` reads
    them. Raises `UserError` where the file has become shorter.
    """

    matrix: Matrix
    numbers: np.ndarray

    @classmethod
    def of(cls, path: str | Path, offset: int, shape: tuple[int, int]) -> "Vectors":
        """All rows of a matrix float32 (n, d) = ``shape`` that begins at ``offset`` bytes."""
        return cls(Matrix(path, offset, shape[1]), np.arange(shape[0]))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> "Vectors":
        return Vectors(self.matrix, self.numbers[index])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.numbers), self.matrix.columns

    @property
    def row_bytes(self) -> int:
        return self.matrix.row_bytes

    def __iter__(self) -> Iterator[np.ndarray]:
        """The vectors (d,), one after the other."""
        return (row for block in read_blocks(self) for row in block)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        numbers = self.numbers
        if (np.diff(numbers) > 0).all():
            found = self._read(numbers)
        else:  # each once, in the order of the file
            numbers, places = np.unique(numbers, return_inverse=True)
            found = self._read(numbers)[places]
        return found if dtype is None else found.astype(dtype, copy=False)

    def _read(self, numbers: np.ndarray) -> np.ndarray:
        """Rows (n, d) whose numbers rise."""
        found = np.empty((len(numbers), self.matrix.columns), np.float32)
        room = memoryview(found.view(np.uint8).reshape(-1))  # type: ignore[arg-type]  # a buffer, which its stub hides
        size = self.row_bytes
        for start, end in _runs(numbers):
            self._fill(room[start * size : end * size], self.matrix.place(int(numbers[start])))
        return found

    def _fill(self, room: memoryview, place: int) -> None:
        while room:
            got = os.preadv(self.matrix.descriptor, [room], place)  # 2 GB at most
            if not got:
                raise UserError(f"{self.matrix.path}: shorter than it was; delete it and run again")
            room, place = room[got:], place + got

    def announce(self) -> None:
        """Lets the system read these rows from the disk while something else is computed."""
        numbers, size = np.unique(self.numbers), self.row_bytes
        for start, end in _runs(numbers):
            place = self.matrix.place(int(numbers[start]))
            os.posix_fadvise(self.matrix.descriptor, place, (end - start) * size, os.POSIX_FADV_WILLNEED)


def read_blocks(features: Any) -> Iterator[np.ndarray]:
    """The rows (n, d), an array or `Vectors`, in memory, `rows_at_once` at a time."""
    row_bytes = features.row_bytes if isinstance(features, Vectors) else features[:1].nbytes
    return (np.asarray(features[rows]) for rows in blocks(len(features), row_bytes))


def _runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where rows that follow each other in the file start and end among rising ``numbers``."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)] if len(numbers) else []
    return pairwise(edges)
