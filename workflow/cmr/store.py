"""The one module that reads and writes result files: atomic publication, HDF5, JSON.

Every file is written under a temporary name in its own folder and moved into place with `os.replace`, so a
reader sees either nothing or a whole file, and two writers of the same result cannot mix their bytes.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmr.errors import UserError

SCHEMA_VERSION = 1
TEXT = h5py.string_dtype("utf-8")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; moves it into place when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """As `atomic`, for a folder. A folder that stands there already is replaced."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run again") from None


@dataclass(frozen=True)
class Matrix:
    """Rows of one modality: ``values`` (n, d) float32 and their item ``ids`` (n,), with the file's attributes."""

    ids: np.ndarray
    values: np.ndarray
    attributes: dict[str, Any]


def write_matrix(
    path: str | Path,
    name: str,
    ids: np.ndarray,
    values: np.ndarray,
    attributes: Mapping[str, Any],
    state: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes ``/features`` or ``/embeddings`` (``name``), ``/ids`` and the fitted ``/state`` to one HDF5 file.

    Refuses NaN and infinite values: what is shared can be trusted by its readers.
    """
    check_finite(path, ids, values)
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        write_rows(file, name, ids, values)
        for key, array in (state or {}).items():
            text = np.asarray(array).dtype.kind in "UO"
            file.create_dataset(f"state/{key}", data=np.asarray(array, object if text else None), dtype=TEXT if text else None)
        set_attributes(file, attributes)


def write_rows(group: h5py.Group, name: str, ids: np.ndarray, values: np.ndarray) -> None:
    group.create_dataset(name, data=np.ascontiguousarray(values, np.float32))
    group.create_dataset("ids", data=np.asarray(ids, object), dtype=TEXT)


def set_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    file.attrs["schema_version"] = SCHEMA_VERSION
    for key, value in attributes.items():
        file.attrs[key] = value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)


def check_finite(path: str | Path, ids: np.ndarray, values: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise UserError(
            f"{path}: {bad.size} of {len(ids)} rows hold NaN or infinite values, "
            f"the first is item {ids[bad[0]]!r} (row {bad[0]})"
        )


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Opens for reading; a truncated or foreign file is a `UserError` that names it."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: truncated or not an HDF5 file; delete it and run again ({error})") from None
    with file:
        try:
            yield file
        except OSError as error:
            raise UserError(f"{path}: damaged HDF5 file; delete it and run again ({error})") from None


def read_matrix(path: str | Path, name: str, group: str = "/") -> Matrix:
    """Reads a file written by `write_matrix` (or one ``group`` of it) and checks it.

    Raises `UserError` for a truncated file, a missing part, NaN or infinite values, rows that do not match ids.
    """
    with open_hdf5(path) as file:
        if group not in file or name not in file[group] or "ids" not in file[group]:
            raise UserError(f"{path}: no {group.rstrip('/')}/{name} with ids in it; delete it and run again")
        values = file[group][name][()]
        ids = file[group]["ids"].asstr()[()]
        attributes = dict(file.attrs)
    if len(ids) != len(values):
        raise UserError(f"{path}: {len(values)} rows but {len(ids)} ids; delete it and run again")
    check_finite(path, ids, values)
    return Matrix(ids, values, attributes)


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """The fitted state of an extractor, as its ``state()`` gave it."""
    with open_hdf5(path) as file:
        group = file.get("state", {})
        return {k: v.asstr()[()] if h5py.check_string_dtype(v.dtype) else v[()] for k, v in group.items()}
