"""Reads embeddings and labels that the workflow did not write: `.npy`, HDF5, CSV, text."""

import csv
from pathlib import Path

import h5py
import numpy as np

from cmr.errors import UserError
from cmr.store import open_hdf5

HDF5_SUFFIXES = {".h5", ".hdf5"}
HDF5_NAMES = ("embeddings", "features")


def read_embeddings(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrix (n, d), float32 or float64 as stored, and the ids (n,) where the file has them.

    ``.npy`` (never unpickled) or HDF5 with ``/embeddings`` or ``/features``. Raises `UserError` that names the file
    for what is no finite matrix of numbers.
    """
    path, ids = Path(path), None
    if path.suffix == ".npy":
        values = _read_npy(path)
    elif path.suffix in HDF5_SUFFIXES:
        values, ids = _read_hdf5(path)
    else:
        raise UserError(f"{path}: embeddings are read from .npy and {', '.join(sorted(HDF5_SUFFIXES))}")
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise UserError(f"{path}: expected a matrix of numbers (rows, dimensions), found {_kind(values)}")
    values = values.astype(np.result_type(values, np.float32), copy=False)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"{path}: {len(bad)} rows hold NaN or infinite values, the first is row {bad[0]}")
    return values, ids


def read_labels(path: str | Path) -> np.ndarray:
    """Labels of n rows: class numbers (n,), or multi-hot (n, c) 0/1.

    ``.npy``: (n,) numbers or strings, or a one- or multi-hot matrix (n, c). ``.csv`` and ``.txt``: a label a line,
    without a header.
    """
    path = Path(path)
    if path.suffix == ".npy":
        labels = _read_npy(path)
    elif path.suffix in {".csv", ".txt"}:
        labels = np.array(_read_lines(path))
    else:
        raise UserError(f"{path}: labels are read from .npy, .csv and .txt")
    if labels.ndim == 2 and labels.shape[1] > 1:
        if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
            raise UserError(f"{path}: a matrix of labels holds 0 and 1 only, a column a class")
        return labels.astype(np.uint8)
    if labels.ndim not in (1, 2) or labels.size == 0:
        raise UserError(f"{path}: expected labels (rows,) or (rows, classes), found {_kind(labels)}")
    return np.unique(labels.ravel(), return_inverse=True)[1]


def _kind(values: np.ndarray) -> str:
    return f"{values.dtype} of shape {values.shape}"


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable .npy file of numbers or strings ({error})") from None


def _read_hdf5(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with open_hdf5(path) as file:
        name = next((n for n in HDF5_NAMES if isinstance(file.get(n), h5py.Dataset)), None)
        if name is None:
            raise UserError(f"{path}: neither /{' nor /'.join(HDF5_NAMES)} in it")
        return file[name][()], file["ids"].asstr()[()] if "ids" in file else None


def _read_lines(path: Path) -> list[str]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file)) if path.suffix == ".csv" else [[line.strip()] for line in file]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from None
    for number, row in enumerate(rows, start=1):
        if len(row) != 1 or not row[0]:
            raise UserError(f"{path}: line {number} holds {len(row)} values; expected one label a line")
    return [row[0] for row in rows]
