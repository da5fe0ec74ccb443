"""Files that a user names: where they may lie, and what is wrong with their rows."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmr.datasets.base import Dataset
from cmr.errors import UserError, nearest
from cmr.publish import atomic

log = logging.getLogger(__name__)


def user_file(dataset: Dataset, path: str, key: str) -> Path:
    """The file that the parameter ``key`` names; relative to the configuration file."""
    if not path:
        raise UserError(f"params.{key}: required, but missing; name a file, relative to the configuration file")
    file = dataset.base / path
    if Path(path).is_absolute() and not _within(path, dataset.data_root):
        raise UserError(f"params.{key}: {path} is absolute; make it relative, or set data_root to a folder above it")
    if not file.is_file():
        raise UserError(f"params.{key}: no such file: {file}")
    return file


def _within(path: str, folder: Path | None) -> bool:
    """Whether ``path`` lies in ``folder`` by its name alone: links are the user's own affair."""
    return folder is not None and Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def located(path: str, folder: Path, data_root: Path | None) -> tuple[str, str]:
    """(path relative to ``folder``, what is wrong with it): one of the two is empty.

    Relative paths must stay in ``folder``, absolute ones must lie in ``data_root``.
    """
    if os.path.isabs(path):
        if not _within(path, data_root):
            return "", f"{path} is absolute and not in data_root"
        full, relative = path, os.path.relpath(path, folder)
    else:
        relative = os.path.normpath(path)
        if relative == ".." or relative.startswith("../"):
            return "", f"{path} leaves the folder of the data"
        full = os.path.join(folder, relative)
    return (relative, "") if os.path.isfile(full) else ("", f"no such file: {path}")


def read_rows(file: Path) -> pd.DataFrame:
    """The table in a .csv, .tsv, .jsonl or .parquet file, indexed by row numbers as an editor shows them.

    Cells of CSV are strings as they stand. Raises `UserError` that names file and row where it cannot be read.
    """
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_json_lines,
        ".parquet": pd.read_parquet,
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise UserError(f"{file}: expected one of {', '.join(readers)}{nearest(file.suffix, readers)}")
    try:
        table = reader(file)
    except (
        OSError,
        ValueError,
        pd.errors.ParserWarning,
    ) as error:  # parser and decoding errors of pandas and pyarrow are ValueErrors
        raise UserError(f"{file}: cannot be read: {error}") from None
    first = 2 if reader is _read_csv else 1  # below the header
    table.index = pd.RangeIndex(first, first + len(table))
    return table


def _read_csv(file: Path) -> pd.DataFrame:
    separator = "\t" if file.suffix.lower() == ".tsv" else ","
    as_they_stand: dict[str, Any] = {"sep": separator, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    header = [name for name in pd.read_csv(file, header=None, nrows=1, **as_they_stand).iloc[0] if name]
    _refuse_twice(header, "the column")  # pandas would rename the second
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # more cells than the header has
        return pd.read_csv(file, index_col=False, **as_they_stand)


def _refuse_twice(names: Sequence[str], what: str) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"{what} {name!r} stands twice")


def _read_json_lines(file: Path) -> pd.DataFrame:
    rows = []
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line, object_pairs_hook=_object)
                if "\\u" in line:
                    json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
            except (ValueError, RecursionError) as error:
                raise ValueError(f"row {number}: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"row {number}: expected an object, found {type(row).__name__}")
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_twice([key for key, _ in pairs], "the key")
    return dict(pairs)


def column(table: pd.DataFrame, name: str, file: Path) -> list[Any]:
    """The cells of a column. Raises `UserError` where one is no text, and for no such column with the nearest name."""
    if name not in table:
        raise UserError(f"{file}: no column {name!r}{nearest(name, map(str, table.columns))}")
    cells = table[name].astype(object)
    for row, cell in cells.items():
        for part in cell if isinstance(cell, list) else [cell]:
            if isinstance(part, Mapping | bytes):  # which would be read as their keys, or their numbers
                raise UserError(f"{file}: row {row}: {name}: expected text, found {type(part).__name__}")
    return cells.tolist()


def is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or (isinstance(cell, str) and not cell.strip())


def as_text(cell: Any) -> str:
    """A cell as text: sentences joined, whole numbers without a decimal point, '' where it is missing."""
    if isinstance(cell, Iterable) and not isinstance(cell, str):
        return " ".join(filter(None, map(as_text, cell)))
    if is_missing(cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def usable(
    table: pd.DataFrame, problems: dict, ids: list[str], file: Path | str, strict: bool, skipped: Path
) -> pd.DataFrame:
    """The rows without problems (row → what is wrong).

    Strict: any problem raises `UserError`. Else the bad rows are left out and listed in ``skipped`` (CSV).
    """
    if strict and problems:
        row = min(problems)
        more = f" ({len(problems) - 1} more rows have problems)" if len(problems) > 1 else ""
        raise UserError(f"{file}: row {row}: {problems[row]}{more}; mend it, or leave such rows out with strict: false")
    if not strict:
        name = dict(zip(table.index, ids, strict=True))
        rows = [(row, name[row], problems[row]) for row in sorted(problems)]
        with atomic(skipped) as temporary:
            pd.DataFrame(rows, columns=["row", "id", "problem"]).to_csv(temporary, index=False)
        log.warning("%s: %d of %d rows left out, listed in %s", file, len(rows), len(table), skipped.name)
    if len(problems) == len(table):
        raise UserError(f"{file}: no usable row" + (f"; the first: {problems[min(problems)]}" if problems else ""))
    return table.drop(index=list(problems))
