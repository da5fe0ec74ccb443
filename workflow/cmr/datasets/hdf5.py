"""Arrays in HDF5 files of anybody's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmr.boundary import check_array, check_links, plain
from cmr.datasets.keyed import NoKey, member
from cmr.errors import quantity
from cmr.store import OFFSETS
from cmr.vectors import Vectors

OWN_NAMES = ("features", "embeddings")  # of the arrays in this project's files
IDS = "ids"


def read(file: Path, key: str) -> np.ndarray:
    """The array that the key names. Of a group: its features or embeddings, or the only one besides ids and offsets."""
    with opened_safely(file) as opened:
        return values(_dataset(opened, key))


def stored_matrix(file: Path, key: str) -> Vectors | None:
    """The matrix that the key names, where it is one of float32 that lies in one piece without offsets."""
    with opened_safely(file) as opened:
        array = _dataset(opened, key)
        check_array(array)
        sets = isinstance(array.parent.get(OFFSETS), h5py.Dataset)
        if sets or array.ndim != 2 or array.dtype != np.float32 or array.chunks is not None:
            return None
        place = array.id.get_offset()
        whole = place is not None and place + array.nbytes <= os.path.getsize(file)
        return Vectors.of(file, place, array.shape) if whole else None


def read_ids(file: Path, key: str) -> np.ndarray | None:
    """The ids (n,) of the array's rows, where the file has them in the same group; None where they are another array's.

    Raises ValueError for ids of no array of their group: rows that lost one would be taken for others.
    """
    with opened_safely(file) as opened:
        array = _dataset(opened, key)
        ids = array.parent.get(IDS)
        if not isinstance(ids, h5py.Dataset) or ids == array or ids.ndim != 1:
            return None
        if len(ids) not in {*array.shape, *_lengths(array.parent.get(OFFSETS))}:
            others = [other for other in array.parent.values() if isinstance(other, h5py.Dataset) and other != ids]
            if any(len(ids) in other.shape for other in others):
                return None
            held, rows = quantity(len(ids), "id"), quantity(len(array), "row")
            raise ValueError(f"{ids.name} holds {held}, {array.name} {rows}; give each row its id")
        return values(ids).astype(str)


def _lengths(offsets: object) -> list[int]:
    """The number of items that offsets are of."""
    return [len(offsets) - 1] if isinstance(offsets, h5py.Dataset) and offsets.ndim == 1 else []


def read_offsets(file: Path, key: str) -> tuple[np.ndarray | None, int]:
    """The array ``offsets`` in the group of the array that the key names, and the number of rows of the latter."""
    with opened_safely(file) as opened:
        array = _dataset(opened, key)
        offsets = array.parent.get(OFFSETS)
        beside = isinstance(offsets, h5py.Dataset) and offsets != array
        return values(offsets) if beside else None, len(array)


@contextmanager
def opened_safely(file: Path) -> Iterator[h5py.File]:
    """Raises `BoundaryError` where it has links to other files."""
    if not h5py.is_hdf5(plain(file)):
        raise ValueError("truncated, or not an HDF5 file")
    with h5py.File(file, "r") as opened:
        check_links(opened)
        yield opened


def _dataset(opened: h5py.File, key: str) -> h5py.Dataset:
    node = opened.get(key or "/")
    if isinstance(node, h5py.Dataset):
        return node
    if node is None:
        raise NoKey(_names(opened))
    held = {
        name: child for name, child in node.items() if isinstance(child, h5py.Dataset) and name not in (IDS, OFFSETS)
    }
    own = [held[name] for name in OWN_NAMES if name in held]
    if not own and len(held) != 1:
        raise NoKey(_names(opened))
    return own[0] if own else member(held, "")


def _names(opened: h5py.File) -> list[str]:
    names: list[str] = []
    opened.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
    return names


def values(dataset: h5py.Dataset) -> Any:
    """All of an array, texts as str. Raises `BoundaryError` as `cmr.boundary.check_array` does."""
    check_array(dataset)
    return dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
