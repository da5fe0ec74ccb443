"""Arrays in files of MATLAB's: version 5, or 7.3, which is HDF5 with the dimensions in reverse order.

Parts of a key are separated by '/' or '.', which no name of MATLAB's holds: ``name/i`` is the i-th cell of a cell
array, from 0, and ``data.Y`` the field of a struct.
"""

import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatlabFunction, MatlabOpaque
from scipy.sparse import csc_array, issparse

from cmr.boundary import MAX_RATIO, UNPACKED_FREELY, check_size
from cmr.datasets import hdf5
from cmr.datasets.keyed import NoKey, member

COMPRESSED = 15
"""The type of an element that is compressed."""
PIECE = 2**20
AN_OBJECT = "an object of MATLAB's (a string, categorical, table, …); save it as cellstr(…), or as numbers"


def read(file: Path, key: str) -> Any:
    """An array or a sparse matrix; texts as str, cell arrays as arrays of objects."""
    name, *inner = re.split("[./]", key)
    if h5py.is_hdf5(file):
        with hdf5.opened_safely(file) as opened:
            node = member({name: node for name, node in opened.items() if not name.startswith("#")}, name)
            for part in inner:
                node = _inside_73(node, part)
            return _value_73(node)
    _check_size(file)
    found = scipy.io.loadmat(file, variable_names=[name] if name else None)
    if name and name not in found:
        raise NoKey(known for known, *_ in scipy.io.whosmat(file))
    array = member({name: array for name, array in found.items() if not name.startswith("__")}, name)
    for part in inner:
        array = _inside_5(array, part)
    if isinstance(array, MatlabOpaque | MatlabFunction):
        raise ValueError(AN_OBJECT)
    return array if issparse(array) else _no_struct(array, array.dtype.names or ())


def _check_size(file: Path) -> None:
    """Raises `BoundaryError` where the compressed elements of a file of version 5 would fill the memory.

    The format: a header of 128 bytes whose last two say the order of bytes, then elements, each with a tag of its type
    and size (MATLAB, "MAT-File Format", R2014a, chapter 1).
    """
    size = file.stat().st_size
    allowed, unpacked = max(UNPACKED_FREELY, MAX_RATIO * size), 0
    with open(file, "rb") as raw:
        order: Literal["little", "big"] = "little" if raw.read(128)[126:128] == b"IM" else "big"
        while unpacked <= allowed and len(tag := raw.read(8)) == 8:
            kind, length = (int.from_bytes(tag[at : at + 4], order) for at in (0, 4))
            end = raw.tell() + length
            if kind != COMPRESSED:
                raw.seek(end)
                continue
            stream = zlib.decompressobj()
            while unpacked <= allowed and not stream.eof and raw.tell() < end:
                packed = raw.read(min(PIECE, end - raw.tell()))
                if not packed:  # a file that ends early, which the reader tells
                    break
                while packed and unpacked <= allowed:
                    unpacked += len(stream.decompress(packed, PIECE))
                    packed = stream.unconsumed_tail
            raw.seek(end)
    check_size(unpacked, size)


def _no_struct(array: Any, fields: Iterable[str]) -> Any:
    names = sorted(fields)
    if names:
        raise ValueError(f"a struct; name one of its fields, as KEY.{names[0]}, of: {', '.join(names)}")
    return array


def _inside_5(array: Any, part: str) -> Any:
    """A cell, an element of an array of structs, or the field of a struct."""
    if part.isdigit():
        return array.ravel(order="F")[int(part)]
    fields = array.dtype.names or ()
    if part not in fields:
        raise NoKey(fields)
    field = array[part]
    return field.item() if array.shape and field.size == 1 else field


def _inside_73(node: Any, part: str) -> Any:
    if isinstance(node, h5py.Group):
        return member(node, part)
    if h5py.check_ref_dtype(node.dtype) is None or not part.isdigit():
        raise NoKey([])
    return node.file[node[()].T.ravel(order="F")[int(part)]]


def _value_73(node: Any) -> Any:
    kind = node.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if "MATLAB_object_decode" in node.attrs:
        raise ValueError(AN_OBJECT)
    if isinstance(node, h5py.Group):
        return _sparse_73(node) if "MATLAB_sparse" in node.attrs else _no_struct(node, node)
    if "MATLAB_empty" in node.attrs:
        return np.array("" if kind == "char" else [])
    array = hdf5.values(node).T
    if kind == "char":
        return np.array(["".join(map(chr, row)) for row in np.atleast_2d(array)])
    if h5py.check_ref_dtype(node.dtype) is not None:
        cells = [_value_73(node.file[reference]) for reference in array.ravel()]
        array = np.empty(array.shape, object)
        array.ravel()[:] = _objects(cells)
    return array.astype(bool) if kind == "logical" else array


def _sparse_73(group: h5py.Group) -> csc_array:
    data, rows, starts = (hdf5.values(group[name]) if name in group else np.empty(0) for name in ("data", "ir", "jc"))
    return csc_array((data, rows, starts), shape=(int(group.attrs["MATLAB_sparse"]), len(starts) - 1))


def _objects(values: list[Any]) -> np.ndarray:
    """An array (n,) of the values, whatever they are: NumPy would make a matrix of arrays of one length."""
    array = np.empty(len(values), object)
    for position, value in enumerate(values):
        array[position] = value
    return array
