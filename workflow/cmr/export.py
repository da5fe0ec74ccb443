"""A run's test embeddings in forms that other programs read."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from cmr.data import Items
from cmr.errors import UserError, inert
from cmr.paths import ITEMS
from cmr.publish import atomic, atomic_folder, check_free, check_no_file
from cmr.reporting.runs import Run
from cmr.store import Rows, read_matrix


def export(run: Run, form: str, out: Path) -> list[Path]:
    """Writes the embeddings of all test items in one of `FORMS`; returns what was written.

    ``npz`` and ``mat`` are files with the arrays ``embeddings_M`` (n, k) float32, ``ids_M`` (n,) and ``labels_M``
    (n, c) of 0 and 1 for each modality M, and ``classes`` (c,); ``owner_M_in_N`` (n,) are the rows of N, from 0, that
    the rows of M belong to, where each belongs to one. ``npy`` is a folder with a file for each of them. ``csv`` is a
    folder with a table for each modality: id, labels separated by ';', and a column a dimension; a text that a
    spreadsheet would take for a formula starts with an apostrophe.

    Where fits of several pairs of modalities embed one, each pair has a file or folder of its own below ``out``. Raises
    `UserError` where one would take the place of something, and where ``out`` is not named as the form.
    """
    if out.suffix.lstrip(".") in FORMS.keys() - {form}:
        raise UserError(f"{out}: --to {form} does not write {out.suffix}; name it {out.stem}{FORMS[form].ending}")
    ending, spaces = FORMS[form].ending, run.spaces
    if len(spaces) == 1 and out.suffix != ending and ending:
        raise UserError(f"{out}: --to {form} writes a file; name it {out.name}{ending}")
    places = [out] if len(spaces) == 1 else [out / (space.name + ending) for space in spaces]
    for place in places:
        (check_no_file if ending else check_free)(place)
    items = Items.read(run.place(ITEMS.format(data=run.data)))
    for space, place in zip(spaces, places, strict=True):
        rows = {modality: read_matrix(file, "embeddings") for modality, file in run.files_of(space).items()}
        FORMS[form].write(place, rows, items)
    return places


def _arrays(rows: Mapping[str, Rows], items: Items) -> dict[str, np.ndarray]:
    found = {"classes": np.array(items.classes)}
    for modality, matrix in rows.items():
        found[f"embeddings_{modality}"] = matrix.values
        found[f"ids_{modality}"] = np.asarray(matrix.ids, str)
        found[f"labels_{modality}"] = items.labels(matrix.ids)
    for one, other in permutations(rows, 2):
        owner = _owner(items.groups_of(rows[one].ids), items.groups_of(rows[other].ids))
        found |= {} if owner is None else {f"owner_{one}_in_{other}": owner}
    return found


def _owner(groups: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """For each of ``groups`` (n,) its place among ``others`` (m,); None where it has none, or more than one."""
    place = {group: row for row, group in enumerate(others)}
    if len(place) < len(others) or not place.keys() >= set(groups):
        return None
    return np.array([place[group] for group in groups], np.int64)


def _npz(path: Path, rows: Mapping[str, Rows], items: Items) -> None:
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **_arrays(rows, items))  # type: ignore[arg-type]  # its stub takes the names for other keywords


def _mat(path: Path, rows: Mapping[str, Rows], items: Items) -> None:
    from scipy.io import savemat

    arrays = _arrays(rows, items)
    texts = {key: np.array(value, object) for key, value in arrays.items() if value.dtype.kind == "U"}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        savemat(file, arrays | texts, do_compression=True)  # texts as cells


def _npy(path: Path, rows: Mapping[str, Rows], items: Items) -> None:
    with atomic_folder(path) as temporary:
        for name, array in _arrays(rows, items).items():
            buffer = io.BytesIO()  # to a file NumPy writes by itself, and does not say that the disk is full
            np.save(buffer, array)
            (temporary / f"{name}.npy").write_bytes(buffer.getbuffer())


def _csv(path: Path, rows: Mapping[str, Rows], items: Items) -> None:
    labels = dict(zip(items.ids, items.table["labels"], strict=True))
    with atomic_folder(path) as temporary:
        for modality, matrix in rows.items():
            with open(temporary / f"{modality}.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["id", "labels", *range(matrix.values.shape[1])])
                for item, values in zip(matrix.ids, matrix.values, strict=True):
                    writer.writerow([inert(item), inert(";".join(labels[item])), *map(str, values)])


@dataclass(frozen=True)
class Form:
    """How a space is written, and how its file's name ends; folders have no ending."""

    write: Callable[[Path, Mapping[str, Rows], Items], None]
    ending: str = ""


FORMS = {"npz": Form(_npz, ".npz"), "npy": Form(_npy), "mat": Form(_mat, ".mat"), "csv": Form(_csv)}
