"""The one module that reads and writes the arrays of results: HDF5 and safetensors."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmr.boundary import BoundaryError, check_array, check_links, plain
from cmr.errors import Damaged, UserError, quantity
from cmr.publish import atomic, write_errors_told
from cmr.records import SCHEMA_VERSION
from cmr.sets import Sets
from cmr.vectors import Vectors, is_large

COPIED_ROWS = 4096
"""Of a matrix, that are checked and written at once."""
OFFSETS = "offsets"
"""Beside the elements of sets: where each item's begin, and the end of the last."""
SELECTION = "selection"
"""The group of a file of features or codes with what was made without the held-out rows, for choices on these."""
SET_TYPES = (np.float32, np.float16)
TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class Rows:
    """Rows of one modality as they are stored: ``values`` (n, d) float32, `Vectors` that stay in the file, or `Sets`,
    their item ``ids`` (n,), and the attributes of the file that they were read from. What is to be written may be a
    dataset of another file.
    """

    ids: np.ndarray
    values: Any
    attributes: dict[str, Any] = field(default_factory=dict)


def write_matrix(
    path: str | Path,
    name: str,
    ids: np.ndarray,
    values: np.ndarray | h5py.Dataset,
    attributes: Mapping[str, Any],
) -> None:
    """Writes ``/features`` or ``/embeddings`` (``name``) and ``/ids`` to one HDF5 file.

    Refuses NaN and infinite values: what is shared can be trusted by its readers. ``values`` may be a dataset of
    another file: it is copied in blocks of rows, so memory does not grow with n.
    """
    write_groups(path, name, {"/": Rows(ids, values)}, attributes)


def write_groups(
    path: str | Path,
    name: str,
    groups: Mapping[str, Rows],
    attributes: Mapping[str, Any],
    state: Mapping[str, np.ndarray] | None = None,
) -> None:
    """As `write_matrix`, with several matrices, ``/{group}/{name}`` and ``/{group}/ids`` for each group, and the fitted
    ``/state``.
    """
    for rows in groups.values():
        check_finite(path, rows.ids, rows.values)
    with new_hdf5(path) as file:
        for group, rows in groups.items():
            write_rows(file.require_group(group), name, rows.ids, rows.values)
        write_state(file, state or {})
        set_attributes(file, attributes)


@contextmanager
def new_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Writes through a file of Python's: on a full disk HDF5's own kills the process before anything can be said."""
    with atomic(path) as temporary, open(temporary, "w+b") as raw, h5py.File(raw, "w") as file:
        yield file


def write_rows(
    group: h5py.Group, name: str, ids: np.ndarray, values: np.ndarray | Vectors | h5py.Dataset | Sets
) -> None:
    if isinstance(values, Sets):
        _write_sets(group, name, values)
    else:
        rows = group.create_dataset(name, values.shape, np.float32)
        for block in _blocks(values):
            rows[block] = values[block]
    group.create_dataset("ids", data=np.asarray(ids, object), dtype=TEXT)


def _write_sets(group: h5py.Group, name: str, sets: Sets) -> None:
    """``/{name}`` (Σk, d), in one piece, so that it can be mapped, and ``/offsets`` (n + 1,)."""
    offsets = sets.offsets
    elements = group.create_dataset(name, (offsets[-1], sets.dimension), sets.values.dtype)
    row = 0
    for block in sets.blocks():
        end = row + int(block.lengths.sum())
        elements[row:end] = block.elements()
        row = end
    group.create_dataset(OFFSETS, data=offsets)


def write_state(group: h5py.Group, state: Mapping[str, np.ndarray]) -> None:
    for key, array in state.items():
        text = np.asarray(array).dtype.kind in "UO"
        data = np.asarray(array, object if text else None)
        group.create_dataset(f"state/{key}", data=data, dtype=TEXT if text else None)


@contextmanager
def resumable(path: str | Path, key: str) -> Iterator[h5py.File]:
    """As `kept`, and removes the file when the block ends without an error."""
    with write_errors_told(path):
        with kept(path, key) as file:
            yield file
        Path(path).unlink()


@contextmanager
def kept(path: str | Path, key: str) -> Iterator[h5py.File]:
    """Opens unfinished work, to go on with it.

    A file of other work (another ``key``) or a damaged one is replaced by an empty one. The metadata of HDF5 files
    have checksums, so what a killed process left behind is either whole or found to be damaged.
    """
    path = Path(path)
    with write_errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _reopened(path, key) or h5py.File(path, "w") as file:
            file.attrs["key"] = key
            yield file


def _reopened(path: Path, key: str) -> h5py.File | None:
    try:
        file = h5py.File(path, "r+")
    except BlockingIOError:
        raise UserError(f"{path}: another process is writing it; wait for it to end, or stop it") from None
    except OSError:
        return None
    try:
        if file.attrs.get("key") == key:
            return file
    except OSError:
        pass
    file.close()
    return None


def _blocks(values: np.ndarray | Vectors | h5py.Dataset) -> Iterator[slice]:
    return (slice(start, start + COPIED_ROWS) for start in range(0, len(values), COPIED_ROWS))


def set_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    file.attrs["schema_version"] = SCHEMA_VERSION
    for key, value in attributes.items():
        file.attrs[key] = value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)


def check_finite(path: str | Path, ids: np.ndarray, values: np.ndarray | Vectors | h5py.Dataset | Sets) -> None:
    bad = np.flatnonzero(~np.concatenate([np.empty(0, bool), *_finite(values)]))
    if bad.size:
        raise UserError(
            f"{path}: {bad.size} of {len(ids)} rows hold NaN or infinite values, "
            f"the first is item {str(ids[bad[0]])!r} (row {bad[0]})"
        )


def _finite(values: np.ndarray | Vectors | h5py.Dataset | Sets) -> Iterator[np.ndarray]:
    """Block after block, which rows have finite values alone."""
    if isinstance(values, Sets):
        for sets in values.blocks():
            yield np.logical_and.reduceat(np.isfinite(sets.elements()).all(axis=1), sets.offsets[:-1])
        return
    for block in _blocks(values):
        finite = np.isfinite(np.asarray(values[block]))
        yield finite.all(axis=1)


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Opens for reading; a truncated or foreign file is a `UserError` that names it, and so is one whose values lie in
    other files, were never written, or would take more memory than its size allows (`cmr.boundary`).
    """
    try:
        file = h5py.File(plain(path), "r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: truncated or not an HDF5 file; delete it and run again ({error})") from None
    with file:
        try:
            _check_parts(file)
            yield file
        except (OSError, RuntimeError, BoundaryError, MemoryError) as error:
            raise UserError(f"{path}: damaged HDF5 file; delete it and run again ({error})") from None


def _check_parts(file: h5py.File) -> None:
    try:
        check_links(file)
        _check_arrays(file)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # of a damaged group or kind of values
        raise BoundaryError(str(error)) from None


def _check_arrays(file: h5py.File) -> None:
    arrays: dict[str, h5py.Dataset] = {}
    try:
        file.visititems(lambda name, node: arrays.update({name: node}) if isinstance(node, h5py.Dataset) else None)
    except KeyError as error:  # of an object whose own description is damaged
        raise BoundaryError(str(error)) from None
    for name, array in arrays.items():
        try:
            check_array(array)
        except BoundaryError as error:
            raise BoundaryError(f"/{name}: {error}") from None


def read_matrix(path: str | Path, name: str, group: str = "/") -> Rows:
    """Reads a file written by `write_matrix` (or one ``group`` of it) and checks it.

    Raises `UserError` for a truncated file, a missing part, NaN or infinite values, rows that do not match ids.
    """
    with open_hdf5(path) as file:
        if group not in file or name not in file[group] or "ids" not in file[group]:
            raise UserError(f"{path}: no {group.rstrip('/')}/{name} with ids in it; delete it and run again")
        values, ids = file[group][name], file[group]["ids"]
        if not _is_matrix(values) or not _are_texts(ids):
            raise UserError(
                f"{path}: {group.rstrip('/')}/{name} is no matrix of numbers with ids; delete it and run again"
            )
        values, ids = values[()], ids.asstr(errors="replace")[()]
        attributes = dict(file.attrs)
    return _checked(path, Rows(ids, values, attributes))


def read_rows(path: str | Path, name: str, group: str = "/") -> Rows:
    """As `read_matrix`, of sets too, and of a large matrix as `Vectors`: what is large stays in the file, and what is
    needed of it is read.

    Raises `UserError` also where the offsets do not say which elements are whose.
    """
    with open_hdf5(path) as file:
        held = file.get(group)
        if isinstance(held, h5py.Group) and OFFSETS in held:
            rows = _sets_in(path, held, f"{path}: {group.rstrip('/')}/", name)
        elif isinstance(held, h5py.Group) and _is_large(path, held.get(name)) and _are_texts(held.get("ids")):
            values = held[name]
            ids = held["ids"].asstr(errors="replace")[()]
            rows = Rows(ids, Vectors.of(path, values.id.get_offset(), values.shape), dict(file.attrs))
        else:
            return read_matrix(path, name, group)
    return _checked(path, rows)


def _sets_in(path: str | Path, held: h5py.Group, where: str, name: str) -> Rows:
    values, offsets, ids = (held.get(part) for part in (name, OFFSETS, "ids"))
    if not _is_matrix(values) or not _can_be_mapped(path, values) or not _are_texts(ids):
        raise UserError(f"{where}{name} are no sets of vectors with ids; delete it and run again")
    ids, ends = ids.asstr(errors="replace")[()], offsets[()]
    if ends.dtype != np.int64 or ends.shape != (len(ids) + 1,):
        raise UserError(f"{where}{OFFSETS}: expected {len(ids) + 1} integers, one more than ids; run again")
    if ends[0] != 0 or ends[-1] != len(values) or (ends[:-1] >= ends[1:]).any():
        raise UserError(f"{where}{OFFSETS} do not rise from 0 to {len(values)}; delete it and run again")
    mapped = np.memmap(path, values.dtype, "r", values.id.get_offset(), values.shape)
    return Rows(ids, Sets.flat(mapped, ends), dict(held.file.attrs))


def _checked(path: str | Path, rows: Rows) -> Rows:
    if len(rows.ids) != len(rows.values):
        held = f"{quantity(len(rows.values), 'row')} but {quantity(len(rows.ids), 'id')}"
        raise UserError(f"{path}: {held}; delete it and run again")
    check_finite(path, rows.ids, rows.values)
    return rows


def _is_large(path: str | Path, values: object) -> bool:
    """Whether a matrix is one that stays in its file."""
    large = _is_matrix(values) and values.dtype == np.float32 and is_large(values)  # type: ignore[attr-defined]
    return large and _can_be_mapped(path, values)


def _can_be_mapped(path: str | Path, values: h5py.Dataset) -> bool:
    """Whether elements lie in the file in one piece, in a type that sets have."""
    place = values.id.get_offset() if values.size and values.chunks is None else None
    whole = place is not None and place + values.size * values.dtype.itemsize <= os.path.getsize(path)
    return whole and values.dtype in SET_TYPES


def _is_matrix(node: object) -> bool:
    return isinstance(node, h5py.Dataset) and node.ndim == 2 and node.dtype.kind in "fiu"


def _are_texts(node: object) -> bool:
    return isinstance(node, h5py.Dataset) and node.ndim == 1 and h5py.check_string_dtype(node.dtype) is not None


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """The fitted state of an extractor, as its ``state()`` gave it."""
    with open_hdf5(path) as file:
        return state_in(file)


def state_in(group: h5py.Group) -> dict[str, np.ndarray]:
    """What `write_state` wrote, from a file that is open already."""
    found = group.get("state", {})
    arrays = isinstance(found, Mapping) and all(isinstance(value, h5py.Dataset) for value in found.values())
    if not arrays:
        raise UserError(f"{group.file.filename}: {group.name.rstrip('/')}/state holds what is no array; make it again")
    return {k: v.asstr()[()] if h5py.check_string_dtype(v.dtype) else v[()] for k, v in found.items()}


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A model's arrays as safetensors, which hold no code. Raises `UserError` for NaN or infinite values."""
    from safetensors.numpy import save_file

    for name, array in arrays.items():
        if np.asarray(array).dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{path}: {name} holds NaN or infinite values; the fit has diverged")
    with atomic(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
        temporary.chmod(mode)  # safetensors writes for the owner alone


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(plain(path))
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{path}: not a readable model; delete its folder and run again ({error})") from None
