"""Arrays and labels as they are given from Python, checked and made into what the stages work with."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from cmr.boundary import check_name
from cmr.data import TRAIN, Items, Part, TrainingData, View, among
from cmr.datasets.labels import NO_LABEL, LabelReader, perhaps_no_label
from cmr.datasets.matrices import cells_of
from cmr.datasets.splitting import same_content, vector_keys, with_held_out
from cmr.errors import UserError
from cmr.params import canonical
from cmr.sets import Features, Sets, VectorsAndSets, by_form, columns_in_words, dimensions
from cmr.store import Rows, check_finite

READY = "ready"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """Rows of items: row i of every modality is the same item. ``ids`` (n,), ``matrices`` modality → (n, d), or
    `Sets`, or `VectorsAndSets`.

    ``names``: the class names of each row; None where no labels were given.
    """

    ids: np.ndarray
    matrices: Mapping[str, Any]
    names: list[list[str]] | None = None

    @classmethod
    def of(cls, views: Mapping[str, Any], labels: Any = None, dtype: type | None = np.float32) -> "Given":
        """Raises `UserError` where the modalities, or the labels, have different numbers of rows."""
        if not isinstance(views, Mapping) or not views:
            raise UserError(f"views: expected {{modality: array (n, d)}}, found {type(views).__name__}")
        matrices = {_modality(name): features(name, rows, dtype) for name, rows in views.items()}
        sizes = {name: len(rows) for name, rows in matrices.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise UserError(f"views: {told} rows; row i of every modality must be the same item")
        n = next(iter(sizes.values()))
        names = None if labels is None else class_names(labels, n)
        return cls(np.array([f"row-{row}" for row in range(n)]), matrices, names)

    def hashes(self, modalities: Sequence[str], prefix: str = "") -> dict[str, str]:
        """Of the features of some modalities, and of the labels."""
        found = {f"{prefix}{m}": contents(self.matrices[m]) for m in modalities}
        if self.names is not None:
            found[f"{prefix}labels"] = sha256(canonical(self.names).encode()).hexdigest()
        return found

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted as text; they are the columns of label matrices."""
        return tuple(sorted({name for names in self.names or () for name in names}))

    def part(self, classes: tuple[str, ...] | None) -> dict[str, View]:
        """The rows of each modality; with labels (n, c) in the columns of ``classes``, or without."""
        labels = None if classes is None else self.multi_hot(classes)
        return {name: View(self.ids, rows, labels) for name, rows in self.matrices.items()}

    def multi_hot(self, classes: tuple[str, ...]) -> np.ndarray:
        """Labels (n, c) uint8, in the columns of ``classes``, which are all that there are."""
        column = {name: position for position, name in enumerate(classes)}
        found = np.zeros((len(self.ids), len(classes)), np.uint8)
        for row, names in enumerate(self.names or ()):
            found[row, [column[name] for name in names]] = 1
        return found


def features(name: str, rows: Any, dtype: type | None = np.float32) -> Features:
    """A `matrix` of one modality, `Sets` or `VectorsAndSets`. Raises `UserError` where values are not finite."""
    if isinstance(rows, VectorsAndSets):
        return VectorsAndSets(matrix(name, rows.vectors, dtype), _finite_sets(name, rows.sets))
    return _finite_sets(name, rows) if isinstance(rows, Sets) else matrix(name, rows, dtype)


def _finite_sets(name: str, sets: Sets) -> Sets:
    check_finite(name, np.arange(len(sets)), sets)
    return sets


def contents(found: Features) -> str:
    """sha256 of the values, their form, and of where sets begin."""
    if isinstance(found, VectorsAndSets):
        return sha256(" ".join(map(contents, by_form(found).values())).encode()).hexdigest()
    if not isinstance(found, Sets):
        rows = np.asarray(found)
        return sha256(f"{rows.dtype} {rows.shape} ".encode() + rows.tobytes()).hexdigest()
    digest = sha256(f"{found.dimension} ".encode() + found.offsets.tobytes())
    for block in found.blocks():
        digest.update(block.elements().tobytes())
    return digest.hexdigest()


def matrix(name: str, rows: Any, dtype: type | None = np.float32) -> np.ndarray:
    """Rows (n, d) of one modality. Raises `UserError` for what is no finite matrix of numbers. None: a float type is
    kept."""
    if hasattr(rows, "toarray"):
        raise UserError(f"{name}: a sparse matrix; pass the dense one, {name}.toarray()")
    rows = _without_torch(name, rows)
    if np.ma.is_masked(rows):  # numpy.asarray would take what the mask hides
        rows = np.ma.filled(rows.astype(float), np.nan)
    try:
        found = np.asarray(rows)
    except ValueError as error:
        raise UserError(f"{name}: expected a matrix of numbers (n, d), found rows of several lengths") from error
    if found.dtype == object and found.ndim == 2:
        found = _of_objects(name, found)
    if found.ndim != 2 or found.dtype.kind not in "fiub" or not found.shape[1]:
        raise UserError(f"{name}: expected a matrix of numbers (n, d), found {found.dtype} of shape {found.shape}")
    if not len(found):
        raise UserError(f"{name}: no rows")
    found = found.astype(dtype or np.result_type(found, np.float32), copy=False)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise UserError(f"{name}: {len(bad)} rows hold NaN or infinite values, the first is row {bad[0]}")
    return found


def _of_objects(name: str, rows: np.ndarray) -> np.ndarray:
    """float64 of an array of Python's numbers, NaN where one is missing, as tables of several types have them."""
    for row, cells in enumerate(rows):
        for cell in cells:
            if not isinstance(cell, Real) and not (cell is None or cell is pd.NA):
                raise UserError(f"{name}: row {row}: expected numbers, found {type(cell).__name__} {str(cell)[:40]!r}")
    return np.where(pd.isna(rows), np.nan, rows).astype(float)


def _without_torch(name: str, values: Any) -> Any:
    """A tensor as numpy takes it: without a gradient, off the GPU, and not in bfloat16."""
    if not hasattr(values, "detach"):
        return values
    if str(values.layout) != "torch.strided":
        raise UserError(f"{name}: a sparse tensor; pass the dense one, {name}.to_dense()")
    values = values.detach().cpu()
    return (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()


def _modality(name: Any) -> str:
    try:
        return check_name(name)
    except (ValueError, TypeError) as error:
        raise UserError(f"views: expected {error}, found {name!r}") from None


def class_names(labels: Any, n: int) -> list[list[str]]:
    """The class names of each of ``n`` rows. Class numbers are names; an array (n, c) of 0 and 1 has a class a column,
    and a table of such columns their names.

    ``labels``: an array (n,) or (n, c), or anything with a label, or a list of labels, for each row. Raises
    `UserError` for another number of rows, and for a row without a label.
    """
    labels = _without_torch("labels", labels)
    if hasattr(labels, "toarray"):
        raise UserError("labels: a sparse matrix; pass the dense one, labels.toarray()")
    if np.ma.is_masked(labels):
        masked = np.flatnonzero(np.ma.getmaskarray(labels).any(axis=tuple(range(1, labels.ndim))))
        raise UserError(f"labels: {len(masked)} rows are masked, the first is row {masked[0]}; leave them out")
    if isinstance(labels, str | Mapping) or not isinstance(labels, Collection):
        raise UserError(f"labels: expected a label, or a list of labels, for each row, found {type(labels).__name__}")
    shape: tuple[int, ...] = getattr(labels, "shape", (n,))
    if len(shape) not in (1, 2):
        raise UserError(f"labels: expected an array (n,) or (n, c), found shape {shape}")
    cells = cells_of(np.asarray(labels), "labels") if hasattr(labels, "ndim") else list(labels)
    if len(cells) != n:
        raise UserError(f"labels: {len(cells)} for {n} rows; row i of the labels must be row i of the views")
    if isinstance(labels, pd.DataFrame) and shape[1] > 1:
        cells = [[str(labels.columns[int(column)]) for column in own] for own in cells]
    _refuse_lists_of_flags(cells, hasattr(labels, "ndim"))
    names = LabelReader(separator="", no_label=tuple(NO_LABEL)).read(cells, "labels", lambda row: f"labels: row {row}")
    empty = [row for row, own in enumerate(names) if not own]
    if empty:
        cell = cells[empty[0]]
        told = f", which says {str(cell)!r}" if isinstance(cell, str) and cell.strip() else ""
        raise UserError(f"labels: {len(empty)} of {len(names)} rows have none, the first is row {empty[0]}{told}")
    counts = Counter(name for own in names for name in own)
    if suspect := perhaps_no_label(counts):
        told = "labels: %d rows are of a class %r; if it stands for no label, leave them out"
        log.warning(told, counts[suspect], suspect)
    return names


def _refuse_lists_of_flags(cells: list[Any], from_array: bool) -> None:
    """[[0, 1], [1, 0]] may be a matrix of 0 and 1, or two rows with the classes 0 and 1 each."""
    lists = [cell for cell in cells if isinstance(cell, list | tuple)]
    flags = not from_array and len(lists) == len(cells) and {str(value) for own in lists for value in own} == {"0", "1"}
    if flags and len({len(own) for own in lists}) == 1 and len(lists[0]) > 1:
        raise UserError(
            "labels: lists of 0 and 1 alone have two meanings; numpy.array(labels) is a matrix with a class a column"
        )


def to_evaluate(
    views: Mapping[str, Any], labels: Any, groups: Mapping[str, Any] | None, dtype: type | None = np.float32
) -> tuple[dict[str, View], tuple[str, ...]]:
    """The rows of each modality, and the classes.

    Without ``groups`` row i of every modality is the same item. With them, modality → the group of each of its rows,
    the modalities may have different numbers of rows, and ``labels`` are those of each modality's rows, if any.
    """
    if groups is None:
        given = Given.of(views, labels, dtype)
        return given.part(None if given.names is None else given.classes), given.classes
    for name, of_modality in {"groups": groups, "labels": labels}.items():
        if of_modality is not None and (not isinstance(of_modality, Mapping) or set(of_modality) != set(views)):
            raise UserError(f"{name}: with groups, expected those of the rows of {', '.join(map(str, views))}, each")
    each = {m: Given.of({m: rows}, None if labels is None else labels[m], dtype) for m, rows in views.items()}
    classes = tuple(sorted({name for given in each.values() for name in given.classes}))
    of_rows = {m: _groups(m, groups[m], len(given.ids)) for m, given in each.items()}
    _check_shared(of_rows)
    return {
        m: View(given.ids, given.matrices[m], None if given.names is None else given.multi_hot(classes), of_rows[m])
        for m, given in each.items()
    }, classes


def _groups(modality: str, groups: Any, n: int) -> np.ndarray:
    given = _without_torch("groups", groups)
    found = np.asarray(given)
    if found.shape != (n,):
        raise UserError(f"groups: {modality}: expected a number or name for each of {n} rows, found {found.shape}")
    missing = np.flatnonzero(pd.isna(np.asarray(given, object)))  # a list of texts and NaN has the text 'nan'
    if len(missing):
        raise UserError(f"groups: {modality}: {len(missing)} rows have none, the first is row {missing[0]}")
    if found.dtype.kind not in "iuUSO":
        raise UserError(f"groups: {modality}: expected whole numbers or names, found {found.dtype}")
    return found.astype(str)


def _check_shared(groups: Mapping[str, np.ndarray]) -> None:
    """Raises `UserError` where some modalities have no group in common, so that nothing is ever found."""
    for (one, of_one), (other, of_other) in combinations(groups.items(), 2):
        if not set(of_one) & set(of_other):
            raise UserError(f"groups: {one} and {other} have none in common: {str(of_one[0])!r}, {str(of_other[0])!r}")


def training_data(given: Given, validation: Given | None, with_labels: bool) -> TrainingData:
    """What a fit may see, as `cmr.row_source.RowSource.training_data` gives it.

    Without ``validation`` a stratified tenth of the rows is held out to choose on; the fit is repeated on all rows.
    """
    classes = given.classes if with_labels else None
    train = given.part(classes)
    if validation is not None:
        check_alike(given, validation, "validation")
        _check_labels(given, validation)
        return TrainingData(train, train, validation.part(classes), True)
    held_out = held_out_rows(given)
    return TrainingData(train, _rows(train, ~held_out), _rows(train, held_out), False)


def check_alike(given: Given, other: Given, source: str) -> None:
    """Raises `UserError` where ``other``, which was given as ``source``, lacks a modality or has other columns."""
    for name, rows in given.matrices.items():
        if name not in other.matrices:
            raise UserError(f"{source}: no rows of {name}; give rows of {', '.join(given.matrices)}")
        found, expected = dimensions(other.matrices[name]), dimensions(rows)
        if found != expected:
            raise UserError(
                f"{source}: {name} has {columns_in_words(found)}, the training rows {columns_in_words(expected)}"
            )


def _check_labels(given: Given, other: Given) -> None:
    if given.names is not None and other.names is None:
        raise UserError("validation: labels are missing; give (views, labels)")
    unknown = sorted(set(other.classes) - set(given.classes))
    if unknown:
        raise UserError(f"validation: class {unknown[0]!r} has no training row")


def held_out_rows(given: Given) -> np.ndarray:
    """A mask (n,) of the rows that a split without validation rows would hold out."""
    names = given.names or [[]] * len(given.ids)
    columns = dict.fromkeys(given.matrices, given.ids)
    items = Items(pd.DataFrame({"id": given.ids, **columns, "labels": names}), dict.fromkeys(columns, READY))
    rows = [(name, rows) for name, found in given.matrices.items() for rows in by_form(found).values()]
    keys = [vector_keys(Rows(given.ids, values), len(given.classes), name) for name, values in rows]
    groups = same_content([pd.Series(given.ids).map(own) for own in keys])
    split = with_held_out(items, np.full(len(given.ids), TRAIN), groups)
    return among(given.ids, split.held_out)


def _rows(part: Part, mask: np.ndarray) -> dict[str, View]:
    return {modality: view.rows(mask) for modality, view in part.items()}
