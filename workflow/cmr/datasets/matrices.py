"""Matrices that others made, in files of many formats, and the items that their rows stand for."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.io
from scipy.sparse import issparse

from cmr.data import Items
from cmr.errors import UserError, nearest
from cmr.provenance import file_hash
from cmr.store import Rows

HDF5 = {".h5", ".hdf5", ".h5py"}
PICKLE = {".pkl", ".pickle"}


@dataclass(frozen=True)
class Reference:
    """One array in a file. ``key`` is its name (a path in HDF5, ``name/i`` for the i-th cell of a MATLAB cell array).

    ``sha256``: the file's, given by a user who trusts a format that can execute code on loading.
    """

    file: Path
    key: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.key}" if self.key else str(self.file)

    def read(self) -> np.ndarray:
        """The array. Raises `UserError` that names the file, and the keys it has where ``key`` is none of them."""
        reader = _reader(self.file)
        try:
            array = reader(self)
        except FileNotFoundError:
            raise UserError(f"{self.file}: no such file") from None
        except UserError:
            raise
        except Exception as error:  # there is none that a reader does not raise for some damaged file
            raise UserError(f"{self}: cannot be read: {error}") from None
        return array.toarray() if issparse(array) else np.asarray(array)

    def missing(self, keys: Sequence[str]) -> UserError:
        return UserError(f"{self.file}: no array {self.key!r}{nearest(self.key, keys)}")


def _reader(file: Path) -> Callable[[Reference], Any]:  # to an array, or a sparse matrix of SciPy
    suffix = file.suffix.lower()
    readers = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}
    readers |= dict.fromkeys(HDF5, _read_hdf5) | dict.fromkeys(PICKLE, _read_pickle)
    if suffix not in readers:
        raise UserError(f"{file}: expected one of {', '.join(readers)}{nearest(suffix, readers)}")
    return readers[suffix]


def _read_npy(reference: Reference) -> np.ndarray:
    return np.load(reference.file, allow_pickle=_is_trusted(reference))


def _read_npz(reference: Reference) -> np.ndarray:
    with np.load(reference.file, allow_pickle=_is_trusted(reference)) as file:
        if reference.key not in file:
            raise reference.missing(list(file))
        return file[reference.key]


def _read_pickle(reference: Reference) -> np.ndarray:
    if not _is_trusted(reference):
        raise UserError(
            f"{reference.file}: loading a pickle can execute code; if you trust where it comes from, say trust: true "
            "and give its sha256; better, convert it to .npy"
        )
    with open(reference.file, "rb") as file:
        loaded = pickle.load(file, encoding="latin1")  # of Python 2, as those of ACMR are
    return np.asarray(loaded[reference.key] if reference.key else loaded)


def _is_trusted(reference: Reference) -> bool:
    """Raises `UserError` where the file is not the one that the user trusts."""
    if reference.sha256 and file_hash(reference.file) != reference.sha256:
        raise UserError(f"{reference.file}: its sha256 is not {reference.sha256}, so it is not the file you trust")
    return bool(reference.sha256)


def _read_mat(reference: Reference) -> np.ndarray:
    """MATLAB version 5, or 7.3, which is HDF5 with the dimensions in reverse order."""
    name, _, cell = reference.key.partition("/")
    if h5py.is_hdf5(reference.file):
        with h5py.File(reference.file, "r") as file:
            if name not in file:
                raise reference.missing([key for key in file if not key.startswith("#")])
            array = file[file[name][()].ravel()[int(cell)]] if cell else file[name]
            return array[()].T
    found = scipy.io.loadmat(reference.file, variable_names=[name])
    if name not in found:
        raise reference.missing([key for key, *_ in scipy.io.whosmat(reference.file)])
    return found[name].ravel()[int(cell)] if cell else found[name]


def _read_hdf5(reference: Reference) -> np.ndarray:
    with h5py.File(reference.file, "r") as file:
        if not isinstance(file.get(reference.key or "/"), h5py.Dataset):
            names: list[str] = []
            file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
            raise reference.missing(names)
        array = file[reference.key]
        return array.asstr()[()] if h5py.check_string_dtype(array.dtype) else array[()]


@dataclass(frozen=True)
class Group:
    """Items that have the same modalities: row i of each matrix and of the labels is one item.

    ``part``: train, validation, test, or '' where the file does not say. ``labels``: integers or names (n,), or one-
    or multi-hot (n, c). ``name`` starts the items' ids.
    """

    name: str
    part: str
    labels: Reference
    matrices: dict[str, Reference]

    def ids(self, n: int) -> list[str]:
        return [f"{self.name}-{row:05d}" for row in range(n)]


def ready_items(groups: Sequence[Group], modalities: Iterable[str]) -> Items:
    """Items whose modalities all come as ready features; the column ``part`` keeps the groups' parts.

    Raises `UserError` where the numbers of rows within a group differ.
    """
    tables = []
    for group in groups:
        labels = label_names(group.labels)
        table = pd.DataFrame({"id": group.ids(len(labels))})
        for modality in modalities:
            reference = group.matrices.get(modality)
            if reference:
                _check_rows(reference, len(matrix(reference)), group.labels, len(labels))
            table[modality] = (
                [f"{reference.file.name}:{reference.key}[{row}]" for row in range(len(labels))] if reference else None
            )
        table["labels"] = labels
        table["part"] = group.part
        tables.append(table)
    return Items(pd.concat(tables, ignore_index=True), dict.fromkeys(modalities, "ready"))


def ready_rows(groups: Sequence[Group], modality: str) -> Rows:
    """The features of one modality of all groups that have it."""
    found = [(group, matrix(group.matrices[modality])) for group in groups if modality in group.matrices]
    if not found:
        raise UserError(f"no features of the modality {modality!r}")
    widths = {values.shape[1] for _, values in found}
    if len(widths) > 1:
        raise UserError(f"the parts of {modality!r} have different numbers of columns: {sorted(widths)}")
    ids = [item for group, values in found for item in group.ids(len(values))]
    return Rows(np.array(ids), np.concatenate([values for _, values in found]))


def matrix(reference: Reference) -> np.ndarray:
    """Features (n, d) float32. Raises `UserError` for what is not a matrix of numbers."""
    array = reference.read()
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.shape[1]:
        raise UserError(f"{reference}: expected a matrix of numbers, found {array.dtype} of shape {array.shape}")
    return array.astype(np.float32)


def not_finite(groups: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """Item → what is wrong, for every row that holds NaN or infinite values."""
    for group in groups:
        for modality, reference in group.matrices.items():
            values = matrix(reference)
            for row in np.flatnonzero(~np.isfinite(values).all(axis=1)):
                yield group.ids(len(values))[row], f"{reference}: row {row}: NaN or infinite {modality} features"


def _check_rows(reference: Reference, n: int, labels: Reference, expected: int) -> None:
    if n != expected:
        raise UserError(
            f"{reference} has {n} rows, {labels} has {expected} labels; rows of one item must match "
            "(modalities without pairs need labels of their own)"
        )


def label_names(reference: Reference) -> list[list[str]]:
    """The class names of each row, from integers, names, or a one- or multi-hot matrix (the column numbers)."""
    array = reference.read()
    if array.ndim == 2 and 1 not in array.shape:
        if not np.isin(array, (0, 1)).all():
            raise UserError(f"{reference}: expected labels as one column or as a 0/1 matrix; found shape {array.shape}")
        names = [[str(column) for column in np.flatnonzero(row)] for row in array]
    else:
        names = [[name] if (name := _name(value)) else [] for value in array.ravel()]
    empty = next((row for row, own in enumerate(names) if not own), None)
    if empty is not None:
        raise UserError(f"{reference}: row {empty} has no label")
    return names


def _name(value: object) -> str:
    """A class's name; '' where there is none: an empty string, NaN."""
    if isinstance(value, np.ndarray) and value.size == 1:  # a cell of MATLAB's
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value != value:
        return ""
    return (
        str(int(value))
        if isinstance(value, float | np.floating | np.integer) and float(value).is_integer()
        else str(value)
    )
