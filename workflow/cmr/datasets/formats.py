"""Arrays in files of many formats: NumPy, SciPy, MATLAB, HDF5, torch, text, and pickles that a user trusts."""

import csv
import logging
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse, load_npz

from cmr.boundary import check_memory, check_zip, plain
from cmr.datasets import hdf5, matlab
from cmr.datasets.delimited import decoded
from cmr.datasets.keyed import NoKey, member
from cmr.errors import UserError, nearest, quantity
from cmr.store import OFFSETS
from cmr.vectors import Vectors

log = logging.getLogger(__name__)

CAN_EXECUTE_CODE = (
    "holds Python objects, and loading a pickle can execute code; if you trust where it comes from, say trust: true "
    "and give its sha256; better, convert it to arrays of numbers or strings"
)
MORE_THAN_TENSORS = (
    "holds more than tensors, and loading that can execute code; save the tensors alone, or convert to .npy"
)
NPY, PICKLE = b"\x93N", b"\x80"  # how such files start
SPARSE_NPZ = {"format", "shape", "data"}  # of SciPy's save_npz
COLUMN_SEPARATORS = ("\t", ";", "|", ",")
MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "<NA>", "NaN", "nan"})
"""Cells that stand for no number, as pandas reads them."""
HEADER_LEFT_OUT = "%s: its first line is a header: %r"
INDEX_LEFT_OUT = "%s: its first column, without a name, is the row's number and is left out"
HDF5 = (".h5", ".hdf5", ".h5py")


def read_array(file: Path, key: str = "", trusted: bool = False) -> np.ndarray:
    """One array of a file. ``key``: its name, or the way to it, such as ``group/x`` in HDF5 or ``data.Y`` in MATLAB.

    ``trusted``: Python objects may be loaded, which can execute code. Raises `UserError` that names the file, and the
    keys that it has where ``key`` is none of them.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise UserError(f"{file}: expected one of {', '.join(READERS)}")
    with _errors_told(file, key):
        check_zip(plain(file))
        array = reader(file, key, trusted)
        if issparse(array):
            check_memory(math.prod(array.shape) * array.dtype.itemsize)
        return array.toarray() if issparse(array) else np.asarray(array)


def stored_matrix(file: Path, key: str = "") -> Vectors | None:
    """A matrix float32 whose rows can be read where they lie: in .npy, or in HDF5 without chunks.

    None for what `read_array` must read whole.
    """
    with _errors_told(file, key):
        if file.suffix.lower() in HDF5:
            return hdf5.stored_matrix(file, key)
        if file.suffix.lower() != ".npy" or key:
            return None
        found = _mapped(plain(file))
        if found is None or found.ndim != 2 or found.dtype != np.float32:
            return None
        return Vectors.of(file, found.offset, found.shape) if found.flags.c_contiguous else None


def read_ids(file: Path, key: str) -> np.ndarray | None:
    """The ids (n,) of an array's rows where an HDF5 file has them in the same group."""
    with _errors_told(file, key):
        return hdf5.read_ids(file, key) if file.suffix.lower() in HDF5 else None


def read_offsets(file: Path, key: str) -> np.ndarray | None:
    """Where the rows of each item's set begin (n + 1,), where HDF5 or .npz files have them beside the array.

    An array ``offsets`` of anything else, not from 0 to the number of rows, or beyond them on the way, is none.
    """
    with _errors_told(file, key):
        if file.suffix.lower() in HDF5:
            found, rows = hdf5.read_offsets(file, key)
        elif file.suffix.lower() == ".npz":
            check_zip(plain(file))
            with np.load(plain(file)) as opened:
                found = opened[OFFSETS] if OFFSETS in opened and key != OFFSETS else None
                rows = len(_of_npz(opened, key)) if found is not None else 0
        else:
            return None
    if found is None or found.ndim != 1 or found.dtype.kind not in "iu" or len(found) < 2:
        return None
    return found.astype(np.int64) if found[0] == found.min() == 0 and found[-1] == found.max() == rows else None


@contextmanager
def _errors_told(file: Path, key: str) -> Iterator[None]:
    """Makes each error of a reader a `UserError` that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except NoKey as error:
        known = nearest(key, error.names)
        several = f"holds {len(error.names)} arrays; name one as {file.name}:KEY{known}"
        raise UserError(f"{file}: no array {key!r}{known}" if key else f"{file}: {several}") from None
    except UserError:
        raise
    except Exception as error:  # there is none that a reader does not raise for some damaged file
        raise UserError(f"{file}{':' if key else ''}{key}: cannot be read: {error}") from None


def _read_npy(file: Path, key: str, trusted: bool) -> Any:
    with open(file, "rb") as opened:
        if not opened.read(len(NPY)).startswith((NPY, PICKLE)):
            raise ValueError("not a file of np.save")
    mapped = _mapped(file)
    if mapped is not None and mapped.ndim == 3:  # sets stay in the file, as they may be larger than memory
        return member({"": mapped}, key)
    loaded = _numpy(file, lambda: np.load(file, allow_pickle=trusted))
    if loaded.dtype == object and loaded.ndim == 0:  # what np.save makes of a dictionary
        return _of_objects(loaded.item(), key)
    return member({"": loaded}, key)


def _mapped(file: Path) -> np.memmap | None:
    """The array, of which nothing is read yet; None of objects, and where there is no value."""
    try:
        return np.load(file, mmap_mode="r")
    except ValueError:
        return None


def _read_npz(file: Path, key: str, trusted: bool) -> Any:
    with np.load(file, allow_pickle=trusted) as opened:
        if not key and set(opened) >= SPARSE_NPZ:
            return load_npz(file)
        return _numpy(file, lambda: _of_npz(opened, key))


def _of_npz(opened: Mapping[str, Any], key: str) -> Any:
    """What the key names; without one the only array, besides offsets."""
    names = [name for name in opened if name != OFFSETS]
    return member(opened, names[0] if not key and len(names) == 1 else key)


def _numpy(file: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UserError(f"{file}: {CAN_EXECUTE_CODE}") from None
        raise


def _read_pickle(file: Path, key: str, trusted: bool) -> Any:
    if not trusted:
        raise UserError(f"{file}: {CAN_EXECUTE_CODE}")
    with open(file, "rb") as opened:
        return _of_objects(pickle.load(opened, encoding="latin1"), key)  # of Python 2, as those of ACMR are


def _of_objects(loaded: Any, key: str) -> Any:
    return member(loaded if isinstance(loaded, Mapping) else {"": loaded}, key)


def _read_torch(file: Path, key: str, trusted: bool) -> Any:
    """Tensors alone, whoever is trusted."""
    import torch

    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{file}: {MORE_THAN_TENSORS}") from None
    found = _of_objects(loaded, key)
    if isinstance(found, list) and found and all(isinstance(row, torch.Tensor) for row in found):
        check_memory(sum(row.numel() * row.element_size() for row in found))
        found = torch.stack(found)
    if not isinstance(found, torch.Tensor):
        return found
    check_memory(found.numel() * found.element_size())  # a few bytes may stand for many values
    dense = found.detach().to_dense() if found.layout != torch.strided else found.detach()
    return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()


def _read_text(file: Path, key: str, trusted: bool) -> Any:
    """A matrix of numbers (n, d), or one column (n,) of numbers or, where not all of them are numbers, of texts."""
    lines = lines_of(file)
    numbers = _numbers(file, lines)
    if numbers is None:
        numbers = np.array(_single(file, lines), object)
    return member({"": numbers}, key)


def lines_of(file: Path) -> list[str]:
    """The lines of a text file, without empty ones at its end."""
    return StringIO(decoded(file).rstrip(), newline=None).read().split("\n")


def _numbers(file: Path, lines: list[str]) -> np.ndarray | None:
    """The matrix below comments and a header; None where a cell is no number."""
    comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    first = next((i for i, line in enumerate(lines[: comments + 2]) if _are_numbers(line)), None)
    if first is None:
        return None
    separator = _separator(lines[first])
    cells = [cell.strip() for cell in lines[first].split(separator)]
    if first <= comments and (not cells[0] or _count_up(cells)):
        first += _names_columns(file, cells, _parsed(lines[first + 1 :], separator))
    if len(cells) > 1:
        _check_widths(lines, first, separator)
    values = _parsed(lines[first:], separator)
    if values is None:
        return None
    header = lines[first - 1].split(separator) if first > comments else []
    if header:
        log.info(HEADER_LEFT_OUT, file, lines[first - 1][:60])
    return _without_index(file, values, header)


def _check_widths(lines: list[str], first: int, separator: str | None) -> None:
    """Raises ValueError for lines of numbers, from the ``first`` on, of other lengths: pandas would fill them.

    An empty line is a row without values, which `strict` may leave out.
    """
    if separator and all(line.endswith(separator) for line in lines[first:]):
        raise ValueError(f"every line ends with {separator!r}, behind which nothing stands; leave it out")
    expected = len(lines[first].split(separator))
    for number, line in enumerate(lines[first:], first + 1):
        if line.strip() and (found := len(line.split(separator))) != expected:
            raise ValueError(f"line {number} holds {quantity(found, 'value')}, line {first + 1} holds {expected}")


def _check_cells(lines: list[str]) -> None:
    """Raises ValueError for the first cell that is no number, behind a line of several numbers."""
    first = next((i for i, line in enumerate(lines[:2]) if _are_numbers(line)), len(lines))
    separator = _separator(lines[first]) if first < len(lines) else None
    for number, line in enumerate(lines[first:], first + 1):
        for cell in line.split(separator):
            if not _are_numbers(cell):
                raise ValueError(f"line {number}: {cell.strip()!r} is no number")


def _parsed(lines: list[str], separator: str | None) -> np.ndarray | None:
    """The numbers of lines; None where a cell is none, and without lines."""
    decimal = "," if separator and separator != "," and any("," in line for line in lines) else "."
    try:
        frame = pd.read_csv(
            StringIO("\n".join(lines)), sep=separator or r"\s+", header=None, decimal=decimal,
            skip_blank_lines=False, low_memory=False,
        )  # fmt: skip
    except ValueError:  # pandas' errors of parsing are ValueErrors
        return None
    return frame.to_numpy() if all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes) else None


def _names_columns(file: Path, cells: Sequence[str], below: np.ndarray | None) -> bool:
    """Whether a first line of numbers is a header: 0 to d - 1, as pandas names columns, or what stands behind the empty
    name of the rows' numbers.

    Raises `UserError` where it may be a row as well: the rows ``below`` are whole numbers as large. But 0,1 above zeros
    and ones is a row, since labels of two classes look so.
    """
    if below is None or len(cells) < 2:
        return False
    if not cells[0] and (_are_row_numbers(below[:, 0]) or _count_up(cells[1:])):
        return True
    if not _count_up(cells):
        return False
    if below.dtype.kind not in "iu" or below.max() < len(cells) - 1:
        return True
    if len(cells) == 2 and below.min() >= 0 and below.max() == 1:
        return False
    raise UserError(
        f"{file}: its first line, {','.join(cells)[:60]!r}, may name the columns or be a row; leave it out if it names "
        "them, or write its numbers with a decimal point, as 0.0, if it is a row"
    )


def _count_up(cells: Sequence[str]) -> bool:
    """Whether cells are the numbers from 0 on, two or more."""
    return len(cells) > 1 and all(cell == str(number) for number, cell in enumerate(cells))


def _separator(line: str) -> str | None:
    return next((separator for separator in COLUMN_SEPARATORS if separator in line), None)


def _are_numbers(line: str) -> bool:
    """Whether the cells of a line are numbers, or missing."""
    separator = _separator(line)
    text = line.replace(",", ".") if separator != "," else line  # a decimal comma
    cells = [cell.strip() for cell in text.split(separator)]
    try:
        return bool([float(cell) for cell in cells if cell not in MISSING] or cells)
    except ValueError:
        return False


def _are_row_numbers(column: np.ndarray) -> bool:
    """Whether a column counts its rows, more than two of them, from 0 or from 1."""
    return len(column) > 2 and any(np.array_equal(column, np.arange(len(column)) + base) for base in (0, 1))


def _without_index(file: Path, values: np.ndarray, header: list[str]) -> np.ndarray:
    """Without the column of row numbers that pandas writes under an empty name; one column as (n,)."""
    if values.shape[1] == 1:
        return values[:, 0]
    if _are_row_numbers(values[:, 0]):
        if header and header[0].strip(' "') == "":
            log.info(INDEX_LEFT_OUT, file)
            return values[:, 1:]
        log.warning("%s: its first column is the row's number, and is read as a feature", file)
    return values


def _single(file: Path, lines: list[str]) -> list[str]:
    """One text a line. Raises ValueError for a line of several values."""
    if file.suffix.lower() == ".txt":
        return [line.strip() for line in lines]
    indexed = _indexed(file, lines)
    if indexed is not None:
        return indexed
    texts = []
    for number, cells in enumerate(csv.reader(lines, delimiter="\t" if file.suffix.lower() == ".tsv" else ","), 1):
        if len(cells) > 1:
            _check_cells(lines)
            raise ValueError(
                f"line {number} holds {len(cells)} values; expected numbers alone, or one label a line; leave other "
                "columns out"
            )
        texts.append(cells[0].strip() if cells else "")
    return texts


def _indexed(file: Path, lines: list[str]) -> list[str] | None:
    """The texts beside the column of row numbers that pandas writes under an empty name; None of another form."""
    separator = lines[0].removeprefix('""')[:1]
    if separator not in COLUMN_SEPARATORS:
        return None
    header, *rows = csv.reader(lines, delimiter=separator)
    if not all(len(row) == 2 for row in (header, *rows)):
        return None
    if not _are_row_numbers(pd.to_numeric(pd.Series([row[0] for row in rows]), errors="coerce").to_numpy()):
        return None
    log.info(HEADER_LEFT_OUT, file, lines[0][:60])
    log.info(INDEX_LEFT_OUT, file)
    return [row[1].strip() for row in rows]


READERS: dict[str, Callable[[Path, str, bool], Any]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": lambda file, key, trusted: matlab.read(file, key),
    **dict.fromkeys(HDF5, lambda file, key, trusted: hdf5.read(file, key)),
    **dict.fromkeys((".pkl", ".pickle"), _read_pickle),
    **dict.fromkeys((".pt", ".pth"), _read_torch),
    **dict.fromkeys((".csv", ".tsv", ".txt"), _read_text),
}
"""Suffix → reader of a file, a key and whether the file is trusted."""
