"""Items, splits and the views of them that methods see."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cmr.boundary import check_name, plain, plain_parquet
from cmr.errors import Damaged, UserError
from cmr.frozen import freeze
from cmr.publish import atomic
from cmr.store import Rows

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
HELD_OUT_SHARE = 0.1
KINDS = ("image", "text", "audio", "ready")
CONTROL = r"[\x00-\x1f\x7f]"
TABLE_ROWS = 2**16
"""Of a table, that stand as Python's objects at a time."""
MAX_LETTERS = 1000
"""Of an id, and of a class's name."""


def _are_texts(column: pd.Series, may_lack: bool) -> bool:
    """Whether cells are texts; ``may_lack``: or null."""
    if not may_lack and column.hasnans:
        return False
    return isinstance(column.dtype, pd.StringDtype) or all(isinstance(cell, str) for cell in column.dropna())


def _are_labels(cell: Any) -> bool:
    """Whether a cell is a list of texts."""
    return isinstance(cell, list | tuple | np.ndarray) and all(isinstance(label, str) for label in cell)


@dataclass(frozen=True)
class View:
    """Rows of one modality: ``ids`` (n,), ``features`` (n, d) float32, ``labels`` (n, c) 0/1 or None.

    Methods whose ``INFO`` says so get a `cmr.sets.Sets`, or `cmr.sets.VectorsAndSets`, as features.
    ``groups`` (n,): rows of two modalities are a pair where their groups are equal; the ids unless others are given.
    All arrays are read-only: they are the user's own, or those of the next candidate too.
    """

    ids: np.ndarray
    features: Any
    labels: np.ndarray | None = None
    groups: np.ndarray = None  # type: ignore[assignment]  # always there once the view is made

    def __post_init__(self) -> None:
        if self.groups is None:
            object.__setattr__(self, "groups", self.ids)
        freeze(self)

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
    for transductive methods, when nothing is left to choose.
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
    data set). A table is not changed once it is here: what is looked up in it is worked out once.
    """

    table: pd.DataFrame
    kinds: dict[str, str]

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) of Python's texts: what is taken from it shares them."""
        return self.table["id"].to_numpy(object)

    @property
    def has_classes(self) -> bool:
        """Whether the items have labels; either all of them have, or none."""
        return bool(len(self.table)) and len(self.table["labels"].iloc[0]) > 0

    @property
    def strata(self) -> list[str]:
        """What splits are stratified by: the first label (n,) of each item, '' where there are no classes."""
        numbers, different = self.distinct_labels
        first = [labels[0] if labels else "" for labels in different]
        return [first[number] for number in numbers]

    @property
    def classes(self) -> list[str]:
        return sorted({label for labels in self.distinct_labels[1] for label in labels})

    def classes_of(self, modality: str) -> set[str]:
        """The classes of the items that have a modality."""
        numbers, different = self.distinct_labels
        return {name for number in np.unique(numbers[self.table[modality].notna()]) for name in different[number]}

    @cached_property
    def groups(self) -> np.ndarray:
        """The group (n,) of each item: items of one group belong together. Its id where there is no such column."""
        if "group" not in self.table:
            return self.ids
        numbers, names = pd.factorize(self.table["group"])
        return names.to_numpy(object)[numbers]

    def groups_of(self, ids: np.ndarray) -> np.ndarray:
        """The groups (n,) of the items ``ids``."""
        return self.groups[self.rows(ids)] if "group" in self.table else ids

    def labels(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Multi-hot labels (n, c) uint8 of the items ``ids``, columns in the order of `classes`.

        Raises `UserError` for ids that are none of the table's.
        """
        numbers, different = self.distinct_labels
        found, of_item = np.unique(numbers[self.rows(ids)], return_inverse=True)
        column = {name: j for j, name in enumerate(self.classes)}
        matrix = np.zeros((len(found), len(column)), np.uint8)
        for row, number in enumerate(found):
            matrix[row, [column[name] for name in different[number]]] = 1
        return matrix[of_item]

    @cached_property
    def distinct_labels(self) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """The number (n,) of each item's labels among the different ones, and these."""
        different: dict[tuple[str, ...], int] = {}
        numbers = (different.setdefault(tuple(labels), len(different)) for labels in self.table["labels"])
        return np.fromiter(numbers, np.int32, len(self.table)), list(different)

    def rows(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Which rows (n,) of the table the items ``ids`` are. Raises `UserError` where one is none of the table's."""
        rows = self._index.get_indexer(pd.Index(np.asarray(ids, object), dtype=object))
        if (rows < 0).any():
            unknown = str(min(np.asarray(ids, object)[rows < 0]))
            raise UserError(f"item {unknown!r} is not in the items table: made from other data; run again")
        return rows

    @cached_property
    def _index(self) -> pd.Index:
        return pd.Index(self.ids, dtype=object)

    def has(self, modality: str) -> np.ndarray:
        """A mask (n,) of the items that have ``modality``. Raises `UserError` where no item of the data set may."""
        if modality not in self.kinds:
            raise UserError(f"the data set has no modality {modality!r}; it has {', '.join(self.kinds)}")
        return self.table[modality].notna().to_numpy(bool)

    def having(self, modality: str) -> pd.DataFrame:
        """The rows that have ``modality``."""
        return self.table[self.has(modality)]

    def write(self, path: str | Path, source: str = "") -> None:
        """``source``: what made the items, for messages; the path where it is not given."""
        self.check(source or path)
        frame = self.table.copy()
        frame.attrs = {"kinds": self.kinds}
        with atomic(path) as temporary:
            frame.to_parquet(temporary, index=False)

    @classmethod
    def read(cls, path: str | Path, contents: bool = True) -> "Items":
        """``contents``: whether what stands in the columns of modalities is read; else they are true where there is
        something, and null elsewhere.
        """
        kinds = cls.read_kinds(path)
        try:
            items = cls(_read_table(plain_parquet(path), () if contents else kinds), kinds)
            items.check_form(contents)
            return items
        except UserError:
            raise
        except Exception as error:  # there is none that pyarrow and pandas do not raise for some damaged file
            raise Damaged(f"{path}: not a readable items table; delete it and run again ({error})") from None

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
            raise Damaged(f"{path}: not a readable items table; delete it and run again ({error})") from None

    def check_form(self, contents: bool = True) -> None:
        """Raises ValueError unless ids, labels and, of those with ``contents``, modalities are what they should be."""
        if not isinstance(self.kinds, dict) or not set(self.kinds.values()) <= set(KINDS):
            raise ValueError(f"kinds of modalities that are none: {self.kinds!r}")
        missing = {"id", "labels", *self.kinds} - set(self.table)
        if missing:
            raise ValueError(f"no column {min(missing)}")
        for modality in self.kinds:
            check_name(modality)
        for name in (*(name for name in ("id", "group") if name in self.table), *(self.kinds if contents else ())):
            if not _are_texts(self.table[name], may_lack=name in self.kinds):
                raise ValueError(f"a cell of {name} is no text")
        if not self._index.is_unique:
            twice = self.ids[self._index.duplicated()][0]
            raise ValueError(f"id {twice!r} stands on more than one row; rename one of the two")
        once = {id(labels): labels for labels in self.table["labels"]}  # rows of equal labels may share a list
        if not all(map(_are_labels, once.values())):
            raise ValueError("labels are not lists of texts")
        self._check_names()

    def _check_names(self) -> None:
        """Raises ValueError where an id or a class is too long for a name: each command would print all of it."""
        lengths = self.table["id"].str.len()
        long = self.table["id"][lengths > MAX_LETTERS]
        for name in (*long, *(label for labels in self.distinct_labels[1] for label in labels)):
            if len(name) > MAX_LETTERS:
                raise ValueError(
                    f"{name[:40]!r} … has {len(name):,} letters; the name of an item or a class has {MAX_LETTERS:,} at "
                    "most"
                )

    def check(self, source: str | Path) -> None:
        """Raises `UserError` for what no later stage should meet: no item, some without a class, another form."""
        try:
            self.check_form()
        except ValueError as error:
            raise UserError(f"{source}: {error}") from None
        if self.table.empty:
            raise UserError(f"{source}: no item")
        controls = self.table["id"][self.table["id"].str.contains(CONTROL)]
        if len(controls):
            raise UserError(f"{source}: id {controls.iloc[0]!r} holds a control character")
        unlabelled = self.table["id"][self.table["labels"].map(len) == 0]
        if 0 < len(unlabelled) < len(self.table):
            raise UserError(f"{source}: item {unlabelled.iloc[0]!r} has no class")
        if self.has_classes:
            self._check_classes(source)

    def _check_classes(self, source: str | Path) -> None:
        """Raises `UserError` where a modality shares no class with another, as where names are written differently."""
        of = {modality: classes for modality in self.kinds if (classes := self.classes_of(modality))}
        for modality, own in of.items():
            others = {other: classes for other, classes in of.items() if other != modality}
            if others and not any(own & classes for classes in others.values()):
                other, classes = next(iter(others.items()))
                raise UserError(
                    f"{source}: {modality} has no class in common with {other}, such as {min(own)!r} and "
                    f"{min(classes)!r}; call the same class by the same name"
                )


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

    def ids(self, part: str) -> pd.Series:
        """The ids of a part. A column of them takes a tenth of the memory of a set."""
        return self.table["id"][self.table["part"] == part]

    @property
    def held_out(self) -> pd.Series:
        return self.table["id"][self.table["held_out"]]

    @property
    def selection_train(self) -> pd.Series:
        """Training rows to fit on while choosing: all of them but the held-out ones."""
        return self.table["id"][(self.table["part"] == TRAIN) & ~self.table["held_out"]]

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
            blocks = pd.read_csv(plain(path), dtype=kinds, keep_default_na=False, chunksize=TABLE_ROWS)
            table = pd.concat(blocks, ignore_index=True)
            wrong = set(table["part"]) - set(PARTS) if len(table) and table["held_out"].size else {"none"}
        except (OSError, ValueError, KeyError, OverflowError) as error:  # pandas' errors of parsing are ValueErrors
            raise Damaged(f"{path}: not a readable split; delete it and run again ({error})") from None
        if wrong:
            raise UserError(f"{path}: unknown part {min(wrong)!r}; delete it and run again")
        if (twice := table["id"][table["id"].duplicated()]).size:
            raise UserError(f"{path}: item {twice.iloc[0]!r} stands on more than one row; delete it and run again")
        return cls(table)


def _read_table(path: Path, masked: Collection[str]) -> pd.DataFrame:
    """An items table; of columns that are ``masked`` only where they are null. Rows with equal labels share them."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        names = file.schema_arrow.names
        apart = {name: _mask(file, name) for name in names if name in masked}
        apart |= {"labels": _shared_labels(file)} if "labels" in names else {}
    table = pd.read_parquet(path, columns=[name for name in names if name not in apart])
    return table.assign(**apart)[names]


def _mask(file: "ParquetFile", name: str) -> Any:
    """True where a cell of a column is there, null elsewhere; some rows are read at a time."""
    from pyarrow import types

    kind = file.schema_arrow.field(name).type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise ValueError(f"a cell of {name} is no text")
    there = [batch.column(0).is_valid().to_numpy(False) for batch in file.iter_batches(columns=[name])]
    mask = np.concatenate([np.empty(0, bool), *there])
    return pd.arrays.BooleanArray(mask, ~mask)


def _shared_labels(file: "ParquetFile") -> np.ndarray:
    """The labels of each row as a tuple; some rows are read at a time."""
    from pyarrow import types

    kind = file.schema_arrow.field("labels").type
    if not (types.is_list(kind) or types.is_large_list(kind)):
        raise ValueError("labels are not lists of texts")
    batches = (batch.column(0) for batch in file.iter_batches(columns=["labels"]))
    cells = (tuple(labels or ()) for batch in batches for labels in batch.to_pylist())
    different: dict[tuple[str, ...], tuple[str, ...]] = {}
    return np.fromiter((different.setdefault(labels, labels) for labels in cells), object)


def among(ids: Any, wanted: Any) -> np.ndarray:
    """A mask (n,) of the ids that are wanted, both arrays, columns or lists of texts, by one look-up an id."""
    from pyarrow import array, compute, large_string

    found = compute.is_in(array(ids, large_string()), value_set=array(wanted, large_string()))
    return found.to_numpy(zero_copy_only=False)


def rows_of(matrix: Rows, wanted: Any, items: Items, with_labels: bool = True) -> View:
    """The rows of a feature matrix whose ids are ``wanted``, in its order, with their labels where there are any."""
    index = np.flatnonzero(among(matrix.ids, wanted))
    ids = matrix.ids[index]
    labels = items.labels(ids) if with_labels and items.has_classes else None
    return View(ids, matrix.values[index], labels, items.groups_of(ids))


def check_ids(path: str | Path, matrix: Rows, expected: np.ndarray) -> None:
    """Raises `UserError` where a feature file's ids are not the items' (another version of the data set, say)."""
    if np.array_equal(matrix.ids, expected):
        return
    unknown = set(matrix.ids.tolist()) - set(expected)
    missing = set(expected) - set(matrix.ids.tolist())
    gone = f"item {min(missing)!r} is missing" if missing else "other order"
    what = f"unknown item {min(unknown)!r}" if unknown else gone
    raise UserError(
        f"{path}: its {len(matrix.ids)} ids do not match the {len(expected)} items ({what}); delete it and run again"
    )
