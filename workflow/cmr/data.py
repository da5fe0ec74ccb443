"""Items, splits and the views of them that methods see."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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
MAX_LETTERS = 1000
"""Of an id, and of a class's name."""


def _is_list_of_texts(cell: object) -> bool:
    return isinstance(cell, Sequence | np.ndarray) and all(isinstance(label, str) for label in cell)


@dataclass(frozen=True)
class View:
    """Rows of one modality: ``ids`` (n,), ``features`` (n, d) float32, ``labels`` (n, c) 0/1 or None.

    Methods whose ``INFO`` says so get a `cmr.sets.Sets`, or `cmr.sets.VectorsAndSets`, as features.
    ``groups`` (n,): rows of two modalities are a pair where their groups are equal; the ids unless others are given.
    """

    ids: np.ndarray
    features: Any
    labels: np.ndarray | None = None
    groups: np.ndarray = None  # type: ignore[assignment]  # always there once the view is made

    def __post_init__(self) -> None:
        if self.groups is None:
            object.__setattr__(self, "groups", self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: np.ndarray | slice) -> "View":
        """The same view of some rows: ``index`` is a mask, row numbers or a slice."""
        labels = None if self.labels is None else self.labels[index]
        return View(self.ids[index], self.features[index], labels, self.groups[index])

    def without_labels(self) -> "View":
        return View(self.ids, self.features, groups=self.groups)

    def embedded(self, embeddings: np.ndarray) -> "View":
        """The same rows with embeddings (n, e) in the place of features."""
        return View(self.ids, embeddings, self.labels, self.groups)


Part = Mapping[str, View]
"""One part of a split: modality → its rows. Row i of two modalities is a pair only if their groups say so."""


@dataclass(frozen=True)
class TrainingData:
    """``train``: all training rows. ``selection_train`` and ``held_out``: what candidates are fitted and scored on.

    ``has_validation``: the held-out rows are a validation part of the split, so ``selection_train`` is ``train``.
    ``drawn_pairs``: how many pairs of ``train`` were drawn within a class. ``unlabelled``: test rows without labels,
    for transductive methods.
    """

    train: Part
    selection_train: Part
    held_out: Part
    has_validation: bool
    drawn_pairs: int = 0
    unlabelled: Part | None = None


def paired(part: Part, modalities: Sequence[str]) -> list[View]:
    """The pairs: row i of each view is of one group, in the order of the first modality's rows.

    A group with several rows of a modality, a picture with five captions say, gives each combination of its rows.
    """
    first, *others = (part[m] for m in modalities)
    same = all(np.array_equal(first.groups, other.groups) for other in others)
    if same and pd.Index(first.groups).is_unique:
        return [first, *others]
    rows = pd.DataFrame({"group": first.groups, 0: np.arange(len(first))})
    for number, other in enumerate(others, start=1):
        rows = rows.merge(pd.DataFrame({"group": other.groups, number: np.arange(len(other))}), on="group")
    if rows.empty:
        raise UserError(
            f"no item has all of the modalities {', '.join(modalities)}; this method needs pairs: the data set's "
            "parameter group says which rows belong together, or pairing: class in its entry draws them within "
            "a class"
        )
    return [view.rows(rows[number].to_numpy()) for number, view in enumerate((first, *others))]


@dataclass(frozen=True)
class Items:
    """The items table of a data set.

    ``table`` has the columns id, one per modality (a path relative to the data set's folder, or a text; null
    where the item lacks the modality) and labels (a list of class names; empty for all items where the data have no
    classes). Where a picture has several captions, say, each of them is an item, and a column group tells which belong
    together. ``kinds`` says what a modality's column holds: image, text, audio, or ready (features that come with the
    data set).
    """

    table: pd.DataFrame
    kinds: dict[str, str]

    @property
    def ids(self) -> np.ndarray:
        return self.table["id"].to_numpy(str)

    @property
    def has_classes(self) -> bool:
        """Whether the items have labels; either all of them have, or none."""
        return bool(len(self.table)) and len(self.table["labels"].iloc[0]) > 0

    @property
    def strata(self) -> list[str]:
        """What splits are stratified by: the first label (n,) of each item, '' where there are no classes."""
        return [labels[0] if len(labels) else "" for labels in self.table["labels"]]

    @property
    def classes(self) -> list[str]:
        return sorted({label for labels in self.table["labels"] for label in labels})

    @property
    def groups(self) -> np.ndarray:
        """The group (n,) of each item: items of one group belong together. Its id where there is no such column."""
        return self.table["group"].to_numpy(str) if "group" in self.table else self.ids

    def groups_of(self, ids: np.ndarray) -> np.ndarray:
        """The groups (n,) of the items ``ids``."""
        return self.groups[pd.Index(self.ids).get_indexer(ids)] if "group" in self.table else ids

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

    @classmethod
    def read_kinds(cls, path: str | Path) -> dict[str, str]:
        """The kinds alone, which takes no time however many items there are."""
        from pyarrow.parquet import read_schema

        try:
            kinds = read_schema(plain(path)).pandas_metadata["attributes"]["kinds"]
            cls(pd.DataFrame(columns=["id", "labels", *kinds]), kinds).check_form()
            return kinds
        except UserError:
            raise
        except Exception as error:  # as in `read`
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
        texts = [self.table[name] for name in ("id", "group") if name in self.table]
        for label in (*texts, *(self.table[m].dropna() for m in self.kinds)):
            if not label.map(lambda cell: isinstance(cell, str)).all():
                raise ValueError(f"a cell of {label.name} is no text")
        if self.table["id"].duplicated().any():
            raise ValueError("an id stands on more than one row")
        if not self.table["labels"].map(_is_list_of_texts).all():
            raise ValueError("labels are not lists of texts")
        self._check_names()

    def _check_names(self) -> None:
        """Raises ValueError where an id or a class is too long for a name: each command would print all of it."""
        for name in (*self.table["id"], *(label for labels in self.table["labels"] for label in labels)):
            if len(name) > MAX_LETTERS:
                raise ValueError(
                    f"{name[:40]!r} … has {len(name):,} letters; the name of an item or a class has {MAX_LETTERS:,} at "
                    "most"
                )

    def check(self, source: str | Path) -> None:
        """Raises `UserError` for what no later stage should meet: duplicate ids, some items without a class."""
        duplicated = self.table["id"][self.table["id"].duplicated()]
        if len(duplicated):
            raise UserError(f"{source}: id {duplicated.iloc[0]!r} stands on more than one row; rename one of the two")
        controls = self.table["id"][self.table["id"].str.contains(CONTROL)]
        if len(controls):
            raise UserError(f"{source}: id {controls.iloc[0]!r} holds a control character")
        unlabelled = self.table["id"][self.table["labels"].map(len) == 0]
        if 0 < len(unlabelled) < len(self.table):
            raise UserError(f"{source}: item {unlabelled.iloc[0]!r} has no class")
        try:
            self._check_names()
        except ValueError as error:
            raise UserError(f"{source}: {error}") from None


@dataclass(frozen=True)
class Split:
    """``table``: id, part (train, validation, test) and held_out, the rows that choices are made on.

    Where the split has validation rows these are the held-out rows. Where it has none, they are a stratified
    tenth of the training rows, and the final model is fitted again on all training rows.

    Where a protocol evaluates in folds, a column fold names that of each test row, '' for the others.
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

    def folds(self, ids: np.ndarray) -> dict[str, slice]:
        """Where in test rows ``ids`` (n,) each fold lies; empty where there are none.

        Raises `UserError` where the rows of a fold do not follow each other.
        """
        if "fold" not in self.table:
            return {}
        names = self.table.set_index("id")["fold"][ids].to_numpy(str)
        starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        found = {str(names[a]): slice(a, b) for a, b in pairwise([*starts.tolist(), len(names)])}
        if len(found) < len(starts):
            raise UserError(
                "the items of a fold do not follow each other; sort the items of the data set by their fold"
            )
        return found

    def write(self, path: str | Path) -> None:
        with atomic(path) as temporary:
            self.table.to_csv(temporary, index=False)

    @classmethod
    def read(cls, path: str | Path) -> "Split":
        try:
            kinds = {"id": str, "part": str, "held_out": bool, "fold": str}
            table = pd.read_csv(plain(path), dtype=kinds, keep_default_na=False)
            wrong = set(table["part"]) - set(PARTS) if len(table) and table["held_out"].size else {"none"}
        except (OSError, ValueError, KeyError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
            raise UserError(f"{path}: not a readable split; delete it and run again ({error})") from None
        if wrong:
            raise UserError(f"{path}: unknown part {min(wrong)!r}; delete it and run again")
        if (twice := table["id"][table["id"].duplicated()]).size:
            raise UserError(f"{path}: item {twice.iloc[0]!r} stands on more than one row; delete it and run again")
        return cls(table)


def among(ids: np.ndarray, wanted: Collection[str]) -> np.ndarray:
    """A mask (n,) of the ids that are wanted, by one look-up an id: `numpy.isin` compares all with all."""
    return pd.Index(ids).isin(list(wanted))


def rows_of(matrix: Rows, wanted: set[str], items: Items, with_labels: bool = True) -> View:
    """The rows of a feature matrix whose ids are ``wanted``, in its order, with their labels where there are any."""
    index = np.flatnonzero(among(matrix.ids, wanted))
    ids = matrix.ids[index]
    labels = items.labels(ids) if with_labels and items.has_classes else None
    return View(ids, matrix.values[index], labels, items.groups_of(ids))


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
