"""Items, splits and the views of them that methods see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cmr.boundary import check_name, plain, plain_parquet
from cmr.errors import UserError
from cmr.publish import atomic
from cmr.store import Rows

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
HELD_OUT_SHARE = 0.1
KINDS = ("image", "text", "audio", "ready")
CONTROL = r"[\x00-\x1f\x7f]"


def _is_list_of_texts(cell: object) -> bool:
    return isinstance(cell, Sequence | np.ndarray) and all(isinstance(label, str) for label in cell)


@dataclass(frozen=True)
class View:
    """Rows of one modality: ``ids`` (n,), ``features`` (n, d) float32, ``labels`` (n, c) 0/1 or None."""

    ids: np.ndarray
    features: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: np.ndarray) -> "View":
        """The same view of some rows: ``index`` is a mask or row numbers."""
        return View(self.ids[index], self.features[index], None if self.labels is None else self.labels[index])

    def without_labels(self) -> "View":
        return View(self.ids, self.features)


Part = Mapping[str, View]
"""One part of a split: modality → its rows. Row i of two modalities is a pair only if their ids say so."""


@dataclass(frozen=True)
class TrainingData:
    """``train``: all training rows. ``selection_train`` and ``held_out``: what candidates are fitted and scored on.

    ``has_validation``: the held-out rows are a validation part of the split, so ``selection_train`` is ``train``.
    """

    train: Part
    selection_train: Part
    held_out: Part
    has_validation: bool


def paired(part: Part, modalities: Sequence[str]) -> list[View]:
    """The rows that all ``modalities`` have, in the order of the first one's ids: row i of each is one item."""
    first, *others = (part[m] for m in modalities)
    if all(np.array_equal(first.ids, other.ids) for other in others):
        return [first, *others]
    common = set(first.ids).intersection(*(other.ids for other in others))
    if not common:
        raise UserError(f"no item has all of the modalities {', '.join(modalities)}; this method needs pairs")
    order = [i for i in first.ids if i in common]
    return [view.rows(pd.Index(view.ids).get_indexer(order)) for view in (first, *others)]


@dataclass(frozen=True)
class Items:
    """The items table of a data set.

    ``table`` has the columns id, one per modality (a path relative to the data set's folder, or a text; null
    where the item lacks the modality) and labels (a list of class names). ``kinds`` says what a modality's column
    holds: image, text, audio, or ready (features that come with the data set).
    """

    table: pd.DataFrame
    kinds: dict[str, str]

    @property
    def ids(self) -> np.ndarray:
        return self.table["id"].to_numpy(str)

    @property
    def classes(self) -> list[str]:
        return sorted({label for labels in self.table["labels"] for label in labels})

    def labels(self, ids: Iterable[str]) -> np.ndarray:
        """Multi-hot labels (n, c) uint8 of the items ``ids``, columns in the order of `classes`.

        Raises `UserError` for ids that are none of the table's.
        """
        self.check_known(ids := list(ids))
        column = {name: j for j, name in enumerate(self.classes)}
        of_item = dict(zip(self.ids, self.table["labels"], strict=True))
        matrix = np.zeros((len(ids), len(column)), np.uint8)
        for row, item in enumerate(ids):
            matrix[row, [column[name] for name in of_item[item]]] = 1
        return matrix

    def check_known(self, ids: Iterable[str]) -> None:
        """Raises `UserError` where one of ``ids`` is none of the table's: what they come with is of other data."""
        if unknown := set(map(str, ids)) - set(self.ids.tolist()):
            raise UserError(f"item {min(unknown)!r} is not in the items table: made from other data; run again")

    def having(self, modality: str) -> pd.DataFrame:
        """The rows that have ``modality``."""
        if modality not in self.kinds:
            raise UserError(f"the data set has no modality {modality!r}; it has {', '.join(self.kinds)}")
        return self.table[self.table[modality].notna()]

    def write(self, path: str | Path) -> None:
        self.check(path)
        frame = self.table.copy()
        frame.attrs = {"kinds": self.kinds}
        with atomic(path) as temporary:
            frame.to_parquet(temporary, index=False)

    @classmethod
    def read(cls, path: str | Path) -> "Items":
        try:
            table = pd.read_parquet(plain_parquet(path))
            items = cls(table, table.attrs["kinds"])
            items.check_form()
            return items
        except FileNotFoundError as error:
            raise UserError(f"{path}: not a readable items table; delete it and run again ({error})") from None
        except UserError:
            raise
        except Exception as error:  # there is none that pyarrow and pandas do not raise for some damaged file
            raise UserError(f"{path}: not a readable items table; delete it and run again ({error})") from None

    def check_form(self) -> None:
        """Raises ValueError unless ids, modalities and labels are what they should be."""
        if not isinstance(self.kinds, dict) or not set(self.kinds.values()) <= set(KINDS):
            raise ValueError(f"kinds of modalities that are none: {self.kinds!r}")
        missing = {"id", "labels", *self.kinds} - set(self.table)
        if missing:
            raise ValueError(f"no column {min(missing)}")
        for modality in self.kinds:
            check_name(modality)
        for label in (self.table["id"], *(self.table[m].dropna() for m in self.kinds)):
            if not label.map(lambda cell: isinstance(cell, str)).all():
                raise ValueError(f"a cell of {label.name} is no text")
        if self.table["id"].duplicated().any():
            raise ValueError("an id stands on more than one row")
        if not self.table["labels"].map(_is_list_of_texts).all():
            raise ValueError("labels are not lists of texts")

    def check(self, source: str | Path) -> None:
        """Raises `UserError` for what no later stage should meet: duplicate ids, items without a class."""
        duplicated = self.table["id"][self.table["id"].duplicated()]
        if len(duplicated):
            raise UserError(f"{source}: id {duplicated.iloc[0]!r} stands on more than one row")
        controls = self.table["id"][self.table["id"].str.contains(CONTROL)]
        if len(controls):
            raise UserError(f"{source}: id {controls.iloc[0]!r} holds a control character")
        unlabelled = self.table["id"][self.table["labels"].map(len) == 0]
        if len(unlabelled):
            raise UserError(f"{source}: item {unlabelled.iloc[0]!r} has no class")


@dataclass(frozen=True)
class Split:
    """``table``: id, part (train, validation, test) and held_out, the rows that choices are made on.

    Where the split has validation rows these are the held-out rows. Where it has none, they are a stratified
    tenth of the training rows, and the final model is fitted again on all training rows.
    """

    table: pd.DataFrame

    @property
    def has_validation(self) -> bool:
        return bool((self.table["part"] == VALIDATION).any())

    def ids(self, part: str) -> set[str]:
        return set(self.table["id"][self.table["part"] == part])

    @property
    def held_out(self) -> set[str]:
        return set(self.table["id"][self.table["held_out"]])

    @property
    def selection_train(self) -> set[str]:
        """Training rows to fit on while choosing: all of them but the held-out ones."""
        return self.ids(TRAIN) - self.held_out

    def write(self, path: str | Path) -> None:
        with atomic(path) as temporary:
            self.table.to_csv(temporary, index=False)

    @classmethod
    def read(cls, path: str | Path) -> "Split":
        try:
            table = pd.read_csv(plain(path), dtype={"id": str, "part": str, "held_out": bool}, keep_default_na=False)
            wrong = set(table["part"]) - set(PARTS) if len(table) and table["held_out"].size else {"none"}
        except (OSError, ValueError, KeyError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
            raise UserError(f"{path}: not a readable split; delete it and run again ({error})") from None
        if wrong:
            raise UserError(f"{path}: unknown part {min(wrong)!r}; delete it and run again")
        return cls(table)


def rows_of(matrix: Rows, wanted: set[str], items: Items, with_labels: bool = True) -> View:
    """The rows of a feature matrix whose ids are ``wanted``, in the matrix's order, with their labels."""
    index = np.flatnonzero(np.isin(matrix.ids, list(wanted)))
    ids = matrix.ids[index]
    return View(ids, matrix.values[index], items.labels(ids) if with_labels else None)


def check_ids(path: str | Path, matrix: Rows, expected: Sequence[str]) -> None:
    """Raises `UserError` where a feature file's ids are not the items' (another version of the data set, say)."""
    if np.array_equal(matrix.ids, np.asarray(expected, str)):
        return
    unknown = set(matrix.ids.tolist()) - set(expected)
    missing = set(expected) - set(matrix.ids.tolist())
    gone = f"item {min(missing)!r} is missing" if missing else "other order"
    what = f"unknown item {min(unknown)!r}" if unknown else gone
    raise UserError(
        f"{path}: its {len(matrix.ids)} ids do not match the {len(expected)} items ({what}); delete it and run again"
    )
