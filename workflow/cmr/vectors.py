"""Vectors that stay in a file: what is asked for of them is read, a block or a batch at a time.

They are read, not mapped: pages of a mapped file count as the process's memory until the system takes them back, so
that its size would be that of the file. Rows that follow each other are one read.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cmr.errors import UserError

BLOCK_BYTES = 2**28
"""Of rows that are computed with at once. Of less than these the sums are those of all rows together."""
PAIR_BYTES = 8 * 3
"""Of two rows: a float64 of the matrix, of what it is computed from, and of the copy that is solved."""


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


class Piece:
    """Rows float32 that lie one after the other in a file, from ``offset`` bytes on."""

    def __init__(self, path: str | Path, offset: int, rows: int):
        self.path, self.offset, self.rows = path, offset, rows
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix float32 in files, whose rows are counted through all ``pieces``."""

    pieces: tuple[Piece, ...]
    columns: int

    @property
    def row_bytes(self) -> int:
        return 4 * self.columns

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of the first row of each piece, and of all rows."""
        return np.cumsum([0, *(piece.rows for piece in self.pieces)])

    def runs(self, numbers: np.ndarray) -> Iterator[tuple[int, int, Piece, int]]:
        """Where rows that follow each other in a file start and end among rising ``numbers``, the file, and the place
        of the first one there in bytes.
        """
        owners = np.searchsorted(self.starts, numbers, "right") - 1
        breaks = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(owners) != 0)) + 1
        edges = [0, *breaks.tolist(), len(numbers)] if len(numbers) else []
        for start, end in pairwise(edges):
            piece, row = self.pieces[owners[start]], int(numbers[start] - self.starts[owners[start]])
            yield start, end, piece, piece.offset + row * self.row_bytes


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
        return cls(Matrix((Piece(path, offset, shape[0]),), shape[1]), np.arange(shape[0]))

    @classmethod
    def joined(cls, parts: "Sequence[Vectors]") -> "Vectors":
        """The vectors of parts of one width, one part after the other."""
        matrix = Matrix(tuple(piece for part in parts for piece in part.matrix.pieces), parts[0].matrix.columns)
        starts = np.cumsum([0, *(part.matrix.starts[-1] for part in parts)])
        return cls(matrix, np.concatenate([part.numbers + start for part, start in zip(parts, starts, strict=False)]))

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

    @property
    def nbytes(self) -> int:
        return len(self) * self.row_bytes

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
        for start, end, piece, place in self.matrix.runs(numbers):
            _fill(room[start * size : end * size], piece, place)
        return found

    def announce(self) -> None:
        """Lets the system read these rows from the disk while something else is computed."""
        if not hasattr(os, "posix_fadvise"):  # macOS
            return
        numbers, size = np.unique(self.numbers), self.row_bytes
        for start, end, piece, place in self.matrix.runs(numbers):
            os.posix_fadvise(piece.descriptor, place, (end - start) * size, os.POSIX_FADV_WILLNEED)


def read_blocks(features: Any) -> Iterator[np.ndarray]:
    """The rows (n, d), an array or `Vectors`, in memory, `rows_at_once` at a time."""
    row_bytes = features.row_bytes if isinstance(features, Vectors) else features[:1].nbytes
    return (np.asarray(features[rows]) for rows in blocks(len(features), row_bytes))


def _fill(room: memoryview, piece: Piece, place: int) -> None:
    while room:
        got = os.preadv(piece.descriptor, [room], place)  # 2 GB at most
        if not got:
            raise UserError(f"{piece.path}: shorter than it was; delete it and run again")
        room, place = room[got:], place + got
