"""Matrices that others made, in files of many formats, and the items that their rows stand for."""

import logging
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr.data import Items
from cmr.datasets.formats import lines_of, read_array, read_ids, read_offsets, stored_matrix
from cmr.datasets.labels import WHOLE, LabelReader
from cmr.datasets.rounding import as_float32
from cmr.errors import UserError, quantity
from cmr.provenance import file_hash
from cmr.sets import Sets, columns, form, joined
from cmr.store import Rows
from cmr.vectors import Vectors, is_large, read_blocks

log = logging.getLogger(__name__)

FROM_TEXT = (".csv", ".tsv", ".txt")
HEADED = "leave out the first line of the labels if it is a header"

Values = np.ndarray | Vectors | Sets
"""Features of items: vectors (n, d), in memory or in a file, or sets."""


@dataclass(frozen=True)
class Reference:
    """One array in a file; ``key`` as `cmr.datasets.formats.read_array` takes it.

    ``sha256``: the file's, given by a user who trusts a format that can execute code on loading. ``transposed``: items
    are the columns of the stored matrix.
    """

    file: Path
    key: str = ""
    sha256: str = ""
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.key}" if self.key else str(self.file)

    def read(self) -> np.ndarray:
        """The array. Raises `UserError` that names the file, and the keys it has where ``key`` is none of them."""
        if self.sha256 and file_hash(self.file) != self.sha256:
            raise UserError(f"{self.file}: its sha256 is not {self.sha256}, so it is not the file you trust")
        array = read_array(self.file, self.key, bool(self.sha256))
        return array.T if self.transposed else array

    def stored(self) -> Vectors | None:
        """The matrix, where its rows can be read when they are needed."""
        return None if self.sha256 or self.transposed else stored_matrix(self.file, self.key)

    def ids(self) -> np.ndarray | None:
        """The ids (n,) of the array's rows, or of the items whose sets they are, where the file has them."""
        return read_ids(self.file, self.key)

    def offsets(self) -> np.ndarray | None:
        """Where each item's rows of the array begin (n + 1,), where the file says so."""
        return read_offsets(self.file, self.key)


@dataclass(frozen=True)
class Block:
    """Items that have the same modalities: row i of each matrix and of the labels is one item.

    ``part``: train, validation, test, or '' where the file does not say. ``labels``: integers or names (n,), or one-
    or multi-hot (n, c); None where there are none. ``name`` starts the items' ids.
    """

    name: str
    part: str
    labels: Reference | None
    matrices: dict[str, Reference]

    @property
    def first(self) -> Reference:
        """What tells the number of rows."""
        return self.labels or next(iter(self.matrices.values()))

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(label_cells(self.labels)) if self.labels else len(rows_in(self.first))

    def ids(self, n: int) -> list[str]:
        return [f"{self.name}-{row:05d}" for row in range(n)]


def ready_items(blocks: Sequence[Block], modalities: Iterable[str], reader: LabelReader | None = None) -> Items:
    """Items whose modalities all come as ready features; the column ``part`` keeps the blocks' parts.

    Rows without a label have none here. Raises `UserError` where the numbers of rows within a block differ, and what
    `LabelReader.read` raises.
    """
    tables = []
    for block, labels in zip(blocks, _labels(blocks, reader or LabelReader()), strict=True):
        table = pd.DataFrame({"id": block.ids(len(labels))})
        for modality in modalities:
            reference = block.matrices.get(modality)
            if reference:
                _check_rows(reference, modality, block, len(labels))
                rows = _orders(block).get(modality, range(len(labels)))
                table[modality] = [f"{reference.file.name}:{reference.key}[{row}]" for row in rows]
            else:
                table[modality] = None
        table["labels"] = labels
        table["part"] = block.part
        tables.append(table)
    return Items(pd.concat(tables, ignore_index=True), dict.fromkeys(modalities, "ready"))


def ready_rows(blocks: Sequence[Block], modality: str) -> Rows:
    """The features of one modality of all blocks that have it: float32 as `as_float32` makes them, or sets."""
    found = [(block, _values(block, modality)) for block in blocks if modality in block.matrices]
    if not found:
        raise UserError(f"no features of the modality {modality!r}")
    if len({form(values) for _, values in found}) > 1:
        raise UserError(f"some parts of {modality!r} are sets and some are vectors; give all in one form")
    widths = {columns(values) for _, values in found}
    if len(widths) > 1:
        raise UserError(f"the parts of {modality!r} have different numbers of columns: {sorted(widths)}")
    ids = [item for block, values in found for item in block.ids(len(values))]
    return Rows(np.array(ids), _narrow(_joined(found, modality), modality))


def _joined(found: Sequence[tuple[Block, Values]], modality: str) -> Values:
    """The rows of all blocks. If one is large, all stay in their files, where they can."""
    parts = [values for _, values in found]
    if len(parts) == 1:
        return parts[0]
    if any(isinstance(values, Vectors) for values in parts):
        stored = [_ordered(block, modality, block.matrices[modality].stored()) for block, _ in found]
        if all(values is not None for values in stored):
            return Vectors.joined(stored)
    return joined(parts)


def _narrow(rows: Values, modality: str) -> Values:
    """In float32, and sets of float16 as they are."""
    if isinstance(rows, Vectors):
        return rows
    if not isinstance(rows, Sets):
        return as_float32(rows, modality)
    kept = rows.values.dtype in (np.float16, np.float32)
    return rows if kept else Sets(as_float32(rows.values, modality), rows.starts, rows.lengths)


def rows_in(reference: Reference) -> Values:
    """Features (n, d) in the type of the file, or sets: of an array (n, k, d), or of rows with offsets beside them.

    A large matrix of float32 stays in its file. Raises `UserError` for what is neither.
    """
    stored = reference.stored()
    if stored is not None and is_large(stored):
        return stored
    array = reference.read()
    offsets = reference.offsets() if array.ndim == 2 else None
    if array.ndim != 3 and offsets is None:
        return _matrix(reference, array)
    if array.dtype.kind not in "fiu" or reference.transposed:
        raise UserError(
            f"{reference}: expected sets of vectors, (n, k, d) or (Σk, d) with offsets, not transposed, found "
            f"{array.dtype} of shape {array.shape}"
        )
    if offsets is None:
        n, k, d = array.shape
        array, offsets = array.reshape(n * k, d), np.arange(n + 1) * k
    empty = np.flatnonzero(np.diff(offsets) < 1)
    if len(empty) or not array.shape[1]:
        raise UserError(f"{reference}: the set of row {empty[0] if len(empty) else 0} has no element; give it one")
    return Sets.flat(array, offsets)


def matrix(reference: Reference) -> np.ndarray:
    """Features (n, d) in the type of the file. Raises `UserError` for what is not a matrix of numbers."""
    return _matrix(reference, reference.read())


def _matrix(reference: Reference, array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        array = _stacked(reference, array)
    if array.dtype.kind == "c":
        raise UserError(f"{reference}: expected a matrix of numbers, found {array.dtype}; take the real part")
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.shape[1]:
        raise UserError(f"{reference}: expected a matrix of numbers, found {array.dtype} of shape {array.shape}")
    return array


def _stacked(reference: Reference, array: np.ndarray) -> np.ndarray:
    """A matrix of the rows that an array of objects holds, or the one matrix in it, as MATLAB's cells are."""
    if array.size == 1:
        return np.asarray(array.item())
    rows = [np.asarray(row) for row in array.ravel()] if 1 in (array.ndim, *array.shape) else []
    if not all(row.size == max(row.shape, default=0) and row.dtype.kind in "fiub" for row in rows):
        return array
    lengths = [row.size for row in rows]
    other = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if other is not None:
        raise UserError(f"{reference}: row {other} holds {lengths[other]} numbers, row 0 holds {lengths[0]}")
    return np.stack([row.ravel() for row in rows]) if rows else array


def not_finite(blocks: Sequence[Block]) -> Iterator[tuple[str, str]]:
    """Item → what is wrong, for every row that holds NaN or infinite values."""
    for block in blocks:
        for modality, reference in block.matrices.items():
            values = _values(block, modality)
            rows = _orders(block).get(modality, range(len(values)))
            for row in np.flatnonzero(~_finite(values)):
                yield block.ids(len(values))[row], f"{reference}: row {rows[row]}: NaN or infinite {modality} features"


def _finite(values: Values) -> np.ndarray:
    """A mask (n,) of the items whose values are finite; what float32 cannot hold counts as infinite."""
    with np.errstate(over="ignore"):
        if not isinstance(values, Sets):
            found = [np.isfinite(rows.astype(np.float32)).all(axis=1) for rows in read_blocks(values)]
            return np.concatenate([np.empty(0, bool), *found])
        return np.array([np.isfinite(elements.astype(np.float32)).all() for elements in values], bool)


def unlabelled(blocks: Sequence[Block], items: Items) -> Iterator[tuple[str, str]]:
    """Item → what is wrong, for every item of the blocks that has no label."""
    references = {block.name: block.labels for block in blocks if block.labels}
    for item, labels in zip(items.ids, items.table["labels"], strict=True):
        if not labels and references:
            name, _, row = item.rpartition("-")
            yield item, f"{references[name]}: row {int(row)} has no label"


def _check_rows(reference: Reference, modality: str, block: Block, expected: int) -> None:
    labels = block.first
    found = rows_in(reference)
    rows, width = len(found), columns(found)
    if rows == width and rows == expected and not reference.transposed:
        log.warning(
            "%s has as many columns as rows (%d); if items are its columns, say transposed: [%s]",
            reference, rows, modality,
        )  # fmt: skip
    if rows == expected:
        return
    hint = (
        "rows of one item must match (modalities without pairs need labels of their own, captions of a picture a group)"
    )
    of_labels = block.labels is not None and rows in block.labels.read().shape[1:]
    fitting = {modality: reference} if width == expected else {}
    fitting |= {"labels": labels} if of_labels else {}
    said = [name for name, other in fitting.items() if other.transposed]
    if said:
        hint = f"they match without transposed: [{said[0]}], so leave it out if items are the rows"
    elif fitting:
        hint = f"if items are the columns, say {' or '.join(f'transposed: [{name}]' for name in fitting)}"
    elif rows == expected - 1 and labels.file.suffix.lower() in FROM_TEXT:
        hint = HEADED
    what = "label" if block.labels else "row"
    raise UserError(f"{reference} has {quantity(rows, 'row')}, {labels} has {quantity(expected, what)}; {hint}")


# Order of rows ----------------------------------------------------------------------------------------------------


def _values(block: Block, modality: str) -> Values:
    """Features (n, d), or sets, of a block in the order of its labels."""
    return _ordered(block, modality, rows_in(block.matrices[modality]))


def _ordered(block: Block, modality: str, values: Any) -> Any:
    """Values of a modality, or None, in the order of the labels."""
    orders = _orders(block)
    return values if values is None or modality not in orders else values[orders[modality]]


def _orders(block: Block) -> dict[str, np.ndarray]:
    """Modality → its rows (n,) in the order of the labels, where ids in the files say that its own order is another.

    Raises `UserError` where ids name different items, or where labels have none that could tell the order.
    """
    own = {modality: ids for modality, reference in block.matrices.items() if (ids := reference.ids()) is not None}
    of_labels = block.labels.ids() if block.labels else None
    known = [*own.values()] if of_labels is None else [of_labels, *own.values()]
    if all(np.array_equal(known[0], ids) for ids in known):
        return {}
    first = block.labels if block.labels and of_labels is not None else block.matrices[next(iter(own))]
    orders = {}
    for modality, ids in own.items():
        rows = _rows_of(known[0], ids, first, block.matrices[modality])
        if block.labels and of_labels is None and not np.array_equal(rows, np.arange(len(rows))):
            raise UserError(
                f"{first} and {block.matrices[modality]} hold the same ids in different orders, and {block.labels} has "
                "no ids to tell which is its own; store the labels with ids, or bring the rows into one order"
            )
        orders[modality] = rows
    return orders


def _rows_of(wanted: np.ndarray, ids: np.ndarray, first: Reference, second: Reference) -> np.ndarray:
    """Where each wanted id, of ``first``, stands among ``ids``, of ``second``."""
    for own, reference, other in ((ids, second, first), (wanted, first, second)):
        if len(set(own)) < len(own):
            twice = pd.Series(own)[pd.Series(own).duplicated()].iloc[0]
            raise UserError(
                f"{reference}: the id {str(twice)!r} stands twice, so rows cannot be matched with those of {other}"
            )
    rows = pd.Index(ids).get_indexer(wanted)
    if (rows < 0).any() or len(ids) != len(wanted):
        strange = wanted[rows < 0][0] if (rows < 0).any() else next(iter(set(ids) - set(wanted)))
        raise UserError(
            f"{first} and {second} hold different items by their ids: {str(strange)!r} is in one of them only"
        )
    return rows


def check_one_order(block: Block, key: str) -> None:
    """Raises `UserError` where row numbers would name different items in different files of a block."""
    orders = _orders(block)
    if orders:
        raise UserError(
            f"{key}: row numbers have two meanings, as {block.labels} and {block.matrices[next(iter(orders))]} hold "
            "their items in different orders; bring the rows into one order"
        )


def row_numbers(reference: Reference, n: int, base: int, repeated: bool = False) -> list[int]:
    """The rows, from 0, that an index file names: by numbers from ``base``, or by a mask of all ``n`` rows.

    ``repeated``: numbers that may stand more than once, and no mask.
    """
    array = reference.read().ravel()
    is_mask = not repeated and (
        array.dtype.kind == "b" or (len(array) == n > 2 and array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all())
    )
    if is_mask:
        if len(array) != n:
            raise UserError(f"{reference}: a mask of {len(array)} values for {n} rows")
        return np.flatnonzero(array).tolist()
    if array.dtype.kind not in "iuf":
        raise UserError(f"{reference}: expected row numbers or a mask, found {array.dtype} of shape {array.shape}")
    broken = np.flatnonzero(~np.isfinite(array) | (array != np.round(array)))
    if len(broken):
        raise UserError(
            f"{reference}: {array[broken[0]]} is no row number; expected whole numbers, or a mask of 0 and 1"
        )
    outside = np.flatnonzero((array < base) | (array >= n + base))
    if len(outside):
        number = int(array[outside[0]])
        hint = "; if numbers start at 1, say index_base: 1" if (number, base) == (n, 0) else "; is index_base right?"
        raise UserError(f"{reference}: row {number} does not exist{hint}")
    rows = (array.astype(int) - base).tolist()
    if len(set(rows)) < len(rows) and not repeated:
        log.warning("%s: %d row numbers stand more than once", reference, len(rows) - len(set(rows)))
    return rows


# Labels -----------------------------------------------------------------------------------------------------------


def _labels(blocks: Sequence[Block], reader: LabelReader) -> list[list[list[str]]]:
    """The class names of each row of each block, read together, so that what is odd is seen over all of them."""
    cells = [label_cells(block.labels) if block.labels else [None] * block.size for block in blocks]
    if not any(block.labels for block in blocks):
        return [[[] for _ in own] for own in cells]
    ends = list(accumulate(len(own) for own in cells))

    def where(position: int) -> str:
        block = bisect_right(ends, position)
        return f"{blocks[block].labels}: row {position - ends[block] + len(cells[block])}"

    more = f" and {len(blocks) - 1} more" if len(blocks) > 1 else ""
    names = reader.read([cell for own in cells for cell in own], f"{blocks[0].labels}{more}", where)
    return [names[end - len(own) : end] for own, end in zip(cells, ends, strict=True)]


def label_names(reference: Reference) -> list[list[str]]:
    """The class names of each row; none where it has no label."""
    return LabelReader().read(label_cells(reference), str(reference), lambda row: f"{reference}: row {row}")


def label_cells(reference: Reference) -> list[Any]:
    """The labels of each row as they stand; of a one- or multi-hot matrix, of 0 or -1 and 1, the column numbers.

    Raises `UserError` for a column of a text file that writes one number in two ways, as 7 and 007: they may be two
    classes.
    """
    array = reference.read()
    if reference.file.suffix.lower() in FROM_TEXT and array.size == len(array) and array.dtype.kind in "iuf":
        _check_spelling(reference, array.ravel())
    return cells_of(array, str(reference))


def _check_spelling(reference: Reference, numbers: np.ndarray) -> None:
    """The numbers (n,) are the last ones of the file's lines, one a line, behind a header or row numbers. 1 and 1.0 are
    one class wherever labels stand.
    """
    lines = [re.split(r"[,;\t ]", line.strip())[-1].strip('" ') for line in lines_of(reference.file)]
    texts: dict[float, str] = {}
    for number, cell in zip(numbers[::-1], lines[::-1], strict=False):
        text = whole[1] if (whole := WHOLE.fullmatch(cell)) else cell
        if texts.setdefault(number, text) != text:
            raise UserError(
                f"{reference}: {text!r} and {texts[number]!r} are one number; write it in one way, or, if they are two "
                "classes, put a letter before each"
            )


def cells_of(array: np.ndarray, source: str) -> list[Any]:
    """As `label_cells`, of an array from ``source``."""
    if array.ndim < 2 or 1 in array.shape:
        return list(array.ravel())
    if (
        array.ndim > 2
        or array.dtype.kind not in "fiub"
        or not (np.isin(array, (0, 1)).all() or np.isin(array, (-1, 1)).all())
    ):
        raise UserError(
            f"{source}: expected labels as one column or as a matrix of 0 and 1, found {array.dtype} of shape "
            f"{array.shape}"
        )
    return [[str(column) for column in np.flatnonzero(row > 0)] for row in array]
