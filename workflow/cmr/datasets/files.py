"""Files that a user names: where they may lie, and what is wrong with their rows."""

import io
import json
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr.boundary import plain, plain_parquet
from cmr.data import TABLE_ROWS
from cmr.datasets.base import Dataset
from cmr.datasets.delimited import COMPRESSED, decoded, read_cells
from cmr.errors import UserError, nearest

log = logging.getLogger(__name__)


def user_file(dataset: Dataset, path: str, key: str) -> Path:
    """The file that the parameter ``key`` names; relative to the configuration file."""
    file = _named(dataset, path, key, "file")
    if not file.is_file():
        raise UserError(f"params.{key}: no such file: {file}; the path is relative to the configuration file")
    return file


def user_folder(dataset: Dataset, path: str, key: str) -> Path:
    """The folder that the parameter ``key`` names; relative to the configuration file."""
    folder = _named(dataset, path, key, "folder")
    if not folder.is_dir():
        raise UserError(f"params.{key}: no such folder: {folder}")
    return folder


def _named(dataset: Dataset, path: str, key: str, what: str) -> Path:
    if not path:
        raise UserError(f"params.{key}: required, but missing; name a {what}, relative to the configuration file")
    if Path(path).is_absolute() and not _within(path, dataset.data_root):
        raise UserError(f"params.{key}: {path} is absolute; make it relative, or set data_root to a folder above it")
    return dataset.base / path


def _within(path: str, folder: Path | None) -> bool:
    """Whether ``path`` lies in ``folder`` by its name alone: links are the user's own affair."""
    return folder is not None and Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def located(path: str, folder: Path, data_root: Path | None) -> tuple[str, str]:
    """(path relative to ``folder``, what is wrong with it): one of the two is empty.

    Relative paths must stay in ``folder``, absolute ones must lie in ``data_root``. A file is found too where only
    backslashes for slashes, or the Unicode form of accents, differ.
    """
    problem = ""
    for spelling in _spellings(path):
        relative, outside = _inside(spelling, folder, data_root)
        if relative and os.path.isfile(os.path.join(folder, relative)):
            return relative, ""
        problem = problem or outside
    if not problem and os.path.isdir(os.path.join(folder, path)):
        return "", f"{path} is a folder; name a file"
    return "", problem or f"no such file: {path}{_nearest_file(os.path.join(folder, path))}"


def _spellings(path: str) -> Iterator[str]:
    """The path as it stands first; the others only where that is not there."""
    yield path
    slashed = path.replace("\\", "/")
    for spelling in dict.fromkeys((slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")))):
        if spelling != path:
            yield spelling


def _inside(path: str, folder: Path, data_root: Path | None) -> tuple[str, str]:
    if re.match(r"[A-Za-z]:[/\\]", path):
        return "", f"{path} is absolute, on another system; make it relative to the table's folder"
    if re.match(r"[A-Za-z][\w+.-]+://", path):
        return "", f"{path} is an address; download it, and name the file"
    if os.path.isabs(path):
        return (
            (os.path.relpath(path, folder), "")
            if _within(path, data_root)
            else ("", f"{path} is absolute and not in data_root; set data_root to a folder above the files")
        )
    relative = os.path.normpath(path)
    return ("", f"{path} {LEAVES}") if relative == ".." or relative.startswith("../") else (relative, "")


LEAVES = (
    "leaves the folder of the data; put the table into a folder above its files, link their folder into the table's, "
    "or write absolute paths and set data_root"
)


def _nearest_file(path: str) -> str:
    """A hint at the file beside it whose name has the same letters and digits, whatever their case; '' without one."""
    name = _files_by_letters(os.path.dirname(path)).get(_letters(os.path.basename(path)))
    return f"; did you mean {name!r}?" if name else ""


@lru_cache(maxsize=1024)
def _files_by_letters(folder: str) -> dict[str, str]:
    try:
        return {_letters(name): name for name in os.listdir(folder)}
    except (OSError, ValueError):  # a NUL in a path is a ValueError
        return {}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def read_rows(
    file: Path,
    wanted: Sequence[str] = (),
    encoding: str = "",
    quotes: bool | None = None,
    welcome: Sequence[str] = (),
) -> pd.DataFrame:
    """The table in a .csv, .tsv, .jsonl or .parquet file, indexed by row numbers as a spreadsheet shows them.

    Cells of CSV are strings as they stand; ``wanted`` (columns), ``encoding`` and ``quotes``: see
    `cmr.datasets.delimited.read_cells`. Of parquet that has all ``wanted`` columns, these alone are read, and the
    ``welcome`` ones that it has. Raises `UserError` that names file and row where it cannot be read.
    """
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": lambda file: _read_delimited(file, ",", wanted, encoding, quotes),
        ".tsv": lambda file: _read_delimited(file, "\t", wanted, encoding, quotes),
        ".jsonl": lambda file: _read_json_lines(file, encoding),
        ".parquet": lambda file: _read_parquet(file, wanted, welcome),
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        packed = file.suffix.lower() in (".gz", ".bz2", ".xz", ".zip")
        raise UserError(f"{file}: {COMPRESSED if packed else 'expected one of ' + ', '.join(readers)}")
    try:
        return reader(file)
    except (OSError, ValueError) as error:  # decoding errors, and those of pyarrow, are ValueErrors
        raise UserError(f"{file}: cannot be read: {error}") from None


def _read_delimited(
    file: Path, separator: str, wanted: Sequence[str], encoding: str, quotes: bool | None
) -> pd.DataFrame:
    cells = read_cells(file, separator, wanted, encoding, quotes)
    _refuse_twice([name for name in cells.header if name], "the column")
    columns = zip(*cells.rows, strict=True) if cells.rows else ([] for _ in cells.header)
    named = {name: column for name, column in zip(cells.header, columns, strict=True) if name}
    return pd.DataFrame(named, index=cells.numbers, dtype=object)


def _read_parquet(file: Path, wanted: Sequence[str], welcome: Sequence[str]) -> pd.DataFrame:
    """Whole numbers stay whole where cells are missing: as floats, those beyond 2⁵³ would run into one another."""
    from pyarrow.parquet import read_schema

    names = read_schema(plain(file)).names
    known = bool(wanted) and set(wanted) <= set(names)
    columns = [name for name in names if name in {*wanted, *welcome}] if known else None
    table = pd.read_parquet(plain_parquet(file, columns), columns=columns, dtype_backend="numpy_nullable")
    table.index = pd.RangeIndex(1, 1 + len(table))
    return table


def _refuse_twice(names: Sequence[str], what: str) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"{what} {name!r} stands twice")


def _read_json_lines(file: Path, encoding: str) -> pd.DataFrame:
    text = decoded(file, encoding)
    rows = dict(enumerate(_json_array(file, text), 1)) or dict(_json_rows(text))
    return pd.DataFrame(list(rows.values()), index=list(rows), dtype=object)


def _json_array(file: Path, text: str) -> list[dict[str, Any]]:
    """The objects of an array that is the whole file; none where it is no such array."""
    if not text.lstrip().startswith("["):
        return []
    try:
        rows = json.loads(text, object_pairs_hook=distinct_keys)
    except (json.JSONDecodeError, RecursionError):
        return []
    if not all(isinstance(row, dict) for row in rows):
        return []
    log.info("%s: an array of JSON, whose members are the rows", file)
    return rows


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its object, blank lines left out."""
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=distinct_keys)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise ValueError(f"row {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"row {number}: expected an object, found {type(row).__name__}")
        yield number, row


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ValueError for a key that stands twice, of which the last would count."""
    _refuse_twice([key for key, _ in pairs], "the key")
    return dict(pairs)


def column(table: pd.DataFrame, name: str, file: Path) -> list[Any]:
    """The cells of a column. Raises `UserError` where one is no text, and for no such column with the nearest name."""
    return cells_of(table, name, file).astype(object).tolist()


def cells_of(table: pd.DataFrame, name: str, file: Path) -> pd.Series:
    """As `column`, still in the form in which they were read."""
    if name not in table:
        raise UserError(f"{file}: no column {name!r}{nearest(name, map(str, table.columns))}")
    cells = table[name]
    if isinstance(cells.dtype, pd.StringDtype):
        return cells
    cells = cells.astype(object)
    for row, cell in cells.items():
        for part in cell if isinstance(cell, list) else [cell]:
            if isinstance(part, Mapping | bytes):  # which would be read as their keys, or their numbers
                holds_file = isinstance(part, bytes) or "bytes" in part
                remedy = "; write the pictures to files, and name these" if holds_file else ""
                raise UserError(f"{file}: row {row}: {name}: expected text, found {type(part).__name__}{remedy}")
    return cells


def blocks_of(cells: pd.Series) -> Iterator[pd.Series]:
    """The cells as Python's objects, some at a time."""
    return (cells.iloc[start : start + TABLE_ROWS].astype(object) for start in range(0, len(cells), TABLE_ROWS))


def compact(blocks: Iterable[Sequence[str | None]], index: pd.Index) -> pd.Series:
    """A column (n,) of texts, block after block, that is no list of Python's objects."""
    made = [pd.Series(np.array(block, object), dtype="str") for block in blocks]
    return pd.concat([pd.Series([], dtype="str"), *made]).set_axis(index)


def texts_of(cells: pd.Series, form: Callable[[Any], str] | None = None) -> pd.Series:
    """The ``form`` of each cell, or else the cell `as_text`."""
    form = form or as_text
    return compact(([form(cell) for cell in block] for block in blocks_of(cells)), cells.index)


def as_text(cell: Any) -> str:
    """A cell as text: sentences joined, whole numbers without a decimal point, '' where it is missing."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, Iterable):
        return " ".join(filter(None, map(as_text, cell)))
    if pd.isna(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
